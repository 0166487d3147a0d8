//! Who is in a workspace.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, Object, OpenApi};
use terse_core::model::{Member, UserId};

use crate::api::Tag;
use crate::api::body::Body;
use crate::api::schema::{Nullable, Time};
use crate::api::security::Caller;
use crate::app::App;
use crate::problem::Problem;

pub struct MembersApi;

/// Changes to a member
#[derive(Object)]
#[oai(rename = "MemberChanges", deny_unknown_fields)]
struct MemberChangesBody {
    /// The name of a role; the caller must have all of its permissions, and all of the present one's
    role: String,
}

/// Somebody who belongs to a workspace
#[derive(Object)]
#[oai(rename = "Member")]
struct MemberBody {
    user_id: String,
    email: String,
    name: Nullable<String>,
    role: String,
    joined_at: Time,
}

#[derive(Object)]
#[oai(rename = "MemberPage")]
struct MemberPage {
    items: Vec<MemberBody>,
    /// `null` on the last page
    next_cursor: Nullable<String>,
}

#[derive(ApiResponse)]
enum Removed {
    /// No member any more; their keys of the workspace are revoked
    #[oai(status = 204)]
    Done,
}

#[OpenApi(tag = "Tag::Workspaces")]
impl MembersApi {
    /// List the members of a workspace
    #[oai(
        path = "/workspaces/:id/members",
        method = "get",
        operation_id = "list_members"
    )]
    async fn list(
        &self,
        app: Data<&Arc<App>>,
        caller: Caller,
        #[oai(name = "id")] _id: Path<String>,
    ) -> Result<Json<MemberPage>, Problem> {
        let members = app.terse.workspaces().members(caller.0.workspace).await?;
        Ok(Json(MemberPage {
            items: members.into_iter().map(Into::into).collect(),
            next_cursor: Nullable(None),
        }))
    }

    /// Change a member's role
    ///
    /// In force at once. The last owner stays one.
    #[oai(
        path = "/workspaces/:id/members/:user_id",
        method = "patch",
        operation_id = "update_member"
    )]
    async fn update(
        &self,
        app: Data<&Arc<App>>,
        caller: Caller,
        #[oai(name = "id")] _id: Path<String>,
        user_id: Path<String>,
        body: Body<MemberChangesBody>,
    ) -> Result<Json<MemberBody>, Problem> {
        let user = user(&user_id)?;
        let workspaces = app.terse.workspaces();
        let changed = workspaces
            .change_member(&caller.0, &caller.0.actor(), user, &body.0.role)
            .await?;
        Ok(Json(changed.into()))
    }

    /// Remove a member, or leave
    ///
    /// In force at once. The last owner stays.
    #[oai(
        path = "/workspaces/:id/members/:user_id",
        method = "delete",
        operation_id = "remove_member"
    )]
    async fn remove(
        &self,
        app: Data<&Arc<App>>,
        caller: Caller,
        #[oai(name = "id")] _id: Path<String>,
        user_id: Path<String>,
    ) -> Result<Removed, Problem> {
        let user = user(&user_id)?;
        let workspaces = app.terse.workspaces();
        workspaces
            .remove_member(&caller.0, &caller.0.actor(), user)
            .await?;
        Ok(Removed::Done)
    }
}

/// A malformed id is answered exactly like an unknown one.
fn user(text: &str) -> Result<UserId, Problem> {
    text.parse().map_err(|_| Problem::not_found())
}

impl From<Member> for MemberBody {
    fn from(member: Member) -> Self {
        Self {
            user_id: member.user.to_string(),
            email: member.email,
            name: Nullable(member.name),
            role: member.role,
            joined_at: Time(member.joined_at),
        }
    }
}
