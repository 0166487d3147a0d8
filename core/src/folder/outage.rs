//! A database that does not take clicks: counted, told now and then, and known to whoever records them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::capture::Capture;
use crate::complaint::Complaint;
use crate::folder::FoldProgress;
use crate::spool::Spool;
use crate::store::StoreError;

pub(super) struct Outage {
    spool: Spool,
    capture: Arc<Capture>,
    progress: Arc<FoldProgress>,
    complaint: Complaint,
    doubt: AtomicBool,
}

impl Outage {
    pub(super) fn new(spool: Spool, capture: Arc<Capture>, progress: Arc<FoldProgress>) -> Self {
        Self {
            spool,
            capture,
            progress,
            complaint: Complaint::new(),
            doubt: AtomicBool::new(false),
        }
    }

    pub(super) fn goes_on(&self, error: &StoreError) {
        self.progress.failures.fetch_add(1, Ordering::Relaxed);
        self.capture.database_is_away(true);
        self.doubt.store(true, Ordering::Relaxed);
        if self.complaint.is_due() {
            tracing::warn!(
                error = error as &dyn std::error::Error,
                pending = self.spool.status().pending,
                "clicks wait in the spool: the database does not take them"
            );
        }
        if error.is_disk_full() {
            self.spool.make_room();
        }
    }

    /// Whether a batch may be in the database since it was asked last that nobody was told of: its COMMIT
    /// took effect, and the answer was lost.
    pub(super) fn leaves_doubt(&self) -> bool {
        self.doubt.swap(false, Ordering::Relaxed)
    }

    pub(super) fn is_over(&self) {
        self.capture.database_is_away(false);
    }
}
