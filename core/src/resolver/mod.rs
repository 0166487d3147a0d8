//! From a slug to its destination, from memory.
//!
//! An entry is served for [`FRESH_FOR`] and revalidated in the background after that, for as long
//! as the database cannot answer. Loads of one slug are shared. A load that began before a change
//! never overwrites what the change published: both go through the lock of `loads`.

mod destination;

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use equivalent::Equivalent;
use moka::sync::Cache;
use tokio::sync::OnceCell;

pub(crate) use destination::Destination;

use crate::model::{Clock, DomainId, FoldedSlug, Timestamp};
use crate::store::links::LinkRow;
use crate::store::{Store, StoreError};

/// How long an entry is served without asking the database again.
pub(crate) const FRESH_FOR: Duration = Duration::from_secs(30);
/// How long an unknown slug stays unknown without asking again.
const ABSENT_FOR: Duration = Duration::from_secs(5);
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
    /// Loads under way. Short critical sections, no await inside: a std mutex.
    loads: Mutex<HashMap<SlugKey, Load>>,
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
            loads: Mutex::default(),
        }
    }

    /// What holds this slug, deleted links too; `None` when nothing ever did.
    pub(crate) async fn find(self: &Arc<Self>, domain: DomainId, slug: &FoldedSlug) -> Found {
        let key = SlugRef {
            domain,
            folded: slug.as_str(),
        };
        let now = self.clock.now();
        if let Some(destination) = self.present.get(&key) {
            if now.since(destination.loaded_at()) >= FRESH_FOR && destination.claim_revalidation() {
                self.revalidate(&key, Arc::clone(&destination));
            }
            return Ok(Some(destination));
        }
        if let Some(since) = self.absent.get(&key)
            && now.since(since) < ABSENT_FOR
        {
            return Ok(None);
        }
        self.load(SlugKey {
            domain,
            folded: slug.as_str().into(),
        })
        .await
    }

    fn revalidate(self: &Arc<Self>, key: &SlugRef<'_>, stale: Arc<Destination>) {
        let resolver = Arc::clone(self);
        let key = SlugKey {
            domain: key.domain,
            folded: key.folded.into(),
        };
        tokio::spawn(async move {
            // Whatever comes of it, the entry may be tried again: it is served meanwhile.
            let _ = resolver.load(key).await;
            stale.release_revalidation();
        });
    }

    async fn load(&self, key: SlugKey) -> Found {
        let load = Arc::clone(self.loads().entry(key.clone()).or_default());
        let found = load
            .get_or_init(|| async {
                let row = self.store.link_by_slug(key.domain, &key.folded).await;
                self.finish(&key, &load, row)
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
        let mut loads = self.loads();
        let current = loads.get(key).is_some_and(|other| Arc::ptr_eq(other, load));
        if current {
            loads.remove(key);
        }
        let now = self.clock.now();
        match row {
            Ok(Some(row)) => {
                let destination = Arc::new(Destination::of(&row, now));
                if current {
                    self.keep_newer(key, &destination);
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
            self.present.insert(key.clone(), Arc::clone(destination));
        }
        self.absent.invalidate(&key.borrowed());
    }

    /// Announces a change of whatever holds this slug. Until it is published, or if it never is,
    /// nothing that was loaded meanwhile is kept.
    pub(crate) fn changing(self: &Arc<Self>, domain: DomainId, folded: &str) -> Changing {
        Changing {
            resolver: Arc::clone(self),
            key: SlugKey {
                domain,
                folded: folded.into(),
            },
            published: false,
        }
    }

    /// Links in memory.
    pub(crate) fn cached_links(&self) -> u64 {
        self.present.entry_count()
    }

    fn loads(&self) -> MutexGuard<'_, HashMap<SlugKey, Load>> {
        self.loads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A change under way; dropped unpublished (an error, a cancelled request), it makes memory forget
/// the slug, so that the next redirect asks the database.
#[derive(Debug)]
pub(crate) struct Changing {
    resolver: Arc<Resolver>,
    key: SlugKey,
    published: bool,
}

impl Changing {
    /// Puts the changed link in force on this node.
    pub(crate) fn published(mut self, row: &LinkRow) {
        let destination = Arc::new(Destination::of(row, self.resolver.clock.now()));
        let mut loads = self.resolver.loads();
        loads.remove(&self.key);
        self.resolver.keep_newer(&self.key, &destination);
        drop(loads);
        self.published = true;
    }
}

impl Drop for Changing {
    fn drop(&mut self) {
        if !self.published {
            let mut loads = self.resolver.loads();
            loads.remove(&self.key);
            self.resolver.present.invalidate(&self.key.borrowed());
            self.resolver.absent.invalidate(&self.key.borrowed());
        }
    }
}
