//! The queue of jobs: made in the transaction of whatever wants them done, leased by one node at a
//! time.

use sqlx::{FromRow, QueryBuilder};

use crate::model::{JobId, JobState, Timestamp};
use crate::store::audit::{AuditEntry, record};
use crate::store::{Store, StoreError, in_tx, with_db};

/// A job to be queued.
#[derive(Clone, Debug)]
pub(crate) struct NewJob {
    pub(crate) id: JobId,
    pub(crate) kind: &'static str,
    /// JSON that names what it is about. Never a secret: tokens are made when the job runs.
    pub(crate) payload: String,
    pub(crate) run_at: Timestamp,
}

/// Queues a [`NewJob`] inside a transaction.
macro_rules! enqueue {
    ($tx:ident, $job:expr) => {{
        let job: &$crate::store::jobs::NewJob = $job;
        sqlx::query(
            "INSERT INTO jobs (id, kind, payload, state, attempts, run_at, created_at, updated_at) \
             VALUES ($1, $2, $3, 'queued', 0, $4, $4, $4)",
        )
        .bind(job.id)
        .bind(job.kind)
        .bind(&job.payload)
        .bind(job.run_at)
        .execute(&mut *$tx)
        .await?;
    }};
}
pub(crate) use enqueue;

/// A job as stored, without what it is about.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct JobRow {
    pub(crate) id: JobId,
    pub(crate) kind: String,
    pub(crate) state: JobState,
    pub(crate) attempts: i64,
    pub(crate) run_at: Timestamp,
    pub(crate) error: Option<String>,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

/// A job that its holder alone may do, until the lease runs out.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct LeasedRow {
    pub(crate) id: JobId,
    pub(crate) kind: String,
    pub(crate) payload: String,
    pub(crate) attempts: i64,
    pub(crate) lease: Timestamp,
    pub(crate) created_at: Timestamp,
}

/// How an attempt at a job failed, and what follows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JobFailure<'a> {
    pub(crate) state: JobState,
    pub(crate) error: &'a str,
    pub(crate) run_at: Timestamp,
    pub(crate) now: Timestamp,
}

/// Which jobs a page shows, newest first.
#[derive(Clone, Debug)]
pub(crate) struct JobSelection {
    pub(crate) state: Option<JobState>,
    /// Jobs after this one in the list.
    pub(crate) after: Option<(Timestamp, JobId)>,
    pub(crate) limit: i64,
}

/// What of a job is shown.
macro_rules! select_jobs {
    ($rest:literal) => {
        concat!(
            "SELECT id, kind, state, attempts, run_at, error, created_at, updated_at FROM jobs ",
            $rest
        )
    };
}

impl Store {
    /// Queues a job that belongs to no other change.
    pub(crate) async fn enqueue(&self, job: &NewJob) -> Result<(), StoreError> {
        in_tx!(&self.db, |tx| enqueue!(tx, job));
        self.jobs_queued();
        Ok(())
    }

    /// To be called once a transaction that queued jobs is through: they are begun at once then,
    /// and otherwise at the next look into the queue.
    pub(crate) fn jobs_queued(&self) {
        self.job_bell.notify_one();
    }

    /// Up to `limit` jobs that nobody holds and whose time has come. A lease that runs out is the
    /// time at which a job may be done again, so one index finds both.
    pub(crate) async fn due_jobs(
        &self,
        now: Timestamp,
        limit: i64,
    ) -> Result<Vec<JobId>, StoreError> {
        let due = with_db!(&self.db, |pool| {
            sqlx::query_scalar(
                "SELECT id FROM jobs WHERE state IN ('queued', 'running') AND run_at <= $1 \
                 ORDER BY run_at, id LIMIT $2",
            )
            .bind(now)
            .bind(limit)
            .fetch_all(pool)
            .await?
        });
        Ok(due)
    }

