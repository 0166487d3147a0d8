//! Accounts that are deleted.

use crate::model::{InstanceRole, UserId, UserStatus, WorkspaceId};
use crate::store::accounts::is_last_admin;
use crate::store::audit::{AuditEntry, record};
use crate::store::mailed_tokens::{TokenPurpose, forget_tokens};
use crate::store::standings::bump_revision;
use crate::store::workspaces::close_workspace;
use crate::store::{Store, StoreError, in_tx};
use crate::workspaces::Legacy;

/// What became of a wish to delete an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Departure {
    Gone {
        /// Workspaces that were deleted with it.
        closed: Vec<WorkspaceId>,
    },
    NotFound,
    LastAdmin,
    /// Whoever is to have the workspaces does not exist.
    NoHeir,
}

/// Everything that hangs on a user, in the order in which it may go.
const LEAVINGS: [&str; 5] = [
    "DELETE FROM refresh_tokens WHERE session_id IN (SELECT id FROM sessions WHERE user_id = $1)",
    "DELETE FROM sessions WHERE user_id = $1",
    "DELETE FROM api_keys WHERE user_id = $1",
    "DELETE FROM memberships WHERE user_id = $1",
    "DELETE FROM users WHERE id = $1",
];

macro_rules! hand_over {
    ($tx:ident, $workspace:expr, $heir:expr, $now:expr) => {
        sqlx::query(
            "INSERT INTO memberships (workspace_id, user_id, role, created_at) \
             VALUES ($1, $2, 'owner', $3) \
             ON CONFLICT (workspace_id, user_id) DO UPDATE SET role = excluded.role",
        )
        .bind($workspace)
        .bind($heir)
        .bind($now)
        .execute(&mut *$tx)
        .await?
        .rows_affected()
    };
}

macro_rules! close {
    ($tx:ident, $workspace:expr, $now:expr) => {{
        close_workspace!($tx, $workspace, $now);
        sqlx::query("UPDATE workspaces SET deleted_at = $1 WHERE id = $2")
            .bind($now)
            .bind($workspace)
            .execute(&mut *$tx)
            .await?
            .rows_affected()
    }};
}

impl Store {
    /// Deletes a user, and hands over or deletes the workspaces that only they own.
    pub(crate) async fn delete_user(
        &self,
        user: UserId,
        legacy: Legacy,
        entry: &AuditEntry<'_>,
    ) -> Result<Departure, StoreError> {
        let now = entry.at;
        let (revision, closed) = in_tx!(&self.db, |tx| {
            // First: changes of who may do what wait for each other.
            let revision = bump_revision!(tx);
            let found: Option<(InstanceRole, UserStatus, String)> =
                sqlx::query_as("SELECT role, status, email FROM users WHERE id = $1")
                    .bind(user)
                    .fetch_optional(&mut *tx)
                    .await?;
            let Some((role, status, email)) = found else {
                return Ok(Departure::NotFound);
            };
            let administers = (role, status) == (InstanceRole::Admin, UserStatus::Active);
            if administers && is_last_admin!(tx, user) {
                return Ok(Departure::LastAdmin);
            }
            if let Legacy::To(heir) = legacy {
                let known: Option<UserId> =
                    sqlx::query_scalar("SELECT id FROM users WHERE id = $1")
                        .bind(heir)
                        .fetch_optional(&mut *tx)
                        .await?;
                if known.is_none() {
                    return Ok(Departure::NoHeir);
                }
            }
            let orphaned: Vec<WorkspaceId> = sqlx::query_scalar(
                "SELECT m.workspace_id FROM memberships m JOIN workspaces w \
                 ON w.id = m.workspace_id AND w.deleted_at IS NULL \
                 WHERE m.user_id = $1 AND m.role = 'owner' AND NOT EXISTS (\
                 SELECT 1 FROM memberships o WHERE o.workspace_id = m.workspace_id \
                 AND o.role = 'owner' AND o.user_id <> $1)",
            )
            .bind(user)
            .fetch_all(&mut *tx)
            .await?;
            let mut closed = Vec::new();
            for workspace in orphaned {
                if let Legacy::To(heir) = legacy {
                    hand_over!(tx, workspace, heir, now);
                } else {
                    close!(tx, workspace, now);
                    closed.push(workspace);
                }
            }
            forget_tokens!(tx, TokenPurpose::Reset, user);
            for statement in LEAVINGS {
                sqlx::query(statement).bind(user).execute(&mut *tx).await?;
            }
            let mut entry = entry.clone();
            entry.details = serde_json::json!({ "email": email, "legacy": format!("{legacy:?}") });
            record!(tx, &entry);
            (revision, closed)
        });
        self.authorization.noticed(revision);
        Ok(Departure::Gone { closed })
    }
}
