//! What a session or a key stands for, and the revision that tells whether it still does.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use sqlx::FromRow;
use tokio::sync::Notify;

use crate::model::{ApiKeyId, InstanceRole, SessionId, Timestamp, UserId, UserStatus, WorkspaceId};
use crate::store::{Store, StoreError, in_snapshot, with_db};

/// The newest revision of who may do what that this node knows of.
#[derive(Debug, Default)]
pub(crate) struct Revision {
    known: AtomicI64,
    /// How often others said that they made one, and how many of those times reading has settled.
    doubts: AtomicU64,
    settled: AtomicU64,
    made: Notify,
}

impl Revision {
    pub(crate) fn known(&self) -> i64 {
        self.known.load(Ordering::Acquire)
    }

    /// A revision that was read: makes everything that was read at an older one worthless.
    pub(crate) fn learned(&self, revision: i64) {
        self.known.fetch_max(revision, Ordering::AcqRel);
    }

    /// A revision that this node made: worth telling others.
    pub(crate) fn noticed(&self, revision: i64) {
        self.learned(revision);
        self.made.notify_one();
    }

    /// Completes when this node made a revision since the last time.
    pub(crate) async fn made(&self) {
        self.made.notified().await;
    }

    /// Another node says that it made one: the database is asked before anybody else is let in.
    pub(crate) fn doubt(&self) {
        self.doubts.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn is_doubted(&self) -> bool {
        self.settled.load(Ordering::Acquire) < self.doubts.load(Ordering::Acquire)
    }
}

/// Inside the transaction of a change of who may do what: makes all nodes read again. What it
/// returns is for [`Revision::noticed`], after the commit.
macro_rules! bump_revision {
    ($tx:ident) => {
        sqlx::query_scalar::<_, i64>(
            "UPDATE revisions SET revision = revision + 1 WHERE name = 'authorization' \
             RETURNING revision",
        )
        .fetch_one(&mut *$tx)
        .await?
    };
}
pub(crate) use bump_revision;

/// Inside a transaction: waits for every other one that changes who may do what, and makes later
/// ones wait. Whatever it reads from here on, such as the number of owners, stays true until it
/// ends. [`bump_revision`] does the same, where it comes first.
macro_rules! take_turn {
    ($tx:ident) => {
        sqlx::query("UPDATE revisions SET revision = revision WHERE name = 'authorization'")
            .execute(&mut *$tx)
            .await?
            .rows_affected()
    };
}
pub(crate) use take_turn;

/// Whose a session or key is.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct HolderRow {
    pub(crate) user_id: UserId,
    pub(crate) email: String,
    pub(crate) role: InstanceRole,
    pub(crate) status: UserStatus,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) ended_at: Option<Timestamp>,
}

/// What a key is limited to.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct KeyRow {
    pub(crate) workspace_id: WorkspaceId,
    pub(crate) digest: Vec<u8>,
    pub(crate) scopes: String,
}

/// A workspace of a user, and what they may do in it.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct MembershipRow {
    pub(crate) workspace_id: WorkspaceId,
    pub(crate) role: String,
    /// Of an own role; built-in ones are not in the database.
    pub(crate) permissions: Option<String>,
}

/// All of it, as of one moment.
#[derive(Clone, Debug)]
pub(crate) struct StandingRow {
    pub(crate) revision: i64,
    pub(crate) holder: HolderRow,
    pub(crate) key: Option<KeyRow>,
    /// The user's own workspace first.
    pub(crate) memberships: Vec<MembershipRow>,
}

macro_rules! memberships {
    ($tx:ident, $user:expr) => {
        sqlx::query_as(
            "SELECT m.workspace_id, m.role, r.permissions FROM memberships m \
             JOIN workspaces w ON w.id = m.workspace_id AND w.deleted_at IS NULL \
             LEFT JOIN roles r ON r.name = m.role WHERE m.user_id = $1 \
             ORDER BY m.created_at, m.workspace_id",
        )
        .bind($user)
        .fetch_all(&mut *$tx)
        .await?
    };
}

const REVISION: &str = "SELECT revision FROM revisions WHERE name = 'authorization'";

impl Store {
    /// The revision as the database has it now; known from here on.
    pub(crate) async fn read_revision(&self) -> Result<(), StoreError> {
        // Before reading: a doubt that arises meanwhile is not settled by it, and nobody is let in until
        // the others are.
        let doubts = self.authorization.doubts.load(Ordering::Acquire);
        let revision: i64 = with_db!(&self.db, |pool| {
            sqlx::query_scalar(REVISION).fetch_one(pool).await?
        });
        self.authorization.learned(revision);
        let settled = &self.authorization.settled;
        settled.fetch_max(doubts, Ordering::AcqRel);
        Ok(())
    }

    pub(crate) async fn session_standing(
        &self,
        session: SessionId,
    ) -> Result<Option<StandingRow>, StoreError> {
        in_snapshot!(&self.db, |tx| {
            let revision = sqlx::query_scalar(REVISION).fetch_one(&mut *tx).await?;
            let holder: Option<HolderRow> = sqlx::query_as(
                "SELECT s.user_id, u.email, u.role, u.status, s.expires_at, s.ended_at \
                 FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.id = $1",
            )
            .bind(session)
            .fetch_optional(&mut *tx)
            .await?;
            let Some(holder) = holder else {
                return Ok(None);
            };
            let memberships = memberships!(tx, holder.user_id);
            Ok(Some(StandingRow {
                revision,
                holder,
                key: None,
                memberships,
            }))
        })
    }

    pub(crate) async fn key_standing(
        &self,
        key: ApiKeyId,
    ) -> Result<Option<StandingRow>, StoreError> {
        in_snapshot!(&self.db, |tx| {
            let revision = sqlx::query_scalar(REVISION).fetch_one(&mut *tx).await?;
            let holder: Option<HolderRow> = sqlx::query_as(
                "SELECT k.user_id, u.email, u.role, u.status, k.expires_at, \
                 k.revoked_at AS ended_at \
                 FROM api_keys k JOIN users u ON u.id = k.user_id WHERE k.id = $1",
            )
            .bind(key)
            .fetch_optional(&mut *tx)
            .await?;
            let Some(holder) = holder else {
                return Ok(None);
            };
            let limits =
                sqlx::query_as("SELECT workspace_id, digest, scopes FROM api_keys WHERE id = $1")
                    .bind(key)
                    .fetch_one(&mut *tx)
                    .await?;
            let memberships = memberships!(tx, holder.user_id);
            Ok(Some(StandingRow {
                revision,
                holder,
                key: Some(limits),
                memberships,
            }))
        })
    }

    /// Whether there is such a workspace.
    pub(crate) async fn has_workspace(&self, workspace: WorkspaceId) -> Result<bool, StoreError> {
        let found: Option<WorkspaceId> = with_db!(&self.db, |pool| {
            sqlx::query_scalar("SELECT id FROM workspaces WHERE id = $1 AND deleted_at IS NULL")
                .bind(workspace)
                .fetch_optional(pool)
                .await?
        });
        Ok(found.is_some())
    }
}
