//! The keys of the visitor hashes: one per epoch, made a day ahead, destroyed after its time.
//!
//! Workspaces choose between months and days, at any time: the keys of both are always ready, and one
//! that nobody uses has no hash to tell of.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::ToSpan;
use jiff::tz::TimeZone;

use crate::model::{Entropy, Timestamp, VisitorEpoch, random_bytes};
use crate::store::{Store, StoreError};

const AHEAD: Duration = Duration::from_hours(24);
// Clicks of the old epoch may still be on their way; their hashes are made already.
const KEPT_AFTER_END: Duration = Duration::from_hours(1);
// Emptying the log holds writers up while it waits for readers.
const ERASED_AGAIN_AFTER: Duration = Duration::from_mins(1);

#[derive(Clone, Copy, Debug)]
struct Salt {
    key: [u8; 16],
    ends_at: Timestamp,
}

#[derive(Clone, Copy, Debug)]
struct Pair {
    current: Salt,
    next: Option<Salt>,
}

impl Pair {
    /// Whether the salt after the current one should be there by now.
    fn is_behind(&self, now: Timestamp) -> bool {
        now >= self.current.ends_at
            || (self.next.is_none() && now.plus(AHEAD) >= self.current.ends_at)
    }
}

#[derive(Clone, Copy, Debug)]
struct Pairs {
    month: Pair,
    day: Pair,
}

impl Pairs {
    fn of(&self, epoch: VisitorEpoch) -> &Pair {
        match epoch {
            VisitorEpoch::Month => &self.month,
            VisitorEpoch::Day => &self.day,
        }
    }

    fn with(mut self, epoch: VisitorEpoch, pair: Pair) -> Self {
        match epoch {
            VisitorEpoch::Month => self.month = pair,
            VisitorEpoch::Day => self.day = pair,
        }
        self
    }
}

/// The salts in force, read without a lock.
#[derive(Debug)]
pub(crate) struct VisitorSalts {
    /// Of workspaces that do not choose.
    epoch: VisitorEpoch,
    entropy: Arc<dyn Entropy>,
    pairs: ArcSwap<Pairs>,
    /// After which moment a salt is to be destroyed, or erased, in unix milliseconds.
    destroy_after: AtomicI64,
    /// The database's log may still hold destroyed salts.
    unerased: AtomicBool,
}

impl VisitorSalts {
    pub(crate) async fn open(
        store: &Store,
        epoch: VisitorEpoch,
        entropy: Arc<dyn Entropy>,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let salts = Self {
            epoch,
            pairs: ArcSwap::from_pointee(stored_pairs(store, &*entropy, now).await?),
            entropy,
            destroy_after: AtomicI64::new(i64::MIN),
            // An earlier process may have ended between destroying and erasing.
            unerased: AtomicBool::new(true),
        };
        salts.destroy_old(store, now).await?;
        Ok(salts)
    }

    /// The key for a click at `now`, in a workspace that may have chosen an epoch.
    pub(crate) fn key(&self, now: Timestamp, chosen: Option<VisitorEpoch>) -> [u8; 16] {
        let epoch = chosen.unwrap_or(self.epoch);
        let pairs = self.pairs.load();
        let pair = pairs.of(epoch);
        if now < pair.current.ends_at {
            return pair.current.key;
        }
        match pair.next {
            Some(next) if now < next.ends_at => next.key,
            _ => self.improvised(now, epoch),
        }
    }

    /// A key for an epoch that the database could not be asked about: it was away for a day.
    fn improvised(&self, now: Timestamp, epoch: VisitorEpoch) -> [u8; 16] {
        let (_, ends_at) = epoch.at(now);
        let fresh = Pair {
            current: Salt {
                key: random_bytes(&*self.entropy),
                ends_at,
            },
            next: None,
        };
        self.pairs.rcu(|pairs| {
            if now < pairs.of(epoch).current.ends_at {
                Arc::clone(pairs)
            } else {
                Arc::new(pairs.with(epoch, fresh))
            }
        });
        self.pairs.load().of(epoch).current.key
    }

    /// Whether the next epoch's salt should be made, or an old one destroyed, by now.
    pub(crate) fn needs_maintenance(&self, now: Timestamp) -> bool {
        let pairs = self.pairs.load();
        pairs.month.is_behind(now)
            || pairs.day.is_behind(now)
            || now.as_millis() > self.destroy_after.load(Ordering::Relaxed)
    }

