//! Passwords: argon2id (RFC 9106) with the OWASP minimum, a few at a time, at low priority.

use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Argon2, Params};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{OnceCell, Semaphore, oneshot};
use zxcvbn::Score;

use crate::model::{Entropy, FieldError, random_bytes};
use crate::store::registrations::NO_PASSWORD;

/// Shortest password in bytes.
const MIN_BYTES: usize = 8;
/// Longest password in bytes: hashing more would be work for an attacker's asking.
pub(super) const MAX_BYTES: usize = 1_024;
// Estimating takes longer than linear time, and nobody guesses what is longer than this.
const ESTIMATED_CHARS: usize = 64;

// Each permit is 19 MiB of memory and one core for some tens of milliseconds.
const MAX_WAITING: usize = 256;
// Of the nice values: redirects come first, and a busy machine still lets people in.
const NICENESS: i32 = 15;

/// Hashes and checks passwords on threads of low priority, at most half the cores at a time.
#[derive(Clone, Debug)]
pub(super) struct Passwords {
    entropy: Arc<dyn Entropy>,
    permits: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    /// Checked in place of an unknown account's hash, so that both take as long.
    dummy: Arc<OnceCell<String>>,
}

/// As many passwords are waiting as are worth waiting for.
#[derive(Clone, Copy, Debug)]
pub(super) struct TooBusy;

/// What checking a password showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) matches: bool,
    /// The stored hash was made with less work than new ones are.
    pub(super) outdated: bool,
}

impl Passwords {
    pub(super) fn new(entropy: Arc<dyn Entropy>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            entropy,
            permits: Arc::new(Semaphore::new((cores / 2).max(1))),
            waiting: Arc::new(Semaphore::new(MAX_WAITING)),
            dummy: Arc::default(),
        }
    }

    pub(super) async fn hash(&self, password: SecretString) -> Result<String, TooBusy> {
        let salt: [u8; 16] = random_bytes(&*self.entropy);
        let hash = self.apart(move || {
            let password = password.expose_secret().as_bytes();
            let hash = Argon2::default().hash_password_with_salt(password, &salt);
            hash.map(|hash: PasswordHash| hash.to_string())
        });
        hash.await?.map_err(|_| TooBusy)
    }

    /// Whether `password` is the one of `stored`; without `stored`, false after the same work.
    pub(super) async fn verify(
        &self,
        password: SecretString,
        stored: Option<String>,
    ) -> Result<Verdict, TooBusy> {
        let stored = stored.filter(|stored| stored != NO_PASSWORD);
        let known = stored.is_some();
        let stored = match stored {
            Some(stored) => stored,
            None => self.dummy().await?,
        };
        let verdict = self.apart(move || {
            let Ok(hash) = PasswordHash::new(&stored) else {
                return Verdict {
                    matches: false,
                    outdated: false,
                };
            };
            let password = password.expose_secret().as_bytes();
            Verdict {
                matches: Argon2::default().verify_password(password, &hash).is_ok(),
                outdated: is_outdated(&hash),
            }
        });
        let verdict = verdict.await?;
        Ok(Verdict {
            matches: verdict.matches && known,
            ..verdict
        })
    }

    async fn dummy(&self) -> Result<String, TooBusy> {
        let hash = || self.hash(SecretString::from("no account has this password"));
        self.dummy.get_or_try_init(hash).await.cloned()
    }

    /// Does the work on a thread of its own: a pool's threads would keep their priority.
    async fn apart<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, TooBusy> {
        let _place = self.waiting.try_acquire().map_err(|_| TooBusy)?;
        let permit = Arc::clone(&self.permits)
            .acquire_owned()
            .await
            .map_err(|_| TooBusy)?;
        let (sender, receiver) = oneshot::channel();
        let thread = std::thread::Builder::new().name("terse-hash".to_owned());
        let spawned = thread.spawn(move || {
            if let Err(error) = rustix::process::nice(NICENESS) {
                tracing::debug!(%error, "passwords are hashed at normal priority");
            }
            let outcome = work();
            // The memory is free again before another may take as much.
            drop(permit);
            let _ = sender.send(outcome);
        });
        spawned.map_err(|_| TooBusy)?;
        receiver.await.map_err(|_| TooBusy)
    }
}

fn is_outdated(hash: &PasswordHash) -> bool {
    let Ok(used) = Params::try_from(hash) else {
        return true;
    };
    let wanted = Params::default();
    used.m_cost() < wanted.m_cost()
        || used.t_cost() < wanted.t_cost()
        || hash.algorithm.as_str() != "argon2id"
}

/// Refuses passwords that are too short, absurdly long, or guessed quickly. `about` are words that
/// whoever guesses knows: the address, the name.
pub(super) fn check(
    field: &'static str,
    password: &SecretString,
    about: &[&str],
) -> Result<(), FieldError> {
    let text = password.expose_secret();
    if !(MIN_BYTES..=MAX_BYTES).contains(&text.len()) {
        return Err(FieldError::new(
            field,
            "password_length",
            "must be 8 to 1,024 bytes long",
        ));
    }
    let estimated: String = text.chars().take(ESTIMATED_CHARS).collect();
    // Fewer than a million guesses: what everybody tries first.
    if zxcvbn::zxcvbn(&estimated, about).score() <= Score::One {
        return Err(FieldError::new(
            field,
            "password_common",
            "is one of those that are guessed first; four words that do not belong together are better",
        ));
    }
    Ok(())
}
