//! Who a mail goes to, looked up when it is sent: whatever is gone by then gets none.

use sqlx::FromRow;

use crate::model::{InvitationId, RegistrationId, Timestamp, UserId};
use crate::store::{Store, StoreError, with_db};

/// An invitation as its mail tells of it.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct InvitationSubject {
    pub(crate) email: String,
    pub(crate) expires_at: Timestamp,
    pub(crate) workspace: String,
    /// The address of who invites; `None` when that account is gone.
    pub(crate) inviter: Option<String>,
}

impl Store {
    /// The address of a registration that can still be verified, and until when.
    pub(crate) async fn registration_subject(
        &self,
        registration: RegistrationId,
        now: Timestamp,
    ) -> Result<Option<(String, Timestamp)>, StoreError> {
        let found = with_db!(&self.db, |pool| {
            sqlx::query_as(
                "SELECT email, expires_at FROM registrations WHERE id = $1 AND expires_at > $2",
            )
            .bind(registration)
            .bind(now)
            .fetch_optional(pool)
            .await?
        });
        Ok(found)
    }

    /// The address of a user.
    pub(crate) async fn user_subject(&self, user: UserId) -> Result<Option<String>, StoreError> {
        let found = with_db!(&self.db, |pool| {
            sqlx::query_scalar("SELECT email FROM users WHERE id = $1")
                .bind(user)
                .fetch_optional(pool)
                .await?
        });
        Ok(found)
    }

    /// An invitation that is still open.
    pub(crate) async fn invitation_subject(
        &self,
        invitation: InvitationId,
        now: Timestamp,
    ) -> Result<Option<InvitationSubject>, StoreError> {
        let found = with_db!(&self.db, |pool| {
            sqlx::query_as(
                "SELECT i.email, i.expires_at, w.name AS workspace, u.email AS inviter \
                 FROM invitations i JOIN workspaces w ON w.id = i.workspace_id \
                 LEFT JOIN users u ON u.id = i.invited_by \
                 WHERE i.id = $1 AND i.ended_at IS NULL AND i.expires_at > $2 \
                 AND w.deleted_at IS NULL",
            )
            .bind(invitation)
            .bind(now)
            .fetch_optional(pool)
            .await?
        });
        Ok(found)
    }
}
