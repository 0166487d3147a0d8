//! Noticing connections to PostgreSQL that are open at this end only.
//!
//! A network that lost the other end tells nobody: a statement on such a connection waits until the
//! kernel gives up, which takes a quarter of an hour.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection as _, PgConnection};

/// A third of what whoever wants a connection waits for it: the rest is for a new one.
const ANSWER_PATIENCE: Duration = Duration::from_millis(500);

/// What was asked on a connection that comes back may still be under way.
const RELEASE_PATIENCE: Duration = Duration::from_secs(2);

/// When a connection that had nothing to do did not answer last.
#[derive(Debug, Default)]
struct Silence(Mutex<Option<Instant>>);

/// Has the pool look whether connections still answer, before they are given to somebody and after.
pub(super) fn noticing_silence(pool: PgPoolOptions) -> PgPoolOptions {
    let silence = Arc::new(Silence::default());
    pool
        // The driver's own test has no bound but that of whoever waits.
        .test_before_acquire(false)
        .before_acquire(move |connection, meta| {
            let silence = Arc::clone(&silence);
            Box::pin(async move {
                if silence.is_since(meta.idle_for) {
                    return Ok(false);
                }
                let answered = answers_within(ANSWER_PATIENCE, connection).await;
                if matches!(answered, Err(sqlx::Error::PoolTimedOut)) {
                    silence.note();
                }
                answered
            })
        })
        // The driver tests these too, for as long as the network keeps silent: a connection would be out
        // of the pool for a quarter of an hour.
        .after_release(|connection, _| Box::pin(answers_within(RELEASE_PATIENCE, connection)))
}

async fn answers_within(
    patience: Duration,
    connection: &mut PgConnection,
) -> Result<bool, sqlx::Error> {
    let answer = tokio::time::timeout(patience, connection.ping());
    answer.await.map_err(|_| sqlx::Error::PoolTimedOut)??;
    Ok(true)
}

impl Silence {
    /// Whether another connection kept silent after this one was used last. What cut that one off has
    /// most likely cut off this one too, and a new one costs less than waiting to know.
    fn is_since(&self, idle_for: Duration) -> bool {
        let noticed = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        noticed.is_some_and(|noticed| noticed.elapsed() < idle_for)
    }

    fn note(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_suspected_that_were_last_used_before_another_kept_silent() {
        let noticed = Instant::now().checked_sub(Duration::from_mins(1));
        let silence = Silence(Mutex::new(noticed));
        assert!(silence.is_since(Duration::from_secs(90)));
        assert!(!silence.is_since(Duration::from_secs(30)));
        assert!(!Silence::default().is_since(Duration::from_secs(90)));
    }
}
