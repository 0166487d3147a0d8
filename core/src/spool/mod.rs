//! The node's local, crash-safe record of clicks that are not in the database yet.
//!
//! A request's own thread appends: one short lock and one write into a file that was allocated
//! ahead. Each file is a *stream*, named by 128 random bits and never reused, whose records are
//! numbered from 1 without gaps: (stream, seq) identifies a click for ever. Files are removed late,
//! after the database has their clicks and for some time more, so that a database restored from a
//! backup heals by being given them again.

mod disk;
mod format;
mod lane;
mod options;
mod reader;
mod recovery;
mod removing;
mod shared;
mod stream;
mod syncing;
mod upkeep;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::model::{Clock, Entropy, Timestamp};

pub use disk::{Disk, DiskFile, LocalDisk};
pub use format::MAX_PAYLOAD;
pub use options::{AppendError, Durability, Seq, SpoolError, SpoolOptions, StreamId};
pub use reader::{Batch, ReadOutcome, Record};
pub use stream::StreamView;

pub(crate) use lane::Appended;
use shared::Shared;
use stream::Stream;
use upkeep::Threads;

/// The open spool of one node. Cloning it is cheap.
#[derive(Clone, Debug)]
pub struct Spool {
    shared: Arc<Shared>,
    threads: Arc<Threads>,
}

/// What goes on in the spool, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpoolStatus {
    /// Records that the database does not have.
    pub pending: u64,
    /// When the oldest file with pending records was begun.
    pub pending_since: Option<Timestamp>,
    /// Bytes of those records.
    pub unfolded_bytes: u64,
    /// Bytes of all files.
    pub disk_bytes: u64,
    pub files: u64,
    /// Records appended since the process began.
    pub appended: u64,
    /// Syncs that failed; each ended its file.
    pub sync_errors: u64,
    pub write_errors: u64,
    /// Files whose last record was cut off by a crash; nothing answered was in it.
    pub torn_tails: u64,
    /// Files with damage before their end.
    pub corrupt_files: u64,
    /// Those of them that tell nothing, not even whose records they hold.
    pub unreadable_files: u64,
    /// Whether the last attempt to record a click succeeded.
    pub writable: bool,
}

/// What became of a record that waits for a sync.
enum Synced {
    Yes,
    /// Its file failed; it may be recorded again in another one.
    Elsewhere,
    /// Its file failed, and nothing says so on stable storage: recorded again, it might count twice.
    Never,
}

