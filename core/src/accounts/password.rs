//! Passwords: argon2id (RFC 9106) with the OWASP minimum, a few at a time.

use std::sync::Arc;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{OnceCell, Semaphore};

use crate::model::{Entropy, FieldError, random_bytes};

/// Shortest password in bytes.
pub(super) const MIN_BYTES: usize = 8;
/// Longest password in bytes: hashing more would be work for an attacker's asking.
pub(super) const MAX_BYTES: usize = 1_024;

// Each permit is 19 MiB of memory and one core for some tens of milliseconds.
const MAX_WAITING: usize = 64;

/// Hashes and checks passwords on blocking threads, at most half the cores at a time.
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

    pub(super) async fn hash(&self, password: SecretString) -> Result<String, FieldError> {
        let salt: [u8; 16] = random_bytes(&*self.entropy);
        self.blocking(move || {
            let hash: argon2::password_hash::phc::PasswordHash = Argon2::default()
                .hash_password_with_salt(password.expose_secret().as_bytes(), &salt)
                .map_err(|_| FieldError::new("password", "password_invalid", "cannot be used"))?;
            Ok(hash.to_string())
        })
        .await
        .map_err(|TooBusy| FieldError::new("password", "busy", "try again in a moment"))?
    }

    /// Whether `password` is the one of `stored`; without `stored`, false after the same work.
    pub(super) async fn verify(
        &self,
        password: SecretString,
        stored: Option<String>,
    ) -> Result<bool, TooBusy> {
        let known = stored.is_some();
        let stored = match stored {
            Some(stored) => stored,
            None => self
                .dummy
                .get_or_try_init(|| self.hash(SecretString::from("no account has this password")))
                .await
                .map_err(|_| TooBusy)?
                .clone(),
        };
        let matches = self
            .blocking(move || {
                PasswordHash::new(&stored).is_ok_and(|hash| {
                    Argon2::default()
                        .verify_password(password.expose_secret().as_bytes(), &hash)
                        .is_ok()
                })
            })
            .await?;
        Ok(matches && known)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, TooBusy> {
        let _place = self.waiting.try_acquire().map_err(|_| TooBusy)?;
        let permit = Arc::clone(&self.permits)
            .acquire_owned()
            .await
            .map_err(|_| TooBusy)?;
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        })
        .await
        .map_err(|_| TooBusy)
    }
}

/// Refuses passwords that are too short or absurdly long.
pub(super) fn check(password: &SecretString) -> Result<(), FieldError> {
    let bytes = password.expose_secret().len();
    if (MIN_BYTES..=MAX_BYTES).contains(&bytes) {
        Ok(())
    } else {
        Err(FieldError::new(
            "password",
            "password_length",
            "must be 8 to 1,024 bytes long",
        ))
    }
}
