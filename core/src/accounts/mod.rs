//! Who may sign in, and what signing in gives them.

mod keys;
mod password;
mod recovery;
mod registration;
mod sessions;
mod standing;
mod users;

pub use keys::{ApiKey, KeyError, NewApiKey, PREFIX as API_KEY_PREFIX};
pub use recovery::PasswordError;
pub use registration::{
    MailedTokenError, NewRegistration, REGISTRATION_LIFETIME, RegistrationPolicy,
};
pub use sessions::Session;
pub use users::{UserChanges, UserError, UserFilter, read_role};

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use crate::mail::MailJob;
use crate::model::{
    Actor, Clock, Entropy, FieldError, FirstAdmin, Grant, InstanceRole, NewUser, Origin, Principal,
    SessionId, User, UserId, UserStatus, WorkspaceId, check_email, email_key, random_bytes,
};
use crate::store::accounts::UserRow;
use crate::store::audit::AuditEntry;
use crate::store::sessions::{NewRefreshToken, NewSession, Rotation};
use crate::store::{Store, StoreError};
use password::Passwords;
use standing::Standings;

/// How long an unused refresh token is good for.
pub const REFRESH_LIFETIME: Duration = Duration::from_hours(30 * 24);

const ADMIN_EMAIL: &str = "admin@localhost";
// What a program calls itself is cut here.
const MAX_CLIENT_CHARS: usize = 255;

/// Accounts of one installation.
#[derive(Clone, Debug)]
pub struct Accounts {
    store: Store,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    passwords: Passwords,
    standings: Standings,
}

