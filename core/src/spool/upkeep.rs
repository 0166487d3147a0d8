//! The threads beside appending: they sync, complete files, make spare ones and remove old ones.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::spool::shared::{Shared, locked};

const TICK: Duration = Duration::from_millis(100);
const SWEEP_EVERY: Duration = Duration::from_secs(2);

impl Shared {
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
