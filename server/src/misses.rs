//! Keeping scanners out: what becomes of an address that asks for too many unknown slugs.
//!
//! Every unknown slug takes one from the address's budget. When it is empty, further unknown slugs
//! are answered 429; and when the one that found it empty was new for the address, so are known ones,
//! until the budget has something again: otherwise a scanner would still be told what it hit. Asking
//! for one misprinted slug again and again teaches nothing, so a crowd behind one address that does
//! just that can follow other links all the while.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use governor::clock::{Clock, MonotonicClock, Reference as _};

use crate::limits::{LimitKey, Limited, Limiter, Rate};

// Two tables of 256 KiB. Whoever comes to a slot later takes it over.
const SLOTS: u64 = 32_768;
/// Bits of a slot that hold a time in milliseconds: 34 years of uptime.
const TIME_BITS: u32 = 40;

/// The budgets of unknown slugs, and who may look up nothing for the moment.
#[derive(Debug)]
pub struct Misses<C: Clock = MonotonicClock> {
    budget: Limiter<C>,
    clock: C,
    begun: C::Instant,
    hasher: RandomState,
    /// Until when an address is shut out, in milliseconds since `begun`, below the upper bits of its hash.
    shut_out: Box<[AtomicU64]>,
    /// Hashes of an address and a slug that it missed.
    missed: Box<[AtomicU64]>,
}

impl Misses {
    /// Budgets of this rate on the machine's monotonic clock.
    pub fn new(rate: Rate) -> Self {
        Self::with_clock(rate, MonotonicClock)
    }
}

impl<C: Clock + Clone> Misses<C> {
    /// Budgets of this rate on `clock`.
    pub fn with_clock(rate: Rate, clock: C) -> Self {
        let table = || (0..SLOTS).map(|_| AtomicU64::new(0)).collect();
        Self {
            budget: Limiter::with_clock(rate, clock.clone()),
            begun: clock.now(),
            clock,
            hasher: RandomState::new(),
            shut_out: table(),
            missed: table(),
        }
    }

    /// Whether `key` may look up a slug now. One atomic load for whoever never missed too often.
    pub fn may_look_up(&self, key: LimitKey) -> Result<(), Limited> {
        let hash = self.hasher.hash_one(key);
        let kept = slot(&self.shut_out, hash).load(Relaxed);
        if kept >> TIME_BITS != hash >> TIME_BITS {
            return Ok(());
        }
        let until = kept & ((1 << TIME_BITS) - 1);
        let wait = Duration::from_millis(until.saturating_sub(self.now_millis()));
        match self.budget.limited(wait) {
            Some(limited) if !wait.is_zero() => Err(limited),
            _ => Ok(()),
        }
    }

    /// Charges `key` with asking for `slug`, which is unknown.
    pub fn missed(&self, key: LimitKey, slug: &str) -> Result<(), Limited> {
        let pair = self.hasher.hash_one((key, slug));
        let known = slot(&self.missed, pair).swap(pair, Relaxed) == pair;
        self.budget.check(key).inspect_err(|limited| {
            if !known {
                self.shut_out(key, limited.retry_after);
            }
        })
    }

    /// Forgets addresses that have their whole budget again.
    pub fn forget_idle(&self) {
        self.budget.forget_idle();
    }

    fn shut_out(&self, key: LimitKey, wait: Duration) {
        let hash = self.hasher.hash_one(key);
        // Up to the next whole millisecond: never let in before the budget has something.
        let wait = u64::try_from(wait.as_micros().div_ceil(1_000)).unwrap_or(0);
        let until = (self.now_millis() + wait + 1) & ((1 << TIME_BITS) - 1);
        let kept = (hash >> TIME_BITS) << TIME_BITS | until;
        slot(&self.shut_out, hash).store(kept, Relaxed);
    }

    fn now_millis(&self) -> u64 {
        self.clock.now().duration_since(self.begun).as_u64() / 1_000_000
    }
}

fn slot(table: &[AtomicU64], hash: u64) -> &AtomicU64 {
    &table[usize::try_from(hash % SLOTS).unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use governor::clock::FakeRelativeClock;

    use super::*;

    fn misses() -> (Misses<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        let rate = "60/m".parse().unwrap();
        (Misses::with_clock(rate, clock.clone()), clock)
    }

    fn key(text: &str) -> LimitKey {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn a_scanner_looks_up_nothing_until_its_budget_has_something_again() {
        let (misses, clock) = misses();
        let scanner = key("9.9.9.9");
        for number in 0..60 {
            misses.may_look_up(scanner).unwrap();
            misses.missed(scanner, &format!("/guess-{number}")).unwrap();
        }
        let limited = misses.missed(scanner, "/guess-60").unwrap_err();
        let shut_out = misses.may_look_up(scanner).unwrap_err();
        assert_eq!(shut_out.policy(), limited.policy());
        assert!(shut_out.retry_after >= limited.retry_after);
        assert!(shut_out.retry_after <= Duration::from_millis(1_002));
        misses.may_look_up(key("9.9.9.8")).unwrap();
        let millisecond = Duration::from_millis(1);
        clock.advance(shut_out.retry_after.saturating_sub(millisecond));
        assert_eq!(
            misses.may_look_up(scanner).unwrap_err().retry_after,
            millisecond
        );
        clock.advance(millisecond);
        misses.may_look_up(scanner).unwrap();
        misses.missed(scanner, "/guess-61").unwrap();
        misses.missed(scanner, "/guess-62").unwrap_err();
        misses.may_look_up(scanner).unwrap_err();
    }

    #[test]
    fn a_crowd_behind_one_address_that_follows_one_misprinted_link_can_follow_others() {
        let (misses, _) = misses();
        let office = key("9.9.9.9");
        let charged = (0..200).filter(|_| misses.missed(office, "/misprint").is_ok());
        assert_eq!(charged.count(), 60);
        misses.may_look_up(office).unwrap();
        misses.missed(office, "/guess").unwrap_err();
        misses.may_look_up(office).unwrap_err();
    }

    #[test]
    fn without_a_limit_nobody_is_shut_out() {
        let misses = Misses::with_clock(Rate::OFF, FakeRelativeClock::default());
        for number in 0..1_000 {
            misses.missed(key("9.9.9.9"), &number.to_string()).unwrap();
            misses.may_look_up(key("9.9.9.9")).unwrap();
        }
    }
}
