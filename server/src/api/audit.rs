//! The audit log.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::Any;
use poem_openapi::{Object, OpenApi};
use terse_core::audit::{AuditEntry, AuditFilter};
use terse_core::model::WorkspaceId;

use crate::api::Tag;
use crate::api::params::{number, time};
use crate::api::schema::{Nullable, Time};
use crate::api::security::Caller;
use crate::app::App;
use crate::problem::Problem;

pub struct AuditApi;

/// Who did what to what, when, and from where
#[derive(Object)]
#[oai(rename = "AuditEntry")]
struct EntryBody {
    id: String,
    at: Time,
    user_id: Nullable<String>,
    /// The e-mail address at that time, or `system` or `anonymous`
    actor: String,
    /// The API key that was used, if one was
    key_id: Nullable<String>,
    address: Nullable<String>,
    workspace_id: Nullable<String>,
    /// As in `link.create`
    action: String,
    /// The id of what it was done to
    object: Nullable<String>,
    details: Any<serde_json::Value>,
}

#[derive(Object)]
#[oai(rename = "AuditPage")]
struct AuditPage {
    items: Vec<EntryBody>,
    /// `null` on the last page
    next_cursor: Nullable<String>,
}

#[OpenApi(tag = "Tag::Administration")]
impl AuditApi {
    /// What was done on the instance
    #[oai(path = "/audit-log", method = "get", operation_id = "get_audit_log")]
    #[expect(clippy::too_many_arguments, reason = "one per query parameter")]
    async fn instance(
        &self,
        app: Data<&Arc<App>>,
        _caller: Caller,
        /// Who did it
        user_id: Query<Option<String>>,
        /// As in `link.create`, or only the first part, as in `link`
        action: Query<Option<String>>,
        /// The id of what it was done to
        object: Query<Option<String>>,
        /// RFC 3339
        from: Query<Option<String>>,
        /// RFC 3339, exclusive
        to: Query<Option<String>>,
        /// 1 to 200, default 50
        limit: Query<Option<String>>,
        /// `next_cursor` of the page before
        cursor: Query<Option<String>>,
    ) -> Result<Json<AuditPage>, Problem> {
        let asked = [
            user_id.0, action.0, object.0, from.0, to.0, limit.0, cursor.0,
        ];
        page(&app, None, asked).await
    }

    /// What was done in a workspace
    #[oai(
        path = "/workspaces/:id/audit-log",
        method = "get",
        operation_id = "get_workspace_audit_log"
    )]
    #[expect(clippy::too_many_arguments, reason = "one per query parameter")]
    async fn workspace(
        &self,
        app: Data<&Arc<App>>,
        caller: Caller,
        #[oai(name = "id")] _id: Path<String>,
        /// Who did it
        user_id: Query<Option<String>>,
        /// As in `link.create`, or only the first part, as in `link`
        action: Query<Option<String>>,
        /// The id of what it was done to
        object: Query<Option<String>>,
        /// RFC 3339
        from: Query<Option<String>>,
        /// RFC 3339, exclusive
        to: Query<Option<String>>,
        /// 1 to 200, default 50
        limit: Query<Option<String>>,
        /// `next_cursor` of the page before
        cursor: Query<Option<String>>,
    ) -> Result<Json<AuditPage>, Problem> {
        // The caller acts in the workspace of the path.
        let asked = [
            user_id.0, action.0, object.0, from.0, to.0, limit.0, cursor.0,
        ];
        page(&app, Some(caller.0.workspace), asked).await
    }
}

async fn page(
    app: &App,
    workspace: Option<WorkspaceId>,
    asked: [Option<String>; 7],
) -> Result<Json<AuditPage>, Problem> {
    let [user_id, action, object, from, to, limit, cursor] = asked;
    let mut refused = Vec::new();
    let filter = AuditFilter {
        user_id,
        action,
        object,
        from: time("from", from, &mut refused),
        to: time("to", to, &mut refused),
        limit: number("limit", limit, &mut refused),
        cursor,
    };
    if !refused.is_empty() {
        return Err(Problem::refused(refused));
    }
    let page = app.terse.audit().entries(workspace, filter).await?;
    Ok(Json(AuditPage {
        items: page.items.into_iter().map(Into::into).collect(),
        next_cursor: Nullable(page.next_cursor),
    }))
}

impl From<AuditEntry> for EntryBody {
    fn from(entry: AuditEntry) -> Self {
        let details = serde_json::from_str(&entry.details).unwrap_or_default();
        Self {
            id: entry.id.to_string(),
            at: Time(entry.at),
            user_id: Nullable(entry.user.map(|user| user.to_string())),
            actor: entry.actor,
            key_id: Nullable(entry.key.map(|key| key.to_string())),
            address: Nullable(entry.address),
            workspace_id: Nullable(entry.workspace.map(|workspace| workspace.to_string())),
            action: entry.action,
            object: Nullable(entry.object),
            details: Any(details),
        }
    }
}
