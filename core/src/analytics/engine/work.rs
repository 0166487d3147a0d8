//! A question cut into reads, and threads that take one after the other.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;

use super::{ScanError, Snapshot};
use crate::analytics::scan::{Figures, Scan, Way};
use crate::analytics::scanners::GivenUp;
use crate::columns::Column;
use crate::sealer::decode_stored;
use crate::store::chunks::ChunkHead;
use crate::store::{Store, StoreError};

/// Rows, and chunks, that one statement reads at most.
const ROWS_PER_READ: usize = 1 << 18;
const CHUNKS_PER_READ: usize = 32;
const COUNTS_PER_READ: usize = 256;
/// Fewer than these, a statement costs more than it reads.
const FEWEST_ROWS_PER_READ: usize = 1 << 14;
const FEWEST_COUNTS_PER_READ: usize = 16;
/// Reads for each thread, so that all of them end at about the same time.
const READS_PER_THREAD: usize = 2;

/// What has to be read for a question, in pieces that threads take one by one.
pub(super) struct Work {
    pub(super) reads: Vec<Read>,
    next: AtomicUsize,
    is_over: AtomicBool,
    /// Of nothing, for each thread to begin with.
    empty: Figures,
    total: Mutex<Figures>,
}

/// Ends the work when nobody waits for it any more.
pub(super) struct OverOnDrop(pub(super) Arc<Work>);

impl Drop for OverOnDrop {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Relaxed);
    }
}

/// Chunks, as indexes into the snapshot, of which the same columns are read.
pub(super) struct Read {
    chunks: Vec<usize>,
    columns: Vec<Column>,
    /// Otherwise only the counts of the one column.
    rows: bool,
    visitors: bool,
}

/// How much one statement reads.
#[derive(Clone, Copy)]
struct Portion {
    rows: usize,
    counts: usize,
}

impl Portion {
    /// So much that every thread has its share of a snapshot.
    fn of(snapshot: &Snapshot, threads: usize) -> Self {
        let shares = (threads * READS_PER_THREAD).max(1);
        let rows: usize = snapshot.chunks.iter().map(ChunkHead::rows).sum();
        Self {
            rows: (rows / shares).clamp(FEWEST_ROWS_PER_READ, ROWS_PER_READ),
            counts: (snapshot.chunks.len() / shares).clamp(FEWEST_COUNTS_PER_READ, COUNTS_PER_READ),
        }
    }
}

impl Work {
    /// Counts what needs no reading right away.
    pub(super) fn plan(
        scan: &Scan,
        snapshot: &Snapshot,
        empty: Figures,
        threads: usize,
    ) -> Result<Self, ScanError> {
        let mut figures = empty.clone();
        let portion = Portion::of(snapshot, threads);
        scan.count_rows(&snapshot.tail, None, &mut figures)
            .map_err(StoreError::from)?;
        let mut reads: Vec<Read> = Vec::new();
        for (index, chunk) in snapshot.chunks.iter().enumerate() {
            if chunk.last_at < scan.from || chunk.first_at >= scan.to {
                continue;
            }
            let mut visitors = scan.visitors;
            let mut way = scan.way(chunk, visitors);
            if way == Way::Lost && visitors {
                figures.visitors_lost = true;
                visitors = false;
                way = scan.way(chunk, visitors);
            }
            let (columns, rows) = match way {
                Way::Head => {
                    scan.count_head(chunk, &mut figures);
                    if chunk.kinds().of(scan.kinds) > 0 {
                        figures.matched.push(index);
                    }
                    continue;
                }
                Way::Counts(column) => (vec![column], false),
                Way::Rows(columns) => (columns, true),
                Way::Lost => return Err(ScanError::DetailLost),
            };
            let read = Read {
                chunks: vec![index],
                columns,
                rows,
                visitors,
            };
            match reads.last_mut() {
                Some(last) if last.takes(&read, portion, snapshot) => last.chunks.push(index),
                _ => reads.push(read),
            }
        }
        Ok(Self {
            reads,
            next: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
            empty,
            total: Mutex::new(figures),
        })
    }

    /// Takes piece after piece until none is left.
    pub(super) fn take_part(
        &self,
        runtime: &Handle,
        store: &Store,
        scan: &Scan,
        snapshot: &Snapshot,
    ) -> Result<(), ScanError> {
        let mut figures = self.empty.clone();
        while let Some(read) = self.reads.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            if self.is_over.load(Ordering::Relaxed) {
                return Err(GivenUp.into());
            }
            runtime.block_on(read.count(store, scan, snapshot, &mut figures))?;
            if figures.is_full {
                self.is_over.store(true, Ordering::Relaxed);
                return Err(ScanError::Full);
            }
        }
        self.lock().merge(figures);
        Ok(())
    }

    pub(super) fn take_total(&self) -> Figures {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Figures> {
        self.total.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Read {
    /// Whether another one, of a single chunk, may be part of this one.
    fn takes(&self, other: &Self, portion: Portion, snapshot: &Snapshot) -> bool {
        let fits = if self.rows {
            self.chunks.len() < CHUNKS_PER_READ
                && self.size(snapshot) + other.size(snapshot) <= portion.rows
        } else {
            self.chunks.len() < portion.counts
        };
        let what = |read: &Self| (read.rows, read.visitors);
        fits && what(self) == what(other) && self.columns == other.columns
    }

    fn size(&self, snapshot: &Snapshot) -> usize {
        self.chunks
            .iter()
            .map(|index| snapshot.chunks[*index].rows())
            .sum()
    }

    async fn count(
        &self,
        store: &Store,
        scan: &Scan,
        snapshot: &Snapshot,
        figures: &mut Figures,
    ) -> Result<(), ScanError> {
        let ids: Vec<_> = self
            .chunks
            .iter()
            .map(|index| snapshot.chunks[*index].id)
            .collect();
        let clicks_only;
        let scan = if self.visitors {
            scan
        } else {
            clicks_only = scan.without_visitors();
            &clicks_only
        };
        let mut seen = 0;
        store
            .chunk_columns(&ids, &self.columns, self.rows, |id, stored| {
                let place = self
                    .chunks
                    .iter()
                    .find(|index| snapshot.chunks[**index].id == id);
                let Some(index) = place else {
                    return Ok(());
                };
                let chunk = &snapshot.chunks[*index];
                let before = figures.kinds;
                if self.rows {
                    // It may have been deleted since, or shrunk.
                    let Some(batch) = decode_stored(chunk, &stored, &self.columns)? else {
                        return Ok(());
                    };
                    scan.count_rows(&batch, Some(chunk), figures)?;
                } else {
                    for counts in &stored {
                        scan.count_column(chunk, counts.column, &counts.counts, figures)?;
                    }
                }
                seen += 1;
                if figures.kinds.of(scan.kinds) > before.of(scan.kinds) {
                    figures.matched.push(*index);
                }
                Ok(())
            })
            .await?;
        if seen == ids.len() {
            Ok(())
        } else {
            Err(ScanError::ChunkGone)
        }
    }
}
