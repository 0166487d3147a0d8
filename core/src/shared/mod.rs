//! What the nodes of one installation share by Redis: recently read links, the news of changes, and
//! allowances. All of it is a copy or can be done without; the database decides.
//!
//! An entry lives for at most as long after it was read from the database as memory trusts its own,
//! and memory counts the time in Redis as its own. So a change that nobody was told of is in force
//! everywhere after that time, whatever happens to Redis.

mod announcer;
mod breaker;
mod limits;
mod listener;
mod news;
mod redis;
mod scripts;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use deadpool_redis::redis::pipe;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::model::{DomainId, Entropy, random_bytes};
use crate::store::standings::Revision;
use crate::store::{Store, StoreError};

pub use limits::{SharedLimits, Taken};
pub(crate) use news::News;
pub use redis::{RedisUrl, RedisUrlError};

pub(crate) use announcer::Announcer;
use announcer::{Announcement, Announcements};
use redis::{BUDGET, PROBE_BUDGET, Redis};

/// How often Redis is tried while it is away.
const PROBE_EVERY: Duration = Duration::from_millis(500);
/// How long an outcome that nobody knows keeps loads that began before it from being kept: longer than
/// a load may take.
const BARRIER_FOR: Duration = Duration::from_secs(5);
/// Above all versions, and exact in a script's arithmetic.
const BARRIER: i64 = (1 << 53) - 1;

/// How the sharing goes, at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedStatus {
    /// Redis answers, and is asked.
    pub up: bool,
    /// News of other nodes arrive.
    pub listening: bool,
    /// Links and unknown slugs that Redis knew.
    pub hits: u64,
    pub misses: u64,
    /// Commands that failed or were not answered in time.
    pub errors: u64,
}

/// Redis, as the nodes of one installation use it.
#[derive(Debug)]
pub(crate) struct Shared {
    redis: Redis,
    names: Names,
    announcements: Announcements,
    /// Tells this node's news from those of others.
    node: u64,
    entropy: Arc<dyn Entropy>,
    listening: AtomicBool,
    hits: AtomicU64,
    misses: AtomicU64,
}

/// What things are called in Redis.
#[derive(Debug)]
struct Names {
    /// `terse:{installation}:`, before everything.
    prefix: String,
    generations: String,
    channel: String,
    /// Known to the database and the nodes alone.
    secret: [u8; 16],
}

/// What Redis knows of a slug.
#[derive(Debug)]
pub(crate) enum Known {
    /// What was kept, and for how much longer it may be used.
    Entry(String, Duration),
    /// That nobody has it, and for how much longer that may be said.
    Absent(Duration),
    /// Nothing: what is loaded from now on may be kept under this.
    Nothing(Ticket),
    /// Redis is away, or has yet to hear of a change.
    Away,
}

/// Permission to keep what is loaded after it was given.
#[derive(Debug)]
pub(crate) struct Ticket {
    generation: String,
}

/// Something to keep under a slug.
#[derive(Debug)]
pub(crate) struct Copy {
    pub(crate) domain: DomainId,
    pub(crate) slug: Box<str>,
    /// 0 for a slug that nobody has.
    pub(crate) version: i64,
    /// `None` keeps only the version: older ones are refused, and readers go to the database.
    pub(crate) text: Option<String>,
    pub(crate) keep_for: Duration,
}

/// Ends the tasks in the background when dropped.
#[derive(Debug)]
pub(crate) struct Background {
    _stop: DropGuard,
}

impl Names {
    async fn of(store: &Store, entropy: &dyn Entropy) -> Result<Self, StoreError> {
        let random = || format!("{:032x}", u128::from_le_bytes(random_bytes(entropy)));
        let installation = store.setting_or("installation", &random()).await?;
        let secret = store.setting_or("shared_secret", &random()).await?;
        let secret = u128::from_str_radix(&secret, 16)
            .map_err(|_| StoreError::Unreadable("the setting shared_secret is damaged"))?;
        let prefix = format!("terse:{installation}:");
        Ok(Self {
            generations: format!("{prefix}generation"),
            channel: format!("{prefix}news"),
            prefix,
            secret: secret.to_le_bytes(),
        })
    }

    fn entry(&self, domain: DomainId, slug: &str) -> String {
        format!("{}link:{domain}:{slug}", self.prefix)
    }
}

impl Shared {
    /// Prepares the sharing; nothing is asked before [`Shared::start`].
    pub(crate) async fn prepare(
        url: &RedisUrl,
        store: &Store,
        entropy: Arc<dyn Entropy>,
    ) -> Result<(Arc<Self>, Announcer), StoreError> {
        let (announcements, announcer) = announcer::pair();
        let shared = Self {
            redis: Redis::new(url)
                .map_err(|_| StoreError::Unreadable("the Redis URL cannot be used"))?,
            names: Names::of(store, &*entropy).await?,
            announcements,
            node: u64::from_le_bytes(random_bytes(&*entropy)),
            entropy,
            listening: AtomicBool::new(false),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        };
        Ok((Arc::new(shared), announcer))
    }

