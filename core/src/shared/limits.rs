//! Allowances that all nodes share.

use std::hash::Hasher as _;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use deadpool_redis::redis::pipe;
use siphasher::sip::SipHasher24;

use super::redis::BUDGET;
use super::{Shared, scripts};

/// What became of taking one from a shared allowance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    Allowed,
    /// Nothing is left for this long.
    Wait(Duration),
    /// Redis does not tell: decide without it.
    Away,
}

/// Allowances that all nodes share by Redis. Cloning it is cheap.
#[derive(Clone, Debug)]
pub struct SharedLimits {
    shared: Arc<Shared>,
}

impl SharedLimits {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Takes one of the `count` that `who` has of `what` in each `window` (GCRA: at most that many at
    /// once, refilled evenly). Waits for Redis for 50 ms at most.
    pub async fn take(&self, what: &str, who: u64, count: NonZeroU32, window: Duration) -> Taken {
        let key = self.key(what, who);
        let window = u64::try_from(window.as_micros()).unwrap_or(u64::MAX);
        let each = window / u64::from(count.get());
        let mut commands = pipe();
        commands.add_command(scripts::take(&key, each, window));
        match self.shared.redis.ask::<(u64,)>(BUDGET, &commands).await {
            Ok((0,)) => Taken::Allowed,
            Ok((micros,)) => Taken::Wait(Duration::from_micros(micros)),
            Err(_) => Taken::Away,
        }
    }

    /// Hashed by a key that only the database has: an address must not be found on Redis's disk.
    fn key(&self, what: &str, who: u64) -> String {
        let mut hasher = SipHasher24::new_with_key(&self.shared.names.secret);
        hasher.write_u64(who);
        hasher.write(what.as_bytes());
        format!(
            "{}limit:{what}:{:016x}",
            self.shared.names.prefix,
            hasher.finish()
        )
    }
}
