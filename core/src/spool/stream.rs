//! One stream: a file, and how far it was written, synced and folded.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use crate::model::Timestamp;
use crate::spool::disk::DiskFile;
use crate::spool::format::HEADER_BYTES;
use crate::spool::{Seq, StreamId};

/// No limit.
pub(super) const UNLIMITED: u64 = u64::MAX;

/// A stream as the folder sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamView {
    pub id: StreamId,
    /// Nothing after this record counts: what followed was recorded elsewhere.
    pub limit: Option<Seq>,
    /// The last record that may be read.
    pub visible: Seq,
    /// Whether no record will follow.
    pub ended: bool,
}

/// Contiguous records of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) first: u64,
    pub(super) last: u64,
    /// Where the first record begins.
    pub(super) start: u64,
    /// Where the last record ends.
    pub(super) end: u64,
}

/// How far a file is on stable storage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SyncProgress {
    pub(super) seq: u64,
    pub(super) failed: bool,
    /// With `failed`: where the stream ends is on stable storage, so that what follows may be
    /// recorded again elsewhere.
    pub(super) may_retry: bool,
}

/// Where reading goes on: the record `seq` ends at `offset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) seq: u64,
    pub(super) offset: u64,
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: StreamId,
    pub(super) seed: u32,
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) created_at: Timestamp,
    /// The last record that was written as a whole.
    pub(super) written: AtomicU64,
    /// Where it ends.
    pub(super) written_bytes: AtomicU64,
    pub(super) limit: AtomicU64,
    /// No more appends.
    pub(super) ended: AtomicBool,
    /// Nothing more will be done to the file but reading and removing it.
    pub(super) finished: AtomicBool,
    /// When the database was first seen to have all of it; the end of time while it has not.
    pub(super) folded_at: AtomicI64,
    /// The stream whose limit this file's header carries: it is kept for as long as that one is there.
    pub(super) predecessor: Option<StreamId>,
    pub(super) folded: AtomicU64,
    pub(super) last_write: AtomicI64,
    pub(super) sync_progress: watch::Sender<SyncProgress>,
    /// Whether a sync failed; held while syncing, so that no later one seems to succeed.
    pub(super) sync_refused: Mutex<bool>,
    /// Of a file that an earlier process left: its intact parts. Empty for a file of this process.
    pub(super) runs: Vec<Run>,
    /// Of such a file: the number after its last record, when it was closed in order.
    pub(super) closed_before: Option<u64>,
    /// Of such a file: something stands behind its last record.
    pub(super) has_torn_tail: bool,
    /// Rung when the database has more of it.
    fold_moved: Notify,
    withdrawn: Mutex<BTreeSet<u64>>,
    accepted_gaps: Mutex<Vec<u64>>,
    position: Mutex<Position>,
}

impl Stream {
    pub(super) fn new(
        id: StreamId,
        path: PathBuf,
        file: Arc<dyn DiskFile>,
        created_at: Timestamp,
    ) -> Self {
        Self {
            id,
            seed: crate::spool::format::seed(id),
            path,
            file,
            created_at,
            written: AtomicU64::new(0),
            written_bytes: AtomicU64::new(HEADER_BYTES as u64),
            limit: AtomicU64::new(UNLIMITED),
            ended: AtomicBool::new(false),
            finished: AtomicBool::new(false),
            folded_at: AtomicI64::new(i64::MAX),
            predecessor: None,
            folded: AtomicU64::new(0),
            last_write: AtomicI64::new(created_at.as_millis()),
            sync_progress: watch::Sender::default(),
            sync_refused: Mutex::default(),
            runs: Vec::new(),
            closed_before: None,
            has_torn_tail: false,
            fold_moved: Notify::new(),
            withdrawn: Mutex::default(),
            accepted_gaps: Mutex::default(),
            position: Mutex::new(Position {
                seq: 0,
                offset: HEADER_BYTES as u64,
            }),
        }
    }

