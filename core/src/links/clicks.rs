//! Deleting what a link has been clicked.

use std::sync::Arc;
use std::time::Duration;

use crate::capture::Capture;
use crate::links::{LinkError, Links};
use crate::model::{LinkId, WorkspaceId};
use crate::sealer::Errands;
use crate::store::erasure::Erasure;

/// Clicks are folded within two seconds, unless the database is in trouble.
const FOLD_PATIENCE: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What clicks are deleted with.
#[derive(Clone, Debug)]
pub(crate) struct ClickEraser {
    pub(crate) capture: Arc<Capture>,
    pub(crate) errands: Errands,
}

impl ClickEraser {
    /// Waits until the clicks that this node has recorded by now are in the database.
    async fn folded(&self) {
        let Some(spool) = self.capture.spool() else {
            return;
        };
        let recorded = spool.status().appended;
        let is_folded = || {
            let status = spool.status();
            status.pending.saturating_add(recorded) <= status.appended
        };
        let waited = tokio::time::timeout(FOLD_PATIENCE, async {
            while !is_folded() {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });
        if waited.await.is_err() {
            tracing::warn!("clicks that wait in the spool are not among those to be deleted");
        }
    }
}

impl Links {
    /// Deletes the clicks of a link until now. Those that come meanwhile are counted as ever. Of days
    /// past their retention only counts are kept, and these stay. With `max_clicks`, deleted clicks of
    /// people give their slots back.
    ///
    /// It goes on when nobody waits for it any more; when the process ends in the midst of it, what
    /// is deleted is deleted, every figure agrees, and asking again deletes the rest.
    pub async fn delete_clicks(
        &self,
        workspace: &WorkspaceId,
        id: LinkId,
    ) -> Result<(), LinkError> {
        let row = self.row(*workspace, id).await?;
        let until = self.clock.now();
        let mut entry = self.entry(&row, "link.delete_clicks");
        entry.at = until;
        self.store.record(&entry).await?;
        self.clicks.folded().await;
        // Memory may take the link to be used up; dropped, it makes the next redirect ask.
        let _change = self
            .resolver
            .changing(row.domain_id, &row.slug.to_ascii_lowercase());
        let erasure = Erasure {
            workspace: *workspace,
            link: id,
            until,
        };
        Ok(self.clicks.errands.erase(erasure).await?)
    }
}
