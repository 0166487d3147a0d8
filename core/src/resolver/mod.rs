//! From a slug to its destination, from memory; what memory does not have, from Redis where there is
//! one, and then from the database.
//!
//! An entry is served for [`FRESH_FOR`] and revalidated in the background after that, for as long
//! as the database cannot answer. Loads of one slug are shared. A load that began before a change
//! never overwrites what the change published: both go through the lock of `under_way`.

mod destination;
mod kept;
mod key;
mod sharing;
#[cfg(test)]
mod tests;
mod under_way;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use moka::sync::Cache;
use tokio::sync::OnceCell;

pub(crate) use destination::Destination;
use key::{SlugKey, SlugRef};
use sharing::Shelf;
use under_way::{Beside, UnderWay};

use crate::complaint::Complaint;
use crate::model::{Clock, DomainId, FoldedSlug, LinkId, Timestamp, WorkspaceId};
use crate::shared::Shared;
use crate::store::links::LinkRow;
use crate::store::{DATABASE_PATIENCE, Store, StoreError, within};

/// How long an entry is served without asking the database again.
pub(crate) const FRESH_FOR: Duration = Duration::from_secs(30);
/// How long an unknown slug stays unknown without asking again.
const ABSENT_FOR: Duration = Duration::from_secs(5);
/// Entries that one query revalidates, and the pause until the next query: a full cache takes a few
/// seconds, and redirects hardly notice.
const ASKED_TOGETHER: usize = 64;
const ASKED_EVERY: Duration = Duration::from_millis(10);
/// Bytes that cached destinations may take.
const PRESENT_BYTES: u64 = 24 * 1024 * 1024;
/// Unknown slugs that are remembered: bounded apart, so that guessing never evicts links.
const ABSENT_SLUGS: u64 = 10_000;

impl Stale {
    /// Some of those that wait; when there are none, the asking ends.
    fn take(&mut self) -> Vec<(SlugKey, Arc<Destination>)> {
        let kept = self.waiting.len().saturating_sub(ASKED_TOGETHER);
        let asked = self.waiting.split_off(kept);
        self.asking = !asked.is_empty();
        asked
    }
}

/// The slug is not in memory, and the database cannot answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unavailable;

type Found = Result<Option<Arc<Destination>>, Unavailable>;
type Load = Arc<OnceCell<Found>>;

#[derive(Debug)]
pub(crate) struct Resolver {
    store: Store,
    clock: Arc<dyn Clock>,
    /// What other nodes read lately, and how they hear of changes.
    shared: Option<Arc<Shared>>,
    present: Cache<SlugKey, Arc<Destination>>,
    absent: Cache<SlugKey, Timestamp>,
    /// Short critical sections, no await inside: std mutexes.
    under_way: Mutex<UnderWay>,
    stale: Mutex<Stale>,
    failed_lookups: Complaint,
    failed_revalidations: Complaint,
}

/// Entries past their time that wait to be asked for, many in one query: a node's links grow old
/// together, and a query for each would take the processor from redirects.
#[derive(Debug, Default)]
struct Stale {
    waiting: Vec<(SlugKey, Arc<Destination>)>,
    /// Whether a task is asking.
    asking: bool,
}

impl Resolver {
    pub(crate) fn new(store: Store, clock: Arc<dyn Clock>, shared: Option<Arc<Shared>>) -> Self {
        Self {
            store,
            clock,
            shared,
            present: Cache::builder()
                .max_capacity(PRESENT_BYTES)
                .weigher(|key: &SlugKey, destination: &Arc<Destination>| {
                    u32::try_from(key.folded.len() + destination.weight()).unwrap_or(u32::MAX)
                })
                .build(),
            absent: Cache::new(ABSENT_SLUGS),
            under_way: Mutex::default(),
            stale: Mutex::default(),
            failed_lookups: Complaint::default(),
            failed_revalidations: Complaint::default(),
        }
    }

    /// What holds this slug at `now`, deleted links too; `None` when nothing ever did.
    pub(crate) async fn find(
        self: &Arc<Self>,
        domain: DomainId,
        slug: &FoldedSlug,
        now: Timestamp,
    ) -> Found {
        let key = SlugRef {
            domain,
            folded: slug.as_str(),
        };
        if let Some(destination) = self.present.get(&key) {
            if destination.age(now) >= FRESH_FOR && destination.claim_revalidation() {
                self.revalidate(&key, Arc::clone(&destination));
            }
            return Ok(Some(destination));
        }
        if let Some(since) = self.absent.get(&key)
            && is_within(ABSENT_FOR, since, now)
        {
            return Ok(None);
        }
        self.load(SlugKey {
            domain,
            folded: slug.as_str().into(),
        })
        .await
    }

