//! What every request can reach.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use terse_core::Terse;
use terse_core::accounts::RegistrationPolicy;
use terse_core::model::{Entropy, random_bytes};
use terse_core::shared::SharedLimits;
use tokio_util::sync::CancellationToken;

use crate::client_address::TrustedProxies;
use crate::cors::AllowedOrigins;
use crate::limits::{Limiter, Rate};
use crate::metrics::Metrics;
use crate::misses::Misses;
use crate::seats::Seats;
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
    /// Who may register.
    pub registration: RegistrationPolicy,
    /// Whose pages may use the API.
    pub origins: AllowedOrigins,
    /// Cancelled when the server stops: answers without an end of their own end.
    pub stopping: CancellationToken,
    request_ids: RequestIds,
}

/// Whom the server believes and lets in.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    pub proxies: TrustedProxies,
    pub registration: RegistrationPolicy,
    pub origins: AllowedOrigins,
}

/// A limiter per purpose, keyed by the client's address where it does not say otherwise.
#[derive(Debug)]
pub struct Limits {
    pub redirect: Limiter,
    /// Unknown slugs: keeps scanners out.
    pub missing: Misses,
    pub api: Limiter,
    /// Requests of one person, or of one key.
    pub caller: Limiter,
    pub auth: Limiter,
    /// Attempts to sign in to one account, from anywhere.
    pub account: Limiter,
    /// Registrations and forgotten passwords.
    pub registration: Limiter,
    /// Passwords that one account tries while it is signed in.
    pub password: Limiter,
    /// Mails about registering, to one e-mail address.
    pub mail: Limiter,
    /// Mails to set a new password, to one e-mail address: nothing else uses them up.
    pub reset_mail: Limiter,
    /// Invitations to one e-mail address.
    pub invitation_mail: Limiter,
    /// Invitations that one person sends.
    pub inviting: Limiter,
    /// Listeners to clicks as they happen.
    pub listeners: Arc<Seats>,
    /// Exports under way.
    pub exports: Arc<Seats>,
}

/// Listeners to clicks in all, and of one workspace.
const LISTENERS: (usize, usize) = (2_000, 100);
/// Exports in all, and of one workspace: few, because each reads much and others wait for the disk.
const EXPORTS: (usize, usize) = (8, 2);

/// Unknown slugs that one address may ask for.
const MISSING: &str = "60/m";
/// Accounts that one address may ask to be made or to be let into again.
const REGISTRATION: &str = "10/h";
/// Mails that strangers may have sent to one e-mail address.
const MAIL: &str = "3/h";
/// Invitations that one person may have sent.
const INVITING: &str = "100/h";

/// `rate`, if there are limits for signing in at all.
fn unless_off(auth: Rate, rate: &str) -> Rate {
    if auth == Rate::OFF {
        return Rate::OFF;
    }
    rate.parse().unwrap_or(Rate::OFF)
}

impl Limits {
    /// Limiters of these rates.
    pub fn new(redirect: Rate, api: Rate, auth: Rate) -> Self {
        let missing = MISSING.parse().unwrap_or(Rate::OFF);
        Self {
            redirect: Limiter::new(redirect),
            missing: Misses::new(missing),
            api: Limiter::new(api),
            caller: Limiter::of("caller", api),
            auth: Limiter::new(auth),
            account: Limiter::of("account", auth),
            registration: Limiter::new(unless_off(auth, REGISTRATION)),
            password: Limiter::of("account", auth),
            mail: Limiter::of("mail", unless_off(auth, MAIL)),
            reset_mail: Limiter::of("mail", unless_off(auth, MAIL)),
            invitation_mail: Limiter::of("mail", unless_off(auth, MAIL)),
            inviting: Limiter::of("inviting", unless_off(auth, INVITING)),
            listeners: Seats::new(LISTENERS.0, LISTENERS.1),
            exports: Seats::new(EXPORTS.0, EXPORTS.1),
        }
    }

    /// Counts together with the other nodes, except on redirects: those wait for nobody.
    #[must_use]
    pub fn shared(mut self, shared: Option<&SharedLimits>) -> Self {
        let Some(shared) = shared else { return self };
        for (limiter, what) in [
            (&mut self.api, "api"),
            (&mut self.caller, "caller"),
            (&mut self.auth, "auth"),
            (&mut self.account, "account"),
            (&mut self.registration, "registration"),
            (&mut self.password, "password"),
            (&mut self.mail, "mail"),
            (&mut self.reset_mail, "reset-mail"),
            (&mut self.invitation_mail, "invitation-mail"),
            (&mut self.inviting, "inviting"),
        ] {
            limiter.share(shared, what);
        }
        self
    }

    /// Forgets addresses that have their full budget again. To be called every minute or so.
    pub fn forget_idle(&self) {
        for limiter in [
            &self.redirect,
            &self.api,
            &self.caller,
            &self.auth,
            &self.account,
            &self.registration,
            &self.password,
            &self.mail,
            &self.reset_mail,
            &self.invitation_mail,
            &self.inviting,
        ] {
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
        policy: Policy,
        public_url: String,
        entropy: &dyn Entropy,
    ) -> Arc<Self> {
        Arc::new(Self {
            terse,
            tokens,
            limits,
            proxies: policy.proxies,
            metrics: Metrics::default(),
            public_url,
            registration: policy.registration,
            origins: policy.origins,
            stopping: CancellationToken::new(),
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
