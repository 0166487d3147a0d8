//! How mails leave this machine: over SMTP, or as files in the data directory.

mod message;
mod outbox;
mod server;
mod smtp;

use std::sync::Arc;

use anyhow::Context as _;
use terse_core::mail::Mailer;
use terse_core::model::Entropy;

use crate::config::Config;
use outbox::Outbox;
pub use server::{Encryption, SmtpServer};
use smtp::Smtp;

/// Who sends the mails of an installation with these settings.
pub fn of(config: &Config, entropy: Arc<dyn Entropy>) -> anyhow::Result<Arc<dyn Mailer>> {
    let from = config.mail_from.clone();
    Ok(match &config.smtp {
        None => Arc::new(Outbox::at(config.data_dir.join("outbox"), from, entropy)),
        Some(server) => Arc::new(Smtp::new(server, from, entropy).context("smtp_url")?),
    })
}
