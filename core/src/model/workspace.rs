//! Workspaces, and who is in them.

use crate::model::{InvitationId, Permissions, Timestamp, UserId, WorkspaceId};

/// What links, keys and figures belong to, as one of its visitors sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workspace {
    pub id: WorkspaceId,
    pub name: String,
    /// The visitor's; `None` when an administrator of the instance looks in.
    pub role: Option<String>,
    /// What the visitor may do in it.
    pub permissions: Permissions,
    pub created_at: Timestamp,
}

/// Somebody who belongs to a workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub user: UserId,
    pub email: String,
    pub name: Option<String>,
    pub role: String,
    pub joined_at: Timestamp,
}

/// An invitation that has not been accepted yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    pub id: InvitationId,
    pub workspace: WorkspaceId,
    pub email: String,
    pub role: String,
    pub invited_by: UserId,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}
