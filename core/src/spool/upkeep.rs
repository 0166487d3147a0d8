//! What happens beside appending: syncing, completing files, making spare ones, removing old ones.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::failpoint::failpoint;
use crate::model::{Clock, Entropy, Timestamp};
use crate::spool::disk::Disk;
use crate::spool::format::encode_end;
use crate::spool::lane::{Failing, Lane};
use crate::spool::stream::{Stream, UNLIMITED};
use crate::spool::{SpoolError, SpoolOptions, SpoolStatus, StreamId};

const TICK: Duration = Duration::from_millis(100);
const SWEEP_EVERY: Duration = Duration::from_secs(2);

/// What appenders, the reader and the background threads share.
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
    /// Set by the reader before it sleeps, so that appenders need not wake it otherwise.
    pub(super) reader_waits: AtomicBool,
    pub(super) records: Notify,
    streams: Mutex<BTreeMap<StreamId, Arc<Stream>>>,
    /// Files that take no more appends and wait to be completed.
    retired: Mutex<Vec<Arc<Stream>>>,
    spares: Mutex<Vec<Arc<Stream>>>,
    wake: OnceLock<SyncSender<()>>,
    /// Cancelled when a background thread panics.
    pub(super) died: CancellationToken,
    /// Held for as long as the spool is open.
    lock: Mutex<Option<Lock>>,
}

