//! Own roles beside the built-in ones.

use sqlx::FromRow;

use crate::model::Timestamp;
use crate::store::audit::{AuditEntry, record};
use crate::store::standings::bump_revision;
use crate::store::{Store, StoreError, in_tx, with_db};

/// What a role allows, inside a transaction; `None` when there is no such role.
macro_rules! role_permissions {
    ($tx:ident, $role:expr) => {{
        let role: &str = $role;
        match $crate::model::built_in_role(role) {
            Some(permissions) => Some(permissions),
            None => {
                sqlx::query_scalar::<_, String>("SELECT permissions FROM roles WHERE name = $1")
                    .bind(role)
                    .fetch_optional(&mut *$tx)
                    .await?
                    .map(|stored| $crate::model::Permissions::from_stored(&stored).of_workspace())
            }
        }
    }};
}
pub(crate) use role_permissions;

/// An own role as stored.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct RoleRow {
    pub(crate) name: String,
    pub(crate) permissions: String,
}

/// What came of deleting a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RoleDeletion {
    Done,
    Unknown,
    /// A member or an open invitation has it.
    InUse,
}

impl Store {
    pub(crate) async fn roles(&self) -> Result<Vec<RoleRow>, StoreError> {
        let rows = with_db!(&self.db, |pool| {
            sqlx::query_as("SELECT name, permissions FROM roles ORDER BY name")
                .fetch_all(pool)
                .await?
        });
        Ok(rows)
    }

    /// [`StoreError::Taken`] when there is a role of this name.
    pub(crate) async fn insert_role(
        &self,
        role: &RoleRow,
        entry: &AuditEntry<'_>,
    ) -> Result<(), StoreError> {
        in_tx!(&self.db, |tx| {
            sqlx::query("INSERT INTO roles (name, permissions, created_at) VALUES ($1, $2, $3)")
                .bind(&role.name)
                .bind(&role.permissions)
                .bind(entry.at)
                .execute(&mut *tx)
                .await?;
            record!(tx, entry);
        });
        Ok(())
    }

    /// Changes what a role allows, for everybody who has it. Returns whether there is such a role.
    pub(crate) async fn update_role(
        &self,
        role: &RoleRow,
        entry: &AuditEntry<'_>,
    ) -> Result<bool, StoreError> {
        let revision = in_tx!(&self.db, |tx| {
            let revision = bump_revision!(tx);
            let before: Option<String> =
                sqlx::query_scalar("SELECT permissions FROM roles WHERE name = $1")
                    .bind(&role.name)
                    .fetch_optional(&mut *tx)
                    .await?;
            let Some(before) = before else {
                return Ok(false);
            };
            sqlx::query("UPDATE roles SET permissions = $1 WHERE name = $2")
                .bind(&role.permissions)
                .bind(&role.name)
                .execute(&mut *tx)
                .await?;
            let mut entry = entry.clone();
            entry.details = serde_json::json!({ "permissions": [before, role.permissions] });
            record!(tx, &entry);
            revision
        });
        self.authorization.noticed(revision);
        Ok(true)
    }

    /// Deletes a role that nobody has.
    pub(crate) async fn delete_role(
        &self,
        name: &str,
        now: Timestamp,
        entry: &AuditEntry<'_>,
    ) -> Result<RoleDeletion, StoreError> {
        let revision = in_tx!(&self.db, |tx| {
            let revision = bump_revision!(tx);
            let holders: i64 = sqlx::query_scalar(
                "SELECT (SELECT COUNT(*) FROM memberships m JOIN workspaces w \
                 ON w.id = m.workspace_id AND w.deleted_at IS NULL WHERE m.role = $1) \
                 + (SELECT COUNT(*) FROM invitations \
                 WHERE role = $1 AND ended_at IS NULL AND expires_at > $2)",
            )
            .bind(name)
            .bind(now)
            .fetch_one(&mut *tx)
            .await?;
            if holders > 0 {
                return Ok(RoleDeletion::InUse);
            }
            let deleted = sqlx::query("DELETE FROM roles WHERE name = $1")
                .bind(name)
                .execute(&mut *tx)
                .await?
                .rows_affected();
            if deleted == 0 {
                return Ok(RoleDeletion::Unknown);
            }
            record!(tx, entry);
            revision
        });
        self.authorization.noticed(revision);
        Ok(RoleDeletion::Done)
    }
}
