//! Who is in a workspace.

use crate::model::{Actor, Member, Principal, UserId, WorkspaceId};
use crate::store::members::MemberRow;
use crate::workspaces::{WorkspaceError, Workspaces, roles};

impl Workspaces {
    /// The members, the longest-standing first.
    pub async fn members(&self, workspace: WorkspaceId) -> Result<Vec<Member>, WorkspaceError> {
        let rows = self.store.members(workspace).await?;
        Ok(rows.into_iter().map(shown).collect())
    }

    /// Gives a member of the principal's workspace another role, in force at once. The principal
    /// must have every permission of both roles; the last owner stays one.
    pub async fn change_member(
        &self,
        principal: &Principal,
        actor: &Actor,
        user: UserId,
        role: &str,
    ) -> Result<Member, WorkspaceError> {
        roles::check_known_name(role)?;
        let workspace = principal.workspace;
        let mut entry = self.entry(actor, Some(workspace), "member.update");
        entry.object = Some(user.to_string());
        let changed = self
            .store
            .change_member(workspace, user, role, principal.permissions, &entry)
            .await??;
        Ok(shown(changed))
    }

    /// Removes a member from the principal's workspace, who may be themselves; in force at once, for
    /// their keys too. The principal must have every permission of their role; the last owner stays.
    pub async fn remove_member(
        &self,
        principal: &Principal,
        actor: &Actor,
        user: UserId,
    ) -> Result<(), WorkspaceError> {
        let workspace = principal.workspace;
        let mut entry = self.entry(actor, Some(workspace), "member.remove");
        entry.object = Some(user.to_string());
        self.store
            .remove_member(workspace, user, principal.permissions, &entry)
            .await??;
        Ok(())
    }
}

fn shown(row: MemberRow) -> Member {
    Member {
        user: row.user_id,
        email: row.email,
        name: row.name,
        role: row.role,
        joined_at: row.created_at,
    }
}