    fn revalidate(self: &Arc<Self>, key: &SlugRef<'_>, destination: Arc<Destination>) {
        let key = SlugKey {
            domain: key.domain,
            folded: key.folded.into(),
        };
        let mut stale = self.stale();
        stale.waiting.push((key, destination));
        if !std::mem::replace(&mut stale.asking, true) {
            let resolver = Arc::clone(self);
            tokio::spawn(async move { resolver.revalidate_waiting().await });
        }
    }

    async fn revalidate_waiting(&self) {
        loop {
            let asked = self.stale().take();
            if asked.is_empty() {
                return;
            }
            self.reload(&asked).await;
            for (_, destination) in &asked {
                // Whatever came of it, the entry may be tried again: it is served meanwhile.
                destination.release_revalidation();
            }
            tokio::time::sleep(ASKED_EVERY).await;
        }
    }

    async fn reload(&self, asked: &[(SlugKey, Arc<Destination>)]) {
        let loads: Vec<Load> = {
            let mut under_way = self.under_way();
            let of = |(key, _): &(SlugKey, _)| {
                Arc::clone(under_way.loads.entry(key.clone()).or_default())
            };
            asked.iter().map(of).collect()
        };
        let ids: Vec<LinkId> = asked.iter().map(|(_, stale)| stale.link).collect();
        match within(DATABASE_PATIENCE, self.store.links_by_id(&ids)).await {
            Ok(rows) => {
                let mut rows: HashMap<_, _> = rows.into_iter().map(|row| (row.id, row)).collect();
                let now = self.clock.now();
                for ((key, stale), load) in asked.iter().zip(&loads) {
                    match rows.remove(&stale.link) {
                        Some(row) if stale.is_as(&row) => {
                            // Unless something was heard meanwhile that makes it doubtful again.
                            let mut under_way = self.under_way();
                            if under_way.end_load(key, load) {
                                stale.confirm(&row, now);
                            }
                        }
                        Some(row) => drop(self.finish(key, load, Ok(Some(row)))),
                        None => self.forget(key, load),
                    }
                }
            }
            Err(error) => {
                if self.failed_revalidations.is_due() {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        links = asked.len(),
                        "links in memory could not be revalidated"
                    );
                }
                for ((key, _), load) in asked.iter().zip(&loads) {
                    self.under_way().end_load(key, load);
                }
            }
        }
    }

    async fn load(&self, key: SlugKey) -> Found {
        let waiter = Waiter {
            load: Arc::clone(self.under_way().loads.entry(key.clone()).or_default()),
            resolver: self,
            key,
        };
        let Waiter { key, load, .. } = &waiter;
        // On the heap: what waits for Redis and the database would make every redirect's future large.
        let found = load.get_or_init(|| Box::pin(self.read(key, load))).await;
        found.clone()
    }

    async fn read(&self, key: &SlugKey, load: &Load) -> Found {
        let ticket = match self.look_up_shared(key).await {
            Shelf::Has(found) => return Ok(self.finish_shared(key, load, found)),
            Shelf::Lacks(ticket) => ticket,
        };
        let row = self.store.link_by_slug(key.domain, &key.folded);
        let row = within(DATABASE_PATIENCE, row).await;
        let found = self.finish(key, load, row);
        if let (Some(ticket), Ok(found)) = (ticket, &found) {
            self.offer(key, ticket, found.as_deref());
        }
        found
    }

    /// Keeps what was loaded, unless a change was published while it was being loaded.
    fn finish(
        &self,
        key: &SlugKey,
        load: &Load,
        row: Result<Option<LinkRow>, StoreError>,
    ) -> Found {
        let mut under_way = self.under_way();
        let current = under_way.end_load(key, load);
        let now = self.clock.now();
        match row {
            Ok(Some(row)) => {
                let destination = Arc::new(Destination::of(&row, now));
                if current {
                    // Read after all that was published, and so in force even if its version is lower:
                    // a database may have been put back.
                    self.keep(key, &destination);
                }
                Ok(Some(destination))
            }
            Ok(None) => {
                if current {
                    self.absent.insert(key.clone(), now);
                }
                Ok(None)
            }
            Err(error) => {
                if self.failed_lookups.is_due() {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "a slug could not be looked up"
                    );
                }
                Err(Unavailable)
            }
        }
    }

    fn keep_newer(&self, key: &SlugKey, destination: &Arc<Destination>) {
        let kept = self.present.get(&key.borrowed());
        if kept.is_none_or(|kept| kept.version <= destination.version) {
            self.keep(key, destination);
        }
    }

    fn keep(&self, key: &SlugKey, destination: &Arc<Destination>) {
        self.present.insert(key.clone(), Arc::clone(destination));
        self.absent.invalidate(&key.borrowed());
    }

    /// The link that memory holds is not in the database any more; whether another has its slug, the
    /// next redirect asks.
    fn forget(&self, key: &SlugKey, load: &Load) {
        let mut under_way = self.under_way();
        if under_way.end_load(key, load) {
            self.present.invalidate(&key.borrowed());
        }
    }

    /// Announces a change of whatever holds this slug. Until it is published, or if it never is,
    /// nothing that was loaded meanwhile is kept.
    pub(crate) fn changing(self: &Arc<Self>, domain: DomainId, folded: &str) -> Changing {
        let key = SlugKey {
            domain,
            folded: folded.into(),
        };
        self.under_way().begin_change(&key);
        Changing {
            resolver: Arc::clone(self),
            key,
            made: None,
        }
    }

    /// Ends a change: what it made comes into force, unless another may have made something newer.
    fn changed(&self, key: &SlugKey, made: Option<Arc<Destination>>) {
        let mut under_way = self.under_way();
        let beside = under_way.end_change(key);
        let told = made.as_deref().filter(|_| beside != Beside::Anything);
        self.announce(key, told);
        if let Some(destination) = made.filter(|_| beside == Beside::Nothing) {
            self.keep_newer(key, &destination);
        } else {
            self.present.invalidate(&key.borrowed());
            self.absent.invalidate(&key.borrowed());
        }
    }

    /// Forgets every link of a workspace, once the database says otherwise of them. What is being
    /// read or changed at this moment, of whichever workspace, is asked for again.
    pub(crate) fn forget_workspace(&self, workspace: WorkspaceId) {
        self.announce_workspace(workspace);
        self.forget_workspace_here(workspace);
    }

    fn forget_workspace_here(&self, workspace: WorkspaceId) {
        self.under_way().forget_all();
        for (key, destination) in &self.present {
            if destination.workspace == workspace {
                self.present.invalidate(&key.borrowed());
            }
        }
    }

    /// Links in memory.
    pub(crate) fn cached_links(&self) -> u64 {
        self.present.entry_count()
    }

    fn stale(&self) -> MutexGuard<'_, Stale> {
        self.stale.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn under_way(&self) -> MutexGuard<'_, UnderWay> {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who waits for a load. The last one that goes away before its end, a closed connection, takes it off