impl Spool {
    /// Locks the directory for this process, reads what earlier ones left, and starts the
    /// background work. Blocks.
    pub fn open(
        options: SpoolOptions,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, SpoolError> {
        Self::open_on(Arc::new(LocalDisk), options, clock, entropy)
    }

    /// As [`Spool::open`], on another disk.
    pub fn open_on(
        disk: Arc<dyn Disk>,
        options: SpoolOptions,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, SpoolError> {
        let shared = Arc::new(recovery::open(disk, options, clock, entropy)?);
        let threads = Arc::new(Threads::start(&shared)?);
        Ok(Self { shared, threads })
    }

    /// Records a click; returns once it survives what the level in force promises.
    /// At level `process` this never waits for a disk's sync.
    /// At level `node` somebody has to tell that the database has it, by [`Spool::folded`].
    pub async fn append(&self, payload: &[u8]) -> Result<(), AppendError> {
        let appended = self.append_locally(payload).await?;
        if self.shared.options.durability == Durability::Node {
            self.in_database(&appended).await;
        }
        Ok(())
    }

    /// As [`Spool::append`], without waiting for the database.
    pub(crate) async fn append_locally(&self, payload: &[u8]) -> Result<Appended, AppendError> {
        let appended = self.shared.append(payload)?;
        if !self.shared.options.durability.waits_for_sync() {
            return Ok(appended);
        }
        match self.synced(&appended).await {
            Synced::Yes => return Ok(appended),
            Synced::Never => return Err(appended.sync_failed()),
            // The sync failed, and with it the file: once more, in a fresh one.
            Synced::Elsewhere => {}
        }
        let appended = self.shared.append(payload)?;
        match self.synced(&appended).await {
            Synced::Yes => Ok(appended),
            Synced::Never | Synced::Elsewhere => Err(appended.sync_failed()),
        }
    }

    /// What an answered click survives.
    pub(crate) fn durability(&self) -> Durability {
        self.shared.options.durability
    }

    /// Completes when the database has the record.
    pub(crate) async fn in_database(&self, appended: &Appended) {
        // Only now can it be read.
        self.shared.records.notify_one();
        appended.stream.folded_to(appended.seq).await;
    }

    /// Which records of a stream were withdrawn.
    pub(crate) fn withdrawn(&self, stream: StreamId) -> BTreeSet<u64> {
        let stream = self.stream(stream);
        stream.map_or_else(BTreeSet::new, |stream| stream.withdrawn().clone())
    }

    async fn synced(&self, appended: &Appended) -> Synced {
        let mut progress = appended.stream.sync_progress.subscribe();
        self.threads.wake_syncer(appended.lane);
        let settled = progress
            .wait_for(|progress| progress.seq >= appended.seq || progress.failed)
            .await;
        match settled {
            Ok(progress) if progress.seq >= appended.seq => Synced::Yes,
            Ok(progress) if progress.may_retry => Synced::Elsewhere,
            _ => Synced::Never,
        }
    }

    /// Every stream that is on disk.
    pub fn streams(&self) -> Vec<StreamView> {
        let power = self.shared.options.durability.waits_for_sync();
        let streams = self.shared.streams();
        streams.values().map(|stream| stream.view(power)).collect()
    }

    /// Reads records of a stream that follow `after`, in order, into `batch`: at most
    /// `max_records`, and about `max_bytes`. Blocks.
    pub fn read(
        &self,
        stream: StreamId,
        after: Seq,
        max_records: usize,
        max_bytes: usize,
        batch: &mut Batch,
    ) -> Result<ReadOutcome, SpoolError> {
        batch.clear();
        let stream = self.stream(stream).ok_or(SpoolError::UnknownStream)?;
        let power = self.shared.options.durability.waits_for_sync();
        reader::read(&stream, power, after, max_records, max_bytes, batch)
    }

    /// Tells how far the database has a stream. It may also go back: a restored database.
    pub fn folded(&self, stream: StreamId, up_to: Seq) {
        if let Some(stream) = self.stream(stream) {
            stream.fold_to(up_to.into(), self.shared.clock.now());
        }
    }

    /// Cuts a stream short after `limit`, for good: what follows was recorded elsewhere.
    pub fn limit(&self, stream: StreamId, limit: Seq) {
        if let Some(stream) = self.stream(stream) {
            stream.limit_to(limit.into());
        }
    }

    /// Lets reading go on behind the records that are missing after `after`.
    pub fn accept_gap(&self, stream: StreamId, after: Seq) {
        if let Some(stream) = self.stream(stream) {
            stream.accept_gap(after);
        }
    }

    /// What goes on; cheap.
    pub fn status(&self) -> SpoolStatus {
        self.shared.status()
    }

    /// Says that the disk is full: files that the database has whole are removed at the next sweep,
    /// before their time.
    pub(crate) fn make_room(&self) {
        self.shared.short_of_room.store(true, Ordering::Relaxed);
    }

    /// Completes when a background thread has panicked.
    pub(crate) async fn failed(&self) {
        self.shared.died.cancelled().await;
    }

    /// The quota in bytes.
    pub(crate) fn max_bytes(&self) -> u64 {
        self.shared.options.max_bytes
    }

    /// Completes when there may be records to read.
    pub async fn wait_for_records(&self) {
        loop {
            let waiting = self.shared.records.notified();
            self.shared.reader_waits.store(true, Ordering::SeqCst);
            if self.status().pending > 0 {
                self.shared.reader_waits.store(false, Ordering::Relaxed);
                return;
            }
            // An appender on a machine of weak memory order may not see the flag in time.
            let patience = Duration::from_millis(500);
            let _ = tokio::time::timeout(patience, waiting).await;
        }
    }

    /// Makes everything that was appended so far survive a power cut. Blocks.
    pub fn sync(&self) -> Result<(), SpoolError> {
        self.shared.sync_dirty()
    }

    /// Removes files that are no longer needed. Happens by itself every few seconds. Blocks.
    pub fn sweep(&self) {
        self.shared.sweep();
    }

    /// Moves every lane on to a fresh file with its next record. Blocks.
    pub fn rotate(&self) {
        self.shared.retire_lanes();
        self.shared.finish_retired();
    }

    /// Syncs, marks every file as complete, and stops the background work. Appending fails from
    /// now on. Blocks; calling it again does nothing.
    pub fn close(&self) {
        self.threads.stop();
        self.shared.close();
    }

    fn stream(&self, id: StreamId) -> Option<Arc<Stream>> {
        self.shared.streams().get(&id).cloned()
    }
}
