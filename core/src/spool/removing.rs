//! Removing files that nobody needs any more.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::failpoint::failpoint;
use crate::model::Timestamp;
use crate::spool::shared::Shared;
use crate::spool::stream::{Stream, UNLIMITED};

impl Shared {
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
                if self.unremovable.is_due() {
                    tracing::warn!(%error, stream = %stream.id, "a spool file could not be removed");
                }
            }
        }
    }
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

    fn has_open_gap(&self) -> bool {
        // What stands behind the limit was recorded elsewhere: it is never read, nor missed.
        let limit = self.limit.load(Ordering::Acquire);
        let folded = self.folded.load(Ordering::Relaxed);
        self.runs
            .windows(2)
            .any(|pair| folded < pair[1].first && pair[0].last < limit)
    }
}
