//! Users, and what signing in gives them.

use secrecy::SecretString;

use crate::model::{SessionId, Timestamp, UserId, WorkspaceId};

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

/// Somebody who can sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub id: UserId,
    pub email: String,
    pub name: Option<String>,
    pub role: InstanceRole,
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

/// Who a request comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    pub user: UserId,
    pub session: SessionId,
    /// The user's own workspace.
    pub workspace: WorkspaceId,
    pub role: InstanceRole,
    pub email: String,
}
