//! Registering oneself: an account exists once its address is verified, not before, so that nobody
//! can lie in wait in one that was made with somebody else's address.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use crate::accounts::{AccountError, Accounts, checked_email, digest, user_of};
use crate::mail::MailJob;
use crate::model::{
    Actor, InstanceRole, NewUser, Origin, RegistrationId, User, UserId, WorkspaceId, email_key,
};
use crate::store::StoreError;
use crate::store::registrations::RegistrationRow;

/// How long a registration waits to be verified.
pub const REGISTRATION_LIFETIME: Duration = Duration::from_hours(24);

/// Who may register.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RegistrationPolicy {
    /// Anybody.
    Open,
    /// Whoever was invited into a workspace.
    Invite,
    /// Nobody: administrators make accounts.
    #[default]
    Closed,
}

/// Somebody who wants an account.
#[derive(Clone, Debug)]
pub struct NewRegistration {
    pub email: String,
    /// 8 to 1,024 bytes, and not one that is guessed quickly.
    pub password: SecretString,
    pub name: Option<String>,
}

/// Why a token from a mail opened nothing.
#[derive(Debug, thiserror::Error)]
pub enum MailedTokenError {
    #[error("the token is unknown, used or expired")]
    Invalid,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Accounts {
    /// Registers somebody, or does what looks exactly like it. A mail says how to go on: to the
    /// address if it is new, to the account's owner if there is one. Without `mail`, because the
    /// address has had enough of them, nothing comes of it.
    pub async fn register(
        &self,
        new: NewRegistration,
        policy: RegistrationPolicy,
        mail: bool,
    ) -> Result<(), AccountError> {
        if policy == RegistrationPolicy::Closed {
            return Err(AccountError::RegistrationClosed);
        }
        let (row, key) = self
            .checked(NewUser {
                email: new.email,
                password: new.password,
                role: InstanceRole::User,
                name: new.name,
            })
            .await?;
        let now = self.clock.now();
        let invited = || self.store.is_invited(&key, now);
        if !mail || (policy == RegistrationPolicy::Invite && !invited().await?) {
            return Ok(());
        }
        let registration = RegistrationRow {
            id: RegistrationId::random(&*self.entropy),
            email: row.email,
            email_key: key,
            name: row.name,
            password_hash: row.password_hash,
            created_at: now,
            expires_at: now.plus(REGISTRATION_LIFETIME),
        };
        let verify = MailJob::VerifyAddress {
            registration: registration.id,
        };
        let verify = verify.queued(&*self.entropy, now);
        let exists = |email| MailJob::AccountExists { email }.queued(&*self.entropy, now);
        self.store.register(&registration, &verify, exists).await?;
        Ok(())
    }

    /// Has the mail about a registration sent again; to anybody else, one that says how things are.
    pub async fn resend_verification(&self, email: &str, mail: bool) -> Result<(), AccountError> {
        let email = checked_email(email)?;
        if !mail {
            return Ok(());
        }
        let (key, now) = (email_key(&email), self.clock.now());
        let mail = if let Some(user) = self.store.user_by_email(&key).await? {
            MailJob::AccountExists { email: user.email }
        } else if let Some(registration) = self.store.registration_by_email(&key, now).await? {
            MailJob::VerifyAddress { registration }
        } else {
            MailJob::NoAccount { email }
        };
        self.store
            .enqueue(&mail.queued(&*self.entropy, now))
            .await?;
        Ok(())
    }

    /// Makes the account that this token from a mail verifies. Once, of however many ask. When others
    /// registered with this address too, nobody's password counts: a mail lets its owner choose one.
    pub async fn verify_email(
        &self,
        token: &SecretString,
        origin: &Origin,
    ) -> Result<User, MailedTokenError> {
        let actor = Actor::anonymous(origin.address);
        let entry = self.entry(&actor, "user.register");
        let digest = digest(token.expose_secret());
        let user = UserId::random(&*self.entropy);
        let workspace = WorkspaceId::random(&*self.entropy);
        let reset = MailJob::ResetPassword { user }.queued(&*self.entropy, self.clock.now());
        let verified = self
            .store
            .verify_registration(&digest, user, workspace, &entry, &reset)
            .await;
        match verified {
            Ok(Some(row)) => Ok(user_of(row)),
            // The address got an account in the meantime.
            Ok(None) | Err(StoreError::Taken) => Err(MailedTokenError::Invalid),
            Err(error) => Err(error.into()),
        }
    }
}
