//! Users, their sessions and refresh tokens.

use sqlx::FromRow;

use crate::model::{InstanceRole, SessionId, Timestamp, UserId, WorkspaceId};
use crate::store::{Store, StoreError, in_tx, with_db};

/// A user as stored, with what is needed to check a password.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct UserRow {
    pub(crate) id: UserId,
    pub(crate) email: String,
    pub(crate) name: Option<String>,
    pub(crate) password_hash: String,
    pub(crate) role: InstanceRole,
    pub(crate) status: String,
    pub(crate) created_at: Timestamp,
}

/// A session and whose it is, as one question per request.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct SessionRow {
    pub(crate) user_id: UserId,
    pub(crate) email: String,
    pub(crate) role: InstanceRole,
    pub(crate) status: String,
    pub(crate) expires_at: Timestamp,
    pub(crate) ended_at: Option<Timestamp>,
    pub(crate) workspace_id: WorkspaceId,
}

/// A fresh refresh token, as the database keeps it.
#[derive(Clone, Debug)]
pub(crate) struct NewRefreshToken {
    pub(crate) digest: Vec<u8>,
    pub(crate) expires_at: Timestamp,
}

/// What presenting a refresh token led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rotation {
    Rotated {
        user: UserId,
        session: SessionId,
    },
    /// Unknown, expired, or of an ended session.
    Refused,
    /// It was used before: its session has been ended.
    Reused,
}

macro_rules! insert_token {
    ($tx:ident, $session:expr, $token:expr, $now:expr) => {
        sqlx::query(
            "INSERT INTO refresh_tokens (digest, session_id, created_at, expires_at) \
             VALUES ($1, $2, $3, $4)",
        )
        .bind($token.digest.as_slice())
        .bind($session)
        .bind($now)
        .bind($token.expires_at)
        .execute(&mut *$tx)
        .await?
    };
}

impl Store {
    /// Stores a user with a workspace of their own; [`StoreError::Taken`] when the e-mail is.
    /// With `only_first`, does nothing and returns false when any user exists.
    pub(crate) async fn insert_user(
        &self,
        user: &UserRow,
        email_key: &str,
        workspace: WorkspaceId,
        only_first: bool,
    ) -> Result<bool, StoreError> {
        in_tx!(&self.db, |tx| {
            if only_first {
                let users: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM users")
                    .fetch_one(&mut *tx)
                    .await?;
                if users > 0 {
                    return Ok(false);
                }
            }
            sqlx::query(
                "INSERT INTO users (id, email, email_key, name, password_hash, role, status, \
                 created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)",
            )
            .bind(user.id)
            .bind(&user.email)
            .bind(email_key)
            .bind(&user.name)
            .bind(&user.password_hash)
            .bind(user.role)
            .bind(&user.status)
            .bind(user.created_at)
            .execute(&mut *tx)
            .await?;
            sqlx::query("INSERT INTO workspaces (id, name, created_at) VALUES ($1, $2, $3)")
                .bind(workspace)
                .bind(&user.email)
                .bind(user.created_at)
                .execute(&mut *tx)
                .await?;
            sqlx::query(
                "INSERT INTO memberships (workspace_id, user_id, role, created_at) \
                 VALUES ($1, $2, 'owner', $3)",
            )
            .bind(workspace)
            .bind(user.id)
            .bind(user.created_at)
            .execute(&mut *tx)
            .await?;
        });
        Ok(true)
    }

    pub(crate) async fn user_by_email(
        &self,
        email_key: &str,
    ) -> Result<Option<UserRow>, StoreError> {
        let user = with_db!(&self.db, |pool| {
            sqlx::query_as(
                "SELECT id, email, name, password_hash, role, status, created_at FROM users \
                 WHERE email_key = $1",
            )
            .bind(email_key)
            .fetch_optional(pool)
            .await?
        });
        Ok(user)
    }

    pub(crate) async fn has_users(&self) -> Result<bool, StoreError> {
        let users: i64 = with_db!(&self.db, |pool| {
            sqlx::query_scalar("SELECT COUNT(*) FROM users")
                .fetch_one(pool)
                .await?
        });
        Ok(users > 0)
    }

    pub(crate) async fn insert_session(
        &self,
        session: SessionId,
        user: UserId,
        token: &NewRefreshToken,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        in_tx!(&self.db, |tx| {
            sqlx::query(
                "INSERT INTO sessions (id, user_id, created_at, expires_at) \
                 VALUES ($1, $2, $3, $4)",
            )
            .bind(session)
            .bind(user)
            .bind(now)
            .bind(token.expires_at)
            .execute(&mut *tx)
            .await?;
            insert_token!(tx, session, token, now);
        });
        Ok(())
    }

    /// The session with its user and the user's first workspace.
    pub(crate) async fn session(
        &self,
        session: SessionId,
    ) -> Result<Option<SessionRow>, StoreError> {
        let row = with_db!(&self.db, |pool| {
            sqlx::query_as(
                "SELECT s.user_id, u.email, u.role, u.status, s.expires_at, s.ended_at, \
                 m.workspace_id FROM sessions s JOIN users u ON u.id = s.user_id \
                 JOIN memberships m ON m.user_id = u.id WHERE s.id = $1 \
                 ORDER BY m.created_at, m.workspace_id LIMIT 1",
            )
            .bind(session)
            .fetch_optional(pool)
            .await?
        });
        Ok(row)
    }

    pub(crate) async fn end_session(
        &self,
        session: SessionId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        in_tx!(&self.db, |tx| {
            sqlx::query("UPDATE sessions SET ended_at = $1 WHERE id = $2 AND ended_at IS NULL")
                .bind(now)
                .bind(session)
                .execute(&mut *tx)
                .await?;
        });
        Ok(())
    }

    /// Uses up a refresh token and stores its successor, by one compare-and-set.
    /// A token that was used before ends its session: one of its two holders is a thief.
    pub(crate) async fn rotate_refresh_token(
        &self,
        digest: &[u8],
        successor: &NewRefreshToken,
        now: Timestamp,
    ) -> Result<Rotation, StoreError> {
        let rotation = in_tx!(&self.db, |tx| {
            // Ending and refreshing both write the session's row first: one waits for the other.
            let session: Option<SessionId> = sqlx::query_scalar(
                "UPDATE sessions SET expires_at = $1 WHERE ended_at IS NULL AND expires_at > $2 \
                 AND id = (SELECT session_id FROM refresh_tokens WHERE digest = $3) RETURNING id",
            )
            .bind(successor.expires_at)
            .bind(now)
            .bind(digest)
            .fetch_optional(&mut *tx)
            .await?;
            let Some(session) = session else {
                return Ok(Rotation::Refused);
            };
            let spent = sqlx::query(
                "UPDATE refresh_tokens SET used_at = $1 \
                 WHERE digest = $2 AND used_at IS NULL AND expires_at > $1",
            )
            .bind(now)
            .bind(digest)
            .execute(&mut *tx)
            .await?
            .rows_affected();
            if spent == 0 {
                sqlx::query("UPDATE sessions SET ended_at = $1 WHERE id = $2")
                    .bind(now)
                    .bind(session)
                    .execute(&mut *tx)
                    .await?;
                Rotation::Reused
            } else {
                insert_token!(tx, session, successor, now);
                let user = sqlx::query_scalar("SELECT user_id FROM sessions WHERE id = $1")
                    .bind(session)
                    .fetch_one(&mut *tx)
                    .await?;
                Rotation::Rotated { user, session }
            }
        });
        Ok(rotation)
    }
}
