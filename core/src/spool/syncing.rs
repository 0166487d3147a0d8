//! Bringing files to stable storage, and completing those that take no more records.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::failpoint::failpoint;
use crate::spool::SpoolError;
use crate::spool::format::encode_end;
use crate::spool::shared::{Shared, locked};
use crate::spool::stream::{Stream, UNLIMITED};

impl Shared {
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
    pub(super) fn sync(&self, stream: &Arc<Stream>) -> io::Result<()> {
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
    /// Whether its records may be lost by a power cut although they were to be synced.
    fn is_in_doubt(&self) -> bool {
        let progress = *self.sync_progress.borrow();
        progress.failed && progress.seq < self.visible(false)
    }
}
