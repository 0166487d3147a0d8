//! Workspaces.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, Object, OpenApi};
use terse_core::model::{Permission, Permissions, Workspace, WorkspaceChanges};

use crate::api::Tag;
use crate::api::body::Body;
use crate::api::params::change;
use crate::api::schema::{Nullable, Optional, Time};
use crate::api::security::Caller;
use crate::app::App;
use crate::problem::Problem;

pub struct WorkspacesApi;

/// A workspace to be made
#[derive(Object)]
#[oai(rename = "NewWorkspace", deny_unknown_fields)]
struct NewWorkspaceBody {
    /// 1 to 100 characters
    name: String,
}

/// Changes to a workspace: what is absent stays
#[derive(Object)]
#[oai(rename = "WorkspaceChanges", deny_unknown_fields)]
struct WorkspaceChangesBody {
    /// 1 to 100 characters
    name: Option<String>,
    /// For how many days single clicks are kept, 1 to 36,500; `null`: for ever. Days that are older
    /// shrink to their counts per link and dimension soon after, and for good
    retention_days: Optional<i64>,
    /// For how long a visitor counts as one: `month`, or `day`, which keeps less and makes visitors over
    /// several days the sum of days; `null`: as this installation does
    visitor_epoch: Optional<String>,
}

/// What links, keys and figures belong to
#[derive(Object)]
#[oai(rename = "Workspace")]
pub(super) struct WorkspaceBody {
    id: String,
    name: String,
    /// The caller's; `null` when an administrator of the instance looks in
    role: Nullable<String>,
    /// What the caller may do in it
    permissions: Vec<String>,
    /// For how many days single clicks are kept; `null`: for ever. Of older days only counts per link
    /// and dimension are left
    retention_days: Nullable<i64>,
    /// For how long a visitor counts as one: `month` or `day`; `null`: as this installation does
    visitor_epoch: Nullable<String>,
    created_at: Time,
}

#[derive(Object)]
#[oai(rename = "WorkspacePage")]
struct WorkspacePage {
    items: Vec<WorkspaceBody>,
    /// `null` on the last page
    next_cursor: Nullable<String>,
}

#[derive(ApiResponse)]
enum Created {
    /// The caller owns it
    #[oai(status = 201)]
    Made(Json<WorkspaceBody>, #[oai(header = "Location")] String),
}

#[derive(ApiResponse)]
enum Deleted {
    /// Deleted; its links are gone, its keys worth nothing
    #[oai(status = 204)]
    Done,
}

#[OpenApi(tag = "Tag::Workspaces")]
impl WorkspacesApi {
    /// Make a workspace
    #[oai(
        path = "/workspaces",
        method = "post",
        operation_id = "create_workspace"
    )]
    async fn create(
        &self,
        app: Data<&Arc<App>>,
        caller: Caller,
        body: Body<NewWorkspaceBody>,
    ) -> Result<Created, Problem> {
        let workspaces = app.terse.workspaces();
        let made = workspaces
            .create(&caller.0, &caller.0.actor(), &body.0.name)
            .await?;
        let location = format!("{}/workspaces/{}", crate::api::PREFIX, made.id);
        Ok(Created::Made(Json(made.into()), location))
    }

    /// List the workspaces that the caller belongs to
    ///
    /// The caller's own comes first.
    #[oai(path = "/workspaces", method = "get", operation_id = "list_workspaces")]
    async fn list(
        &self,
        app: Data<&Arc<App>>,
        caller: Caller,
    ) -> Result<Json<WorkspacePage>, Problem> {
        let workspaces = app.terse.workspaces().list(&caller.0).await?;
        Ok(Json(WorkspacePage {
            items: workspaces.into_iter().map(Into::into).collect(),
            next_cursor: Nullable(None),
        }))
    }

    /// One workspace
    #[oai(
        path = "/workspaces/:id",
        method = "get",
        operation_id = "get_workspace"
    )]
    async fn get(
        &self,
        app: Data<&Arc<App>>,
        caller: Caller,
        #[oai(name = "id")] _id: Path<String>,
    ) -> Result<Json<WorkspaceBody>, Problem> {
        let workspace = app.terse.workspaces().get(&caller.0).await?;
        Ok(Json(workspace.into()))
    }

    /// Change a workspace
    #[oai(
        path = "/workspaces/:id",
        method = "patch",
        operation_id = "update_workspace"
    )]
    async fn update(
        &self,
        app: Data<&Arc<App>>,
        caller: Caller,
        #[oai(name = "id")] _id: Path<String>,
        body: Body<WorkspaceChangesBody>,
    ) -> Result<Json<WorkspaceBody>, Problem> {
        let workspaces = app.terse.workspaces();
        let changes = WorkspaceChanges {
            name: body.0.name,
            retention_days: change(body.0.retention_days),
            visitor_epoch: change(body.0.visitor_epoch),
        };
        let changed = workspaces
            .update(&caller.0, &caller.0.actor(), changes)
            .await?;
        Ok(Json(changed.into()))
    }

    /// Delete a workspace
    ///
    /// Its links answer 410 from now on, and their slugs are never issued again. Refused while some
    /// member belongs to no other workspace.
    #[oai(
        path = "/workspaces/:id",
        method = "delete",
        operation_id = "delete_workspace"
    )]
    async fn delete(
        &self,
        app: Data<&Arc<App>>,
        caller: Caller,
        #[oai(name = "id")] _id: Path<String>,
    ) -> Result<Deleted, Problem> {
        let workspaces = app.terse.workspaces();
        workspaces
            .delete(caller.0.workspace, &caller.0.actor())
            .await?;
        Ok(Deleted::Done)
    }
}

/// The names of permissions.
pub(super) fn names(permissions: Permissions) -> Vec<String> {
    permissions
        .iter()
        .map(Permission::as_str)
        .map(str::to_owned)
        .collect()
}

impl From<Workspace> for WorkspaceBody {
    fn from(workspace: Workspace) -> Self {
        Self {
            id: workspace.id.to_string(),
            name: workspace.name,
            role: Nullable(workspace.role),
            permissions: names(workspace.permissions),
            retention_days: Nullable(workspace.retention_days),
            visitor_epoch: Nullable(
                workspace
                    .visitor_epoch
                    .map(|epoch| epoch.as_str().to_owned()),
            ),
            created_at: Time(workspace.created_at),
        }
    }
}