    /// Moves on to the next epoch, makes the one after that a day ahead, destroys what is over.
    pub(crate) async fn maintain(&self, store: &Store, now: Timestamp) -> Result<(), StoreError> {
        let pairs = stored_pairs(store, &*self.entropy, now).await?;
        self.pairs.store(Arc::new(pairs));
        self.destroy_old(store, now).await
    }

    /// Destroys the salts that are over, and leaves nothing of them in the database's log.
    async fn destroy_old(&self, store: &Store, now: Timestamp) -> Result<(), StoreError> {
        let (destroyed, oldest_end) = store
            .destroy_salts_before(now.minus(KEPT_AFTER_END))
            .await?;
        self.unerased.fetch_or(destroyed > 0, Ordering::Relaxed);
        if self.unerased.load(Ordering::Relaxed) {
            let again = now.plus(ERASED_AGAIN_AFTER).as_millis();
            self.destroy_after.store(again, Ordering::Relaxed);
            // No reason not to serve: a full disk, for one, is in the way of emptying the log.
            let emptied = store.empty_log().await.unwrap_or_else(|error| {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "destroyed visitor salts may still stand in the database's log"
                );
                false
            });
            if !emptied {
                return Ok(());
            }
            self.unerased.store(false, Ordering::Relaxed);
        }
        let next = oldest_end.map_or(i64::MAX, |end| end.plus(KEPT_AFTER_END).as_millis());
        self.destroy_after.store(next, Ordering::Relaxed);
        Ok(())
    }
}

async fn stored_pairs(
    store: &Store,
    entropy: &dyn Entropy,
    now: Timestamp,
) -> Result<Pairs, StoreError> {
    Ok(Pairs {
        month: stored_pair(store, VisitorEpoch::Month, entropy, now).await?,
        day: stored_pair(store, VisitorEpoch::Day, entropy, now).await?,
    })
}

async fn stored_pair(
    store: &Store,
    epoch: VisitorEpoch,
    entropy: &dyn Entropy,
    now: Timestamp,
) -> Result<Pair, StoreError> {
    let current = stored_salt(store, epoch, entropy, now).await?;
    let next = if now.plus(AHEAD) >= current.ends_at {
        Some(stored_salt(store, epoch, entropy, current.ends_at).await?)
    } else {
        None
    };
    Ok(Pair { current, next })
}

async fn stored_salt(
    store: &Store,
    epoch: VisitorEpoch,
    entropy: &dyn Entropy,
    moment: Timestamp,
) -> Result<Salt, StoreError> {
    let (name, ends_at) = epoch.at(moment);
    let fresh: [u8; 16] = random_bytes(entropy);
    let stored = store.salt_of_epoch(&name, ends_at, &fresh).await?;
    let key = stored
        .try_into()
        .map_err(|_| StoreError::Unreadable("visitor_salts.salt"))?;
    Ok(Salt { key, ends_at })
}

impl VisitorEpoch {
    /// The name of the epoch at `moment`, and when it ends.
    fn at(self, moment: Timestamp) -> (String, Timestamp) {
        let date = moment.to_jiff().to_zoned(TimeZone::UTC).date();
        let (name, first, length) = match self {
            Self::Month => (date.strftime("%Y-%m"), date.first_of_month(), 1.month()),
            Self::Day => (date.strftime("%Y-%m-%d"), date, 1.day()),
        };
        let ends_at = first
            .checked_add(length)
            .and_then(|end| end.to_zoned(TimeZone::UTC))
            .map_or(Timestamp::MAX, |end| {
                Timestamp::from_millis(end.timestamp().as_millisecond())
            });
        (name.to_string(), ends_at)
    }
}

#[cfg(test)]
mod tests {
    use sqlx::Executor as _;

    use super::*;
    use crate::model::SeededEntropy;
    use crate::store::{DatabaseUrl, Db, PoolPurpose};

    /// Whether these bytes stand in any file of the directory.
    fn is_found(dir: &std::path::Path, bytes: &[u8]) -> bool {
        let mut files = std::fs::read_dir(dir).unwrap();
        files.any(|file| {
            let held = std::fs::read(file.unwrap().path()).unwrap();
            held.windows(bytes.len()).any(|window| window == bytes)
        })
    }