    /// Begins to ask, to tell and to listen; `hear` is told the news of other nodes. Waits until Redis
    /// has answered or is known to be away.
    pub(crate) async fn start(
        self: &Arc<Self>,
        announcer: Announcer,
        authorization: Arc<Revision>,
        hear: impl Fn(News) + Send + Sync + 'static,
    ) -> Background {
        if let Err(error) = self.try_again().await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "Redis does not answer: beginning without it"
            );
        }
        let stop = CancellationToken::new();
        let shared = Arc::clone(self);
        let made = Arc::clone(&authorization);
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            tokio::join!(
                shared.look_after(),
                shared.tell_of_revisions(&made),
                announcer.run(&shared),
            );
        }));
        let shared = Arc::clone(self);
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            let hear = |news| {
                if matches!(news, News::Anything | News::Authorization) {
                    authorization.doubt();
                }
                hear(news);
            };
            listener::run(&shared, hear).await;
        }));
        Background {
            _stop: stop.drop_guard(),
        }
    }

    async fn tell_of_revisions(&self, made: &Revision) {
        loop {
            made.made().await;
            self.tell(News::Authorization);
        }
    }

    async fn look_after(&self) {
        loop {
            self.redis.breaker.opened().await;
            tokio::time::sleep(PROBE_EVERY).await;
            if self.try_again().await.is_ok() {
                tracing::warn!("Redis answers again");
            }
        }
    }

    /// Asks Redis again from here on, if it answers now.
    async fn try_again(&self) -> Result<(), redis::Failure> {
        let mut commands = pipe();
        commands.add_command(scripts::probe(&format!("{}probe", self.names.prefix)));
        let missed = self.announcements.take_missed();
        if missed {
            // Entries that changed meanwhile may still be there.
            self.renew(&mut commands, &News::Anything);
        }
        let tried = self.redis.probe(&commands).await;
        match &tried {
            Ok(()) => self.redis.breaker.close(),
            Err(_) if missed => self.announcements.miss(),
            Err(_) => {}
        }
        self.announcements.told(usize::from(missed));
        tried
    }

    /// What Redis knows of a slug. It is not asked while it may not know what this node did: that is in
    /// force here at once.
    pub(crate) async fn look_up(&self, domain: DomainId, slug: &str) -> Known {
        if self.announcements.is_behind() {
            return Known::Away;
        }
        let mut commands = pipe();
        let entry = self.names.entry(domain, slug);
        commands.add_command(scripts::look_up(
            &entry,
            &self.names.generations,
            &self.fresh(),
        ));
        let answer = self
            .redis
            .ask::<((String, Option<Vec<u8>>, i64),)>(BUDGET, &commands)
            .await;
        let Ok(((generation, kept, millis),)) = answer else {
            return Known::Away;
        };
        let known = kept.and_then(|kept| usable(kept, millis, &generation));
        let count = if known.is_some() {
            &self.hits
        } else {
            &self.misses
        };
        count.fetch_add(1, Ordering::Relaxed);
        known.unwrap_or(Known::Nothing(Ticket { generation }))
    }

    /// Keeps, in the background, what was loaded since the ticket was given.
    pub(crate) fn offer(&self, ticket: Ticket, copy: Copy) {
        self.announcements.offer(Announcement::Loaded(ticket, copy));
    }

    /// Tells all nodes, in the background, what a change made of a slug.
    pub(crate) fn changed(&self, copy: Copy) {
        self.announcements.change(Announcement::Changed(copy));
    }

    /// Tells all nodes, in the background, that a change of a slug may have been made or not.
    pub(crate) fn perhaps_changed(&self, domain: DomainId, slug: Box<str>) {
        self.changed(Copy {
            domain,
            slug,
            version: BARRIER,
            text: None,
            keep_for: BARRIER_FOR,
        });
    }

    /// Forgets all entries and tells all nodes why, in the background.
    pub(crate) fn renewed(&self, news: News) {
        self.announcements.change(Announcement::Renewed(news));
    }

    /// Tells all nodes, in the background, and changes nothing.
    pub(crate) fn tell(&self, news: News) {
        self.announcements.offer(Announcement::Told(news));
    }

    /// Waits, for a moment, until what was to be told is told.
    pub(crate) async fn finish(&self) {
        let _ = tokio::time::timeout(PROBE_BUDGET / 4, self.announcements.finish()).await;
    }

    pub(crate) fn status(&self) -> SharedStatus {
        SharedStatus {
            up: self.redis.breaker.is_closed(),
            listening: self.listening.load(Ordering::Relaxed),
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            errors: self.redis.errors(),
        }
    }

    /// The name of a new generation.
    fn fresh(&self) -> String {
        format!("{:016x}", u64::from_le_bytes(random_bytes(&*self.entropy)))
    }
}

/// What an entry of this generation says, with so many milliseconds to live; `None` when readers have to
/// go to the database.
fn usable(kept: Vec<u8>, millis: i64, generation: &str) -> Option<Known> {
    let kept = String::from_utf8(kept).ok()?;
    let mut parts = kept.splitn(3, ' ');
    if parts.next() != Some(generation) {
        return None;
    }
    let version: i64 = parts.next()?.parse().ok()?;
    // Without an end: not one of ours.
    let left = Duration::from_millis(u64::try_from(millis).ok()?);
    match (version, parts.next()?) {
        (0, _) => Some(Known::Absent(left)),
        (_, "") => None,
        (_, text) => Some(Known::Entry(text.to_owned(), left)),
    }
}
