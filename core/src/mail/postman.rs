//! From a job to a mail on its way.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use crate::jobs::LeasedJob;
use crate::mail::letter::Letter;
use crate::mail::{MailError, MailJob, Mailer};
use crate::model::{Clock, Entropy, InvitationId, RegistrationId, Timestamp, UserId, random_bytes};
use crate::site::Site;
use crate::store::mailed_tokens::{NewMailedToken, TokenPurpose};
use crate::store::{Store, StoreError};

const VERIFY_LIFETIME: Duration = Duration::from_hours(24);
const RESET_LIFETIME: Duration = Duration::from_mins(30);
const INVITATION_LIFETIME: Duration = Duration::from_hours(7 * 24);

/// Writes the mails that jobs ask for, and has them sent.
#[derive(Clone, Debug)]
pub(crate) struct Postman {
    pub(crate) store: Store,
    pub(crate) mailer: Arc<dyn Mailer>,
    pub(crate) site: Arc<Site>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
}

/// Why a mail did not go out. Says nothing of what it is about.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeliveryError {
    #[error("this release cannot read the job")]
    Unreadable,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Mail(#[from] MailError),
}

type Addressed = Option<(String, Letter)>;

impl Postman {
    /// Sends the mail that `job` is about; nothing when whom it was meant for is gone.
    pub(crate) async fn deliver(&self, job: &LeasedJob) -> Result<(), DeliveryError> {
        let about = serde_json::from_str(job.payload()).map_err(|_| DeliveryError::Unreadable)?;
        let letter = self.write(about, job.created_at()).await?;
        if let Some((address, letter)) = letter {
            let mail = letter.to(address, &self.site, self.clock.now());
            self.mailer.send(&mail).await?;
        }
        Ok(())
    }

    async fn write(&self, about: MailJob, asked_at: Timestamp) -> Result<Addressed, StoreError> {
        let site = &self.site;
        match about {
            MailJob::VerifyAddress { registration } => self.verification(registration).await,
            MailJob::ResetPassword { user } => self.reset(user).await,
            MailJob::Invitation { invitation } => self.invitation(invitation).await,
            MailJob::AccountExists { email } => Ok(Some((email, Letter::account_exists(site)))),
            MailJob::NoAccount { email } => Ok(Some((email, Letter::no_account(site)))),
            MailJob::PasswordChanged { user } => {
                let address = self.store.user_subject(user).await?;
                Ok(address.map(|address| (address, Letter::password_changed(site, asked_at))))
            }
            MailJob::SessionCopied { user } => {
                let address = self.store.user_subject(user).await?;
                Ok(address.map(|address| (address, Letter::session_copied(site, asked_at))))
            }
        }
    }

    async fn verification(&self, registration: RegistrationId) -> Result<Addressed, StoreError> {
        let now = self.clock.now();
        let found = self.store.registration_subject(registration, now).await?;
        let Some((address, end)) = found else {
            return Ok(None);
        };
        let expires_at = now.plus(VERIFY_LIFETIME).min(end);
        let token = self
            .mint(TokenPurpose::Verify, registration.number(), expires_at)
            .await?;
        let letter = Letter::verify_address(&self.site, token.expose_secret());
        Ok(Some((address, letter)))
    }

    async fn reset(&self, user: UserId) -> Result<Addressed, StoreError> {
        let Some(address) = self.store.user_subject(user).await? else {
            return Ok(None);
        };
        let expires_at = self.clock.now().plus(RESET_LIFETIME);
        let token = self
            .mint(TokenPurpose::Reset, user.number(), expires_at)
            .await?;
        let letter = Letter::reset_password(&self.site, token.expose_secret());
        Ok(Some((address, letter)))
    }

    async fn invitation(&self, invitation: InvitationId) -> Result<Addressed, StoreError> {
        let now = self.clock.now();
        let found = self.store.invitation_subject(invitation, now).await?;
        let Some(found) = found else {
            return Ok(None);
        };
        let expires_at = now.plus(INVITATION_LIFETIME).min(found.expires_at);
        let token = self
            .mint(TokenPurpose::Invite, invitation.number(), expires_at)
            .await?;
        let letter = Letter::invitation(
            &self.site,
            token.expose_secret(),
            &found.workspace,
            found.inviter.as_deref(),
        );
        Ok(Some((found.email, letter)))
    }

    /// A token of 256 bits; the database gets its digest only.
    async fn mint(
        &self,
        purpose: TokenPurpose,
        subject: i64,
        expires_at: Timestamp,
    ) -> Result<SecretString, StoreError> {
        let token = URL_SAFE_NO_PAD.encode(random_bytes::<32>(&*self.entropy));
        let stored = NewMailedToken {
            digest: Sha256::digest(token.as_bytes()).to_vec(),
            purpose,
            subject,
            created_at: self.clock.now(),
            expires_at,
        };
        self.store.insert_mailed_token(&stored).await?;
        Ok(SecretString::from(token))
    }
}
