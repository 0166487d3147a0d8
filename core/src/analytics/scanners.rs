//! Threads that look through clicks: as many as the machine has cores, made when they are first needed,
//! of a priority that lets redirects and folding go first.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::oneshot;

const MOST_THREADS: usize = 16;
const NICENESS: i32 = 10;

type Job = Box<dyn FnOnce(&Handle) + Send>;

/// The threads, shared by all questions; jobs are done in the order in which they come.
#[derive(Clone)]
pub(super) struct Scanners {
    shared: Arc<Shared>,
    /// Ends the threads when the last of these is gone.
    _alive: Arc<Alive>,
}

struct Shared {
    queue: Mutex<Queue>,
    ready: Condvar,
    runtime: Handle,
    most: usize,
}

#[derive(Default)]
struct Queue {
    jobs: std::collections::VecDeque<Job>,
    threads: usize,
    idle: usize,
    is_over: bool,
}

struct Alive(std::sync::Weak<Shared>);

impl Drop for Alive {
    fn drop(&mut self) {
        if let Some(shared) = self.0.upgrade() {
            shared.lock().is_over = true;
            shared.ready.notify_all();
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Scanners {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scanners").finish_non_exhaustive()
    }
}

/// The job came to no end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a scan of clicks was given up")]
pub(super) struct GivenUp;

impl Scanners {
    /// Their jobs wait for the database on this runtime.
    pub(super) fn new(runtime: Handle) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            ready: Condvar::new(),
            runtime,
            most: cores.clamp(2, MOST_THREADS),
        });
        Self {
            _alive: Arc::new(Alive(Arc::downgrade(&shared))),
            shared,
        }
    }

    /// How many jobs are done at a time.
    pub(super) fn threads(&self) -> usize {
        self.shared.most
    }

    /// Does a job on one of the threads.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Handle) -> T + Send + 'static,
    ) -> Result<T, GivenUp> {
        let (answer, answered) = oneshot::channel();
        self.submit(Box::new(move |runtime| {
            // Nobody waits for it any more: it need not be done.
            if !answer.is_closed() {
                let _ = answer.send(job(runtime));
            }
        }));
        answered.await.map_err(|_| GivenUp)
    }

    fn submit(&self, job: Job) {
        let mut queue = self.shared.lock();
        queue.jobs.push_back(job);
        // Threads that were woken and do not run yet still count as idle.
        if queue.jobs.len() > queue.idle && queue.threads < self.shared.most {
            let shared = Arc::clone(&self.shared);
            let thread = std::thread::Builder::new()
                .name("terse-scanner".to_owned())
                .spawn(move || work(&shared));
            if thread.is_ok() {
                queue.threads += 1;
            }
        }
        self.shared.ready.notify_one();
    }
}

fn work(shared: &Shared) {
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::debug!(%error, "questions are answered at normal priority");
    }
    loop {
        let mut queue = shared.lock();
        let job = loop {
            if let Some(job) = queue.jobs.pop_front() {
                break job;
            }
            if queue.is_over {
                return;
            }
            queue.idle += 1;
            queue = shared
                .ready
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
            queue.idle -= 1;
        };
        drop(queue);
        // Whoever asked sees that no answer comes; the thread goes on.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| job(&shared.runtime)));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::time::Duration;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn as_many_jobs_run_at_a_time_as_there_are_threads() {
        let scanners = Scanners::new(Handle::current());
        // One thread is idle when the others are needed.
        scanners.run(|_| ()).await.unwrap();
        let all_run = Arc::new(Barrier::new(scanners.threads()));
        let jobs = (0..scanners.threads()).map(|_| {
            let all_run = Arc::clone(&all_run);
            scanners.run(move |_| all_run.wait().is_leader())
        });
        let jobs = futures_util::future::join_all(jobs);
        let leaders = tokio::time::timeout(Duration::from_secs(20), jobs);
        let leaders = leaders.await.expect("every job has a thread");
        assert_eq!(
            leaders
                .into_iter()
                .filter(|leader| *leader == Ok(true))
                .count(),
            1
        );
    }
}
