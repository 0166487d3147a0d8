//! Connections to Redis, and how long anybody waits for it.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use deadpool_redis::redis::{
    AsyncConnectionConfig, Client, FromRedisValue, IntoConnectionInfo as _, Pipeline, RedisError,
};
use deadpool_redis::{Manager, Pool, PoolError};
use futures_util::future::try_join_all;
use secrecy::{ExposeSecret, SecretString};

use super::breaker::Breaker;

/// Held open from the start: whoever asks never waits for a connection to be made.
const CONNECTIONS: usize = 8;
/// What a request waits for Redis, connection and answer together.
pub(super) const BUDGET: Duration = Duration::from_millis(50);
/// What the background waits for all connections and an answer.
pub(super) const PROBE_BUDGET: Duration = Duration::from_secs(1);

/// Where Redis is: `redis://user:password@host:6379/0`, or `rediss://` for TLS. Never printed.
#[derive(Clone)]
pub struct RedisUrl(SecretString);

/// The text names no Redis that Terse can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a Redis URL is like redis://user:password@host:6379/0, or rediss:// for TLS")]
pub struct RedisUrlError;

impl FromStr for RedisUrl {
    type Err = RedisUrlError;

    fn from_str(text: &str) -> Result<Self, RedisUrlError> {
        text.into_connection_info().map_err(|_| RedisUrlError)?;
        Ok(Self(SecretString::from(text)))
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("redis://…")
    }
}

/// Redis did not answer in time, answered with an error, or is not asked at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Away;

pub(super) struct Redis {
    pool: Pool,
    client: Client,
    pub(super) breaker: Breaker,
    errors: AtomicU64,
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The client would show the password.
        f.debug_struct("Redis")
            .field("breaker", &self.breaker)
            .field("errors", &self.errors)
            .finish_non_exhaustive()
    }
}

impl Redis {
    /// Describes the connections; makes none.
    pub(super) fn new(url: &RedisUrl) -> Result<Self, RedisUrlError> {
        let url = url.0.expose_secret();
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PROBE_BUDGET))
            .set_response_timeout(Some(PROBE_BUDGET));
        let manager = Manager::new_with_config(url, config).map_err(|_| RedisUrlError)?;
        // Without time limits of its own: every use has one.
        let pool = Pool::builder(manager).max_size(CONNECTIONS).build();
        Ok(Self {
            pool: pool.map_err(|_| RedisUrlError)?,
            client: Client::open(url).map_err(|_| RedisUrlError)?,
            breaker: Breaker::default(),
            errors: AtomicU64::new(0),
        })
    }

    /// A client for connections of another kind.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    /// Sends these commands and waits for at most `budget`; not at all while the breaker is open.
    pub(super) async fn ask<T: FromRedisValue>(
        &self,
        budget: Duration,
        commands: &Pipeline,
    ) -> Result<T, Away> {
        if !self.breaker.is_closed() {
            return Err(Away);
        }
        match self.answer(budget, commands).await {
            Ok(answer) => {
                self.breaker.succeeded();
                Ok(answer)
            }
            Err(error) => {
                self.errors.fetch_add(1, Ordering::Relaxed);
                if self.breaker.failed() {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "Redis does not answer: doing without it"
                    );
                }
                Err(Away)
            }
        }
    }

    async fn answer<T: FromRedisValue>(
        &self,
        budget: Duration,
        commands: &Pipeline,
    ) -> Result<T, Failure> {
        let answered = tokio::time::timeout(budget, async {
            let mut connection = self.pool.get().await?;
            Ok(commands.query_async(&mut connection).await?)
        });
        answered.await.map_err(|_| Failure::Late)?
    }

    /// Makes all connections and sends `commands`, whatever the breaker says.
    pub(super) async fn probe(&self, commands: &Pipeline) -> Result<(), Failure> {
        let tried = tokio::time::timeout(PROBE_BUDGET, async {
            let all = (0..CONNECTIONS).map(|_| self.pool.get());
            let mut connections = try_join_all(all).await?;
            if let Some(connection) = connections.first_mut() {
                commands.query_async::<()>(connection).await?;
            }
            Ok(())
        });
        tried.await.map_err(|_| Failure::Late)?
    }
}

/// Why Redis did not answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("no answer in time")]
    Late,
    #[error(transparent)]
    Pool(#[from] PoolError),
    #[error(transparent)]
    Redis(#[from] RedisError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_redis_are_taken_and_others_refused_without_being_repeated() {
        for url in [
            "redis://127.0.0.1",
            "redis://user:secret@redis.example:6380/3",
            "rediss://redis.example",
            "redis+unix:///run/redis.sock",
        ] {
            let parsed: RedisUrl = url.parse().unwrap();
            assert!(!format!("{parsed:?}").contains("secret"));
            Redis::new(&parsed).unwrap();
        }
        for url in [
            "",
            "redis",
            "http://host",
            "redis://",
            "redis://host/x",
            "redis://h:99999",
        ] {
            assert!(url.parse::<RedisUrl>().is_err(), "{url}");
        }
    }
}
