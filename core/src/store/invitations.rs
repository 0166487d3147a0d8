//! Invitations into workspaces.

use sqlx::FromRow;

use crate::model::{InstanceRole, InvitationId, Permission, Permissions, Timestamp, UserId};
use crate::model::{WorkspaceId, built_in_role};
use crate::store::audit::{AuditEntry, record};
use crate::store::jobs::{NewJob, enqueue};
use crate::store::mailed_tokens::{TokenPurpose, consume_token, forget_tokens};
use crate::store::roles::role_permissions;
use crate::store::standings::{bump_revision, take_turn};
use crate::store::workspaces::Refusal;
use crate::store::{Store, StoreError, in_tx, with_db};

/// An invitation as stored.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct InvitationRow {
    pub(crate) id: InvitationId,
    pub(crate) workspace_id: WorkspaceId,
    pub(crate) email: String,
    pub(crate) role: String,
    pub(crate) invited_by: UserId,
    pub(crate) created_at: Timestamp,
    pub(crate) expires_at: Timestamp,
}

/// What whoever invited may do in the workspace by now.
#[derive(Clone, Debug, FromRow)]
struct InviterRow {
    role: String,
    /// Of an own role; built-in ones are not in the database.
    permissions: Option<String>,
    instance_role: InstanceRole,
}

impl InviterRow {
    fn permissions(&self) -> Permissions {
        let own = self.permissions.as_deref().map(Permissions::from_stored);
        let role = built_in_role(&self.role).or(own).unwrap_or_default();
        role.of_workspace()
            .union(self.instance_role.permissions_everywhere())
    }
}

const INVITER: &str = "SELECT m.role, r.permissions, u.role AS instance_role FROM memberships m \
     JOIN users u ON u.id = m.user_id AND u.status = 'active' \
     LEFT JOIN roles r ON r.name = m.role WHERE m.workspace_id = $1 AND m.user_id = $2";

/// Ends the open invitations of an address into a workspace, inside a transaction.
macro_rules! end_invitations {
    ($tx:ident, $workspace:expr, $email_key:expr, $now:expr) => {
        let ended: Vec<i64> = sqlx::query_scalar(
            "UPDATE invitations SET ended_at = $1 \
             WHERE workspace_id = $2 AND email_key = $3 AND ended_at IS NULL RETURNING id",
        )
        .bind($now)
        .bind($workspace)
        .bind($email_key)
        .fetch_all(&mut *$tx)
        .await?;
        for invitation in ended {
            forget_tokens!($tx, TokenPurpose::Invite, invitation);
        }
    };
}

/// Why this address cannot be invited into the workspace, inside a transaction.
macro_rules! refusal {
    ($tx:ident, $row:expr, $email_key:expr, $most:expr) => {{
        let members: Vec<bool> = sqlx::query_scalar(
            "SELECT u.email_key = $1 FROM memberships m JOIN users u ON u.id = m.user_id \
             JOIN workspaces w ON w.id = m.workspace_id AND w.deleted_at IS NULL \
             WHERE m.workspace_id = $2",
        )
        .bind($email_key)
        .bind($row.workspace_id)
        .fetch_all(&mut *$tx)
        .await?;
        let others: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM invitations WHERE workspace_id = $1 AND ended_at IS NULL \
             AND expires_at > $2 AND email_key <> $3",
        )
        .bind($row.workspace_id)
        .bind($row.created_at)
        .bind($email_key)
        .fetch_one(&mut *$tx)
        .await?;
        if members.is_empty() {
            Some(Refusal::NotFound)
        } else if members.contains(&true) {
            Some(Refusal::MemberExists)
        } else if others.saturating_add(i64::try_from(members.len()).unwrap_or(i64::MAX)) >= $most {
            Some(Refusal::TooMany)
        } else {
            None
        }
    }};
}

/// Makes an invited user a member, inside a transaction. Who is one already stays what they are.
macro_rules! join {
    ($tx:ident, $invitation:expr, $user:expr, $entry:expr) => {
        sqlx::query(
            "INSERT INTO memberships (workspace_id, user_id, role, created_at) \
             VALUES ($1, $2, $3, $4) ON CONFLICT (workspace_id, user_id) DO NOTHING",
        )
        .bind($invitation.workspace_id)
        .bind($user)
        .bind(&$invitation.role)
        .bind($entry.at)
        .execute(&mut *$tx)
        .await?;
        let mut entry = $entry.clone();
        entry.workspace = Some($invitation.workspace_id);
        entry.object = Some($invitation.id.to_string());
        entry.details = serde_json::json!({
            "email": $invitation.email,
            "role": $invitation.role,
            "invited_by": $invitation.invited_by.to_string(),
        });
        record!($tx, &entry);
    };
}

