//! How often one client may ask: GCRA per address, with a bounded memory of addresses.

mod sharing;

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use governor::clock::{Clock, MonotonicClock};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::ShrinkableKeyedStateStore;
use governor::{Quota, RateLimiter};
use sha2::{Digest, Sha256};
use sharing::Sharing;
use terse_core::model::{Credential, Principal};

const SHARDS: usize = 64;
/// Addresses remembered at once; further new ones share one allowance per shard.
const MAX_KEYS: usize = 100_000;

/// A rate such as `200/s`; at most that many at once, refilled evenly. `off` is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate(Option<(NonZeroU32, Period)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Period {
    Second,
    Minute,
    Hour,
}

impl Period {
    const fn secs(self) -> u64 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3600,
        }
    }
}

impl Rate {
    /// No limit.
    pub const OFF: Self = Self(None);

    /// `count` each minute.
    pub const fn per_minute(count: NonZeroU32) -> Self {
        Self(Some((count, Period::Minute)))
    }
}

/// The text is no rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a rate such as 200/s, 10/m or 1000/h, or off")]
pub struct MalformedRate;

impl FromStr for Rate {
    type Err = MalformedRate;

    fn from_str(text: &str) -> Result<Self, MalformedRate> {
        if text == "off" {
            return Ok(Self::OFF);
        }
        let (count, period) = text.split_once('/').ok_or(MalformedRate)?;
        let period = match period {
            "s" => Period::Second,
            "m" => Period::Minute,
            "h" => Period::Hour,
            _ => return Err(MalformedRate),
        };
        let count = count.parse().map_err(|_| MalformedRate)?;
        Ok(Self(Some((count, period))))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("off"),
            Some((count, Period::Second)) => write!(f, "{count}/s"),
            Some((count, Period::Minute)) => write!(f, "{count}/m"),
            Some((count, Period::Hour)) => write!(f, "{count}/h"),
        }
    }
}

/// Who shares one allowance: an IPv4 address, or the /64 network of an IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LimitKey(u64);

impl From<IpAddr> for LimitKey {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            // No routed /64 starts with 32 zero bits, so the two families never meet.
            IpAddr::V4(v4) => Self(u64::from(v4.to_bits())),
            IpAddr::V6(v6) => Self(u64::try_from(v6.to_bits() >> 64).unwrap_or(u64::MAX)),
        }
    }
}

impl LimitKey {
    /// Whoever or whatever has this name: an account, a key.
    pub fn of_name(name: &str) -> Self {
        let digest = Sha256::digest(name.as_bytes());
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&digest[..8]);
        Self(u64::from_le_bytes(bytes))
    }
}

impl From<&Principal> for LimitKey {
    /// A person's sessions share one allowance; each key has its own.
    fn from(principal: &Principal) -> Self {
        match principal.credential {
            Credential::Session(_) => Self::of_name(&format!("user {}", principal.user)),
            Credential::Key(key) => Self::of_name(&format!("key {key}")),
        }
    }
}

/// A request over the rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limited {
    /// How long to wait for the next one.
    pub retry_after: Duration,
    of: &'static str,
    quota: NonZeroU32,
    window_secs: u64,
}

impl Limited {
    /// The value of the `RateLimit` header: nothing is left, and when something will be.
    pub fn rate_limit(&self) -> String {
        let wait = self.retry_after.as_secs() + u64::from(self.retry_after.subsec_nanos() > 0);
        format!("\"{}\";r=0;t={}", self.of, wait.max(1))
    }

    /// The value of the `RateLimit-Policy` header.
    pub fn policy(&self) -> String {
        format!("\"{}\";q={};w={}", self.of, self.quota, self.window_secs)
    }
}

/// Allows each key its [`Rate`].
#[derive(Debug)]
pub struct Limiter<C: Clock = MonotonicClock> {
    inner: Option<Inner<C>>,
    sharing: Option<Sharing>,
}

#[derive(Debug)]
struct Inner<C: Clock> {
    governor: RateLimiter<LimitKey, BoundedStore, C, NoOpMiddleware<C::Instant>>,
    of: &'static str,
    quota: NonZeroU32,
    window_secs: u64,
}

impl Limiter {
    /// A limiter of addresses on the machine's monotonic clock.
    pub fn new(rate: Rate) -> Self {
        Self::with_clock(rate, MonotonicClock)
    }

    /// A limiter of something else than addresses, named in the headers of its answers.
    pub fn of(name: &'static str, rate: Rate) -> Self {
        let mut limiter = Self::new(rate);
        if let Some(inner) = &mut limiter.inner {
            inner.of = name;
        }
        limiter
    }
}

impl<C: Clock> Limiter<C> {
    /// A limiter on `clock`.
    pub fn with_clock(rate: Rate, clock: C) -> Self {
        let inner = rate.0.map(|(count, period)| Inner {
            governor: RateLimiter::new(
                match period {
                    Period::Second => Quota::per_second(count),
                    Period::Minute => Quota::per_minute(count),
                    Period::Hour => Quota::per_hour(count),
                },
                BoundedStore::new(MAX_KEYS),
                clock,
            ),
            of: "address",
            quota: count,
            window_secs: period.secs(),
        });
        Self {
            inner,
            sharing: None,
        }
    }

    /// Takes one from the allowance of `key` on this node, or says when there will be one.
    pub fn check(&self, key: LimitKey) -> Result<(), Limited> {
        let Some(inner) = &self.inner else {
            return Ok(());
        };
        inner.governor.check_key(&key).map_err(|not_until| Limited {
            retry_after: not_until.wait_time_from(inner.governor.clock().now()),
            of: inner.of,
            quota: inner.quota,
            window_secs: inner.window_secs,
        })
    }

