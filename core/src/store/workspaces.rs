//! Workspaces.

use sqlx::FromRow;

use crate::model::{Change, InstanceRole, Timestamp, UserId, VisitorEpoch, WorkspaceId};
use crate::store::audit::{AuditEntry, record};
use crate::store::standings::bump_revision;
use crate::store::{Store, StoreError, in_tx, with_db};

/// A workspace, and what one user is in it.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct WorkspaceRow {
    pub(crate) id: WorkspaceId,
    pub(crate) name: String,
    pub(crate) retention_days: Option<i64>,
    pub(crate) visitor_epoch: Option<VisitorEpoch>,
    pub(crate) created_at: Timestamp,
    /// `None` of somebody who is no member.
    pub(crate) role: Option<String>,
    /// Of an own role; built-in ones are not in the database.
    pub(crate) permissions: Option<String>,
    /// The user's on the instance.
    pub(crate) instance_role: InstanceRole,
}

/// What a workspace becomes.
#[derive(Clone, Debug, Default)]
pub(crate) struct WorkspaceSettings {
    /// It keeps its name when `None`.
    pub(crate) name: Option<String>,
    pub(crate) retention_days: Change<i64>,
    pub(crate) visitor_epoch: Change<VisitorEpoch>,
}

/// Why a workspace, or who is in it, was not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    NotFound,
    RoleUnknown,
    /// The role may do more than whoever gives or takes it.
    MoreThanOwn,
    LastOwner,
    /// Some member has no other workspace.
    LastWorkspace,
    MemberExists,
    TooMany,
}

macro_rules! select_workspaces {
    ($rest:literal) => {
        concat!(
            "SELECT w.id, w.name, w.retention_days, w.visitor_epoch, w.created_at, ",
            "m.role, r.permissions, u.role AS instance_role ",
            "FROM workspaces w JOIN users u ON u.id = $1 ",
            "LEFT JOIN memberships m ON m.workspace_id = w.id AND m.user_id = u.id ",
            "LEFT JOIN roles r ON r.name = m.role WHERE w.deleted_at IS NULL ",
            $rest
        )
    };
}

/// Ends keys and invitations, and retires links, inside a transaction. Returns how many links.
macro_rules! close_workspace {
    ($tx:ident, $workspace:expr, $now:expr) => {{
        for statement in [
            "UPDATE api_keys SET revoked_at = $1 WHERE workspace_id = $2 AND revoked_at IS NULL",
            "UPDATE invitations SET ended_at = $1 WHERE workspace_id = $2 AND ended_at IS NULL",
        ] {
            sqlx::query(statement)
                .bind($now)
                .bind($workspace)
                .execute(&mut *$tx)
                .await?;
        }
        sqlx::query(
            "UPDATE links SET state = 'deleted', version = version + 1, updated_at = $1 \
             WHERE workspace_id = $2 AND state <> 'deleted'",
        )
        .bind($now)
        .bind($workspace)
        .execute(&mut *$tx)
        .await?
        .rows_affected()
    }};
}
pub(crate) use close_workspace;

impl Store {
    /// The workspaces that a user belongs to, their own first.
    pub(crate) async fn workspaces_of(
        &self,
        user: UserId,
    ) -> Result<Vec<WorkspaceRow>, StoreError> {
        let rows = with_db!(&self.db, |pool| {
            sqlx::query_as(select_workspaces!(
                "AND m.user_id = u.id ORDER BY m.created_at, m.workspace_id"
            ))
            .bind(user)
            .fetch_all(pool)
            .await?
        });
        Ok(rows)
    }

    /// One workspace as a user sees it, a member or not.
    pub(crate) async fn workspace(
        &self,
        workspace: WorkspaceId,
        user: UserId,
    ) -> Result<Option<WorkspaceRow>, StoreError> {
        let row = with_db!(&self.db, |pool| {
            sqlx::query_as(select_workspaces!("AND w.id = $2"))
                .bind(user)
                .bind(workspace)
                .fetch_optional(pool)
                .await?
        });
        Ok(row)
    }