impl std::fmt::Debug for Lock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lock")
    }
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

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
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

    fn is_power(&self) -> bool {
        self.options.durability.waits_for_sync()
    }

    fn all_streams(&self) -> Vec<Arc<Stream>> {
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

    /// Syncs every file with unsynced records.
    pub(super) fn sync_dirty(&self) -> Result<(), SpoolError> {
        let mut result = Ok(());
        for stream in self.all_streams() {
            if stream.is_in_doubt() {
                result = Err(SpoolError::Io(io::Error::other(
                    "an earlier sync failed: some clicks are only as safe as the database",
                )));
            } else if stream.is_dirty()
                && let Err(error) = self.sync(&stream)
            {
                result = Err(SpoolError::Io(error));
            }
        }
        result
    }

    /// Syncs a file. A failure is final for it: what the kernel did with the pages is unknown.
    fn sync(&self, stream: &Arc<Stream>) -> io::Result<()> {
        let mut refused = locked(&stream.sync_refused);
        if *refused {
            return Err(io::Error::other("an earlier sync of this file failed"));
        }
        let up_to = stream.written.load(Ordering::Acquire);
        failpoint("spool.before_sync");
        let Err(error) = stream.file.sync_data() else {
            failpoint("spool.after_sync");
            stream.synced_up_to(up_to);
            return Ok(());
        };
        *refused = true;
        drop(refused);
        self.counters.sync_errors.fetch_add(1, Ordering::Relaxed);
        tracing::error!(%error, stream = %stream.id, "the spool could not sync; it goes on in a fresh file");
        // A file of an earlier process takes no appends, and what was read of it stays good.
        let may_retry = stream.runs.is_empty() && {
            let lane = self.lanes.iter().find(|lane| lane.lock().holds(stream));
            self.end_after_failed_sync(lane.unwrap_or(&self.lanes[0]), stream)
        };
        stream.sync_failed(may_retry);
        Err(error)
    }

    /// Takes every lane's file away; the next record goes into a fresh one.
    pub(super) fn retire_lanes(&self) {
        for lane in &self.lanes {
            if let Some(file) = lane.lock().file.take() {
                file.stream.end();
                self.retired().push(file.stream);
            }
        }
    }

    /// Syncs retired files, marks them as complete and gives back the room that they did not need.
    pub(super) fn finish_retired(&self) {
        let retired = std::mem::take(&mut *self.retired());
        for stream in retired {
            if stream.is_dirty() {
                // A failure is counted, logged and told to those who wait.
                let _ = self.sync(&stream);
            }
            if let Err(error) = mark_complete(&stream) {
                // Without its mark the file still reads to its last record.
                tracing::warn!(%error, stream = %stream.id, "a spool file could not be completed");
            }
            let now = self.clock.now().as_millis();
            stream.last_write.store(now, Ordering::Relaxed);
            stream.finished.store(true, Ordering::Release);
        }
    }

    /// Has a spare file ready when some lane will need one soon.
    fn keep_spares(&self) {
        if self.failing.now.load(Ordering::Relaxed) {
            self.try_again();
            return;
        }
        let filling = self
            .all_streams()
            .iter()
            .filter(|stream| {
                stream.runs.is_empty()
                    && !stream.is_ended()
                    && stream.written_bytes.load(Ordering::Relaxed) > self.options.segment_bytes / 2
            })
            .count();
        while self.spares().len() < filling {
            match self.create_file(None) {
                Ok(spare) => self.spares().push(spare),
                Err(error) => {
                    tracing::debug!(%error, "no spare spool file could be made");
                    return;
                }
            }
        }
    }

    /// Finds out whether files can be made again, also while nobody clicks.
    fn try_again(&self) {
        if let Ok(spare) = self.create_file(None) {
            self.spares().push(spare);
            self.failing.now.store(false, Ordering::Relaxed);
            tracing::info!("the spool can make files again");
        } else {
            self.short_of_room.store(true, Ordering::Relaxed);
        }
    }

    /// Removes files whose records the database has: after `retain`, or earlier when room is short.
    pub(super) fn sweep(&self) {
        let power = self.is_power();
        let now = self.clock.now();
        let mut done: Vec<Arc<Stream>> = self
            .all_streams()
            .into_iter()
            .filter(|stream| stream.is_done(power))
            .collect();
        done.sort_by_key(|stream| stream.last_write.load(Ordering::Relaxed));
        let mut disk_bytes = self.status().disk_bytes;
        let pressed = self.short_of_room.swap(false, Ordering::Relaxed);
        for stream in done {
            let empty = stream.written.load(Ordering::Relaxed) == 0;
            let expired = now.since(stream.needed_until()) > self.options.retain;
            let carries = stream
                .predecessor
                .is_some_and(|predecessor| self.streams().contains_key(&predecessor));
            if carries || (!expired && !empty && !pressed && disk_bytes <= self.options.max_bytes) {
                continue;
            }
            disk_bytes -= stream.written_bytes.load(Ordering::Relaxed).min(disk_bytes);
            self.forget(&stream);
        }
    }

    fn forget(&self, stream: &Arc<Stream>) {
        failpoint("rotate.before_unlink");
        match self.disk.remove(&stream.path) {
            Ok(()) => {
                if stream.runs.is_empty() {
                    self.counters
                        .removed_appended
                        .fetch_add(stream.written.load(Ordering::Relaxed), Ordering::Relaxed);
                }
                if stream.limit.load(Ordering::Acquire) != UNLIMITED {
                    // Gone for good before the file that tells of its limit may go.
                    let _ = self.disk.sync_dir(&self.options.dir);
                }
                self.streams().remove(&stream.id);
            }
            Err(error) => {
                tracing::warn!(%error, stream = %stream.id, "a spool file could not be removed");
            }
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

/// The background threads.
#[derive(Debug)]
pub(super) struct Threads {
    syncers: Vec<SyncSender<()>>,
    stop: Arc<AtomicBool>,
    handles: Mutex<Vec<JoinHandle<()>>>,
    upkeep: SyncSender<()>,
}

impl Threads {
    pub(super) fn start(shared: &Arc<Shared>) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut handles = Vec::new();
        let mut syncers = Vec::new();
        if shared.is_power() {
            for index in 0..shared.lanes.len() {
                let (wake, woken) = sync_channel(1);
                let (shared, stop) = (Arc::clone(shared), Arc::clone(&stop));
                handles.push(
                    std::thread::Builder::new()
                        .name(format!("terse-sync-{index}"))
                        .spawn(move || {
                            let _alarm = Alarm(shared.died.clone());
                            sync_lane(&shared, index, &woken, &stop);
                        })?,
                );
                syncers.push(wake);
            }
        }
        let (upkeep, woken) = sync_channel(1);
        let _ = shared.wake.set(upkeep.clone());
        let (worker, worker_stop) = (Arc::clone(shared), Arc::clone(&stop));
        handles.push(
            std::thread::Builder::new()
                .name("terse-spool".to_owned())
                .spawn(move || {
                    let _alarm = Alarm(worker.died.clone());
                    keep_up(&worker, &woken, &worker_stop);
                })?,
        );
        Ok(Self {
            syncers,
            stop,
            handles: Mutex::new(handles),
            upkeep,
        })
    }

    /// Asks for a sync of what the lane has written.
    pub(super) fn wake_syncer(&self, lane: usize) {
        // A wake that is waiting already covers this one.
        let _ = self.syncers[lane].try_send(());
    }

    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
        for wake in self.syncers.iter().chain([&self.upkeep]) {
            let _ = wake.try_send(());
        }
        for handle in std::mem::take(&mut *locked(&self.handles)) {
            let _ = handle.join();
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Tells when its thread panics: clicks would go on being answered, and no longer be synced.
struct Alarm(CancellationToken);

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.cancel();
        }
    }
}

/// Group commit: while one sync runs, the next batch gathers by itself.
fn sync_lane(shared: &Shared, index: usize, woken: &Receiver<()>, stop: &AtomicBool) {
    while !stop.load(Ordering::SeqCst) {
        match woken.recv_timeout(TICK) {
            Ok(()) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let current = shared.lanes[index]
            .lock()
            .file
            .as_ref()
            .map(|file| Arc::clone(&file.stream));
        if let Some(stream) = current.filter(|stream| stream.is_dirty()) {
            // A failure is counted, logged and told to those who wait.
            let _ = shared.sync(&stream);
        }
    }
}

fn keep_up(shared: &Shared, woken: &Receiver<()>, stop: &AtomicBool) {
    let mut synced = Instant::now();
    let mut swept = Instant::now();
    while !stop.load(Ordering::SeqCst) {
        if let Err(RecvTimeoutError::Disconnected) = woken.recv_timeout(TICK) {
            return;
        }
        shared.finish_retired();
        if synced.elapsed() >= shared.options.sync_interval {
            synced = Instant::now();
            // Failures are counted and logged; the files go on elsewhere.
            let _ = shared.sync_dirty();
        }
        shared.keep_spares();
        shared.measure();
        if swept.elapsed() >= SWEEP_EVERY {
            swept = Instant::now();
            shared.sweep();
        }
    }
}

/// Writes the mark after a file's last record, unless the file failed.
fn mark_complete(stream: &Stream) -> io::Result<()> {
    let failed = stream.sync_progress.borrow().failed;
    if failed || stream.limit.load(Ordering::Acquire) != UNLIMITED {
        return Ok(());
    }
    let end = stream.written_bytes.load(Ordering::Acquire);
    let mark = encode_end(stream.seed, stream.written.load(Ordering::Acquire) + 1);
    stream.file.write_all_at(&mark, end)?;
    failpoint("rotate.marked");
    stream.file.truncate(end + mark.len() as u64)?;
    stream.file.sync_data()
}

impl Stream {
    /// Whether the database has all of it and nothing will be added.
    fn is_done(&self, power: bool) -> bool {
        self.finished.load(Ordering::Acquire)
            && self.pending(power) == 0
            && !self.has_open_gap()
            && !self.lacks_its_tail(self.folded.load(Ordering::Relaxed))
    }

    /// A restored database may be as old as the last write and the fold, whichever came later.
    fn needed_until(&self) -> Timestamp {
        let folded_at = self.folded_at.load(Ordering::Relaxed);
        Timestamp::from_millis(folded_at.max(self.last_write.load(Ordering::Relaxed)))
    }

    /// Whether its records may be lost by a power cut although they were to be synced.
    fn is_in_doubt(&self) -> bool {
        let progress = *self.sync_progress.borrow();
        progress.failed && progress.seq < self.visible(false)
    }

    fn has_open_gap(&self) -> bool {
        // What stands behind the limit was recorded elsewhere: it is never read, nor missed.
        let limit = self.limit.load(Ordering::Acquire);
        let folded = self.folded.load(Ordering::Relaxed);
        self.runs
            .windows(2)
            .any(|pair| folded < pair[1].first && pair[0].last < limit)
    }
}
