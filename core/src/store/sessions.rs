//! Sessions and their refresh tokens.

use sqlx::FromRow;

use crate::model::{SessionId, Timestamp, UserId};
use crate::store::audit::{AuditEntry, record};
use crate::store::jobs::{NewJob, enqueue};
use crate::store::standings::bump_revision;
use crate::store::{Store, StoreError, in_tx, with_db};

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

/// A session to be started.
#[derive(Clone, Debug)]
pub(crate) struct NewSession {
    pub(crate) id: SessionId,
    pub(crate) user: UserId,
    /// What the program of whoever signed in calls itself.
    pub(crate) client: Option<String>,
    pub(crate) address: Option<String>,
    pub(crate) token: NewRefreshToken,
}

/// A session as its owner sees it.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct SessionRow {
    pub(crate) id: SessionId,
    pub(crate) created_at: Timestamp,
    pub(crate) last_used_at: Option<Timestamp>,
    pub(crate) expires_at: Timestamp,
    pub(crate) client: Option<String>,
    pub(crate) address: Option<String>,
}

/// Which sessions of a user end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    One(SessionId),
    All,
    AllBut(SessionId),
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

/// Ends sessions of a user inside a transaction.
macro_rules! end_sessions {
    ($tx:ident, $user:expr, $ending:expr, $now:expr) => {{
        let (one, but) = match $ending {
            $crate::store::sessions::Ending::One(one) => (Some(one), None),
            $crate::store::sessions::Ending::All => (None, None),
            $crate::store::sessions::Ending::AllBut(but) => (None, Some(but)),
        };
        sqlx::query(
            "UPDATE sessions SET ended_at = $1 WHERE user_id = $2 AND ended_at IS NULL \
             AND id = COALESCE($3, id) AND id <> COALESCE($4, -1)",
        )
        .bind($now)
        .bind($user)
        .bind(one)
        .bind(but)
        .execute(&mut *$tx)
        .await?
        .rows_affected()
    }};
}
pub(crate) use end_sessions;

impl Store {
    /// Starts a session, if the user still has this password hash and is active. Returns whether it did.
    pub(crate) async fn insert_session(
        &self,
        session: &NewSession,
        password_hash: &str,
        now: Timestamp,
        entry: &AuditEntry<'_>,
    ) -> Result<bool, StoreError> {
        in_tx!(&self.db, |tx| {
            // Hashing took a while: a reset or a suspension since then counts. Both write this row
            // first, so one waits for the other.
            let unchanged = sqlx::query(
                "UPDATE users SET updated_at = updated_at \
                 WHERE id = $1 AND password_hash = $2 AND status = 'active'",
            )
            .bind(session.user)
            .bind(password_hash)
            .execute(&mut *tx)
            .await?
            .rows_affected();
            if unchanged == 0 {
                return Ok(false);
            }
            sqlx::query(
                "INSERT INTO sessions (id, user_id, created_at, expires_at, client, address) \
                 VALUES ($1, $2, $3, $4, $5, $6)",
            )
            .bind(session.id)
            .bind(session.user)
            .bind(now)
            .bind(session.token.expires_at)
            .bind(&session.client)
            .bind(&session.address)
            .execute(&mut *tx)
            .await?;
            insert_token!(tx, session.id, session.token, now);
            record!(tx, entry);
        });
        Ok(true)
    }

    /// Sessions of a user that have not ended, newest first.
    pub(crate) async fn sessions(
        &self,
        user: UserId,
        now: Timestamp,
    ) -> Result<Vec<SessionRow>, StoreError> {
        let rows = with_db!(&self.db, |pool| {
            sqlx::query_as(
                "SELECT id, created_at, last_used_at, expires_at, client, address FROM sessions \
                 WHERE user_id = $1 AND ended_at IS NULL AND expires_at > $2 \
                 ORDER BY created_at DESC, id LIMIT 200",
            )
            .bind(user)
            .bind(now)
            .fetch_all(pool)
            .await?
        });
        Ok(rows)
    }

    /// Whether this user has signed in from this address before.
    pub(crate) async fn has_signed_in_from(
        &self,
        user: UserId,
        address: &str,
    ) -> Result<bool, StoreError> {
        let found: Option<SessionId> = with_db!(&self.db, |pool| {
            sqlx::query_scalar(
                "SELECT id FROM sessions WHERE user_id = $1 AND address = $2 LIMIT 1",
            )
            .bind(user)
            .bind(address)
            .fetch_optional(pool)
            .await?
        });
        Ok(found.is_some())
    }

    /// Ends sessions of a user at once. Returns how many there were.
    pub(crate) async fn end_sessions(
        &self,
        user: UserId,
        ending: Ending,
        now: Timestamp,
        entry: &AuditEntry<'_>,
    ) -> Result<u64, StoreError> {
        let (revision, ended) = in_tx!(&self.db, |tx| {
            // First: changes of who may do what wait for each other, and never crosswise.
            let revision = bump_revision!(tx);
            let ended = end_sessions!(tx, user, ending, now);
            if ended == 0 {
                return Ok(0);
            }
            record!(tx, entry);
            (revision, ended)
        });
        self.authorization.noticed(revision);
        Ok(ended)
    }

    /// Uses up a refresh token and stores its successor, by one compare-and-set.
    /// A token that was used before ends its session: one of its two holders is a thief.
    pub(crate) async fn rotate_refresh_token(
        &self,
        digest: &[u8],
        successor: &NewRefreshToken,
        now: Timestamp,
        reused: &AuditEntry<'_>,
        notice: impl Fn(UserId) -> NewJob,
    ) -> Result<Rotation, StoreError> {
        let (revision, rotation) = in_tx!(&self.db, |tx| {
            // Ending and refreshing both write the session's row first: one waits for the other.
            let session: Option<(SessionId, UserId)> = sqlx::query_as(
                "UPDATE sessions SET expires_at = $1, last_used_at = $2 \
                 WHERE ended_at IS NULL AND expires_at > $2 \
                 AND id = (SELECT session_id FROM refresh_tokens WHERE digest = $3) \
                 RETURNING id, user_id",
            )
            .bind(successor.expires_at)
            .bind(now)
            .bind(digest)
            .fetch_optional(&mut *tx)
            .await?;
            let Some((session, user)) = session else {
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
                end_sessions!(tx, user, Ending::One(session), now);
                let mut entry = reused.clone();
                entry.object = Some(session.to_string());
                record!(tx, &entry);
                let job = notice(user);
                enqueue!(tx, &job);
                (Some(bump_revision!(tx)), Rotation::Reused)
            } else {
                insert_token!(tx, session, successor, now);
                (None, Rotation::Rotated { user, session })
            }
        });
        if let Some(revision) = revision {
            self.authorization.noticed(revision);
            self.jobs_queued();
        }
        Ok(rotation)
    }
}
