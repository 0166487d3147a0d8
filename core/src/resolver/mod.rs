//! From a slug to its destination, from memory.
//!
//! An entry is served for [`FRESH_FOR`] and revalidated in the background after that, for as long
//! as the database cannot answer. Loads of one slug are shared. A load that began before a change
//! never overwrites what the change published: both go through the lock of `under_way`.

mod destination;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use equivalent::Equivalent;
use moka::sync::Cache;
use tokio::sync::OnceCell;

pub(crate) use destination::Destination;

use crate::model::{Clock, DomainId, FoldedSlug, LinkId, Timestamp, WorkspaceId};
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

#[derive(Clone, Debug, PartialEq, Eq)]
struct SlugKey {
    domain: DomainId,
    folded: Box<str>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct SlugRef<'a> {
    domain: DomainId,
    folded: &'a str,
}

impl SlugKey {
    fn borrowed(&self) -> SlugRef<'_> {
        SlugRef {
            domain: self.domain,
            folded: &self.folded,
        }
    }
}

impl Hash for SlugRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.domain.hash(state);
        self.folded.hash(state);
    }
}

impl Hash for SlugKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.borrowed().hash(state);
    }
}

impl Equivalent<SlugKey> for SlugRef<'_> {
    fn equivalent(&self, key: &SlugKey) -> bool {
        *self == key.borrowed()
    }
}

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
    present: Cache<SlugKey, Arc<Destination>>,
    absent: Cache<SlugKey, Timestamp>,
    /// Short critical sections, no await inside: std mutexes.
    under_way: Mutex<UnderWay>,
    stale: Mutex<Stale>,
}

/// What is being read and written at this moment.
#[derive(Debug, Default)]
struct UnderWay {
    loads: HashMap<SlugKey, Load>,
    changes: HashMap<SlugKey, Changes>,
}

/// Changes of one slug that are under way.
#[derive(Debug, Default)]
struct Changes {
    count: usize,
    /// There was another at some time: the order in which they end need not be that of the database.
    overlapping: bool,
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
    pub(crate) fn new(store: Store, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            clock,
            present: Cache::builder()
                .max_capacity(PRESENT_BYTES)
                .weigher(|key: &SlugKey, destination: &Arc<Destination>| {
                    u32::try_from(key.folded.len() + destination.weight()).unwrap_or(u32::MAX)
                })
                .build(),
            absent: Cache::new(ABSENT_SLUGS),
            under_way: Mutex::default(),
            stale: Mutex::default(),
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
                        Some(row) if stale.confirm(&row, now) => {
                            self.under_way().end_load(key, load);
                        }
                        Some(row) => drop(self.finish(key, load, Ok(Some(row)))),
                        None => self.forget(key, load),
                    }
                }
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    links = asked.len(),
                    "links in memory could not be revalidated"
                );
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
        let found = load
            .get_or_init(|| async {
                let row = self.store.link_by_slug(key.domain, &key.folded);
                let row = within(DATABASE_PATIENCE, row).await;
                self.finish(key, load, row)
            })
            .await;
        found.clone()
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
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a slug could not be looked up"
                );
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
        let mut under_way = self.under_way();
        let changes = under_way.changes.entry(key.clone()).or_default();
        changes.count += 1;
        changes.overlapping |= changes.count > 1;
        drop(under_way);
        Changing {
            resolver: Arc::clone(self),
            key,
            made: None,
        }
    }

    /// Ends a change: what it made comes into force, unless another may have made something newer.
    fn changed(&self, key: &SlugKey, made: Option<Arc<Destination>>) {
        let mut under_way = self.under_way();
        under_way.loads.remove(key);
        let mut alone = true;
        if let Some(changes) = under_way.changes.get_mut(key) {
            alone = !changes.overlapping;
            changes.count -= 1;
            if changes.count == 0 {
                under_way.changes.remove(key);
            }
        }
        if let Some(destination) = made.filter(|_| alone) {
            self.keep_newer(key, &destination);
        } else {
            self.present.invalidate(&key.borrowed());
            self.absent.invalidate(&key.borrowed());
        }
    }

    /// Forgets every link of a workspace, once the database says otherwise of them. What is being
    /// read or changed at this moment, of whichever workspace, is asked for again.
    pub(crate) fn forget_workspace(&self, workspace: WorkspaceId) {
        let mut under_way = self.under_way();
        under_way.loads.clear();
        for changes in under_way.changes.values_mut() {
            changes.overlapping = true;
        }
        drop(under_way);
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

impl UnderWay {
    /// Takes a load off the list. Returns whether nothing was published since it began.
    fn end_load(&mut self, key: &SlugKey, load: &Load) -> bool {
        let current = self
            .loads
            .get(key)
            .is_some_and(|other| Arc::ptr_eq(other, load));
        if current {
            self.loads.remove(key);
        }
        current
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
