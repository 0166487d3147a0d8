//! Workspaces: who is in them, who is invited, and which roles there are.
//!
//! Whoever calls has checked that the principal may manage members or the workspace; what only the
//! database can tell, such as whether a role may do more than its giver, is checked here.

mod departures;
mod invitations;
mod members;
mod roles;
mod settings;

pub use departures::Legacy;
pub use invitations::INVITATION_LIFETIME;
pub use roles::RoleError;

use std::sync::Arc;

use crate::model::{
    Actor, Clock, Entropy, FieldError, Permissions, Principal, Workspace, WorkspaceId,
    built_in_role,
};
use crate::resolver::Resolver;
use crate::sealer::Errands;
use crate::store::audit::AuditEntry;
use crate::store::workspaces::{Refusal, WorkspaceRow};
use crate::store::{Store, StoreError};

const MAX_NAME_CHARS: usize = 100;
// What is remembered of a session or key names them all.
const MAX_WORKSPACES: i64 = 100;
// Lists of members and invitations have one page.
const MAX_MEMBERS: i64 = 1_000;

/// The workspaces of one installation.
#[derive(Clone, Debug)]
pub struct Workspaces {
    store: Store,
    resolver: Arc<Resolver>,
    errands: Errands,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

/// Why a workspace, or who is in it, was not changed.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    #[error("the request was refused")]
    Refused(Vec<FieldError>),
    /// Unknown, deleted, or of another workspace.
    #[error("there is no such thing in this workspace")]
    NotFound,
    /// The role may do more than whoever gives, changes or takes it.
    #[error("nobody can give or take more than they may do themselves")]
    MoreThanOwn,
    #[error("a workspace keeps one owner")]
    LastOwner,
    /// Some member belongs to no other one.
    #[error("a member would be left without a workspace")]
    LastWorkspace,
    #[error("somebody with this e-mail address is a member")]
    MemberExists,
    /// Of workspaces of one user, or of members and invitations of one workspace.
    #[error("there are as many as there can be")]
    TooMany,
    /// Unknown, used, expired or revoked, or of another address than the account's.
    #[error("the invitation is not good")]
    TokenInvalid,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<FieldError> for WorkspaceError {
    fn from(error: FieldError) -> Self {
        Self::Refused(vec![error])
    }
}

impl From<Refusal> for WorkspaceError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotFound => Self::NotFound,
            Refusal::RoleUnknown => roles::unknown().into(),
            Refusal::MoreThanOwn => Self::MoreThanOwn,
            Refusal::LastOwner => Self::LastOwner,
            Refusal::LastWorkspace => Self::LastWorkspace,
            Refusal::MemberExists => Self::MemberExists,
            Refusal::TooMany => Self::TooMany,
        }
    }
}

impl Workspaces {
    pub(crate) fn new(
        store: Store,
        resolver: Arc<Resolver>,
        errands: Errands,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self {
            store,
            resolver,
            errands,
            clock,
            entropy,
        }
    }

    /// Makes a workspace that the principal owns. Its name has 1 to 100 characters.
    pub async fn create(
        &self,
        principal: &Principal,
        actor: &Actor,
        name: &str,
    ) -> Result<Workspace, WorkspaceError> {
        let name = checked_name(name)?;
        let id = WorkspaceId::random(&*self.entropy);
        let mut entry = self.entry(actor, Some(id), "workspace.create");
        entry.object = Some(id.to_string());
        entry.details = serde_json::json!({ "name": name });
        self.store
            .insert_workspace(id, name, principal.user, MAX_WORKSPACES, &entry)
            .await??;
        self.seen(id, principal).await
    }

    /// The workspaces that the principal belongs to, their own first; of a key, the one it is for.
    pub async fn list(&self, principal: &Principal) -> Result<Vec<Workspace>, WorkspaceError> {
        let mut rows = self.store.workspaces_of(principal.user).await?;
        if principal.credential.key().is_some() {
            rows.retain(|row| row.id == principal.workspace);
        }
        Ok(rows.into_iter().map(|row| shown(row, principal)).collect())
    }

    /// The workspace that the principal acts in.
    pub async fn get(&self, principal: &Principal) -> Result<Workspace, WorkspaceError> {
        self.seen(principal.workspace, principal).await
    }

    /// Deletes a workspace: its links are gone from the next redirect on, its keys worth nothing.
    /// Refused while some member belongs to no other one.
    pub async fn delete(
        &self,
        workspace: WorkspaceId,
        actor: &Actor,
    ) -> Result<(), WorkspaceError> {
        let mut entry = self.entry(actor, Some(workspace), "workspace.delete");
        entry.object = Some(workspace.to_string());
        // Also when nobody waits for the answer any more: the database may have done it all the same.
        let _forgetting = Forgetting {
            resolver: &self.resolver,
            workspace,
        };
        self.store.delete_workspace(workspace, &entry).await??;
        Ok(())
    }

    async fn seen(
        &self,
        workspace: WorkspaceId,
        principal: &Principal,
    ) -> Result<Workspace, WorkspaceError> {
        let row = self.store.workspace(workspace, principal.user).await?;
        let row = row.ok_or(WorkspaceError::NotFound)?;
        Ok(shown(row, principal))
    }

    fn entry<'a>(
        &self,
        actor: &'a Actor,
        workspace: Option<WorkspaceId>,
        action: &'static str,
    ) -> AuditEntry<'a> {
        AuditEntry {
            at: self.clock.now(),
            actor,
            workspace,
            action,
            object: None,
            details: serde_json::json!({}),
        }
    }
}

/// Makes memory ask for the links of a workspace again, when dropped.
struct Forgetting<'a> {
    resolver: &'a Resolver,
    workspace: WorkspaceId,
}

impl Drop for Forgetting<'_> {
    fn drop(&mut self) {
        self.resolver.forget_workspace(self.workspace);
    }
}

fn shown(row: WorkspaceRow, principal: &Principal) -> Workspace {
    let own = row.permissions.as_deref().map(Permissions::from_stored);
    let of_role = row.role.as_deref().and_then(built_in_role).or(own);
    let permissions = if row.id == principal.workspace {
        principal.permissions
    } else {
        of_role
            .unwrap_or_default()
            .of_workspace()
            .union(row.instance_role.permissions_everywhere())
    };
    Workspace {
        id: row.id,
        name: row.name,
        role: row.role,
        permissions,
        retention_days: row.retention_days,
        visitor_epoch: row.visitor_epoch,
        created_at: row.created_at,
    }
}

fn checked_name(name: &str) -> Result<&str, FieldError> {
    let name = name.trim();
    let chars = name.chars().count();
    if !(1..=MAX_NAME_CHARS).contains(&chars) || name.chars().any(char::is_control) {
        return Err(FieldError::new(
            "name",
            "name_invalid",
            "must be 1 to 100 characters, without control characters",
        ));
    }
    Ok(name)
}
