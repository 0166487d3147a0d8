//! The audit log: rows are written in the transaction of the change that they tell of.

use sqlx::{FromRow, QueryBuilder};

use crate::model::{Actor, ApiKeyId, Timestamp, UserId, WorkspaceId};
use crate::store::{Store, StoreError, with_db};

/// A change, as the audit log keeps it.
#[derive(Clone, Debug)]
pub(crate) struct AuditEntry<'a> {
    pub(crate) at: Timestamp,
    pub(crate) actor: &'a Actor,
    /// `None` for what concerns the whole instance.
    pub(crate) workspace: Option<WorkspaceId>,
    /// What was done, as in `link.create`.
    pub(crate) action: &'static str,
    /// The identifier of what it was done to.
    pub(crate) object: Option<String>,
    /// Names and values that tell more. Never a secret.
    pub(crate) details: serde_json::Value,
}

/// Writes an [`AuditEntry`] inside a transaction.
macro_rules! record {
    ($tx:ident, $entry:expr) => {{
        let entry: &$crate::store::audit::AuditEntry<'_> = $entry;
        sqlx::query(
            "INSERT INTO audit_log (at, user_id, actor, key_id, address, workspace_id, action, \
             object, details) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(entry.at)
        .bind(entry.actor.user)
        .bind(&entry.actor.name)
        .bind(entry.actor.key)
        .bind(entry.actor.address.map(|address| address.to_string()))
        .bind(entry.workspace)
        .bind(entry.action)
        .bind(&entry.object)
        .bind(entry.details.to_string())
        .execute(&mut *$tx)
        .await?;
    }};
}
pub(crate) use record;

/// A row of the audit log.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct AuditRow {
    pub(crate) id: i64,
    pub(crate) at: Timestamp,
    pub(crate) user_id: Option<UserId>,
    pub(crate) actor: String,
    pub(crate) key_id: Option<ApiKeyId>,
    pub(crate) address: Option<String>,
    pub(crate) workspace_id: Option<WorkspaceId>,
    pub(crate) action: String,
    pub(crate) object: Option<String>,
    pub(crate) details: String,
}

/// Which rows a page of the log shows; all of them when nothing is named.
#[derive(Clone, Debug, Default)]
pub(crate) struct AuditSelection {
    pub(crate) workspace: Option<WorkspaceId>,
    pub(crate) user: Option<UserId>,
    /// A whole action such as `link.create`, or its first part such as `link`.
    pub(crate) action: Option<String>,
    pub(crate) object: Option<String>,
    pub(crate) from: Option<Timestamp>,
    pub(crate) to: Option<Timestamp>,
    /// Rows before this one.
    pub(crate) before: Option<i64>,
    pub(crate) limit: i64,
}

impl Store {
    /// Up to `limit` rows, newest first.
    pub(crate) async fn audit_log(
        &self,
        selection: &AuditSelection,
    ) -> Result<Vec<AuditRow>, StoreError> {
        let rows = with_db!(&self.db, |pool| {
            let mut query = QueryBuilder::new(
                "SELECT id, at, user_id, actor, key_id, address, workspace_id, action, object, \
                 details FROM audit_log WHERE 1 = 1",
            );
            if let Some(workspace) = selection.workspace {
                query.push(" AND workspace_id = ").push_bind(workspace);
            }
            if let Some(user) = selection.user {
                query.push(" AND user_id = ").push_bind(user);
            }
            if let Some(action) = &selection.action {
                query
                    .push(" AND (action = ")
                    .push_bind(action.clone())
                    .push(" OR SUBSTR(action, 1, LENGTH(")
                    .push_bind(action.clone())
                    .push(") + 1) = ")
                    .push_bind(format!("{action}."))
                    .push(")");
            }
            if let Some(object) = &selection.object {
                query.push(" AND object = ").push_bind(object.clone());
            }
            if let Some(from) = selection.from {
                query.push(" AND at >= ").push_bind(from);
            }
            if let Some(to) = selection.to {
                query.push(" AND at < ").push_bind(to);
            }
            if let Some(before) = selection.before {
                query.push(" AND id < ").push_bind(before);
            }
            query.push(" ORDER BY id DESC LIMIT ");
            query.push_bind(selection.limit);
            query
                .build_query_as()
                .persistent(false)
                .fetch_all(pool)
                .await?
        });
        Ok(rows)
    }
}
