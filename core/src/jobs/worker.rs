//! Does what is queued: woken when this process queues something, and by looking every few seconds
//! for what other processes queued and for what has to be tried again.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::jobs::{Jobs, LeasedJob};
use crate::mail::{MAIL, Postman};
use crate::store::within;

/// One slow mail server holds up no more than one of so many.
const HANDS: usize = 4;
const LOOK_EVERY: Duration = Duration::from_secs(3);
const LEASE_PATIENCE: Duration = Duration::from_secs(10);
// Together less than the lease: whoever lives does not overrun it.
const ATTEMPT_PATIENCE: Duration = Duration::from_mins(1);
const REPORT_PATIENCE: Duration = Duration::from_secs(50);
const REPORT_AGAIN: Duration = Duration::from_millis(500);
const LAST_JOB_PATIENCE: Duration = Duration::from_secs(2);

/// The tasks that do jobs. Dropping it lets them end after the job under way.
#[derive(Debug)]
pub(crate) struct Worker {
    tasks: TaskTracker,
    stop: CancellationToken,
    /// Nothing more is waited for.
    abandon: CancellationToken,
    _stop_when_dropped: DropGuard,
}

impl Worker {
    pub(crate) fn start(jobs: &Jobs, postman: &Postman) -> Self {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let abandon = CancellationToken::new();
        for _ in 0..HANDS {
            let hand = Hand {
                jobs: jobs.clone(),
                bell: Arc::clone(&jobs.store.job_bell),
                postman: postman.clone(),
                stop: stop.clone(),
            };
            let abandoned = abandon.clone();
            tasks.spawn(async move { abandoned.run_until_cancelled(Box::pin(hand.work())).await });
        }
        tasks.close();
        Self {
            tasks,
            abandon,
            _stop_when_dropped: stop.clone().drop_guard(),
            stop,
        }
    }

    /// Begins nothing more and waits for what is under way, for two seconds at most. What is cut
    /// off is done again when its lease has run out.
    pub(crate) async fn stop(&self) {
        self.stop.cancel();
        if timeout(LAST_JOB_PATIENCE, self.tasks.wait()).await.is_err() {
            tracing::warn!("jobs were under way at the end; they are done again later");
            self.abandon.cancel();
            self.tasks.wait().await;
        }
    }
}

struct Hand {
    jobs: Jobs,
    bell: Arc<Notify>,
    postman: Postman,
    stop: CancellationToken,
}

impl Hand {
    async fn work(&self) {
        while !self.stop.is_cancelled() {
            match within(LEASE_PATIENCE, self.jobs.lease()).await {
                Ok(Some(job)) => {
                    // Where one job was, there may be more, for another hand.
                    self.bell.notify_one();
                    self.attempt(&job).await;
                }
                Ok(None) => {
                    tokio::select! {
                        () = self.stop.cancelled() => {}
                        () = self.bell.notified() => {}
                        () = sleep(LOOK_EVERY) => {}
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "the queue of jobs could not be read");
                    self.stop.run_until_cancelled(sleep(LOOK_EVERY)).await;
                }
            }
        }
    }

    async fn attempt(&self, job: &LeasedJob) {
        let attempt = AssertUnwindSafe(self.perform(job)).catch_unwind();
        let outcome = match timeout(ATTEMPT_PATIENCE, attempt).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_panic)) => Err("it panicked".to_owned()),
            Err(_elapsed) => Err("it took too long".to_owned()),
        };
        if timeout(REPORT_PATIENCE, self.report(job, &outcome))
            .await
            .is_err()
        {
            tracing::warn!(job = %job.id(), "what became of a job could not be stored; it may be done twice");
        }
    }

    async fn perform(&self, job: &LeasedJob) -> Result<(), String> {
        match job.kind() {
            MAIL => {
                let delivered = self.postman.deliver(job).await;
                delivered.map_err(|error| error.to_string())
            }
            _ => Err("this release does not know such a job".to_owned()),
        }
    }

    /// Stores what became of a job. A database that is away for a moment must not make a mail that
    /// went out go out again.
    async fn report(&self, job: &LeasedJob, outcome: &Result<(), String>) {
        loop {
            let stored = match outcome {
                Ok(()) => self.jobs.finish(job).await,
                Err(reason) => {
                    tracing::info!(job = %job.id(), kind = job.kind(), reason, "a job failed");
                    self.jobs.fail(job, reason).await
                }
            };
            match stored {
                Ok(true) => return,
                Ok(false) => {
                    tracing::warn!(job = %job.id(), "the lease of a job ran out while it was being done");
                    return;
                }
                Err(error) => {
                    tracing::debug!(%error, "what became of a job could not be stored yet");
                    sleep(REPORT_AGAIN).await;
                }
            }
        }
    }
}