/// the list.
struct Waiter<'a> {
    resolver: &'a Resolver,
    key: SlugKey,
    load: Load,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        // Declared first, and so released last: others count only those that still wait.
        let mut under_way = self.resolver.under_way();
        let load = std::mem::take(&mut self.load);
        let listed_and_own = 2;
        if Arc::strong_count(&load) <= listed_and_own {
            under_way.end_load(&self.key, &load);
        }
    }
}

/// Whether `now` is less than `time` after `begun`, and not before it: clocks are set back.
fn is_within(time: Duration, begun: Timestamp, now: Timestamp) -> bool {
    now >= begun && now.since(begun) < time
}

/// A change under way; dropped unpublished (an error, a cancelled request), or when others of the same
/// slug ran beside it, it makes memory forget the slug, so that the next redirect asks the database.
#[derive(Debug)]
pub(crate) struct Changing {
    resolver: Arc<Resolver>,
    key: SlugKey,
    made: Option<Arc<Destination>>,
}

impl Changing {
    /// Puts the changed link in force on this node.
    pub(crate) fn published(mut self, row: &LinkRow) {
        let now = self.resolver.clock.now();
        self.made = Some(Arc::new(Destination::of(row, now)));
    }
}

impl Drop for Changing {
    fn drop(&mut self) {
        self.resolver.changed(&self.key, self.made.take());
    }
}
