//! Moves spooled clicks into the database: rows, counters and cursors in one transaction.
//!
//! One thread of low priority with a connection of its own, so that redirects come first. It trusts
//! no memory but the database's cursors: after any failure it reads them again and goes on from there.

mod batch;
mod delivery;
mod outage;
mod pace;
mod ship;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio_util::sync::{CancellationToken, DropGuard};

use crate::capture::Capture;
use crate::live::LiveHub;
use crate::model::Clock;
use crate::sealer::{MergeBell, Sealer, Sealing, Tails};
use crate::spool::{Durability, Spool};
use crate::store::{DatabaseUrl, PoolPurpose, Store, StoreError, within};
use crate::visitor_salts::VisitorSalts;
use delivery::{Delivery, Step};
use outage::Outage;
use pace::Pace;
pub(crate) use pace::give_way;
pub(crate) use ship::ship;
pub use ship::{ShipError, ShippedStream};

/// Gathering clicks for this long makes batches large and their commits few.
const GATHER: Duration = Duration::from_millis(400);
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_LAST: Duration = Duration::from_secs(2);
/// A database that is slow, not gone, is given longer each time that it took too long.
const LONGEST_PATIENCE: Duration = Duration::from_mins(1);
const SEAL_PATIENCE: Duration = Duration::from_secs(12);
const STARVED_AFTER: Duration = Duration::from_secs(3);
/// A connection that is silent is not waited for.
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);
const LAST_FOLD_PATIENCE: Duration = Duration::from_secs(2);
/// Between two sealings others get the write lock, for as long as a sealing takes.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
const CHORES_EVERY: Duration = Duration::from_secs(5);

/// What the folder has done so far, readable at any time.
#[derive(Debug, Default)]
pub(crate) struct FoldProgress {
    pub(crate) folded: AtomicU64,
    pub(crate) batches: AtomicU64,
    /// Batches that turned out to be in the database already.
    pub(crate) repeated: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) dead: AtomicU64,
    pub(crate) skewed: AtomicU64,
    /// Streams that wait for a gap to be accepted.
    pub(crate) stopped_streams: AtomicU64,
}

/// What the folder works with.
pub(crate) struct FolderParts {
    pub(crate) spool: Spool,
    pub(crate) database: DatabaseUrl,
    pub(crate) capture: Arc<Capture>,
    pub(crate) salts: Arc<VisitorSalts>,
    pub(crate) tails: Arc<Tails>,
    pub(crate) sealing: Sealing,
    pub(crate) bell: MergeBell,
    pub(crate) hub: LiveHub,
    pub(crate) clock: Arc<dyn Clock>,
}

/// The running folder.
#[derive(Debug)]
pub(crate) struct FolderHandle {
    pub(crate) progress: Arc<FoldProgress>,
    stop: CancellationToken,
    ended: CancellationToken,
    asked_to_stop: AtomicBool,
}

impl Drop for FolderHandle {
    /// An installation that is dropped unclosed leaves no thread and no connection behind; what its spool
    /// holds is folded by the next one.
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl FolderHandle {
    /// Starts the folder's thread.
    pub(crate) fn start(parts: FolderParts) -> std::io::Result<Self> {
        let progress = Arc::new(FoldProgress::default());
        let stop = CancellationToken::new();
        let ended = CancellationToken::new();
        let guard = ended.clone().drop_guard();
        let outage = Outage::new(
            parts.spool.clone(),
            Arc::clone(&parts.capture),
            Arc::clone(&progress),
        );
        let folder = Arc::new(Thread {
            parts,
            progress: Arc::clone(&progress),
            outage: Arc::new(outage),
            stop: stop.clone(),
        });
        std::thread::Builder::new()
            .name("terse-folder".to_owned())
            .spawn(move || {
                let _ended: DropGuard = guard;
                folder.fold_at_changing_pace();
            })?;
        Ok(Self {
            progress,
            stop,
            ended,
            asked_to_stop: AtomicBool::new(false),
        })
    }

    /// Folds what there is, for two seconds at most, and ends the thread.
    pub(crate) async fn stop(&self) {
        self.asked_to_stop.store(true, Ordering::SeqCst);
        self.stop.cancel();
        let patience = LAST_FOLD_PATIENCE + Duration::from_secs(2);
        let _ = tokio::time::timeout(patience, self.ended.cancelled()).await;
    }

    /// Completes when the thread ended although nobody asked it to.
    pub(crate) async fn failed(&self) {
        self.ended.cancelled().await;
        if self.asked_to_stop.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    }
}

/// What the folder's thread was started with.
struct Thread {
    parts: FolderParts,
    progress: Arc<FoldProgress>,
    outage: Arc<Outage>,
    stop: CancellationToken,
}

impl Thread {
    /// Folds until it is told to stop, each pace on a thread of its own.
    fn fold_at_changing_pace(&self) {
        let mut pace = Pace::Yielding;
        let mut patience = self.parts.database.fold_patience();
        while !self.stop.is_cancelled() {
            let next = std::thread::scope(|scope| {
                std::thread::Builder::new()
                    .name("terse-fold".to_owned())
                    .spawn_scoped(scope, || self.fold_at(pace, patience))
                    .map(std::thread::ScopedJoinHandle::join)
            });
            match next {
                Ok(Ok(Ok(next))) => (pace, patience) = next,
                Ok(Ok(Err(error))) | Err(error) => {
                    tracing::error!(%error, "the folder cannot run");
                    return;
                }
                Ok(Err(_panic)) => return,
            }
        }
    }

