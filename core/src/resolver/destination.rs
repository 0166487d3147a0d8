//! A link as the redirect path needs it.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;

use crate::links::redirect_status;
use crate::model::{
    LinkId, LinkState, RedirectStatus, TargetUrl, Timestamp, VisitorEpoch, WorkspaceId,
};
use crate::store::links::LinkRow;

#[derive(Debug)]
pub(crate) struct Destination {
    pub(crate) link: LinkId,
    pub(crate) workspace: WorkspaceId,
    /// The workspace's choice.
    pub(crate) visitor_epoch: Option<VisitorEpoch>,
    pub(crate) version: i64,
    pub(crate) state: LinkState,
    pub(crate) target: TargetUrl,
    /// The target as a header value, shared by all answers.
    pub(crate) location: Bytes,
    pub(crate) status: RedirectStatus,
    pub(crate) forward_query: bool,
    pub(crate) starts_at: Option<Timestamp>,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) max_clicks: Option<i64>,
    pub(crate) title: Option<Box<str>>,
    pub(super) updated_at: Timestamp,
    /// When the database was last seen to say the same.
    pub(super) loaded_at: AtomicI64,
    pub(super) revalidating: AtomicBool,
    pub(super) used_up: AtomicBool,
}

impl Destination {
    pub(crate) fn of(row: &LinkRow, now: Timestamp) -> Self {
        Self {
            link: row.id,
            workspace: row.workspace_id,
            visitor_epoch: row.visitor_epoch,
            version: row.version,
            state: row.state,
            location: Bytes::copy_from_slice(row.target_url.as_bytes()),
            target: TargetUrl::from_stored(row.target_url.clone()),
            status: redirect_status(row.redirect_status),
            forward_query: row.forward_query,
            starts_at: row.starts_at,
            expires_at: row.expires_at,
            max_clicks: row.max_clicks,
            title: row.title.as_deref().map(Into::into),
            updated_at: row.updated_at,
            loaded_at: AtomicI64::new(now.as_millis()),
            revalidating: AtomicBool::new(false),
            used_up: AtomicBool::new(row.max_clicks.is_some_and(|max| row.humans >= max)),
        }
    }

    /// Whether the database says the same: a version alone does not tell, since a database that was
    /// put back gives it again, and the workspace's choice is no part of it.
    pub(crate) fn is_as(&self, row: &LinkRow) -> bool {
        self.version == row.version
            && self.updated_at == row.updated_at
            && self.visitor_epoch == row.visitor_epoch
    }

    /// Notes that the database still said the same at `now`.
    pub(crate) fn confirm(&self, row: &LinkRow, now: Timestamp) {
        self.loaded_at.store(now.as_millis(), Ordering::Relaxed);
        // Deleted clicks give slots back.
        let used_up = row.max_clicks.is_some_and(|max| row.humans >= max);
        self.used_up.store(used_up, Ordering::Relaxed);
    }

    /// How long it has been in memory; up to an eighth more, so that links that were loaded together
    /// are not revalidated together. For ever when the clock has been set back since.
    pub(crate) fn age(&self, now: Timestamp) -> Duration {
        let loaded_at = Timestamp::from_millis(self.loaded_at.load(Ordering::Relaxed));
        if now < loaded_at {
            return Duration::MAX;
        }
        let age = now.since(loaded_at);
        age + age / 64 * u32::try_from(self.link.number().rem_euclid(8)).unwrap_or(0)
    }

    /// Makes the next request have it revalidated; it is served until then, and meanwhile.
    pub(crate) fn doubt(&self) {
        let long_ago = Timestamp::MIN.as_millis();
        self.loaded_at.store(long_ago, Ordering::Relaxed);
    }

    /// Rough bytes in memory.
    pub(crate) fn weight(&self) -> usize {
        size_of::<Self>()
            + 2 * self.location.len()
            + self.title.as_ref().map_or(0, |title| title.len())
            + 64
    }

    /// Whether the caller is the one to revalidate.
    pub(crate) fn claim_revalidation(&self) -> bool {
        !self.revalidating.load(Ordering::Relaxed)
            && !self.revalidating.swap(true, Ordering::Relaxed)
    }

    pub(crate) fn release_revalidation(&self) {
        self.revalidating.store(false, Ordering::Relaxed);
    }

    /// Whether the clicks of this version were used up when that was last known; only the database
    /// knows whether they are.
    pub(crate) fn is_used_up(&self) -> bool {
        self.used_up.load(Ordering::Relaxed)
    }

    pub(crate) fn set_used_up(&self) {
        self.used_up.store(true, Ordering::Relaxed);
    }
}
