//! Who sends mails: passed in, so that the domain knows no protocol.

use std::fmt;
use std::pin::Pin;

use crate::model::Timestamp;

/// A mail, ready to be sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Mail {
    pub to: String,
    pub subject: String,
    pub text: String,
    pub html: String,
    pub written_at: Timestamp,
}

/// Only what tells nothing: the texts hold tokens.
impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mail")
            .field("subject", &self.subject)
            .field("written_at", &self.written_at)
            .finish_non_exhaustive()
    }
}

/// Why a mail was not sent, for administrators to read: short, and without anything of the mail or
/// of what a server answered, which may repeat it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MailError(String);

impl MailError {
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// A mail on its way.
pub type Sending<'a> = Pin<Box<dyn Future<Output = Result<(), MailError>> + Send + 'a>>;

/// Sends mails.
pub trait Mailer: fmt::Debug + Send + Sync + 'static {
    /// Sends one mail; `Ok` once somebody else is answerable for it. Is tried again after an error,
    /// and given up after a minute.
    fn send<'a>(&'a self, mail: &'a Mail) -> Sending<'a>;
}
