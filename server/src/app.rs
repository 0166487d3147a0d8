//! What every request can reach.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use terse_core::Terse;
use terse_core::model::{Entropy, random_bytes};

use crate::client_address::TrustedProxies;
use crate::limits::{Limiter, Rate};
use crate::metrics::Metrics;
use crate::misses::Misses;
use crate::tokens::Tokens;

/// The running server's state.
#[derive(Debug)]
pub struct App {
    pub terse: Terse,
    pub tokens: Tokens,
    pub limits: Limits,
    pub proxies: TrustedProxies,
    pub metrics: Metrics,
    pub public_url: String,
    request_ids: RequestIds,
}

/// A limiter per purpose, keyed by the client's address.
#[derive(Debug)]
pub struct Limits {
    pub redirect: Limiter,
    /// Unknown slugs: keeps scanners out.
    pub missing: Misses,
    pub api: Limiter,
    pub auth: Limiter,
}

/// Unknown slugs that one address may ask for.
const MISSING: &str = "60/m";

impl Limits {
    /// Limiters of these rates.
    pub fn new(redirect: Rate, api: Rate, auth: Rate) -> Self {
        let missing = MISSING.parse().unwrap_or(Rate::OFF);
        Self {
            redirect: Limiter::new(redirect),
            missing: Misses::new(missing),
            api: Limiter::new(api),
            auth: Limiter::new(auth),
        }
    }

    /// Forgets addresses that have their full budget again. To be called every minute or so.
    pub fn forget_idle(&self) {
        for limiter in [&self.redirect, &self.api, &self.auth] {
            limiter.forget_idle();
        }
        self.missing.forget_idle();
    }
}

/// Numbers that tell requests apart in answers and logs.
#[derive(Debug)]
struct RequestIds {
    process: u64,
    next: AtomicU64,
}

impl App {
    /// The state of a server of `terse`.
    pub fn new(
        terse: Terse,
        tokens: Tokens,
        limits: Limits,
        proxies: TrustedProxies,
        public_url: String,
        entropy: &dyn Entropy,
    ) -> Arc<Self> {
        Arc::new(Self {
            terse,
            tokens,
            limits,
            proxies,
            metrics: Metrics::default(),
            public_url,
            request_ids: RequestIds {
                process: u64::from_le_bytes(random_bytes(entropy)) >> 16,
                next: AtomicU64::new(1),
            },
        })
    }

    /// A name for one request, unique among all nodes for all practical purposes.
    pub fn request_id(&self) -> String {
        let number = self.request_ids.next.fetch_add(1, Ordering::Relaxed);
        format!("{:012x}-{number:06x}", self.request_ids.process)
    }
}