    #[tokio::test]
    async fn a_destroyed_salt_is_found_in_no_file_of_the_database() {
        let dir = tempfile::tempdir().unwrap();
        let url = DatabaseUrl::Sqlite(dir.path().join("terse.db"));
        let store = Store::connect(&url, PoolPurpose::Requests).await.unwrap();
        store.migrate_up().await.unwrap();
        let (now, entropy) = (at("2026-03-15T12:00:00Z"), Arc::new(SeededEntropy::new(1)));
        let salts = VisitorSalts::open(&store, VisitorEpoch::Day, entropy, now)
            .await
            .unwrap();
        let key = salts.key(now, None);
        assert!(is_found(dir.path(), &key), "it is stored while in force");
        let midnight = at("2026-03-16T00:00:00Z");
        salts.maintain(&store, midnight).await.unwrap();
        let due = midnight.plus(KEPT_AFTER_END);
        assert!(!salts.needs_maintenance(due), "clicks may be on their way");
        let due = due.plus(Duration::from_millis(1));
        assert!(salts.needs_maintenance(due));

        // Whoever reads an older state keeps it where it is.
        let Db::Sqlite(pool) = &store.db else {
            panic!("not SQLite");
        };
        let mut reader = pool.begin_with("BEGIN DEFERRED").await.unwrap();
        reader.execute("SELECT * FROM visitor_salts").await.unwrap();
        salts.maintain(&store, due).await.unwrap();
        assert!(is_found(dir.path(), &key));
        reader.rollback().await.unwrap();

        let later = due.plus(ERASED_AGAIN_AFTER + Duration::from_millis(1));
        assert!(salts.needs_maintenance(later), "it is tried again");
        salts.maintain(&store, later).await.unwrap();
        assert!(!is_found(dir.path(), &key));
        assert!(!salts.needs_maintenance(later));
    }

    #[tokio::test]
    async fn both_epochs_have_their_keys_at_any_time() {
        let dir = tempfile::tempdir().unwrap();
        let url = DatabaseUrl::Sqlite(dir.path().join("terse.db"));
        let store = Store::connect(&url, PoolPurpose::Requests).await.unwrap();
        store.migrate_up().await.unwrap();
        let (now, entropy) = (at("2026-03-31T12:00:00Z"), Arc::new(SeededEntropy::new(1)));
        let salts = VisitorSalts::open(&store, VisitorEpoch::Month, entropy, now)
            .await
            .unwrap();
        let (month, day) = (Some(VisitorEpoch::Month), Some(VisitorEpoch::Day));
        assert_eq!(salts.key(now, None), salts.key(now, month));
        assert_ne!(salts.key(now, day), salts.key(now, month));
        assert_eq!(
            salts.key(at("2026-03-31T00:00:00Z"), day),
            salts.key(now, day)
        );
        // Made ahead: the database is not asked at midnight.
        let midnight = at("2026-04-01T00:00:00Z");
        let ahead = [month, day].map(|epoch| salts.key(midnight, epoch));
        salts.maintain(&store, midnight).await.unwrap();
        assert_eq!([month, day].map(|epoch| salts.key(midnight, epoch)), ahead);
        // The database was away for two days: the month goes on, days are improvised.
        let later = at("2026-04-03T12:00:00Z");
        assert!(salts.needs_maintenance(later));
        assert_eq!(salts.key(later, month), ahead[0]);
        let improvised = salts.key(later, day);
        assert_ne!(improvised, ahead[1]);
        assert_eq!(salts.key(later, day), improvised);
        assert_eq!(salts.key(later, month), ahead[0]);
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::parse("at", text).unwrap()
    }

    #[test]
    fn an_epoch_ends_where_the_next_begins() {
        let (name, end) = VisitorEpoch::Month.at(at("2026-12-31T23:59:59.999Z"));
        assert_eq!(
            (name.as_str(), end),
            ("2026-12", at("2027-01-01T00:00:00Z"))
        );
        assert_eq!(VisitorEpoch::Month.at(end).0, "2027-01");
        let (name, end) = VisitorEpoch::Day.at(at("2028-02-29T12:00:00Z"));
        assert_eq!(
            (name.as_str(), end),
            ("2028-02-29", at("2028-03-01T00:00:00Z"))
        );
    }
}
