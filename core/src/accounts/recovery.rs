//! New passwords: for who forgot the old one, and for who knows it.

use secrecy::{ExposeSecret, SecretString};

use crate::accounts::{AccountError, Accounts, MailedTokenError, checked_email, digest, password};
use crate::mail::MailJob;
use crate::model::{Actor, FieldError, Origin, Principal, UserId, email_key};
use crate::store::StoreError;
use crate::store::mailed_tokens::TokenPurpose;
use crate::store::sessions::Ending;

/// Why a password stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    #[error("the new password was refused")]
    Refused(Vec<FieldError>),
    #[error("the current password is another one")]
    WrongCurrent,
    /// Unknown, used or expired.
    #[error("the token is good for nothing")]
    TokenInvalid,
    #[error("too many passwords are being checked right now")]
    Busy,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<MailedTokenError> for PasswordError {
    fn from(error: MailedTokenError) -> Self {
        match error {
            MailedTokenError::Invalid => Self::TokenInvalid,
            MailedTokenError::Store(error) => Self::Store(error),
        }
    }
}

impl Accounts {
    /// Has a mail sent with which the owner of this address can set a new password; to an address
    /// without an account, one that says so.
    pub async fn forgot_password(&self, email: &str, mail: bool) -> Result<(), AccountError> {
        let email = checked_email(email)?;
        if !mail {
            return Ok(());
        }
        let mail = match self.store.user_by_email(&email_key(&email)).await? {
            Some(user) => MailJob::ResetPassword { user: user.id },
            None => MailJob::NoAccount { email },
        };
        let job = mail.queued(&*self.entropy, self.clock.now());
        self.store.enqueue(&job).await?;
        Ok(())
    }

    /// Sets a new password with a token from a mail, ends every session, and tells the owner. Nobody
    /// is signed in by it.
    pub async fn reset_password(
        &self,
        token: &SecretString,
        new: SecretString,
        origin: &Origin,
    ) -> Result<(), PasswordError> {
        let refused = |error| PasswordError::Refused(vec![error]);
        password::check("new_password", &new, &[]).map_err(refused)?;
        let digest = digest(token.expose_secret());
        let now = self.clock.now();
        let purpose = TokenPurpose::Reset;
        if !self.store.is_token_good(purpose, &digest, now).await? {
            return Err(PasswordError::TokenInvalid);
        }
        let hash = self.hashed(new).await?;
        let actor = Actor::anonymous(origin.address);
        let entry = self.entry(&actor, "user.reset_password");
        let notice = |user: UserId| {
            MailJob::PasswordChanged { user }.queued(&*self.entropy, self.clock.now())
        };
        let owner = self
            .store
            .reset_password(&digest, &hash, &entry, notice)
            .await?;
        owner.map(|_| ()).ok_or(PasswordError::TokenInvalid)
    }

    /// Sets a new password for somebody who knows the current one. Their other sessions end.
    pub async fn change_password(
        &self,
        principal: &Principal,
        current: SecretString,
        new: SecretString,
        actor: &Actor,
    ) -> Result<(), PasswordError> {
        let refused = |error| PasswordError::Refused(vec![error]);
        password::check("new_password", &new, &[&principal.email]).map_err(refused)?;
        let user = self.store.user(principal.user).await?;
        let user = user.ok_or(PasswordError::WrongCurrent)?;
        let verified = self
            .passwords
            .verify(current, Some(user.password_hash.clone()));
        if !verified.await.map_err(|_| PasswordError::Busy)?.matches {
            return Err(PasswordError::WrongCurrent);
        }
        let hash = self.hashed(new).await?;
        let mut entry = self.entry(actor, "user.change_password");
        entry.object = Some(user.id.to_string());
        let ending = principal
            .credential
            .session()
            .map_or(Ending::All, Ending::AllBut);
        let notice = MailJob::PasswordChanged { user: user.id };
        let notice = notice.queued(&*self.entropy, self.clock.now());
        let old = &user.password_hash;
        let changed = self
            .store
            .change_password(user.id, old, &hash, ending, &entry, &notice)
            .await?;
        changed.then_some(()).ok_or(PasswordError::WrongCurrent)
    }

    async fn hashed(&self, password: SecretString) -> Result<String, PasswordError> {
        let hash = self.passwords.hash(password).await;
        hash.map_err(|_| PasswordError::Busy)
    }
}