    /// Stores a workspace with its owner, unless they belong to `most` already.
    pub(crate) async fn insert_workspace(
        &self,
        workspace: WorkspaceId,
        name: &str,
        owner: UserId,
        most: i64,
        entry: &AuditEntry<'_>,
    ) -> Result<Result<(), Refusal>, StoreError> {
        let revision = in_tx!(&self.db, |tx| {
            let revision = bump_revision!(tx);
            let present: i64 = sqlx::query_scalar(
                "SELECT COUNT(*) FROM memberships m JOIN workspaces w \
                 ON w.id = m.workspace_id AND w.deleted_at IS NULL WHERE m.user_id = $1",
            )
            .bind(owner)
            .fetch_one(&mut *tx)
            .await?;
            if present >= most {
                return Ok(Err(Refusal::TooMany));
            }
            sqlx::query("INSERT INTO workspaces (id, name, created_at) VALUES ($1, $2, $3)")
                .bind(workspace)
                .bind(name)
                .bind(entry.at)
                .execute(&mut *tx)
                .await?;
            sqlx::query(
                "INSERT INTO memberships (workspace_id, user_id, role, created_at) \
                 VALUES ($1, $2, 'owner', $3)",
            )
            .bind(workspace)
            .bind(owner)
            .bind(entry.at)
            .execute(&mut *tx)
            .await?;
            record!(tx, entry);
            revision
        });
        self.authorization.noticed(revision);
        Ok(Ok(()))
    }

    /// Returns whether there is such a workspace.
    pub(crate) async fn update_workspace(
        &self,
        workspace: WorkspaceId,
        settings: &WorkspaceSettings,
        entry: &AuditEntry<'_>,
    ) -> Result<bool, StoreError> {
        in_tx!(&self.db, |tx| {
            let updated = sqlx::query(
                "UPDATE workspaces SET name = COALESCE($1, name), \
                 retention_days = CASE WHEN $2 THEN $3 ELSE retention_days END, \
                 visitor_epoch = CASE WHEN $4 THEN $5 ELSE visitor_epoch END \
                 WHERE id = $6 AND deleted_at IS NULL",
            )
            .bind(&settings.name)
            .bind(settings.retention_days != Change::Keep)
            .bind(settings.retention_days.clone().apply(None))
            .bind(settings.visitor_epoch != Change::Keep)
            .bind(settings.visitor_epoch.clone().apply(None))
            .bind(workspace)
            .execute(&mut *tx)
            .await?
            .rows_affected();
            if updated == 0 {
                return Ok(false);
            }
            record!(tx, entry);
        });
        Ok(true)
    }

    /// What a workspace chose as its visitors' epoch; `None` when there is no such workspace.
    pub(crate) async fn visitor_epoch_of(
        &self,
        workspace: WorkspaceId,
    ) -> Result<Option<Option<VisitorEpoch>>, StoreError> {
        let chosen = with_db!(&self.db, |pool| {
            sqlx::query_scalar(
                "SELECT visitor_epoch FROM workspaces WHERE id = $1 AND deleted_at IS NULL",
            )
            .bind(workspace)
            .fetch_optional(pool)
            .await?
        });
        Ok(chosen)
    }

    /// Deletes a workspace with all that gives entry to it, and retires its links.
    pub(crate) async fn delete_workspace(
        &self,
        workspace: WorkspaceId,
        entry: &AuditEntry<'_>,
    ) -> Result<Result<(), Refusal>, StoreError> {
        let revision = in_tx!(&self.db, |tx| {
            let revision = bump_revision!(tx);
            let deleted = sqlx::query(
                "UPDATE workspaces SET deleted_at = $1 WHERE id = $2 AND deleted_at IS NULL",
            )
            .bind(entry.at)
            .bind(workspace)
            .execute(&mut *tx)
            .await?
            .rows_affected();
            if deleted == 0 {
                return Ok(Err(Refusal::NotFound));
            }
            let homeless: i64 = sqlx::query_scalar(
                "SELECT COUNT(*) FROM memberships m WHERE m.workspace_id = $1 AND NOT EXISTS (\
                 SELECT 1 FROM memberships o JOIN workspaces w \
                 ON w.id = o.workspace_id AND w.deleted_at IS NULL WHERE o.user_id = m.user_id)",
            )
            .bind(workspace)
            .fetch_one(&mut *tx)
            .await?;
            if homeless > 0 {
                return Ok(Err(Refusal::LastWorkspace));
            }
            let links = close_workspace!(tx, workspace, entry.at);
            let mut entry = entry.clone();
            entry.details = serde_json::json!({ "links": links });
            record!(tx, &entry);
            revision
        });
        self.authorization.noticed(revision);
        Ok(Ok(()))
    }
}