    /// The last record that may be read. At level power, of files of this process, only what is
    /// synced: anything else may yet be recorded again elsewhere.
    pub(super) fn visible(&self, power: bool) -> u64 {
        let last = if power && self.runs.is_empty() {
            self.sync_progress.borrow().seq
        } else {
            self.written.load(Ordering::Acquire)
        };
        last.min(self.limit.load(Ordering::Acquire))
    }

    /// Whether the file says that it was closed after more records than it holds or the database, which
    /// has everything up to `after`, and nobody said to go on without them.
    pub(super) fn lacks_its_tail(&self, after: u64) -> bool {
        let limit = self.limit.load(Ordering::Acquire);
        let last = self.written.load(Ordering::Acquire).max(after).min(limit);
        self.closed_before
            .is_some_and(|before| last + 1 < before && last < limit)
            && !self.accepts_gap(last)
    }

    pub(super) fn pending(&self, power: bool) -> u64 {
        self.visible(power)
            .saturating_sub(self.folded.load(Ordering::Relaxed))
    }

    /// Bytes of the records that the database does not have, from their average length.
    pub(super) fn unfolded_bytes(&self, power: bool) -> u64 {
        let written = self.written.load(Ordering::Relaxed);
        if written == 0 {
            return 0;
        }
        let bytes = self.written_bytes.load(Ordering::Relaxed) - HEADER_BYTES as u64;
        let share = u128::from(bytes) * u128::from(self.pending(power)) / u128::from(written);
        u64::try_from(share).unwrap_or(u64::MAX)
    }

    pub(super) fn view(&self, power: bool) -> StreamView {
        let limit = self.limit.load(Ordering::Acquire);
        StreamView {
            id: self.id,
            limit: (limit != UNLIMITED).then(|| limit.into()),
            visible: self.visible(power).into(),
            ended: self.ended.load(Ordering::Acquire),
        }
    }

    /// Cuts the stream short after `seq`, for good.
    pub(super) fn limit_to(&self, seq: u64) {
        self.limit.fetch_min(seq, Ordering::AcqRel);
        self.ended.store(true, Ordering::Release);
    }

    /// Everything up to `seq` is on stable storage.
    pub(super) fn synced_up_to(&self, seq: u64) {
        self.sync_progress.send_if_modified(|progress| {
            let advanced = progress.seq < seq && !progress.failed;
            if advanced {
                progress.seq = seq;
            }
            advanced
        });
    }

    /// Tells those who wait that no more will be synced, and whether they may try elsewhere.
    pub(super) fn sync_failed(&self, may_retry: bool) {
        self.sync_progress.send_modify(|progress| {
            progress.failed = true;
            progress.may_retry = may_retry;
        });
    }

    /// Notes how far the database has the stream, as of `now`.
    pub(super) fn fold_to(&self, seq: u64, now: Timestamp) {
        self.folded.store(seq, Ordering::Release);
        self.fold_moved.notify_waiters();
        self.withdrawn().retain(|withdrawn| *withdrawn > seq);
        let last = self
            .written
            .load(Ordering::Acquire)
            .min(self.limit.load(Ordering::Acquire));
        if seq < last {
            self.folded_at.store(i64::MAX, Ordering::Relaxed);
        } else {
            self.folded_at.fetch_min(now.as_millis(), Ordering::Relaxed);
        }
    }

    /// Completes when the database has everything up to `seq`.
    pub(super) async fn folded_to(&self, seq: u64) {
        loop {
            let moved = self.fold_moved.notified();
            if self.folded.load(Ordering::Acquire) >= seq {
                return;
            }
            moved.await;
        }
    }

    pub(super) fn withdrawn(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.withdrawn
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_dirty(&self) -> bool {
        let progress = *self.sync_progress.borrow();
        !progress.failed && self.written.load(Ordering::Acquire) > progress.seq
    }

    pub(super) fn accept_gap(&self, after: Seq) {
        self.accepted_gaps
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(after.into());
    }

    pub(super) fn accepts_gap(&self, after: u64) -> bool {
        self.accepted_gaps
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(&after)
    }

    pub(super) fn position(&self) -> MutexGuard<'_, Position> {
        self.position.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