    /// Folds at one pace. Returns the pace to go on at, and how long a transaction may take there.
    fn fold_at(&self, pace: Pace, patience: Duration) -> std::io::Result<(Pace, Duration)> {
        pace.apply();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        Ok(runtime.block_on(async {
            let Some(store) = self.stop.run_until_cancelled(self.connect()).await else {
                return (pace, patience);
            };
            let folder = Folder::new(self, store.clone(), pace, patience);
            let next = Box::pin(folder.run()).await;
            if self.stop.is_cancelled() {
                // A connection that is left open leaves its log beside the database.
                store.close().await;
            } else {
                let _ = tokio::time::timeout(CLOSE_PATIENCE, store.close()).await;
            }
            next
        }))
    }

    async fn connect(&self) -> Store {
        loop {
            match Store::connect(&self.parts.database, PoolPurpose::Folding).await {
                Ok(store) => return store,
                Err(error) => self.outage.goes_on(&error),
            }
            tokio::time::sleep(RETRY_LAST).await;
        }
    }
}

struct Folder {
    pace: Pace,
    delivery: Delivery,
    capture: Arc<Capture>,
    salts: Arc<VisitorSalts>,
    sealer: Sealer,
    tails: Arc<Tails>,
    hub: LiveHub,
    clock: Arc<dyn Clock>,
    progress: Arc<FoldProgress>,
    stop: CancellationToken,
    retry: Duration,
    /// How long a transaction may take now, and as long as all is well.
    patience: Duration,
    usual_patience: Duration,
    /// The last attempt failed for want of time, most likely its own: it is repeated at normal priority.
    starved: bool,
    outage: Arc<Outage>,
    chores_done: Option<Instant>,
}

impl Folder {
    fn new(thread: &Thread, store: Store, pace: Pace, patience: Duration) -> Self {
        let parts = &thread.parts;
        Self {
            pace,
            starved: pace == Pace::Pressing,
            patience,
            usual_patience: parts.database.fold_patience(),
            delivery: Delivery::new(
                parts.spool.clone(),
                store,
                pace.max_records(&parts.database),
            ),
            capture: Arc::clone(&parts.capture),
            salts: Arc::clone(&parts.salts),
            sealer: Sealer::new(parts.sealing, Arc::clone(&parts.tails), parts.bell.clone()),
            tails: Arc::clone(&parts.tails),
            hub: parts.hub.clone(),
            clock: Arc::clone(&parts.clock),
            progress: Arc::clone(&thread.progress),
            stop: thread.stop.clone(),
            retry: RETRY_FIRST,
            outage: Arc::clone(&thread.outage),
            chores_done: None,
        }
    }

    /// Folds until it is told to stop, or to go on at another pace, and with how much patience.
    async fn run(mut self) -> (Pace, Duration) {
        while !self.stop.is_cancelled() {
            let next = self.next_pace();
            if next != self.pace {
                return (next, self.patience);
            }
            let begun = Instant::now();
            let pause = match Box::pin(self.fold_and_seal()).await {
                Ok(more) => {
                    self.retry = RETRY_FIRST;
                    self.patience = (self.patience / 2).max(self.usual_patience);
                    self.starved = false;
                    self.outage.is_over();
                    self.chores().await;
                    (!more).then(|| self.gather())
                }
                Err(error) => Some(self.after_failure(&error, begun.elapsed())),
            };
            if let Some(pause) = pause {
                self.rest(pause).await;
            }
        }
        let _ = tokio::time::timeout(LAST_FOLD_PATIENCE, self.fold_the_rest()).await;
        (self.pace, self.patience)
    }

