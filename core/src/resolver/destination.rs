//! A link as the redirect path needs it.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use crate::links::redirect_status;
use crate::model::{LinkId, LinkState, RedirectStatus, TargetUrl, Timestamp, WorkspaceId};
use crate::store::links::LinkRow;

#[derive(Debug)]
pub(crate) struct Destination {
    pub(crate) link: LinkId,
    pub(crate) workspace: WorkspaceId,
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
    loaded_at: Timestamp,
    revalidating: AtomicBool,
    used_up: AtomicBool,
}

impl Destination {
    pub(crate) fn of(row: &LinkRow, now: Timestamp) -> Self {
        Self {
            link: row.id,
            workspace: row.workspace_id,
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
            loaded_at: now,
            revalidating: AtomicBool::new(false),
            used_up: AtomicBool::new(row.max_clicks.is_some_and(|max| row.humans >= max)),
        }
    }

    pub(crate) fn loaded_at(&self) -> Timestamp {
        self.loaded_at
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

    /// Whether the clicks of this version are known to be used up: counters never go down.
    pub(crate) fn is_used_up(&self) -> bool {
        self.used_up.load(Ordering::Relaxed)
    }

    pub(crate) fn set_used_up(&self) {
        self.used_up.store(true, Ordering::Relaxed);
    }
}
