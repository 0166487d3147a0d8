//! From the tail into chunks, and from small chunks into large ones.
//!
//! The folder's thread seals when it has nothing to fold: it holds the only connection that writes to the
//! tail of this node, and so neither waits for the other. A thread of its own merges, shrinks
//! what is past its retention, and deletes.

mod erase;
mod errands;
mod merger;
mod plan;
mod retention;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::model::{Timestamp, WorkspaceId};
use crate::store::chunks::DAY_MILLIS;
use crate::store::sealed::Sealed;
use crate::store::{Store, StoreError};

pub(crate) use errands::{Errand, Errands};
pub(crate) use merger::{MergeBell, MergerHandle, MergerParts, decode_stored, read_chunk};
pub use plan::Sealing;
pub use retention::RetentionReport;

/// With so many clicks waiting to be sealed, sealing and folding take turns.
const PRESSING_CLICKS: usize = 1 << 20;
/// What a node that is gone left is sealed by another one after so long.
const COUNT_AGAIN: Duration = Duration::from_mins(10);

/// What sealing and merging have done since the process began, readable at any time.
#[derive(Debug, Default)]
pub(crate) struct SealProgress {
    /// Clicks that went from the tail into chunks.
    pub(crate) sealed: AtomicU64,
    /// Chunks that became part of a larger one.
    pub(crate) merged: AtomicU64,
}

/// How the tails of this node's workspaces have grown since they were last sealed.
#[derive(Debug, Default)]
pub(crate) struct Tails {
    pub(crate) progress: SealProgress,
    by_workspace: Mutex<HashMap<WorkspaceId, Tail>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Tail {
    clicks: usize,
    parcels: usize,
    /// Of the clicks, those that the last sealing left where they were.
    settled: usize,
}

impl Tail {
    fn is_ripe(self, plan: &Sealing) -> bool {
        self.clicks - self.settled.min(self.clicks) >= plan.ripe_clicks
            || self.parcels >= plan.ripe_parcels
    }

    /// How much reading it costs every question.
    fn burden(self, plan: &Sealing) -> usize {
        self.clicks + self.parcels * plan.ripe_clicks / plan.ripe_parcels.max(1)
    }
}

impl Tails {
    /// Notes clicks that went into a workspace's tail as one parcel.
    pub(crate) fn add(&self, workspace: WorkspaceId, clicks: usize) {
        let mut tails = self.lock();
        let tail = tails.entry(workspace).or_default();
        tail.clicks += clicks;
        tail.parcels += 1;
    }

    /// Clicks that are in tails, as far as this node knows.
    pub(crate) fn clicks(&self) -> u64 {
        let clicks: usize = self.lock().values().map(|tail| tail.clicks).sum();
        clicks as u64
    }

    /// The tail that is most in need of being sealed, and how many clicks wait in all of them.
    fn ripest(&self, plan: &Sealing) -> Option<(WorkspaceId, Tail, usize)> {
        let tails = self.lock();
        let waiting = tails.values().map(|tail| tail.clicks).sum();
        tails
            .iter()
            .filter(|(_, tail)| tail.is_ripe(plan))
            .max_by_key(|(_, tail)| tail.burden(plan))
            .map(|(workspace, tail)| (*workspace, *tail, waiting))
    }

    /// Notes what a sealing left. It saw the whole tail, also what other nodes put into it and took out
    /// of it: whatever was noted before counts no more.
    fn sealed(&self, workspace: WorkspaceId, sealed: &Sealed) {
        let (clicks, parcels) = sealed.tail;
        let tail = Tail {
            clicks,
            parcels,
            settled: sealed.left,
        };
        let mut tails = self.lock();
        match clicks {
            0 => tails.remove(&workspace),
            _ => tails.insert(workspace, tail),
        };
    }

    /// Notes that others than the sealer took clicks out.
    fn taken(&self, workspace: WorkspaceId, clicks: usize) {
        let mut tails = self.lock();
        let Some(tail) = tails.get_mut(&workspace) else {
            return;
        };
        tail.clicks = tail.clicks.saturating_sub(clicks);
        if tail.clicks == 0 {
            tails.remove(&workspace);
        }
    }

    /// Leaves a tail to another node that is at it, or to nobody.
    fn forget(&self, workspace: WorkspaceId) {
        self.lock().remove(&workspace);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<WorkspaceId, Tail>> {
        self.by_workspace
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Seals what is ripe, step by step.
#[derive(Debug)]
pub(crate) struct Sealer {
    plan: Sealing,
    tails: Arc<Tails>,
    merger: MergeBell,
    counted: Option<Instant>,
}

impl Sealer {
    pub(crate) fn new(plan: Sealing, tails: Arc<Tails>, merger: MergeBell) -> Self {
        Self {
            plan,
            tails,
            merger,
            counted: None,
        }
    }

    /// Whether so much waits that sealing must not wait for folding to be done.
    pub(crate) fn is_pressing(&self) -> bool {
        let tails = self.tails.ripest(&self.plan);
        tails.is_some_and(|(_, _, waiting)| waiting >= PRESSING_CLICKS)
    }

    /// Seals some clicks of the tail that needs it most. Returns whether there was one.
    pub(crate) async fn step(&mut self, store: &Store, now: Timestamp) -> Result<bool, StoreError> {
        if self
            .counted
            .is_none_or(|counted| counted.elapsed() >= COUNT_AGAIN)
        {
            self.count(store).await?;
        }
        let Some((workspace, tail, _)) = self.tails.ripest(&self.plan) else {
            return Ok(false);
        };
        let today = now.as_millis().div_euclid(DAY_MILLIS);
        let ripe = |day, clicks| self.plan.is_ripe(day, clicks, tail.clicks, today);
        // A whole tail at least, unless it is large: then every day that is over is ripe. Otherwise the same
        // clicks would be looked at again and again.
        let at_once = self.plan.at_once.max(self.plan.large_tail);
        let at_once = i64::try_from(at_once).unwrap_or(i64::MAX);
        let sealed = store.seal(workspace, at_once, i64::MAX, ripe, now);
        let sealed = match sealed.await {
            Err(StoreError::Unreadable(cause)) => {
                // Folding must go on; `verify` names the damage.
                tracing::error!(%workspace, cause, "the tail of a workspace cannot be sealed");
                self.tails.forget(workspace);
                return Ok(true);
            }
            sealed => sealed?,
        };
        let Some(sealed) = sealed else {
            self.tails.forget(workspace);
            return Ok(true);
        };
        self.tails.sealed(workspace, &sealed);
        let moved = &self.tails.progress.sealed;
        moved.fetch_add(sealed.clicks as u64, Ordering::Relaxed);
        for day in sealed.days {
            self.merger.ring(workspace, day);
        }
        Ok(true)
    }

    /// What the process before this one, or other nodes, left in the tails.
    async fn count(&mut self, store: &Store) -> Result<(), StoreError> {
        let mut tails = HashMap::new();
        let known = self.tails.lock().clone();
        for (workspace, clicks, parcels) in store.tails().await? {
            let tail = Tail {
                clicks: usize::try_from(clicks).unwrap_or(0),
                parcels: usize::try_from(parcels).unwrap_or(0),
                settled: known.get(&workspace).map_or(0, |tail| tail.settled),
            };
            tails.insert(workspace, tail);
        }
        *self.tails.lock() = tails;
        self.counted = Some(Instant::now());
        Ok(())
    }
}