    /// Leases a due job; `None` when somebody else was faster. An attempt counts from here on, so
    /// that a job which ends its process does not do so for ever.
    pub(crate) async fn lease_job(
        &self,
        job: JobId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<LeasedRow>, StoreError> {
        let leased = in_tx!(&self.db, |tx| {
            sqlx::query_as(
                "UPDATE jobs SET state = 'running', attempts = attempts + 1, lease = $1, \
                 run_at = $1, updated_at = $2 \
                 WHERE id = $3 AND state IN ('queued', 'running') AND run_at <= $2 \
                 RETURNING id, kind, payload, attempts, lease, created_at",
            )
            .bind(until)
            .bind(now)
            .bind(job)
            .fetch_optional(&mut *tx)
            .await?
        });
        Ok(leased)
    }

    /// Forgets a job that has been done, unless its lease ran out and somebody else took it.
    pub(crate) async fn delete_done_job(&self, job: &LeasedRow) -> Result<bool, StoreError> {
        let deleted = in_tx!(&self.db, |tx| {
            sqlx::query(
                "DELETE FROM jobs WHERE id = $1 AND state = 'running' AND lease = $2 \
                 AND attempts = $3",
            )
            .bind(job.id)
            .bind(job.lease)
            .bind(job.attempts)
            .execute(&mut *tx)
            .await?
            .rows_affected()
        });
        Ok(deleted > 0)
    }

    /// Gives a job back that could not be done, unless its lease ran out and somebody else took it.
    pub(crate) async fn put_job_back(
        &self,
        job: &LeasedRow,
        failure: JobFailure<'_>,
    ) -> Result<bool, StoreError> {
        let changed = in_tx!(&self.db, |tx| {
            sqlx::query(
                "UPDATE jobs SET state = $1, error = $2, run_at = $3, updated_at = $4, lease = NULL \
                 WHERE id = $5 AND state = 'running' AND lease = $6 AND attempts = $7",
            )
            .bind(failure.state)
            .bind(failure.error)
            .bind(failure.run_at)
            .bind(failure.now)
            .bind(job.id)
            .bind(job.lease)
            .bind(job.attempts)
            .execute(&mut *tx)
            .await?
            .rows_affected()
        });
        Ok(changed > 0)
    }

    /// Queues a dead job anew; false when it is not dead.
    pub(crate) async fn requeue_job(
        &self,
        job: JobId,
        entry: &AuditEntry<'_>,
    ) -> Result<bool, StoreError> {
        in_tx!(&self.db, |tx| {
            let requeued = sqlx::query(
                "UPDATE jobs SET state = 'queued', attempts = 0, run_at = $1, updated_at = $1 \
                 WHERE id = $2 AND state = 'dead'",
            )
            .bind(entry.at)
            .bind(job)
            .execute(&mut *tx)
            .await?
            .rows_affected();
            if requeued == 0 {
                return Ok(false);
            }
            record!(tx, entry);
        });
        self.jobs_queued();
        Ok(true)
    }

    pub(crate) async fn job(&self, job: JobId) -> Result<Option<JobRow>, StoreError> {
        let row = with_db!(&self.db, |pool| {
            sqlx::query_as(select_jobs!("WHERE id = $1"))
                .bind(job)
                .fetch_optional(pool)
                .await?
        });
        Ok(row)
    }

    /// Up to `limit` jobs, newest first.
    pub(crate) async fn jobs(&self, selection: &JobSelection) -> Result<Vec<JobRow>, StoreError> {
        let rows = with_db!(&self.db, |pool| {
            let mut query = QueryBuilder::new(select_jobs!("WHERE 1 = 1"));
            if let Some(state) = selection.state {
                query.push(" AND state = ").push_bind(state);
            }
            if let Some((created_at, id)) = selection.after {
                query
                    .push(" AND (created_at < ")
                    .push_bind(created_at)
                    .push(" OR (created_at = ")
                    .push_bind(created_at)
                    .push(" AND id < ")
                    .push_bind(id)
                    .push("))");
            }
            query.push(" ORDER BY created_at DESC, id DESC LIMIT ");
            query.push_bind(selection.limit);
            query
                .build_query_as()
                .persistent(false)
                .fetch_all(pool)
                .await?
        });
        Ok(rows)
    }
}
