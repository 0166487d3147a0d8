//! Makes few large chunks out of many small ones, on a thread of low priority.
//!
//! Chunks never change, so they are read, merged and encoded without any lock; one short transaction then
//! puts the new one in their place, unless somebody else was faster.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::columns::{Batch, Coded, Column, Text, decode_batch, encode, merge};
use crate::model::{Clock, Timestamp, WorkspaceId};
use crate::sealer::plan::Sealing;
use crate::sealer::retention::keep_retention;
use crate::sealer::{Errand, RetentionReport, Tails, erase::erase};
use crate::store::chunks::{ChunkHead, DAY_MILLIS, StoredColumn};
use crate::store::{DatabaseUrl, PoolPurpose, Store, StoreError, within};

/// Who began to read a chunk before it was replaced has so long to finish.
const KEEP_REPLACED: Duration = Duration::from_mins(10);
const PURGE_AT_ONCE: i64 = 16;
/// Days that ended since, and chunks of other nodes.
const LOOK_EVERY: Duration = Duration::from_mins(10);
const KEEP_RETENTION_EVERY: Duration = Duration::from_hours(1);
const BREATH: Duration = Duration::from_millis(5);
const RETRY: Duration = Duration::from_secs(2);
/// PostgreSQL gives a statement up after 30 s: a network that says nothing for longer went silent. Encoding,
/// on a thread that gets no processor, may take as long.
const STEP_PATIENCE: Duration = Duration::from_mins(2);

/// Does one step of the work in the background, which a silent network must not end for ever.
pub(super) fn step<T>(
    work: impl Future<Output = Result<T, StoreError>>,
) -> impl Future<Output = Result<T, StoreError>> {
    within(STEP_PATIENCE, Box::pin(work))
}

/// Tells the merger which days have new chunks.
#[derive(Clone, Debug, Default)]
pub(crate) struct MergeBell {
    days: Arc<Mutex<BTreeSet<(WorkspaceId, i64)>>>,
    rung: Arc<Notify>,
}

impl MergeBell {
    pub(crate) fn ring(&self, workspace: WorkspaceId, day: i64) {
        self.lock().insert((workspace, day));
        self.rung.notify_one();
    }

