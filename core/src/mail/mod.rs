//! Mails: what they are about, what they say, and who sends them.

mod letter;
mod mailer;
mod postman;

use serde::{Deserialize, Serialize};

use crate::model::{Entropy, InvitationId, JobId, RegistrationId, Timestamp, UserId};
use crate::store::jobs::NewJob;

pub use mailer::{Mail, MailError, Mailer, Sending};
pub(crate) use postman::Postman;

/// The kind of job that sends a mail.
pub(crate) const MAIL: &str = "mail";

/// What a mail is about. Tokens are made when it is sent, so that none is ever stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "about", rename_all = "snake_case")]
pub(crate) enum MailJob {
    /// Somebody registered with this address: the link in it makes the account.
    VerifyAddress { registration: RegistrationId },
    /// Somebody registered with the address of an account that exists.
    AccountExists { email: String },
    /// Somebody forgot the password of this account.
    ResetPassword { user: UserId },
    /// Somebody forgot the password of an account that does not exist.
    NoAccount { email: String },
    /// The password was changed or reset.
    PasswordChanged { user: UserId },
    /// A used refresh token was presented again: somebody may have copied it.
    SessionCopied { user: UserId },
    /// Somebody is invited into a workspace.
    Invitation { invitation: InvitationId },
}

impl MailJob {
    /// The job that sends this mail, as soon as it can be done.
    pub(crate) fn queued(&self, entropy: &dyn Entropy, now: Timestamp) -> NewJob {
        NewJob {
            id: JobId::random(entropy),
            kind: MAIL,
            payload: serde_json::to_string(self).unwrap_or_default(),
            run_at: now,
        }
    }
}