    /// What somebody is told who has to wait this long; `None` without a limit.
    pub(crate) fn limited(&self, retry_after: Duration) -> Option<Limited> {
        self.inner.as_ref().map(|inner| Limited {
            retry_after,
            of: inner.of,
            quota: inner.quota,
            window_secs: inner.window_secs,
        })
    }

    /// Forgets addresses that have their whole allowance again.
    pub fn forget_idle(&self) {
        if let Some(inner) = &self.inner {
            inner.governor.retain_recent();
            inner.governor.shrink_to_fit();
        }
    }
}

/// When each key's next request is due, for a bounded number of keys.
struct BoundedStore {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
    keys_per_shard: usize,
}

#[derive(Default)]
struct Shard {
    due: HashMap<LimitKey, Nanos>,
    overflow: Option<Nanos>,
}

impl BoundedStore {
    fn new(max_keys: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            keys_per_shard: max_keys / SHARDS,
        }
    }

    fn shard(&self, key: LimitKey) -> &Mutex<Shard> {
        let hash = self.hasher.hash_one(key);
        &self.shards[usize::try_from(hash % 64).unwrap_or(0)]
    }
}

impl fmt::Debug for BoundedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundedStore")
            .field("keys_per_shard", &self.keys_per_shard)
            .finish_non_exhaustive()
    }
}

impl StateStore for BoundedStore {
    type Key = LimitKey;

    fn measure_and_replace<T, F, E>(&self, key: &LimitKey, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut shard = self
            .shard(*key)
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(due) = shard.due.get_mut(key) {
            let (outcome, next) = measure(Some(*due))?;
            *due = next;
            return Ok(outcome);
        }
        if shard.due.len() >= self.keys_per_shard {
            let (outcome, next) = measure(shard.overflow)?;
            shard.overflow = Some(next);
            return Ok(outcome);
        }
        let (outcome, next) = measure(None)?;
        shard.due.insert(*key, next);
        Ok(outcome)
    }
}

impl ShrinkableKeyedStateStore<LimitKey> for BoundedStore {
    fn retain_recent(&self, drop_below: Nanos) {
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.due.retain(|_, due| *due > drop_below);
        }
    }

    fn shrink_to_fit(&self) {
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            if shard.due.capacity() > 4 * shard.due.len() {
                shard.due.shrink_to_fit();
            }
        }
    }

    fn len(&self) -> usize {
        let count = |shard: &Mutex<Shard>| {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.due.len()
        };
        self.shards.iter().map(count).sum()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    fn key(text: &str) -> LimitKey {
        text.parse::<IpAddr>().unwrap().into()
    }

    fn limiter(rate: &str) -> (Limiter<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        let limiter = Limiter::with_clock(rate.parse().unwrap(), clock.clone());
        (limiter, clock)
    }

    #[test]
    fn an_address_gets_its_rate_and_then_waits() {
        let (limiter, clock) = limiter("10/m");
        for _ in 0..10 {
            limiter.check(key("9.9.9.9")).unwrap();
        }
        let limited = limiter.check(key("9.9.9.9")).unwrap_err();
        assert_eq!(limited.retry_after, Duration::from_secs(6));
        assert_eq!(limited.rate_limit(), "\"address\";r=0;t=6");
        assert_eq!(limited.policy(), "\"address\";q=10;w=60");
        limiter.check(key("8.8.8.8")).unwrap();
        clock.advance(Duration::from_secs(6));
        limiter.check(key("9.9.9.9")).unwrap();
    }

    #[test]
    fn an_ipv6_network_shares_one_allowance_and_mapped_ipv4_is_ipv4() {
        let (limiter, _) = limiter("1/h");
        limiter.check(key("2001:db8::1")).unwrap();
        limiter.check(key("2001:db8::2")).unwrap_err();
        limiter.check(key("2001:db8:0:1::1")).unwrap();
        limiter.check(key("9.9.9.9")).unwrap();
        limiter.check(key("::ffff:9.9.9.9")).unwrap_err();
    }

    #[test]
    fn addresses_are_forgotten_once_they_have_their_allowance_again() {
        let (limiter, clock) = limiter("10/s");
        for n in 0..1_000u32 {
            limiter.check(LimitKey(u64::from(n))).unwrap();
        }
        clock.advance(Duration::from_secs(61));
        limiter.forget_idle();
        assert_eq!(limiter.inner.unwrap().governor.len(), 0);
    }

    #[test]
    fn the_memory_of_addresses_is_bounded_and_those_beyond_share() {
        let (limiter, _) = limiter("5/h");
        for n in 0..200_000u64 {
            let _ = limiter.check(LimitKey(n));
        }
        assert!(limiter.inner.as_ref().unwrap().governor.len() <= MAX_KEYS);
        limiter.check(LimitKey(u64::MAX)).unwrap_err();
    }

    #[test]
    fn rates_are_read_and_written_alike() {
        for text in ["200/s", "10/m", "1000/h", "off"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
        for text in ["", "0/s", "10", "10/d", "-1/s", "ten/s", "10 /s", "OFF"] {
            assert_eq!(text.parse::<Rate>(), Err(MalformedRate), "{text}");
        }
    }

    #[test]
    fn off_never_limits() {
        let (limiter, _) = limiter("off");
        for _ in 0..10_000 {
            limiter.check(key("9.9.9.9")).unwrap();
        }
    }
}
