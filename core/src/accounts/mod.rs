//! Who may sign in, and what signing in gives them.

mod password;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use crate::model::{
    Clock, Entropy, FieldError, FirstAdmin, Grant, InstanceRole, NewUser, Principal, SessionId,
    User, UserId, WorkspaceId, random_bytes,
};
use crate::store::accounts::{NewRefreshToken, Rotation, UserRow};
use crate::store::{Store, StoreError};
use password::Passwords;

/// How long an unused refresh token is good for.
pub const REFRESH_LIFETIME: Duration = Duration::from_hours(30 * 24);

const ADMIN_EMAIL: &str = "admin@localhost";
const MAX_EMAIL_BYTES: usize = 254;
const ACTIVE: &str = "active";

/// Accounts of one installation.
#[derive(Clone, Debug)]
pub struct Accounts {
    store: Store,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    passwords: Passwords,
}

/// Why an account was not made.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    #[error("the account was refused")]
    Refused(Vec<FieldError>),
    #[error("an account with this e-mail address exists")]
    EmailTaken,
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
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Accounts {
    pub(crate) fn new(store: Store, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self {
            store,
            clock,
            passwords: Passwords::new(Arc::clone(&entropy)),
            entropy,
        }
    }

    /// Makes an account with a workspace of its own. The address counts as verified.
    pub async fn create_user(&self, new: NewUser) -> Result<User, AccountError> {
        let (row, key) = self.checked(new).await?;
        match self
            .store
            .insert_user(&row, &key, WorkspaceId::random(&*self.entropy), false)
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
        let made = self
            .store
            .insert_user(&row, &key, WorkspaceId::random(&*self.entropy), true)
            .await?;
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
    ) -> Result<Grant, SignInError> {
        // No account has such an address, and PostgreSQL has no text with NUL.
        let impossible = email.len() > MAX_EMAIL_BYTES || email.contains('\0');
        if impossible || password.expose_secret().len() > password::MAX_BYTES {
            return Err(SignInError::InvalidCredentials);
        }
        let user = self.store.user_by_email(&email_key(email)).await?;
        let stored = user.as_ref().map(|user| user.password_hash.clone());
        let matches = self
            .passwords
            .verify(password.clone(), stored)
            .await
            .map_err(|_| SignInError::Busy)?;
        let user = user
            .filter(|user| matches && user.status == ACTIVE)
            .ok_or(SignInError::InvalidCredentials)?;
        let session = SessionId::random(&*self.entropy);
        let (refresh_token, stored) = self.refresh_token();
        let now = self.clock.now();
        self.store
            .insert_session(session, user.id, &stored, now)
            .await?;
        Ok(Grant {
            user: user.id,
            session,
            refresh_token,
            refresh_expires_at: stored.expires_at,
        })
    }

    /// Continues a session with a new refresh token; the old one is used up.
    /// A used one ends the session, because one of its two holders is a thief.
    pub async fn refresh(&self, token: &str) -> Result<Grant, RefreshError> {
        let (refresh_token, stored) = self.refresh_token();
        let rotation = self
            .store
            .rotate_refresh_token(&digest(token), &stored, self.clock.now())
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

    /// Who this session belongs to, if it still stands. The database is asked each time: an ended
    /// session is out at once.
    pub async fn authenticate(
        &self,
        session: SessionId,
        user: UserId,
    ) -> Result<Principal, AuthenticationError> {
        let row = self
            .store
            .session(session)
            .await?
            .filter(|row| {
                row.user_id == user
                    && row.ended_at.is_none()
                    && row.expires_at > self.clock.now()
                    && row.status == ACTIVE
            })
            .ok_or(AuthenticationError::Ended)?;
        Ok(Principal {
            user: row.user_id,
            session,
            workspace: row.workspace_id,
            role: row.role,
            email: row.email,
        })
    }

    /// Ends a session at once; its access and refresh tokens are worth nothing from now on.
    pub async fn sign_out(&self, session: SessionId) -> Result<(), StoreError> {
        self.store.end_session(session, self.clock.now()).await
    }

    async fn checked(&self, new: NewUser) -> Result<(UserRow, String), AccountError> {
        let errors: Vec<FieldError> = [
            check_email(&new.email),
            password::check(&new.password),
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
            .map_err(|reason| AccountError::Refused(vec![reason]))?;
        let key = email_key(&new.email);
        let row = UserRow {
            id: UserId::random(&*self.entropy),
            email: new.email.trim().to_owned(),
            name: new.name,
            password_hash,
            role: new.role,
            status: ACTIVE.to_owned(),
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
        created_at: row.created_at,
    }
}

fn digest(token: &str) -> Vec<u8> {
    Sha256::digest(token.as_bytes()).to_vec()
}

/// Addresses are equal when they are without their ASCII case: no Unicode folding, which has
/// collisions that let a stranger claim somebody's account.
fn email_key(email: &str) -> String {
    email.trim().to_ascii_lowercase()
}

fn check_email(email: &str) -> Result<(), FieldError> {
    let email = email.trim();
    let plausible = email.len() <= MAX_EMAIL_BYTES
        && email.is_ascii()
        && email
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>' | b'"' | b','))
        && email.split_once('@').is_some_and(|(local, host)| {
            !local.is_empty() && !host.is_empty() && !host.contains('@')
        });
    if plausible {
        Ok(())
    } else {
        Err(FieldError::new(
            "email",
            "email_invalid",
            "must be an e-mail address such as ada@example.com",
        ))
    }
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
