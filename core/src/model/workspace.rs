//! Workspaces, and who is in them.

use crate::model::{
    Change, InvitationId, Permissions, Timestamp, UserId, VisitorEpoch, WorkspaceId,
};

/// What links, keys and figures belong to, as one of its visitors sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workspace {
    pub id: WorkspaceId,
    pub name: String,
    /// The visitor's; `None` when an administrator of the instance looks in.
    pub role: Option<String>,
    /// What the visitor may do in it.
    pub permissions: Permissions,
    /// For how many days single clicks are kept; for ever when `None`.
    pub retention_days: Option<i64>,
    /// How long one visitor keeps one hash; as the installation says when `None`.
    pub visitor_epoch: Option<VisitorEpoch>,
    pub created_at: Timestamp,
}

/// Changes to a workspace; what is not named stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkspaceChanges {
    pub name: Option<String>,
    pub retention_days: Change<i64>,
    /// `month` or `day`.
    pub visitor_epoch: Change<String>,
}

impl WorkspaceChanges {
    /// A new name, and nothing else.
    pub fn rename(name: &str) -> Self {
        Self {
            name: Some(name.to_owned()),
            ..Self::default()
        }
    }
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