impl Store {
    /// Stores an invitation in place of an earlier one of the same address, and queues its mail. Its
    /// role must be within `within`, and the workspace have less than `most` members and invitations.
    pub(crate) async fn insert_invitation(
        &self,
        row: &InvitationRow,
        email_key: &str,
        within: Permissions,
        most: i64,
        mail: &NewJob,
        entry: &AuditEntry<'_>,
    ) -> Result<Result<(), Refusal>, StoreError> {
        in_tx!(&self.db, |tx| {
            take_turn!(tx);
            match role_permissions!(tx, &row.role) {
                None => return Ok(Err(Refusal::RoleUnknown)),
                Some(wanted) if !within.covers(wanted) => return Ok(Err(Refusal::MoreThanOwn)),
                Some(_) => {}
            }
            if let Some(refusal) = refusal!(tx, row, email_key, most) {
                return Ok(Err(refusal));
            }
            end_invitations!(tx, row.workspace_id, email_key, entry.at);
            sqlx::query(
                "INSERT INTO invitations (id, workspace_id, email, email_key, role, invited_by, \
                 created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            )
            .bind(row.id)
            .bind(row.workspace_id)
            .bind(&row.email)
            .bind(email_key)
            .bind(&row.role)
            .bind(row.invited_by)
            .bind(row.created_at)
            .bind(row.expires_at)
            .execute(&mut *tx)
            .await?;
            enqueue!(tx, mail);
            record!(tx, entry);
        });
        self.jobs_queued();
        Ok(Ok(()))
    }

    /// The invitations that can still be accepted, newest first.
    pub(crate) async fn open_invitations(
        &self,
        workspace: WorkspaceId,
        now: Timestamp,
    ) -> Result<Vec<InvitationRow>, StoreError> {
        let rows = with_db!(&self.db, |pool| {
            sqlx::query_as(
                "SELECT id, workspace_id, email, role, invited_by, created_at, expires_at \
                 FROM invitations WHERE workspace_id = $1 AND ended_at IS NULL \
                 AND expires_at > $2 ORDER BY created_at DESC, id",
            )
            .bind(workspace)
            .bind(now)
            .fetch_all(pool)
            .await?
        });
        Ok(rows)
    }

    /// Returns whether there was such an invitation to revoke.
    pub(crate) async fn revoke_invitation(
        &self,
        workspace: WorkspaceId,
        invitation: InvitationId,
        entry: &AuditEntry<'_>,
    ) -> Result<bool, StoreError> {
        in_tx!(&self.db, |tx| {
            let revoked: Option<String> = sqlx::query_scalar(
                "UPDATE invitations SET ended_at = $1 WHERE id = $2 AND workspace_id = $3 \
                 AND ended_at IS NULL AND expires_at > $1 RETURNING email",
            )
            .bind(entry.at)
            .bind(invitation)
            .bind(workspace)
            .fetch_optional(&mut *tx)
            .await?;
            let Some(email) = revoked else {
                return Ok(false);
            };
            forget_tokens!(tx, TokenPurpose::Invite, invitation);
            let mut entry = entry.clone();
            entry.details = serde_json::json!({ "email": email });
            record!(tx, &entry);
        });
        Ok(true)
    }

    /// Uses up the token of an invitation: its workspace has one more member. `None`, and the token
    /// is left as it was, unless the invitation is open, of this user's own address, and whoever
    /// sent it may still give its role.
    pub(crate) async fn accept_invitation(
        &self,
        digest: &[u8],
        user: UserId,
        entry: &AuditEntry<'_>,
    ) -> Result<Option<WorkspaceId>, StoreError> {
        let (revision, workspace) = in_tx!(&self.db, |tx| {
            let revision = bump_revision!(tx);
            let subject = consume_token!(tx, TokenPurpose::Invite, digest, entry.at);
            let invitation: Option<InvitationRow> = sqlx::query_as(
                "UPDATE invitations SET ended_at = $1 WHERE id = $2 AND ended_at IS NULL \
                 AND expires_at > $1 AND email_key = (SELECT email_key FROM users WHERE id = $3) \
                 AND workspace_id IN (SELECT id FROM workspaces WHERE deleted_at IS NULL) \
                 RETURNING id, workspace_id, email, role, invited_by, created_at, expires_at",
            )
            .bind(entry.at)
            .bind(subject)
            .bind(user)
            .fetch_optional(&mut *tx)
            .await?;
            let Some(invitation) = invitation else {
                return Ok(None);
            };
            let inviter: Option<InviterRow> = sqlx::query_as(INVITER)
                .bind(invitation.workspace_id)
                .bind(invitation.invited_by)
                .fetch_optional(&mut *tx)
                .await?;
            let role = role_permissions!(tx, &invitation.role);
            if !may_still_give(inviter, role) {
                return Ok(None);
            }
            join!(tx, invitation, user, entry);
            (revision, invitation.workspace_id)
        });
        self.authorization.noticed(revision);
        Ok(Some(workspace))
    }
}

fn may_still_give(inviter: Option<InviterRow>, role: Option<Permissions>) -> bool {
    let within = inviter.map(|inviter| inviter.permissions());
    within.zip(role).is_some_and(|(within, role)| {
        within.contains(Permission::MembersManage) && within.covers(role)
    })
}
