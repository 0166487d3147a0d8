//! Moves spooled clicks into the database: rows, counters and cursors in one transaction.
//!
//! One thread of low priority with a connection of its own, so that redirects come first. It trusts
//! no memory but the database's cursors: after any failure it reads them again and goes on from there.

mod batch;
mod pace;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio_util::sync::{CancellationToken, DropGuard};

use crate::capture::Capture;
use crate::live::LiveHub;
use crate::model::{Clock, Timestamp};
use crate::sealer::{MergeBell, Sealer, Sealing, Tails};
use crate::spool::{Spool, StreamId};
use crate::store::clicks::FoldOutcome;
use crate::store::{DatabaseUrl, PoolPurpose, Store, StoreError, within};
use crate::visitor_salts::VisitorSalts;
use batch::{BatchReader, StreamState};
use pace::Pace;
pub(crate) use pace::give_way;

/// Gathering clicks for this long makes batches large and their commits few.
const GATHER: Duration = Duration::from_millis(400);
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_LAST: Duration = Duration::from_secs(2);
const FOLD_PATIENCE: Duration = Duration::from_secs(30);
const LAST_FOLD_PATIENCE: Duration = Duration::from_secs(2);
/// Between two sealings others get the write lock, for as long as a sealing takes.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);
const RECHECK_CURSORS_EVERY: Duration = Duration::from_mins(1);
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

impl FolderHandle {
    /// Starts the folder's thread.
    pub(crate) fn start(parts: FolderParts) -> std::io::Result<Self> {
        let progress = Arc::new(FoldProgress::default());
        let stop = CancellationToken::new();
        let ended = CancellationToken::new();
        let guard = ended.clone().drop_guard();
        let folder = Arc::new(Thread {
            parts,
            progress: Arc::clone(&progress),
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
    stop: CancellationToken,
}

impl Thread {
    /// Folds until it is told to stop, each pace on a thread of its own.
    fn fold_at_changing_pace(&self) {
        let mut pace = Pace::Yielding;
        while !self.stop.is_cancelled() {
            let next = std::thread::scope(|scope| {
                std::thread::Builder::new()
                    .name("terse-fold".to_owned())
                    .spawn_scoped(scope, || self.fold_at(pace))
                    .map(std::thread::ScopedJoinHandle::join)
            });
            match next {
                Ok(Ok(Ok(next))) => pace = next,
                Ok(Ok(Err(error))) | Err(error) => {
                    tracing::error!(%error, "the folder cannot run");
                    return;
                }
                Ok(Err(_panic)) => return,
            }
        }
    }

    /// Folds at one pace. Returns the pace to go on at.
    fn fold_at(&self, pace: Pace) -> std::io::Result<Pace> {
        pace.apply();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        Ok(runtime.block_on(async {
            let Some(store) = connect(&self.parts.database, &self.stop).await else {
                return pace;
            };
            let next = Box::pin(Folder::new(self, store.clone(), pace).run()).await;
            store.close().await;
            next
        }))
    }
}

async fn connect(database: &DatabaseUrl, stop: &CancellationToken) -> Option<Store> {
    loop {
        match Store::connect(database, PoolPurpose::Folding).await {
            Ok(store) => return Some(store),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the folder waits for the database"
                );
            }
        }
        tokio::select! {
            () = stop.cancelled() => return None,
            () = tokio::time::sleep(RETRY_LAST) => {}
        }
    }
}

struct Folder {
    pace: Pace,
    spool: Spool,
    store: Store,
    capture: Arc<Capture>,
    salts: Arc<VisitorSalts>,
    sealer: Sealer,
    tails: Arc<Tails>,
    hub: LiveHub,
    clock: Arc<dyn Clock>,
    progress: Arc<FoldProgress>,
    stop: CancellationToken,
    reader: BatchReader,
    streams: HashMap<StreamId, StreamState>,
    retry: Duration,
    complained: Option<Instant>,
    cursors_read: Instant,
    chores_done: Option<Instant>,
}

impl Folder {
    fn new(thread: &Thread, store: Store, pace: Pace) -> Self {
        let parts = &thread.parts;
        Self {
            pace,
            spool: parts.spool.clone(),
            store,
            capture: Arc::clone(&parts.capture),
            salts: Arc::clone(&parts.salts),
            sealer: Sealer::new(parts.sealing, Arc::clone(&parts.tails), parts.bell.clone()),
            tails: Arc::clone(&parts.tails),
            hub: parts.hub.clone(),
            clock: Arc::clone(&parts.clock),
            progress: Arc::clone(&thread.progress),
            stop: thread.stop.clone(),
            reader: BatchReader::new(pace.max_records()),
            streams: HashMap::new(),
            retry: RETRY_FIRST,
            complained: None,
            cursors_read: Instant::now(),
            chores_done: None,
        }
    }

    /// Folds until it is told to stop, or to go on at another pace.
    async fn run(mut self) -> Pace {
        while !self.stop.is_cancelled() {
            let next = self.pace.next(&self.spool.status(), self.spool.max_bytes());
            if next != self.pace {
                return next;
            }
            let pause = match Box::pin(self.fold_and_seal()).await {
                Ok(more) => {
                    self.retry = RETRY_FIRST;
                    self.chores().await;
                    if more { Duration::ZERO } else { GATHER }
                }
                Err(error) => self.after_failure(&error),
            };
            if !pause.is_zero() {
                self.rest(pause).await;
            }
        }
        let _ = tokio::time::timeout(LAST_FOLD_PATIENCE, self.fold_the_rest()).await;
        self.pace
    }

    /// Waits a moment, then for as long as nobody clicks.
    async fn rest(&self, pause: Duration) {
        tokio::select! {
            () = self.stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = self.spool.wait_for_records() => {}
            () = tokio::time::sleep(CHORES_EVERY) => {}
        }
    }