    fn next(&self) -> Option<(WorkspaceId, i64)> {
        self.lock().pop_first()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<(WorkspaceId, i64)>> {
        self.days.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the merger works with.
pub(crate) struct MergerParts {
    pub(crate) database: DatabaseUrl,
    pub(crate) plan: Sealing,
    pub(crate) bell: MergeBell,
    pub(crate) tails: Arc<Tails>,
    pub(crate) errands: mpsc::Receiver<Errand>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// The running merger.
#[derive(Debug)]
pub(crate) struct MergerHandle {
    stop: CancellationToken,
    ended: CancellationToken,
}

impl Drop for MergerHandle {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl MergerHandle {
    /// Starts the merger's thread.
    pub(crate) fn start(parts: MergerParts) -> std::io::Result<Self> {
        let stop = CancellationToken::new();
        let ended = CancellationToken::new();
        let (stopped, guard) = (stop.clone(), ended.clone().drop_guard());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        std::thread::Builder::new()
            .name("terse-merger".to_owned())
            .spawn(move || {
                let _ended = guard;
                crate::folder::give_way();
                runtime.block_on(Merger::new(parts).run(&stopped));
            })?;
        Ok(Self { stop, ended })
    }

    /// Gives up what is under way, which changes nothing, and ends the thread.
    pub(crate) async fn stop(&self) {
        self.stop.cancel();
        let _ = tokio::time::timeout(RETRY, self.ended.cancelled()).await;
    }
}

pub(super) struct Merger {
    parts: MergerParts,
    retention_kept: Option<Instant>,
}

impl Merger {
    pub(super) fn new(parts: MergerParts) -> Self {
        Self {
            parts,
            retention_kept: None,
        }
    }

    async fn run(mut self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            if let Err(error) = self.work_until_failure(stop).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "chunks wait to be merged"
                );
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(RETRY) => {}
            }
        }
    }

    async fn work_until_failure(&mut self, stop: &CancellationToken) -> Result<(), StoreError> {
        let store = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            store = Store::connect(&self.parts.database, PoolPurpose::Folding) => store?,
        };
        let outcome = tokio::select! {
            () = stop.cancelled() => Ok(()),
            Err(error) = self.work(&store) => Err(error),
        };
        // A connection that is left open leaves its log beside the database.
        store.close().await;
        outcome
    }

    /// Merges whatever is worth it, until something fails.
    async fn work(&mut self, store: &Store) -> Result<Infallible, StoreError> {
        loop {
            let days = step(store.days_of_many_chunks());
            for (workspace, day, _) in days.await? {
                self.parts.bell.ring(workspace, day);
            }
            self.keep_retention_if_due(store).await?;
            let look_again = tokio::time::sleep(LOOK_EVERY);
            tokio::pin!(look_again);
            loop {
                self.chores(store).await?;
                tokio::select! {
                    () = &mut look_again => break,
                    () = self.parts.bell.rung.notified() => {}
                    Some(errand) = self.parts.errands.recv() => self.run_errand(store, errand).await,
                }
            }
        }
    }

    pub(super) async fn chores(&mut self, store: &Store) -> Result<(), StoreError> {
        while let Some((workspace, day)) = self.parts.bell.next() {
            while let Ok(errand) = self.parts.errands.try_recv() {
                self.run_errand(store, errand).await;
            }
            let (plan, now) = (&self.parts.plan, self.parts.clock.now());
            match Box::pin(merge_day(store, plan, workspace, day, now)).await {
                Err(StoreError::Unreadable(cause)) => {
                    // Other days must be merged; `verify` names the damage.
                    tracing::error!(%workspace, day, cause, "the chunks of a day cannot be merged");
                }
                Err(error) => {
                    self.parts.bell.ring(workspace, day);
                    return Err(error);
                }
                Ok(merged) => {
                    let progress = &self.parts.tails.progress.merged;
                    progress.fetch_add(merged as u64, Ordering::Relaxed);
                }
            }
        }
        let before = self.parts.clock.now().minus(KEEP_REPLACED);
        loop {
            if step(store.purge_replaced(before, PURGE_AT_ONCE)).await? == 0 {
                return Ok(());
            }
        }
    }

    async fn keep_retention_if_due(&mut self, store: &Store) -> Result<(), StoreError> {
        let last = self.retention_kept;
        if last.is_none_or(|last| last.elapsed() >= KEEP_RETENTION_EVERY) {
            self.keep_retention(store).await?;
            self.retention_kept = Some(Instant::now());
        }
        Ok(())
    }

    async fn keep_retention(&self, store: &Store) -> Result<RetentionReport, StoreError> {
        let now = self.parts.clock.now();
        let report = keep_retention(store, &self.parts.plan, &self.parts.tails, now).await?;
        if report != RetentionReport::default() {
            tracing::info!(
                sealed_clicks = report.sealed_clicks,
                shrunk_chunks = report.shrunk_chunks,
                "days past their retention keep their counts only"
            );
        }
        Ok(report)
    }

    /// Whoever asked may have gone away: the errand is run all the same.
    async fn run_errand(&self, store: &Store, errand: Errand) {
        match errand {
            Errand::KeepRetention(answer) => {
                let kept = self.keep_retention(store).await;
                if let Err(error) = &kept {
                    tracing::warn!(
                        error = error as &dyn std::error::Error,
                        "days past their retention wait to be shrunk"
                    );
                }
                drop(answer.send(kept));
            }
            Errand::Erase(erasure, answer) => {
                let erased = erase(store, &self.parts.tails, erasure, self.parts.clock.now());
                drop(answer.send(erased.await));
            }
        }
    }
}

/// Merges the chunks of one day as far as it is worth it. Returns how many there were to merge.
pub(crate) async fn merge_day(
    store: &Store,
    plan: &Sealing,
    workspace: WorkspaceId,
    day: i64,
    now: Timestamp,
) -> Result<usize, StoreError> {
    let mut merged_chunks = 0;
    let is_over = day < now.as_millis().div_euclid(DAY_MILLIS);
    loop {
        let chunks = step(store.chunks_of_day(workspace, day)).await?;
        let Some(together) = plan.merge_of_day(&chunks, is_over) else {
            return Ok(merged_chunks);
        };
        let mut batches = Vec::with_capacity(together.len());
        for chunk in chunks.iter().filter(|chunk| together.contains(&chunk.id)) {
            let batch = step(read_chunk(store, chunk)).await?;
            if batch.is_none() && step(store.is_chunk_in_place(chunk.id)).await? {
                return Err(StoreError::Unreadable("a chunk has no columns"));
            }
            batches.extend(batch);
        }
        // One of them is gone: somebody else merges them.
        if batches.len() < together.len() {
            return Ok(merged_chunks);
        }
        let merged = encode(&merge(&batches)?)?;
        drop(batches);
        let replaced = store.replace_chunks(workspace, day, &together, &merged, now);
        if !step(replaced).await? {
            // Another node is at it, and does the rest too.
            return Ok(merged_chunks);
        }
        merged_chunks += together.len();
        // Others get the write lock before the next one.
        tokio::time::sleep(BREATH).await;
    }
}

/// Every column of a chunk; `None` when it is gone, or past its retention.
pub(crate) async fn read_chunk(
    store: &Store,
    chunk: &ChunkHead,
) -> Result<Option<Batch>, StoreError> {
    let columns: Vec<_> = Column::all().collect();
    let mut batch = None;
    store
        .chunk_columns(&[chunk.id], &columns, true, |_, stored| {
            batch = decode_stored(chunk, &stored, &columns)?;
            Ok(())
        })
        .await?;
    Ok(batch)
}

/// A batch of the wanted columns of a chunk that were read; `None` when some are gone, or past their
/// retention. A fact that the chunk's release did not know yet is unknown of all its clicks.
pub(crate) fn decode_stored(
    chunk: &ChunkHead,
    stored: &[StoredColumn<'_>],
    wanted: &[Column],
) -> Result<Option<Batch>, StoreError> {
    if stored.iter().any(|stored| stored.data.is_none()) {
        return Ok(None);
    }
    let columns = stored.iter().map(|stored| {
        let data = stored.data.as_deref().unwrap_or_default();
        (stored.column, stored.counts.as_ref(), data)
    });
    let mut batch = decode_batch(chunk.rows(), columns)?;
    for column in wanted {
        match column {
            Column::Text(text @ Text::Fact(_)) if chunk.is_of_older_release() => {
                batch.texts[text.index()].get_or_insert_with(Coded::unknown);
            }
            _ => {}
        }
    }
    let is_complete = wanted.iter().all(|column| batch.has(*column));
    Ok(is_complete.then_some(batch))
}
