//! Work to be done later, exactly as often as needed: a queue in the database, leased job by job, so
//! that neither a crash nor a second node loses or doubles one.
//!
//! A job that is done is deleted, not kept as done: what it is about may be somebody's e-mail
//! address, and the audit log tells what happened.

mod list;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use crate::model::{
    Actor, Clock, Entropy, FieldError, Job, JobFilter, JobId, JobState, Page, Timestamp,
    random_bytes,
};
use crate::store::audit::AuditEntry;
use crate::store::jobs::{JobFailure, JobRow, LeasedRow};
use crate::store::{Store, StoreError};
use list::ListQuery;
pub(crate) use worker::Worker;

/// A job that failed this often is dead.
pub const MAX_ATTEMPTS: i64 = 8;
/// How long whoever leased a job has it to themselves.
pub const LEASE: Duration = Duration::from_mins(2);

const FIRST_RETRY: Duration = Duration::from_secs(30);
// 30 s, 90 s, 5 min … 6 h: nine hours in all, in which a mail server is repaired.
const RETRY_FACTOR: u32 = 3;
// Workers that look at the same time find different jobs among so many.
const CANDIDATES: i64 = 16;
const MAX_ERROR_CHARS: usize = 200;

/// The queue of one installation.
#[derive(Clone, Debug)]
pub struct Jobs {
    store: Store,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

/// A job that its holder alone may do, until the lease runs out.
#[derive(Clone)]
pub struct LeasedJob(LeasedRow);

/// Why a list or a retry was not possible.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    #[error("the request was refused")]
    Refused(Vec<FieldError>),
    /// Unknown, or done.
    #[error("there is no such job")]
    NotFound,
    /// It waits or runs: it is tried without anybody's help.
    #[error("the job is not dead")]
    NotDead,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl LeasedJob {
    pub const fn id(&self) -> JobId {
        self.0.id
    }

    pub fn kind(&self) -> &str {
        &self.0.kind
    }

    /// Attempts so far, this one among them.
    pub const fn attempts(&self) -> i64 {
        self.0.attempts
    }

    /// From then on somebody else may take it.
    pub const fn until(&self) -> Timestamp {
        self.0.lease
    }

    pub const fn created_at(&self) -> Timestamp {
        self.0.created_at
    }

    pub(crate) fn payload(&self) -> &str {
        &self.0.payload
    }
}

/// Without what it is about: that may be somebody's e-mail address.
impl std::fmt::Debug for LeasedJob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LeasedJob")
            .field("id", &self.0.id)
            .field("kind", &self.0.kind)
            .field("attempts", &self.0.attempts)
            .field("until", &self.0.lease)
            .finish_non_exhaustive()
    }
}

impl Jobs {
    pub(crate) fn new(store: Store, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self {
            store,
            clock,
            entropy,
        }
    }

    /// Takes a job whose time has come; `None` when there is none. Of many that ask, each gets
    /// another one. The worker that `TerseBuilder::mailer` starts does this by itself.
    pub async fn lease(&self) -> Result<Option<LeasedJob>, StoreError> {
        loop {
            let now = self.clock.now();
            let mut due = self.store.due_jobs(now, CANDIDATES).await?;
            if due.is_empty() {
                return Ok(None);
            }
            self.shift(&mut due);
            for job in due {
                let leased = self.store.lease_job(job, now, now.plus(LEASE)).await?;
                let Some(job) = leased.map(LeasedJob) else {
                    continue;
                };
                if job.attempts() <= MAX_ATTEMPTS {
                    return Ok(Some(job));
                }
                self.fail(&job, "whoever did it ended before it was done")
                    .await?;
            }
            // Others were faster every time; what is left is looked at anew.
        }
    }

    /// Reports that a leased job is done. False when its lease had run out and somebody else took
    /// it: nothing is changed then.
    pub async fn finish(&self, job: &LeasedJob) -> Result<bool, StoreError> {
        self.store.delete_done_job(&job.0).await
    }

    /// Reports that a leased job could not be done: it is tried again later, or is dead. `reason`
    /// is for administrators and holds no secret. False as with [`Self::finish`].
    pub async fn fail(&self, job: &LeasedJob, reason: &str) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let dead = job.attempts() >= MAX_ATTEMPTS;
        let error: String = reason
            .chars()
            .filter(|c| !c.is_control())
            .take(MAX_ERROR_CHARS)
            .collect();
        let failure = JobFailure {
            state: if dead {
                JobState::Dead
            } else {
                JobState::Queued
            },
            error: &error,
            run_at: if dead {
                now
            } else {
                now.plus(self.pause_after(job.attempts()))
            },
            now,
        };
        let changed = self.store.put_job_back(&job.0, failure).await?;
        if changed && dead {
            tracing::warn!(job = %job.id(), kind = job.kind(), reason = error, "a job is dead; an administrator can retry it");
        }
        Ok(changed)
    }

    /// Jobs that are not done, newest first.
    pub async fn list(&self, filter: &JobFilter) -> Result<Page<Job>, JobError> {
        let query = ListQuery::parse(filter)?;
        let rows = self.store.jobs(&query.selection).await?;
        Ok(query.page(rows.into_iter().map(shown).collect()))
    }

    /// Tries a dead job again, from the beginning.
    pub async fn retry(&self, job: JobId, actor: &Actor) -> Result<Job, JobError> {
        let found = self.store.job(job).await?.ok_or(JobError::NotFound)?;
        let entry = AuditEntry {
            at: self.clock.now(),
            actor,
            workspace: None,
            action: "job.retry",
            object: Some(job.to_string()),
            details: serde_json::json!({ "kind": found.kind }),
        };
        if !self.store.requeue_job(job, &entry).await? {
            return Err(JobError::NotDead);
        }
        Ok(Job {
            state: JobState::Queued,
            attempts: 0,
            run_at: entry.at,
            updated_at: entry.at,
            ..shown(found)
        })
    }

    /// Between three and five quarters of a time that grows with every attempt: what failed
    /// together is not tried again together.
    fn pause_after(&self, attempts: i64) -> Duration {
        let earlier = u32::try_from(attempts.clamp(1, MAX_ATTEMPTS) - 1).unwrap_or(0);
        let pause = FIRST_RETRY * RETRY_FACTOR.pow(earlier);
        let [random] = random_bytes::<1>(&*self.entropy);
        pause * (384 + u32::from(random)) / 512
    }

    fn shift(&self, due: &mut [JobId]) {
        let [random] = random_bytes::<1>(&*self.entropy);
        let places = usize::from(random) % due.len();
        due.rotate_left(places);
    }
}

fn shown(row: JobRow) -> Job {
    Job {
        id: row.id,
        kind: row.kind,
        state: row.state,
        attempts: row.attempts,
        run_at: row.run_at,
        error: row.error,
        created_at: row.created_at,
        updated_at: row.updated_at,
    }
}