    async fn fold_the_rest(&mut self) {
        while let Ok(true) = self.fold_once().await {}
    }

    fn after_failure(&mut self, error: &StoreError) -> Duration {
        self.progress.failures.fetch_add(1, Ordering::Relaxed);
        let due = self
            .complained
            .is_none_or(|last| last.elapsed() >= COMPLAIN_EVERY);
        if due {
            self.complained = Some(Instant::now());
            tracing::warn!(
                error = error as &dyn std::error::Error,
                pending = self.spool.status().pending,
                "clicks wait in the spool: the database does not take them"
            );
        }
        if error.is_disk_full() {
            self.spool.make_room();
        }
        // The transaction may have been committed although its answer was lost.
        self.forget_cursors();
        let pause = self.retry;
        self.retry = (self.retry * 2).min(RETRY_LAST);
        pause
    }

    fn forget_cursors(&mut self) {
        self.streams.clear();
        self.cursors_read = Instant::now();
    }

    /// Folds one batch, and seals when nothing else waits to be folded or too much to be sealed.
    /// Returns whether there is more to do.
    async fn fold_and_seal(&mut self) -> Result<bool, StoreError> {
        let full = self.fold_once().await?;
        if full && !self.sealer.is_pressing() {
            return Ok(true);
        }
        let begun = Instant::now();
        let seal = self.sealer.step(&self.store, self.clock.now());
        let sealed = within(FOLD_PATIENCE, Box::pin(seal)).await?;
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
        if self.cursors_read.elapsed() >= RECHECK_CURSORS_EVERY {
            self.forget_cursors();
        }
        self.learn_cursors().await?;
        let full = self
            .reader
            .fill(&self.spool, &mut self.streams, &*self.clock);
        let now = self.clock.now();
        self.handle_gaps(now).await?;
        if self.reader.parts().is_empty() {
            return Ok(full);
        }
        let fold = self.store.fold(self.reader.parts(), now);
        let outcome = within(FOLD_PATIENCE, fold).await?;
        match outcome {
            FoldOutcome::Applied(numbers) => {
                let clicks = self.reader.parts().iter().map(|part| &part.clicks);
                self.hub.folded(clicks.zip(numbers));
                self.applied();
                return Ok(full);
            }
            FoldOutcome::Moved(_) => {
                self.progress.repeated.fetch_add(1, Ordering::Relaxed);
                self.forget_cursors();
            }
        }
        Ok(true)
    }

    fn applied(&mut self) {
        for (workspace, clicks) in self.reader.clicks_by_workspace() {
            self.tails.add(workspace, clicks);
        }
        for part in self.reader.parts() {
            let id = StreamId::from_bytes(part.stream);
            let cursor = u64::try_from(part.to).unwrap_or(0);
            if let Some(state) = self.streams.get_mut(&id) {
                state.cursor = cursor;
            }
            self.spool.folded(id, cursor.into());
            self.progress
                .folded
                .fetch_add(part.clicks.len() as u64, Ordering::Relaxed);
            self.progress
                .dead
                .fetch_add(part.dead.len() as u64, Ordering::Relaxed);
        }
        self.progress.batches.fetch_add(1, Ordering::Relaxed);
        self.progress
            .skewed
            .fetch_add(self.reader.take_skewed(), Ordering::Relaxed);
    }

    /// Reads the cursors of streams that are new here.
    async fn learn_cursors(&mut self) -> Result<(), StoreError> {
        let views = self.spool.streams();
        self.streams
            .retain(|id, _| views.iter().any(|view| view.id == *id));
        for view in views {
            if self.streams.contains_key(&view.id) {
                continue;
            }
            let stored = self.store.stream_cursor(view.id.as_bytes()).await?;
            let cursor = stored.map_or(0, |cursor| u64::try_from(cursor.seq).unwrap_or(0));
            let limit = stored
                .and_then(|cursor| cursor.limit_seq)
                .and_then(|limit| u64::try_from(limit).ok());
            if let Some(limit) = limit {
                self.spool.limit(view.id, limit.into());
            }
            self.spool.folded(view.id, cursor.into());
            self.streams.insert(view.id, StreamState::at(cursor, limit));
        }
        Ok(())
    }

    /// Notes gaps that were met, and goes on after those that a person accepted.
    async fn handle_gaps(&mut self, now: Timestamp) -> Result<(), StoreError> {
        let mut stopped = 0;
        for (id, state) in &mut self.streams {
            let Some(gap) = state.gap else { continue };
            let after = i64::try_from(gap.after).unwrap_or(i64::MAX);
            let next = gap.next.map(|next| i64::try_from(next).unwrap_or(i64::MAX));
            if !state.gap_noted {
                self.store
                    .record_gap(id.as_bytes(), after, next, now)
                    .await?;
                state.gap_noted = true;
                tracing::error!(stream = %id, after = gap.after, next = ?gap.next,
                    "records are missing from a spool stream; it waits for `terse-server spool accept-gap`");
            }
            // An accepted gap lets reading go on; a stream that has nothing after it is done.
            if self.store.gap_is_accepted(id.as_bytes(), after).await? {
                state.gap_accepted = true;
                self.spool.accept_gap(*id, gap.after.into());
            } else {
                stopped += 1;
            }
        }
        self.progress
            .stopped_streams
            .store(stopped, Ordering::Relaxed);
        Ok(())
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
        if let Err(error) = self.capture.persist(&self.store, now).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "clicks without a record, or a stream's limit, could not be stored"
            );
        }
        if self.salts.needs_maintenance(now)
            && let Err(error) = self.salts.maintain(&self.store, now).await
        {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the visitor salts could not be kept up"
            );
        }
    }
}
