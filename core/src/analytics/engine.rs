//! Putting a question to the clicks of one moment: the tail, and chunks on all cores.

mod work;

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use work::{OverOnDrop, Work};

use crate::analytics::AnalyticsError;
use crate::analytics::scan::{Figures, Scan, Way};
use crate::analytics::scanners::{GivenUp, Scanners};
use crate::columns::{Batch, BatchBuilder, Column, open_parcel};
use crate::model::WorkspaceId;
use crate::sealer::decode_stored;
use crate::store::chunks::ChunkHead;
use crate::store::click_reports::LinkCondition;
use crate::store::{Store, StoreError};

/// Questions that are answered at a time; others wait for their turn.
const AT_ONCE: usize = 8;
/// Sets of visitors, of at most 32 KiB, that one turn is for: a question that needs more takes several.
const SETS_PER_TURN: usize = 2_048;
/// How long one waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);
/// The clicks of a workspace in a period, as they were at one moment. Chunks do not change, and are
/// readable for some minutes after others took their place: questions to one snapshot agree.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) chunks: Vec<ChunkHead>,
    pub(super) tail: Batch,
    pub(super) links: Option<Arc<[i64]>>,
}

/// Why a scan came to no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ScanError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    GivenUp(#[from] GivenUp),
    /// A chunk was deleted or shrunk meanwhile: the question has to be put to a new snapshot.
    #[error("a chunk is gone")]
    ChunkGone,
    /// The answer depends on rows that are past their retention.
    #[error("the detail is past its retention")]
    DetailLost,
    /// There are more keys than the figures had room for.
    #[error("there are too many values to count at once")]
    Full,
}

