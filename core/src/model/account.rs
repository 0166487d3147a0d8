//! Users, and what signing in gives them.

use std::sync::Arc;

use secrecy::SecretString;

use crate::model::{ApiKeyId, Permission, Permissions, SessionId, Timestamp, UserId, WorkspaceId};

/// What a user may do on the whole instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "TEXT", rename_all = "snake_case")]
pub enum InstanceRole {
    Admin,
    User,
}

impl InstanceRole {
    /// The name used in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::User => "user",
        }
    }
}

/// An account to be made.
#[derive(Clone, Debug)]
pub struct NewUser {
    pub email: String,
    /// 8 to 1,024 bytes.
    pub password: SecretString,
    pub role: InstanceRole,
    pub name: Option<String>,
}

/// Whether an account may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "TEXT", rename_all = "snake_case")]
pub enum UserStatus {
    Active,
    /// Signed out everywhere, until an administrator says otherwise.
    Suspended,
}

impl UserStatus {
    /// The name used in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
        }
    }
}

/// Somebody who can sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub id: UserId,
    pub email: String,
    pub name: Option<String>,
    pub role: InstanceRole,
    pub status: UserStatus,
    pub created_at: Timestamp,
}

/// The administrator made on an empty database.
#[derive(Debug)]
pub struct FirstAdmin {
    pub email: String,
    /// Present when it was generated: this is the only time that it can be shown.
    pub generated_password: Option<SecretString>,
}

/// What a successful sign-in or refresh hands out.
#[derive(Debug)]
pub struct Grant {
    pub user: UserId,
    pub session: SessionId,
    /// Good for one refresh; the database keeps only its digest.
    pub refresh_token: SecretString,
    pub refresh_expires_at: Timestamp,
}

/// What a request showed to say whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Credential {
    /// An access token of this session.
    Session(SessionId),
    Key(ApiKeyId),
}

impl Credential {
    pub const fn session(self) -> Option<SessionId> {
        match self {
            Self::Session(session) => Some(session),
            Self::Key(_) => None,
        }
    }

    pub const fn key(self) -> Option<ApiKeyId> {
        match self {
            Self::Session(_) => None,
            Self::Key(key) => Some(key),
        }
    }
}

/// Who a request comes from, where it acts, and what it may do there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    pub user: UserId,
    pub email: Arc<str>,
    pub credential: Credential,
    /// The workspace that it acts in: the one it names, or the user's own.
    pub workspace: WorkspaceId,
    /// In that workspace.
    pub permissions: Permissions,
    /// On the whole instance.
    pub on_instance: Permissions,
}

impl Principal {
    /// Whether it may do this in its workspace.
    pub const fn may(&self, permission: Permission) -> bool {
        self.permissions.contains(permission)
    }

    /// Whether it may do this on the whole instance.
    pub const fn may_on_instance(&self, permission: Permission) -> bool {
        self.on_instance.contains(permission)
    }
}
