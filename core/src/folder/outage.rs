//! A database that does not take clicks: counted, told now and then, and known to whoever records them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

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
}

impl Outage {
    pub(super) fn new(spool: Spool, capture: Arc<Capture>, progress: Arc<FoldProgress>) -> Self {
        Self {
            spool,
            capture,
            progress,
            complaint: Complaint::new(),
        }
    }

    pub(super) fn goes_on(&self, error: &StoreError) {
        self.progress.failures.fetch_add(1, Ordering::Relaxed);
        self.capture.database_is_away(true);
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

    pub(super) fn is_over(&self) {
        self.capture.database_is_away(false);
    }
}