impl From<ScanError> for AnalyticsError {
    fn from(error: ScanError) -> Self {
        match error {
            ScanError::Store(error) => Self::Store(error),
            ScanError::DetailLost => Self::DetailLost,
            ScanError::GivenUp(_) | ScanError::ChunkGone | ScanError::Full => Self::Interrupted,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Engine {
    store: Store,
    scanners: Scanners,
    permits: Arc<Semaphore>,
}

impl Engine {
    /// Reads by connections of its own, so that no request waits for one.
    pub(super) fn new(store: Store, runtime: Handle) -> Self {
        Self {
            store,
            scanners: Scanners::new(runtime),
            permits: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// Waits for the turn of a question with so many sets of visitors; it lasts until the permit is
    /// dropped.
    pub(super) async fn turn(&self, sets: usize) -> Result<OwnedSemaphorePermit, AnalyticsError> {
        let turns = (sets / SETS_PER_TURN + 1).min(AT_ONCE);
        let turns = u32::try_from(turns).unwrap_or(1);
        let turn = Arc::clone(&self.permits).acquire_many_owned(turns);
        match tokio::time::timeout(PATIENCE, turn).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(AnalyticsError::Busy),
        }
    }

    /// The clicks of unix milliseconds from `from` until before `to`.
    pub(super) async fn snapshot(
        &self,
        workspace: WorkspaceId,
        from: i64,
        to: i64,
        condition: LinkCondition,
    ) -> Result<Arc<Snapshot>, ScanError> {
        let store = self.store.clone();
        let snapshot = self.scanners.run(move |runtime| {
            let stored = runtime.block_on(store.stored_clicks(workspace, from, to, &condition))?;
            let mut tail = BatchBuilder::default();
            for parcel in &stored.tail {
                open_parcel(parcel, |row| {
                    if (from..to).contains(&row.at) {
                        tail.push(row);
                    }
                })
                .map_err(StoreError::from)?;
            }
            Ok(Arc::new(Snapshot {
                chunks: stored.chunks,
                tail: tail.finish(),
                links: stored.links.map(Into::into),
            }))
        });
        snapshot.await?
    }

    /// What a scan counts in a snapshot, beginning with `figures` that have counted nothing, as `finish`
    /// makes it of them on one of the threads: no other thread does work that grows with the answer.
    /// `Full` when the figures have no room for all keys.
    pub(super) async fn figures<T: Send + 'static>(
        &self,
        scan: &Arc<Scan>,
        snapshot: &Arc<Snapshot>,
        figures: Figures,
        finish: impl FnOnce(Figures) -> T + Send + 'static,
    ) -> Result<T, ScanError> {
        let (of, at) = (Arc::clone(scan), Arc::clone(snapshot));
        let threads = self.scanners.threads();
        let plan = move |_: &Handle| Work::plan(&of, &at, figures, threads).map(Arc::new);
        let work = self.scanners.run(plan).await??;
        // Whoever asked may go away, and what one thread cannot do the others need not.
        let over = OverOnDrop(Arc::clone(&work));
        let jobs = work.reads.len().min(threads);
        let running: Vec<_> = (0..jobs)
            .map(|_| {
                let (work, store) = (Arc::clone(&work), self.store.clone());
                let (scan, snapshot) = (Arc::clone(scan), Arc::clone(snapshot));
                let part =
                    move |runtime: &Handle| work.take_part(runtime, &store, &scan, &snapshot);
                self.scanners.run(part)
            })
            .collect();
        let parts = futures_util::future::join_all(running).await;
        let parts: Result<Vec<_>, GivenUp> = parts.into_iter().collect();
        let failed = |part: Result<(), ScanError>| part.err();
        let mut failures: Vec<_> = parts?.into_iter().filter_map(failed).collect();
        // One that gave up did so because of another.
        failures.sort_by_key(|error| matches!(error, ScanError::GivenUp(_)));
        if let Some(first) = failures.into_iter().next() {
            return Err(first);
        }
        drop(over);
        let total = move |_: &Handle| {
            let total = work.take_total();
            if total.is_full {
                return Err(ScanError::Full);
            }
            Ok(finish(total))
        };
        self.scanners.run(total).await?
    }

    /// The time of the last click that a scan counted: `figures` say in which chunks there are any.
    pub(super) async fn newest(
        &self,
        scan: &Arc<Scan>,
        snapshot: &Arc<Snapshot>,
        mut matched: Vec<usize>,
    ) -> Result<Option<i64>, ScanError> {
        let (of, at) = (Arc::clone(scan), Arc::clone(snapshot));
        let in_tail = self.scanners.run(move |_| of.newest(&at.tail));
        let mut newest = in_tail.await?.map_err(StoreError::from)?;
        matched.sort_unstable_by_key(|index| std::cmp::Reverse(snapshot.chunks[*index].last_at));
        for index in matched {
            let chunk = snapshot.chunks[index];
            if newest.is_some_and(|newest| newest >= chunk.last_at) {
                break;
            }
            let Way::Rows(mut columns) = scan.way(&chunk, true) else {
                // Of clicks past their retention the day is known.
                newest = newest.max(Some(chunk.last_at));
                continue;
            };
            columns.retain(|column| *column != Column::Visitor);
            if !columns.contains(&Column::At) {
                columns.push(Column::At);
            }
            let (store, scan) = (self.store.clone(), Arc::clone(scan));
            let found = self.scanners.run(move |runtime| {
                let batch = runtime.block_on(read_batch(&store, &chunk, &columns))?;
                Ok::<_, ScanError>(scan.newest(&batch).map_err(StoreError::from)?)
            });
            newest = newest.max(found.await??);
        }
        Ok(newest)
    }

    /// Sets of visitors for so many keys: each thread has its own, and then there is the total.
    pub(super) fn sets(&self, keys: usize) -> usize {
        keys * (self.scanners.threads() + 1)
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    pub(super) fn scanners(&self) -> &Scanners {
        &self.scanners
    }
}

/// Some columns of one chunk.
pub(super) async fn read_batch(
    store: &Store,
    chunk: &ChunkHead,
    columns: &[Column],
) -> Result<Batch, ScanError> {
    let mut batch = None;
    store
        .chunk_columns(&[chunk.id], columns, true, |_, stored| {
            batch = decode_stored(chunk, &stored, columns)?;
            Ok(())
        })
        .await?;
    batch.ok_or(ScanError::ChunkGone)
}
