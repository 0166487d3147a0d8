//! Settings: defaults, then `terse.toml`, then `TERSE_*` variables, then flags.

mod read;
mod sources;
mod units;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use lettre::message::Mailbox;
use secrecy::SecretString;
use terse_core::shared::RedisUrl;

use crate::client_address::TrustedProxies;
use crate::cors::AllowedOrigins;
use crate::limits::Rate;
use crate::mailer::SmtpServer;

pub use read::load;
pub use sources::Sources;
pub use units::{parse_duration, parse_size};

/// The reference manual: every key, commented, with its default.
pub const MANUAL: &str = include_str!("../terse.toml");

/// One setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {message}")]
pub struct ConfigError {
    /// The key, as the person who set it wrote it.
    pub key: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl ConfigError {
    pub(crate) fn new(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            message: message.into(),
        }
    }
}

/// How surely a click is recorded before it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClickDurability {
    /// It survives the end of the process.
    Process,
    /// It survives a power cut.
    Power,
    /// It survives loss of the machine.
    Node,
}

/// What happens to a click that no store takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnUnrecordable {
    /// It is answered and counted as a gap.
    Serve,
    /// It gets a 503.
    Refuse,
}

/// For how long one visitor is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VisitorEpoch {
    /// A calendar month.
    Month,
    /// A day.
    Day,
}

/// Who may make an account without an administrator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registration {
    /// Anybody with an e-mail address.
    Open,
    /// Who is invited into a workspace.
    Invite,
    /// Nobody.
    Closed,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// The settings in force.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// How people reach this server: scheme and host, without a trailing slash.
    pub public_url: String,
    /// Database, spool and secrets.
    pub data_dir: PathBuf,
    /// `PostgreSQL`; `SQLite` in `data_dir` when absent.
    pub database_url: Option<SecretString>,
    /// What several nodes share beside the database.
    pub redis_url: Option<RedisUrl>,
    /// Address of the first administrator.
    pub admin_email: Option<String>,
    /// Password of the first administrator.
    pub admin_password: Option<SecretString>,
    /// Signs access tokens; `new,old` while rotating.
    pub jwt_secret: Option<SecretString>,
    /// Where mails are handed over; they become files in `data_dir` when absent.
    pub smtp: Option<SmtpServer>,
    /// Who mails come from.
    pub mail_from: Mailbox,
    /// Who may make an account.
    pub registration: Registration,
    /// Proxies whose word about the client is believed.
    pub trusted_proxies: TrustedProxies,
    /// Where visitors are, by their address.
    pub geoip_db: Option<PathBuf>,
    /// Other sites whose pages may use the API.
    pub cors_origins: AllowedOrigins,
    /// How surely clicks are recorded.
    pub click_durability: ClickDurability,
    /// What happens to clicks that cannot be recorded.
    pub on_unrecordable: OnUnrecordable,
    /// How long folded clicks stay in the spool.
    pub spool_retain: Duration,
    /// The most that unfolded clicks may take, in bytes.
    pub spool_max_bytes: u64,
    /// How long a visitor is recognised.
    pub visitor_epoch: VisitorEpoch,
    /// Symbols of a generated slug.
    pub slug_length: u8,
    /// Redirects per address.
    pub rate_limit_redirect: Rate,
    /// API requests per address.
    pub rate_limit_api: Rate,
    /// Sign-ins per address.
    pub rate_limit_auth: Rate,
    /// Connections held at once.
    pub max_connections: usize,
    /// Log filters.
    pub log: String,
    /// Log format.
    pub log_format: LogFormat,
    /// Every key with its effective value, secrets hidden, and its source.
    pub shown: Vec<Shown>,
}

/// One setting as `terse-server config` prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The key as in the file.
    pub key: &'static str,
    /// The value, or a note that it is hidden or unset.
    pub value: String,
    /// `default`, the file, the variable or the flag.
    pub source: String,
}