/// Why an account was not made.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    #[error("the account was refused")]
    Refused(Vec<FieldError>),
    #[error("an account with this e-mail address exists")]
    EmailTaken,
    #[error("administrators make the accounts here")]
    RegistrationClosed,
    /// As many passwords are being hashed as the machine can take.
    #[error("too many passwords are being hashed right now")]
    Busy,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why nobody was signed in.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// Unknown address, wrong password or suspended: from outside they are the same.
    #[error("the e-mail address or the password is wrong")]
    InvalidCredentials,
    /// As many passwords are being checked as the machine can take.
    #[error("too many people are signing in right now")]
    Busy,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a session was not continued.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    #[error("the refresh token is unknown, used, or expired")]
    Invalid,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a request is nobody's.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticationError {
    #[error("the session has ended")]
    Ended,
    /// Malformed, unknown, expired or revoked.
    #[error("the API key is not good")]
    KeyInvalid,
    /// Unknown, or not one that the caller belongs to.
    #[error("there is no such workspace")]
    NoSuchWorkspace,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Accounts {
    pub(crate) fn new(store: Store, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self {
            standings: Standings::new(store.clone(), Arc::clone(&clock)),
            store,
            clock,
            passwords: Passwords::new(Arc::clone(&entropy)),
            entropy,
        }
    }

    /// Makes an account with a workspace of its own. The address counts as verified.
    pub async fn create_user(&self, new: NewUser, actor: &Actor) -> Result<User, AccountError> {
        let (row, key) = self.checked(new).await?;
        let entry = self.creation(&row, actor);
        let workspace = WorkspaceId::random(&*self.entropy);
        match self
            .store
            .insert_user(&row, &key, workspace, false, &entry)
            .await
        {
            Ok(_) => Ok(user_of(row)),
            Err(StoreError::Taken) => Err(AccountError::EmailTaken),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes the first administrator on an empty database, once even if many ask at the same time.
    /// Without an address it is `admin@localhost`; without a password one is generated.
    pub async fn first_admin(
        &self,
        email: Option<String>,
        password: Option<SecretString>,
    ) -> Result<Option<FirstAdmin>, AccountError> {
        if self.store.has_users().await? {
            return Ok(None);
        }
        let email = email.unwrap_or_else(|| ADMIN_EMAIL.to_owned());
        let generated = password.is_none().then(|| self.random_text::<15>());
        let password = password.or_else(|| generated.clone()).unwrap_or_default();
        let (row, key) = self
            .checked(NewUser {
                email: email.clone(),
                password,
                role: InstanceRole::Admin,
                name: None,
            })
            .await?;
        let actor = Actor::system();
        let entry = self.creation(&row, &actor);
        let workspace = WorkspaceId::random(&*self.entropy);
        let made = self
            .store
            .insert_user(&row, &key, workspace, true, &entry)
            .await;
        let made = match made {
            // Another node that started at the same moment was faster.
            Err(StoreError::Taken) => false,
            made => made?,
        };
        Ok(made.then_some(FirstAdmin {
            email,
            generated_password: generated,
        }))
    }

    /// Starts a session. Takes as long for an unknown address as for a wrong password.
    pub async fn sign_in(
        &self,
        email: &str,
        password: &SecretString,
        origin: &Origin,
    ) -> Result<Grant, SignInError> {
        // No account has such an address.
        let impossible = check_email(email).is_err();
        if impossible || password.expose_secret().len() > password::MAX_BYTES {
            return Err(SignInError::InvalidCredentials);
        }
        let user = self.store.user_by_email(&email_key(email)).await?;
        let stored = user.as_ref().map(|user| user.password_hash.clone());
        let verdict = self
            .passwords
            .verify(password.clone(), stored)
            .await
            .map_err(|_| SignInError::Busy)?;
        let user = user
            .filter(|user| verdict.matches && user.status == UserStatus::Active)
            .ok_or(SignInError::InvalidCredentials)?;
        let mut user = user;
        if verdict.outdated {
            user.password_hash = self.upgrade_hash(&user, password).await?;
        }
        let (refresh_token, stored) = self.refresh_token();
        let refresh_expires_at = stored.expires_at;
        let client = origin.client.as_deref();
        let session = NewSession {
            id: SessionId::random(&*self.entropy),
            user: user.id,
            client: client.map(|client| client.chars().take(MAX_CLIENT_CHARS).collect()),
            address: origin.address.map(|address| address.to_string()),
            token: stored,
        };
        let actor = Actor {
            user: Some(user.id),
            name: user.email.clone(),
            key: None,
            address: origin.address,
        };
        let mut entry = self.entry(&actor, "session.create");
        entry.object = Some(session.id.to_string());
        let (hash, now) = (&user.password_hash, self.clock.now());
        let started = self.store.insert_session(&session, hash, now, &entry);
        if !started.await? {
            return Err(SignInError::InvalidCredentials);
        }
        Ok(Grant {
            user: user.id,
            session: session.id,
            refresh_token,
            refresh_expires_at,
        })
    }

    /// Continues a session with a new refresh token; the old one is used up.
    /// A used one ends the session, because one of its two holders is a thief.
    pub async fn refresh(&self, token: &str, origin: &Origin) -> Result<Grant, RefreshError> {
        let (refresh_token, stored) = self.refresh_token();
        let actor = Actor::anonymous(origin.address);
        let reused = self.entry(&actor, "session.copied");
        let now = self.clock.now();
        let notice = |user| MailJob::SessionCopied { user }.queued(&*self.entropy, now);
        let rotation = self
            .store
            .rotate_refresh_token(&digest(token), &stored, now, &reused, notice)
            .await?;
        match rotation {
            Rotation::Rotated { user, session } => Ok(Grant {
                user,
                session,
                refresh_token,
                refresh_expires_at: stored.expires_at,
            }),
            Rotation::Refused => Err(RefreshError::Invalid),
            Rotation::Reused => {
                tracing::warn!("a used refresh token was presented; its session has been ended");
                Err(RefreshError::Invalid)
            }
        }
    }

    /// Whose this session is, where it acts, and what it may do there; an ended session is out at
    /// once. `workspace` is the one that it names, in place of the user's own.
    pub async fn authenticate(
        &self,
        session: SessionId,
        user: UserId,
        workspace: Option<WorkspaceId>,
    ) -> Result<Principal, AuthenticationError> {
        self.standings.of_session(session, user, workspace).await
    }

    /// Hashes with today's parameters what was hashed with weaker ones.
    async fn upgrade_hash(
        &self,
        user: &UserRow,
        password: &SecretString,
    ) -> Result<String, StoreError> {
        let old = &user.password_hash;
        if let Ok(hash) = self.passwords.hash(password.clone()).await
            && self.store.upgrade_hash(user.id, old, &hash).await?
        {
            return Ok(hash);
        }
        // Too busy now, or changed meanwhile: the next time will do.
        Ok(old.clone())
    }

    fn creation<'a>(&self, user: &UserRow, actor: &'a Actor) -> AuditEntry<'a> {
        let mut entry = self.entry(actor, "user.create");
        entry.object = Some(user.id.to_string());
        entry.details = serde_json::json!({ "email": user.email, "role": user.role.as_str() });
        entry
    }

    fn entry<'a>(&self, actor: &'a Actor, action: &'static str) -> AuditEntry<'a> {
        AuditEntry {
            at: self.clock.now(),
            actor,
            workspace: None,
            action,
            object: None,
            details: serde_json::json!({}),
        }
    }

    async fn checked(&self, new: NewUser) -> Result<(UserRow, String), AccountError> {
        let about = [new.email.as_str(), new.name.as_deref().unwrap_or_default()];
        let errors: Vec<FieldError> = [
            check_email(&new.email),
            password::check("password", &new.password, &about),
            new.name.as_deref().map_or(Ok(()), check_name),
        ]
        .into_iter()
        .filter_map(Result::err)
        .collect();
        if !errors.is_empty() {
            return Err(AccountError::Refused(errors));
        }
        let password_hash = self
            .passwords
            .hash(new.password)
            .await
            .map_err(|_| AccountError::Busy)?;
        let key = email_key(&new.email);
        let row = UserRow {
            id: UserId::random(&*self.entropy),
            email: new.email.trim().to_owned(),
            name: new.name,
            password_hash,
            role: new.role,
            status: UserStatus::Active,
            created_at: self.clock.now(),
        };
        Ok((row, key))
    }

    fn refresh_token(&self) -> (SecretString, NewRefreshToken) {
        let token = self.random_text::<32>();
        let stored = NewRefreshToken {
            digest: digest(token.expose_secret()),
            expires_at: self.clock.now().plus(REFRESH_LIFETIME),
        };
        (token, stored)
    }

    fn random_text<const BYTES: usize>(&self) -> SecretString {
        SecretString::from(URL_SAFE_NO_PAD.encode(random_bytes::<BYTES>(&*self.entropy)))
    }
}

fn user_of(row: UserRow) -> User {
    User {
        id: row.id,
        email: row.email,
        name: row.name,
        role: row.role,
        status: row.status,
        created_at: row.created_at,
    }
}

fn digest(token: &str) -> Vec<u8> {
    Sha256::digest(token.as_bytes()).to_vec()
}

/// The address without blanks around it, if it is one.
fn checked_email(email: &str) -> Result<String, AccountError> {
    check_email(email).map_err(|error| AccountError::Refused(vec![error]))?;
    Ok(email.trim().to_owned())
}

fn check_name(name: &str) -> Result<(), FieldError> {
    if name.chars().count() > 100 || name.chars().any(char::is_control) {
        return Err(FieldError::new(
            "name",
            "name_invalid",
            "must be at most 100 characters, without control characters",
        ));
    }
    Ok(())
}
