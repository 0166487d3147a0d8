//! Roles, and the permissions that they are made of.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, Object, OpenApi};
use terse_core::model::{Permission, Role};

use crate::api::Tag;
use crate::api::body::Body;
use crate::api::schema::Nullable;
use crate::api::security::Caller;
use crate::api::workspaces::names;
use crate::app::App;
use crate::problem::Problem;

pub struct RolesApi;

/// One thing that somebody may do
#[derive(Object)]
#[oai(rename = "Permission")]
struct PermissionBody {
    name: String,
    /// A sentence for people
    description: String,
    /// `workspace` or `instance`
    on: String,
}

#[derive(Object)]
#[oai(rename = "PermissionPage")]
struct PermissionPage {
    items: Vec<PermissionBody>,
    /// `null` on the last page
    next_cursor: Nullable<String>,
}

/// A role to be made
#[derive(Object)]
#[oai(rename = "NewRole", deny_unknown_fields)]
struct NewRoleBody {
    /// 1 to 40 of `a-z`, `0-9` and `-`; it stays
    name: String,
    /// Names of permissions in workspaces
    permissions: Vec<String>,
}

/// Changes to a role: what is absent stays
#[derive(Object)]
#[oai(rename = "RoleChanges", deny_unknown_fields)]
struct RoleChangesBody {
    /// Names of permissions in workspaces, in place of the present ones
    permissions: Option<Vec<String>>,
}

/// A name for what members may do
#[derive(Object)]
#[oai(rename = "Role")]
struct RoleBody {
    name: String,
    permissions: Vec<String>,
    /// Whether it comes with Terse and stays as it is
    built_in: bool,
}

#[derive(Object)]
#[oai(rename = "RolePage")]
struct RolePage {
    items: Vec<RoleBody>,
    /// `null` on the last page
    next_cursor: Nullable<String>,
}

#[derive(ApiResponse)]
enum Created {
    /// Members can be given it
    #[oai(status = 201)]
    Made(Json<RoleBody>, #[oai(header = "Location")] String),
}

#[derive(ApiResponse)]
enum Deleted {
    /// Deleted
    #[oai(status = 204)]
    Done,
}

#[OpenApi(tag = "Tag::Roles")]
impl RolesApi {
    /// List the permissions that roles and API keys are made of
    #[oai(
        path = "/permissions",
        method = "get",
        operation_id = "list_permissions"
    )]
    #[expect(clippy::unused_async, reason = "operations are")]
    async fn permissions(&self, _caller: Caller) -> Result<Json<PermissionPage>, Problem> {
        Ok(Json(PermissionPage {
            items: Permission::ALL.iter().copied().map(Into::into).collect(),
            next_cursor: Nullable(None),
        }))
    }

    /// List the roles of members, the built-in ones first
    #[oai(path = "/roles", method = "get", operation_id = "list_roles")]
    async fn list(&self, app: Data<&Arc<App>>, _caller: Caller) -> Result<Json<RolePage>, Problem> {
        let roles = app.terse.workspaces().roles().await?;
        Ok(Json(RolePage {
            items: roles.into_iter().map(Into::into).collect(),
            next_cursor: Nullable(None),
        }))
    }

    /// Make a role
    #[oai(path = "/roles", method = "post", operation_id = "create_role")]
    async fn create(
        &self,
        app: Data<&Arc<App>>,
        caller: Caller,
        body: Body<NewRoleBody>,
    ) -> Result<Created, Problem> {
        let workspaces = app.terse.workspaces();
        let made = workspaces
            .create_role(&caller.0.actor(), &body.0.name, &body.0.permissions)
            .await?;
        let location = format!("{}/roles/{}", crate::api::PREFIX, made.name);
        Ok(Created::Made(Json(made.into()), location))
    }

    /// Change what a role allows
    ///
    /// In force at once for everybody who has it.
    #[oai(path = "/roles/:name", method = "patch", operation_id = "update_role")]
    async fn update(
        &self,
        app: Data<&Arc<App>>,
        caller: Caller,
        name: Path<String>,
        body: Body<RoleChangesBody>,
    ) -> Result<Json<RoleBody>, Problem> {
        let workspaces = app.terse.workspaces();
        let changed = workspaces
            .update_role(&caller.0.actor(), &name, body.0.permissions.as_deref())
            .await?;
        Ok(Json(changed.into()))
    }

    /// Delete a role
    ///
    /// Refused while a member or an open invitation has it.
    #[oai(path = "/roles/:name", method = "delete", operation_id = "delete_role")]
    async fn delete(
        &self,
        app: Data<&Arc<App>>,
        caller: Caller,
        name: Path<String>,
    ) -> Result<Deleted, Problem> {
        let workspaces = app.terse.workspaces();
        workspaces.delete_role(&caller.0.actor(), &name).await?;
        Ok(Deleted::Done)
    }
}

impl From<Permission> for PermissionBody {
    fn from(permission: Permission) -> Self {
        let on = if permission.is_of_instance() {
            "instance"
        } else {
            "workspace"
        };
        Self {
            name: permission.as_str().to_owned(),
            description: permission.description().trim().to_owned(),
            on: on.to_owned(),
        }
    }
}

impl From<Role> for RoleBody {
    fn from(role: Role) -> Self {
        Self {
            name: role.name,
            permissions: names(role.permissions),
            built_in: role.built_in,
        }
    }
}
