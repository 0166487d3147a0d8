//! Limits that all nodes share.

use std::time::Duration;

use terse_core::shared::{SharedLimits, Taken};

use super::{LimitKey, Limited, Limiter};

/// Where the nodes share a limit, and its name there.
#[derive(Debug)]
pub(super) struct Sharing {
    limits: SharedLimits,
    what: &'static str,
}

impl Limiter {
    /// Counts together with the other nodes from now on; every limit has a name of its own.
    pub fn share(&mut self, limits: &SharedLimits, what: &'static str) {
        self.sharing = Some(Sharing {
            limits: limits.clone(),
            what,
        });
    }

    /// Takes one from what all nodes together allow `key`, or says when there will be one. While Redis is
    /// away, and without one, this node decides for itself.
    pub async fn take(&self, key: LimitKey) -> Result<(), Limited> {
        // First here: whoever asks too often is no work for Redis, and when it goes away this node knows
        // who has had enough.
        self.check(key)?;
        let (Some(inner), Some(Sharing { limits, what })) = (&self.inner, &self.sharing) else {
            return Ok(());
        };
        let window = Duration::from_secs(inner.window_secs);
        match limits.take(what, key.0, inner.quota, window).await {
            Taken::Wait(wait) => self.limited(wait).map_or(Ok(()), Err),
            Taken::Allowed | Taken::Away => Ok(()),
        }
    }
}
