//! What appenders, the reader and the background threads share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::complaint::Complaint;
use crate::model::{Clock, Entropy, Timestamp};
use crate::spool::disk::Disk;
use crate::spool::lane::{Failing, Lane};
use crate::spool::stream::Stream;
use crate::spool::{SpoolOptions, SpoolStatus, StreamId};

/// An open spool.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: SpoolOptions,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) lanes: Box<[Lane]>,
    pub(super) failing: Failing,
    /// The quota is used up.
    pub(super) full: AtomicBool,
    pub(super) closed: AtomicBool,
    /// The disk is full: what the database has already is not kept any longer.
    pub(super) short_of_room: AtomicBool,
    pub(super) counters: Counters,
    /// About files that cannot be removed.
    pub(super) unremovable: Complaint,
    /// Set by the reader before it sleeps, so that appenders need not wake it otherwise.
    pub(super) reader_waits: AtomicBool,
    pub(super) records: Notify,
    streams: Mutex<BTreeMap<StreamId, Arc<Stream>>>,
    /// Files that take no more appends and wait to be completed.
    retired: Mutex<Vec<Arc<Stream>>>,
    spares: Mutex<Vec<Arc<Stream>>>,
    /// Wakes the thread that keeps all this up.
    pub(super) wake: OnceLock<SyncSender<()>>,
    /// Cancelled when a background thread panics.
    pub(super) died: CancellationToken,
    /// Held for as long as the spool is open.
    lock: Mutex<Option<Lock>>,
}

/// The directory's lock.
pub(super) struct Lock {
    _held: Box<dyn Send + Sync>,
}

impl Lock {
    pub(super) fn holding(held: Box<dyn Send + Sync>) -> Self {
        Self { _held: held }
    }
}

impl std::fmt::Debug for Lock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lock")
    }
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Records of files that are removed already.
    pub(super) removed_appended: AtomicU64,
    pub(super) sync_errors: AtomicU64,
    pub(super) write_errors: AtomicU64,
    pub(super) torn_tails: AtomicU64,
    pub(super) corrupt_files: AtomicU64,
    pub(super) unreadable_files: AtomicU64,
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn new(
        options: SpoolOptions,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        lock: Lock,
        recovered: BTreeMap<StreamId, Arc<Stream>>,
        counters: Counters,
    ) -> Self {
        let lanes = (0..options.lanes.clamp(1, 64))
            .map(|_| Lane::new())
            .collect();
        Self {
            options,
            disk,
            clock,
            entropy,
            lanes,
            failing: Failing::new(),
            full: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            short_of_room: AtomicBool::new(false),
            counters,
            unremovable: Complaint::new(),
            reader_waits: AtomicBool::new(false),
            records: Notify::new(),
            streams: Mutex::new(recovered),
            retired: Mutex::default(),
            spares: Mutex::default(),
            wake: OnceLock::new(),
            died: CancellationToken::new(),
            lock: Mutex::new(Some(lock)),
        }
    }

    pub(super) fn streams(&self) -> MutexGuard<'_, BTreeMap<StreamId, Arc<Stream>>> {
        locked(&self.streams)
    }

    pub(super) fn retired(&self) -> MutexGuard<'_, Vec<Arc<Stream>>> {
        locked(&self.retired)
    }

    pub(super) fn spares(&self) -> MutexGuard<'_, Vec<Arc<Stream>>> {
        locked(&self.spares)
    }

    pub(super) fn wake_upkeep(&self) {
        if let Some(wake) = self.wake.get() {
            let _ = wake.try_send(());
        }
    }

    pub(super) fn is_power(&self) -> bool {
        self.options.durability.waits_for_sync()
    }

    pub(super) fn all_streams(&self) -> Vec<Arc<Stream>> {
        self.streams().values().cloned().collect()
    }

    pub(super) fn status(&self) -> SpoolStatus {
        let power = self.is_power();
        let mut status = SpoolStatus {
            appended: self.counters.removed_appended.load(Ordering::Relaxed),
            sync_errors: self.counters.sync_errors.load(Ordering::Relaxed),
            write_errors: self.counters.write_errors.load(Ordering::Relaxed),
            torn_tails: self.counters.torn_tails.load(Ordering::Relaxed),
            corrupt_files: self.counters.corrupt_files.load(Ordering::Relaxed),
            unreadable_files: self.counters.unreadable_files.load(Ordering::Relaxed),
            writable: !self.failing.now.load(Ordering::Relaxed)
                && !self.full.load(Ordering::Relaxed)
                && !self.closed.load(Ordering::Relaxed),
            ..SpoolStatus::default()
        };
        for stream in self.streams().values() {
            let pending = stream.pending(power);
            status.pending += pending;
            status.unfolded_bytes += stream.unfolded_bytes(power);
            status.disk_bytes += stream.written_bytes.load(Ordering::Relaxed);
            status.files += 1;
            if stream.runs.is_empty() {
                status.appended += stream.written.load(Ordering::Relaxed);
            }
            if pending > 0 {
                let since = status.pending_since.unwrap_or(Timestamp::MAX);
                status.pending_since = Some(since.min(stream.created_at));
            }
        }
        status
    }

    /// Looks whether the quota is used up.
    pub(super) fn measure(&self) {
        let full = self.status().unfolded_bytes >= self.options.max_bytes;
        if full && !self.full.swap(full, Ordering::Relaxed) {
            tracing::error!(
                max_bytes = self.options.max_bytes,
                "the spool's quota is used up: the database does not take clicks"
            );
        } else if !full {
            self.full.store(false, Ordering::Relaxed);
        }
    }

    pub(super) fn close(&self) {
        if self.closed.swap(true, Ordering::SeqCst) {
            return;
        }
        self.retire_lanes();
        self.finish_retired();
        // What a crashed process left may not be on stable storage yet either. Failures are counted.
        let _ = self.sync_dirty();
        for spare in std::mem::take(&mut *self.spares()) {
            let _ = self.disk.remove(&spare.path);
        }
        locked(&self.lock).take();
    }
}
