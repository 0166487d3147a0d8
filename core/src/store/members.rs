//! Who belongs to which workspace.

use sqlx::FromRow;

use crate::model::{OWNER_ROLE, Permissions, Timestamp, UserId, WorkspaceId};
use crate::store::audit::{AuditEntry, record};
use crate::store::roles::role_permissions;
use crate::store::standings::bump_revision;
use crate::store::workspaces::Refusal;
use crate::store::{Store, StoreError, in_tx, with_db};

/// A member as stored.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct MemberRow {
    pub(crate) user_id: UserId,
    pub(crate) email: String,
    pub(crate) name: Option<String>,
    pub(crate) role: String,
    pub(crate) created_at: Timestamp,
}

macro_rules! select_members {
    ($rest:literal) => {
        concat!(
            "SELECT m.user_id, u.email, u.name, m.role, m.created_at FROM memberships m ",
            "JOIN users u ON u.id = m.user_id ",
            "JOIN workspaces w ON w.id = m.workspace_id AND w.deleted_at IS NULL ",
            "WHERE m.workspace_id = $1 ",
            $rest
        )
    };
}

/// The member, inside a transaction; leaves it when there is none.
macro_rules! member {
    ($tx:ident, $workspace:expr, $user:expr) => {{
        let member: Option<MemberRow> = sqlx::query_as(select_members!("AND m.user_id = $2"))
            .bind($workspace)
            .bind($user)
            .fetch_optional(&mut *$tx)
            .await?;
        match member {
            Some(member) => member,
            None => return Ok(Err(Refusal::NotFound)),
        }
    }};
}

/// Whether the workspace would have nobody left to own it without this member. A suspended owner
/// does not count: they cannot act.
macro_rules! is_last_owner {
    ($tx:ident, $workspace:expr, $member:expr) => {
        $member.role == OWNER_ROLE
            && sqlx::query_scalar::<_, i64>(
                "SELECT COUNT(*) FROM memberships m \
                 JOIN users u ON u.id = m.user_id AND u.status = 'active' \
                 WHERE m.workspace_id = $1 AND m.role = 'owner' AND m.user_id <> $2",
            )
            .bind($workspace)
            .bind($member.user_id)
            .fetch_one(&mut *$tx)
            .await?
                == 0
    };
}

impl Store {
    /// The members of a workspace, the longest-standing first.
    pub(crate) async fn members(
        &self,
        workspace: WorkspaceId,
    ) -> Result<Vec<MemberRow>, StoreError> {
        let rows = with_db!(&self.db, |pool| {
            sqlx::query_as(select_members!("ORDER BY m.created_at, m.user_id"))
                .bind(workspace)
                .fetch_all(pool)
                .await?
        });
        Ok(rows)
    }

    /// Gives a member another role, if `within` covers both the old and the new one.
    pub(crate) async fn change_member(
        &self,
        workspace: WorkspaceId,
        user: UserId,
        role: &str,
        within: Permissions,
        entry: &AuditEntry<'_>,
    ) -> Result<Result<MemberRow, Refusal>, StoreError> {
        let (revision, member) = in_tx!(&self.db, |tx| {
            // First, so that of two owners who demote each other one waits for the other.
            let revision = bump_revision!(tx);
            let mut member = member!(tx, workspace, user);
            let Some(wanted) = role_permissions!(tx, role) else {
                return Ok(Err(Refusal::RoleUnknown));
            };
            let present = role_permissions!(tx, &member.role).unwrap_or_default();
            if !within.covers(present.union(wanted)) {
                return Ok(Err(Refusal::MoreThanOwn));
            }
            if role != OWNER_ROLE && is_last_owner!(tx, workspace, member) {
                return Ok(Err(Refusal::LastOwner));
            }
            sqlx::query(
                "UPDATE memberships SET role = $1 WHERE workspace_id = $2 AND user_id = $3",
            )
            .bind(role)
            .bind(workspace)
            .bind(user)
            .execute(&mut *tx)
            .await?;
            let mut entry = entry.clone();
            entry.details =
                serde_json::json!({ "email": member.email, "role": [member.role, role] });
            record!(tx, &entry);
            role.clone_into(&mut member.role);
            (revision, member)
        });
        self.authorization.noticed(revision);
        Ok(Ok(member))
    }

    /// Removes a member, if `within` covers their role, and revokes their keys of the workspace.
    pub(crate) async fn remove_member(
        &self,
        workspace: WorkspaceId,
        user: UserId,
        within: Permissions,
        entry: &AuditEntry<'_>,
    ) -> Result<Result<(), Refusal>, StoreError> {
        let revision = in_tx!(&self.db, |tx| {
            let revision = bump_revision!(tx);
            let member = member!(tx, workspace, user);
            let present = role_permissions!(tx, &member.role).unwrap_or_default();
            if !within.covers(present) {
                return Ok(Err(Refusal::MoreThanOwn));
            }
            if is_last_owner!(tx, workspace, member) {
                return Ok(Err(Refusal::LastOwner));
            }
            sqlx::query("DELETE FROM memberships WHERE workspace_id = $1 AND user_id = $2")
                .bind(workspace)
                .bind(user)
                .execute(&mut *tx)
                .await?;
            // Or else they would be good again once their owner is back.
            sqlx::query(
                "UPDATE api_keys SET revoked_at = $1 \
                 WHERE workspace_id = $2 AND user_id = $3 AND revoked_at IS NULL",
            )
            .bind(entry.at)
            .bind(workspace)
            .bind(user)
            .execute(&mut *tx)
            .await?;
            let mut entry = entry.clone();
            entry.details = serde_json::json!({ "email": member.email, "role": member.role });
            record!(tx, &entry);
            revision
        });
        self.authorization.noticed(revision);
        Ok(Ok(()))
    }
}