    /// How long clicks gather. Those that wait for their own transaction gather while the one before runs.
    fn gather(&self) -> Duration {
        match self.delivery.spool.durability() {
            Durability::Node => Duration::ZERO,
            Durability::Process | Durability::Power => GATHER,
        }
    }

    /// With visitors waiting for it, or locks held in vain, the folder does not make way for redirects.
    fn next_pace(&self) -> Pace {
        let spool = &self.delivery.spool;
        if self.starved || spool.durability() == Durability::Node {
            return Pace::Pressing;
        }
        self.pace.next(&spool.status(), spool.max_bytes())
    }

    /// Waits a moment, then for as long as nobody clicks.
    async fn rest(&self, pause: Duration) {
        tokio::select! {
            () = self.stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = self.delivery.spool.wait_for_records() => {}
            () = tokio::time::sleep(CHORES_EVERY) => {}
        }
    }

    async fn fold_the_rest(&mut self) {
        while let Ok(true) = self.fold_once().await {}
    }

    fn after_failure(&mut self, error: &StoreError, after: Duration) -> Duration {
        self.outage.goes_on(error);
        // The transaction may have been committed although its answer was lost.
        self.delivery.forget_cursors();
        let pause = self.retry;
        self.retry = (self.retry * 2).min(RETRY_LAST);
        self.starved |= after >= STARVED_AFTER;
        if after >= self.patience {
            self.patience = (self.patience * 2).min(LONGEST_PATIENCE);
        }
        pause
    }

    /// Folds one batch, and seals when nothing else waits to be folded or too much to be sealed.
    /// Returns whether there is more to do.
    async fn fold_and_seal(&mut self) -> Result<bool, StoreError> {
        let full = self.fold_once().await?;
        if full && !self.sealer.is_pressing() {
            return Ok(true);
        }
        let begun = Instant::now();
        let store = &self.delivery.store;
        let seal = self.sealer.step(store, self.clock.now());
        let patience = self.patience.max(SEAL_PATIENCE);
        let sealed = within(patience, Box::pin(seal)).await?;
        if sealed && !full {
            // SQLite has one write lock, and whoever waits for it looks now and then only.
            let pause = begun.elapsed().min(LONGEST_PAUSE);
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        Ok(sealed || full)
    }

    /// Folds one batch. Returns whether more may wait.
    async fn fold_once(&mut self) -> Result<bool, StoreError> {
        let step = self.delivery.step(&*self.clock, self.patience).await;
        let stopped = self.delivery.stopped_streams();
        self.progress
            .stopped_streams
            .store(stopped, Ordering::Relaxed);
        let (step, more) = step?;
        if self.outage.leaves_doubt() {
            self.hub.missed();
        }
        match step {
            Step::Nothing => {}
            Step::Applied(numbers) => {
                let clicks = self.delivery.parts().iter().map(|part| &part.clicks);
                self.hub.folded(clicks.zip(numbers));
                self.applied();
                self.delivery.let_go();
            }
            Step::Repeated => {
                self.hub.missed();
                self.progress.repeated.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(more)
    }

    fn applied(&mut self) {
        for (workspace, clicks) in self.delivery.reader().clicks_by_workspace() {
            self.tails.add(workspace, clicks);
        }
        let (mut clicks, mut dead) = (0, 0);
        for part in self.delivery.parts() {
            clicks += part.clicks.len() as u64;
            dead += part.dead.len() as u64;
        }
        let skewed = self.delivery.reader().take_skewed();
        self.progress.folded.fetch_add(clicks, Ordering::Relaxed);
        self.progress.dead.fetch_add(dead, Ordering::Relaxed);
        self.progress.skewed.fetch_add(skewed, Ordering::Relaxed);
        self.progress.batches.fetch_add(1, Ordering::Relaxed);
    }

    async fn chores(&mut self) {
        if self
            .chores_done
            .is_some_and(|last| last.elapsed() < CHORES_EVERY)
        {
            return;
        }
        self.chores_done = Some(Instant::now());
        let now = self.clock.now();
        let store = &self.delivery.store;
        let persisted = within(self.patience, self.capture.persist(store, now));
        if let Err(error) = persisted.await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "clicks without a record, or a stream's limit, could not be stored"
            );
        }
        if !self.salts.needs_maintenance(now) {
            return;
        }
        let maintained = within(self.patience, self.salts.maintain(store, now));
        if let Err(error) = maintained.await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the visitor salts could not be kept up"
            );
        }
    }
}
