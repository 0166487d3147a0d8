//! Randomness as the domain sees it: bytes from a source that is passed in.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Where the domain draws random bytes.
pub trait Entropy: fmt::Debug + Send + Sync + 'static {
    /// Overwrites `buffer` with random bytes.
    fn fill(&self, buffer: &mut [u8]);
}

/// Draws `N` random bytes.
pub fn random_bytes<const N: usize>(entropy: &dyn Entropy) -> [u8; N] {
    let mut bytes = [0; N];
    entropy.fill(&mut bytes);
    bytes
}

/// The operating system's cryptographic generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    /// # Panics
    ///
    /// When the operating system has no randomness to give: nothing secret can be made then.
    fn fill(&self, buffer: &mut [u8]) {
        #[expect(
            clippy::expect_used,
            clippy::disallowed_methods,
            reason = "the one place where randomness enters; without it no secret can be made"
        )]
        getrandom::fill(buffer).expect("the operating system provides randomness");
    }
}

/// The same bytes for the same seed, for tests and benches. Never for secrets.
#[derive(Debug)]
pub struct SeededEntropy(Mutex<ChaCha20Rng>);

impl SeededEntropy {
    /// A source that repeats itself for every equal `seed`.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(ChaCha20Rng::seed_from_u64(seed)))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .fill_bytes(buffer);
    }
}
