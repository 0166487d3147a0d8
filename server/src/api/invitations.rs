//! Who is invited into a workspace.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, Object, OpenApi};
use secrecy::SecretString;
use terse_core::model::{Invitation, InvitationId};

use crate::api::Tag;
use crate::api::body::Body;
use crate::api::schema::{Nullable, Time};
use crate::api::security::Caller;
use crate::api::workspaces::WorkspaceBody;
use crate::app::{App, Limits};
use crate::limits::{LimitKey, Limited};
use crate::problem::Problem;

pub struct InvitationsApi;

/// Somebody to be invited
#[derive(Object)]
#[oai(rename = "NewInvitation", deny_unknown_fields)]
struct NewInvitationBody {
    /// Where the mail goes to, whether or not it has an account
    email: String,
    /// The name of a role; the caller must have all of its permissions
    role: String,
}

/// An invitation to be accepted
#[derive(Object)]
#[oai(rename = "AcceptedInvitation", deny_unknown_fields)]
struct AcceptedBody {
    /// From the mail
    token: String,
}

/// An invitation that has not been accepted yet
#[derive(Object)]
#[oai(rename = "Invitation")]
struct InvitationBody {
    id: String,
    email: String,
    role: String,
    /// The user who sent it
    invited_by: String,
    created_at: Time,
    expires_at: Time,
}

#[derive(Object)]
#[oai(rename = "InvitationPage")]
struct InvitationPage {
    items: Vec<InvitationBody>,
    /// `null` on the last page
    next_cursor: Nullable<String>,
}

#[derive(ApiResponse)]
enum Created {
    /// The mail is on its way
    #[oai(status = 201)]
    Made(Json<InvitationBody>, #[oai(header = "Location")] String),
}

#[derive(ApiResponse)]
enum Revoked {
    /// It can be accepted no more
    #[oai(status = 204)]
    Done,
}

#[OpenApi(tag = "Tag::Workspaces")]
impl InvitationsApi {
    /// Invite somebody by mail
    ///
    /// Good for seven days and in place of an earlier invitation of the same address. The answer is the
    /// same whether or not the address has an account.
    #[oai(
        path = "/workspaces/:id/invitations",
        method = "post",
        operation_id = "create_invitation"
    )]
    async fn create(
        &self,
        app: Data<&Arc<App>>,
        caller: Caller,
        #[oai(name = "id")] _id: Path<String>,
        body: Body<NewInvitationBody>,
    ) -> Result<Created, Problem> {
        let address = body.0.email.trim().to_ascii_lowercase();
        let sender = LimitKey::of_name(&caller.0.user.to_string());
        within_limits(&app.limits, sender, LimitKey::of_name(&address))
            .await
            .map_err(|limited| {
                app.metrics.limited_api.up();
                Problem::limited(&limited)
            })?;
        let workspaces = app.terse.workspaces();
        let made = workspaces
            .invite(&caller.0, &caller.0.actor(), &body.0.email, &body.0.role)
            .await?;
        let location = format!(
            "{}/workspaces/{}/invitations/{}",
            crate::api::PREFIX,
            made.workspace,
            made.id
        );
        Ok(Created::Made(Json(made.into()), location))
    }

    /// List the invitations that can still be accepted
    #[oai(
        path = "/workspaces/:id/invitations",
        method = "get",
        operation_id = "list_invitations"
    )]
    async fn list(
        &self,
        app: Data<&Arc<App>>,
        caller: Caller,
        #[oai(name = "id")] _id: Path<String>,
    ) -> Result<Json<InvitationPage>, Problem> {
        let workspaces = app.terse.workspaces();
        let invitations = workspaces.invitations(caller.0.workspace).await?;
        Ok(Json(InvitationPage {
            items: invitations.into_iter().map(Into::into).collect(),
            next_cursor: Nullable(None),
        }))
    }

    /// Revoke an invitation
    #[oai(
        path = "/workspaces/:id/invitations/:invitation_id",
        method = "delete",
        operation_id = "revoke_invitation"
    )]
    async fn revoke(
        &self,
        app: Data<&Arc<App>>,
        caller: Caller,
        #[oai(name = "id")] _id: Path<String>,
        invitation_id: Path<String>,
    ) -> Result<Revoked, Problem> {
        let invitation: InvitationId = invitation_id.parse().map_err(|_| Problem::not_found())?;
        let workspaces = app.terse.workspaces();
        workspaces
            .revoke_invitation(caller.0.workspace, invitation, &caller.0.actor())
            .await?;
        Ok(Revoked::Done)
    }

    /// Accept an invitation
    ///
    /// Signed in with the account whose address was invited. Answers with the workspace.
    #[oai(
        path = "/invitations/accept",
        method = "post",
        operation_id = "accept_invitation"
    )]
    async fn accept(
        &self,
        app: Data<&Arc<App>>,
        caller: Caller,
        body: Body<AcceptedBody>,
    ) -> Result<Json<WorkspaceBody>, Problem> {
        let workspaces = app.terse.workspaces();
        let token = SecretString::from(body.0.token);
        let joined = workspaces
            .accept_invitation(&caller.0, &caller.0.actor(), &token)
            .await?;
        Ok(Json(joined.into()))
    }
}

impl From<Invitation> for InvitationBody {
    fn from(invitation: Invitation) -> Self {
        Self {
            id: invitation.id.to_string(),
            email: invitation.email,
            role: invitation.role,
            invited_by: invitation.invited_by.to_string(),
            created_at: Time(invitation.created_at),
            expires_at: Time(invitation.expires_at),
        }
    }
}

/// One more invitation from `sender`, and one more mail to `address`.
async fn within_limits(
    limits: &Limits,
    sender: LimitKey,
    address: LimitKey,
) -> Result<(), Limited> {
    limits.inviting.take(sender).await?;
    limits.invitation_mail.take(address).await
}
