//! Who is invited into a workspace.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use crate::mail::MailJob;
use crate::model::{
    Actor, FieldError, Invitation, InvitationId, Principal, Workspace, WorkspaceId, check_email,
    email_key,
};
use crate::store::invitations::InvitationRow;
use crate::workspaces::{MAX_MEMBERS, WorkspaceError, Workspaces, roles};

/// How long an invitation can be accepted.
pub const INVITATION_LIFETIME: Duration = Duration::from_hours(7 * 24);

impl Workspaces {
    /// Invites an address into the principal's workspace, by a mail; an earlier invitation of the
    /// same address is worth nothing from here on. Whether it has an account makes no difference.
    pub async fn invite(
        &self,
        principal: &Principal,
        actor: &Actor,
        email: &str,
        role: &str,
    ) -> Result<Invitation, WorkspaceError> {
        let checks = [check_email(email), roles::check_known_name(role)];
        let refused: Vec<FieldError> = checks.into_iter().filter_map(Result::err).collect();
        if !refused.is_empty() {
            return Err(WorkspaceError::Refused(refused));
        }
        let now = self.clock.now();
        let row = InvitationRow {
            id: InvitationId::random(&*self.entropy),
            workspace_id: principal.workspace,
            email: email.trim().to_owned(),
            role: role.to_owned(),
            invited_by: principal.user,
            created_at: now,
            expires_at: now.plus(INVITATION_LIFETIME),
        };
        let mail = MailJob::Invitation { invitation: row.id };
        let mail = mail.queued(&*self.entropy, now);
        let mut entry = self.entry(actor, Some(row.workspace_id), "invitation.create");
        entry.object = Some(row.id.to_string());
        entry.details = serde_json::json!({ "email": row.email, "role": row.role });
        let (key, within) = (email_key(email), principal.permissions);
        self.store
            .insert_invitation(&row, &key, within, MAX_MEMBERS, &mail, &entry)
            .await??;
        Ok(shown(row))
    }

    /// The invitations that can still be accepted, newest first.
    pub async fn invitations(
        &self,
        workspace: WorkspaceId,
    ) -> Result<Vec<Invitation>, WorkspaceError> {
        let now = self.clock.now();
        let rows = self.store.open_invitations(workspace, now).await?;
        Ok(rows.into_iter().map(shown).collect())
    }

    /// Makes an invitation worthless.
    pub async fn revoke_invitation(
        &self,
        workspace: WorkspaceId,
        invitation: InvitationId,
        actor: &Actor,
    ) -> Result<(), WorkspaceError> {
        let mut entry = self.entry(actor, Some(workspace), "invitation.revoke");
        entry.object = Some(invitation.to_string());
        let revoked = self
            .store
            .revoke_invitation(workspace, invitation, &entry)
            .await?;
        if revoked {
            Ok(())
        } else {
            Err(WorkspaceError::NotFound)
        }
    }

    /// Accepts the invitation of a mailed token, once, for the account whose address it was sent to.
    /// What its sender may not give any more, nobody gets.
    pub async fn accept_invitation(
        &self,
        principal: &Principal,
        actor: &Actor,
        token: &SecretString,
    ) -> Result<Workspace, WorkspaceError> {
        let digest = Sha256::digest(token.expose_secret().as_bytes());
        let entry = self.entry(actor, None, "invitation.accept");
        let workspace = self
            .store
            .accept_invitation(&digest, principal.user, &entry)
            .await?
            .ok_or(WorkspaceError::TokenInvalid)?;
        self.seen(workspace, principal).await
    }
}

fn shown(row: InvitationRow) -> Invitation {
    Invitation {
        id: row.id,
        workspace: row.workspace_id,
        email: row.email,
        role: row.role,
        invited_by: row.invited_by,
        created_at: row.created_at,
        expires_at: row.expires_at,
    }
}
