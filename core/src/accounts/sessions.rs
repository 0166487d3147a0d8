//! Where somebody is signed in.

use crate::accounts::Accounts;
use crate::model::{Actor, SessionId, Timestamp, UserId, email_key};
use crate::store::StoreError;
use crate::store::sessions::Ending;

/// One place where somebody is signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    pub id: SessionId,
    pub created_at: Timestamp,
    /// When it was last refreshed; `None` before the first time.
    pub last_used_at: Option<Timestamp>,
    pub expires_at: Timestamp,
    /// What the program calls itself.
    pub client: Option<String>,
    /// From where it began.
    pub address: Option<String>,
}

impl Accounts {
    /// A user's sessions that have not ended, newest first, at most 200.
    pub async fn sessions(&self, user: UserId) -> Result<Vec<Session>, StoreError> {
        let rows = self.store.sessions(user, self.clock.now()).await?;
        let session = |row: crate::store::sessions::SessionRow| Session {
            id: row.id,
            created_at: row.created_at,
            last_used_at: row.last_used_at,
            expires_at: row.expires_at,
            client: row.client,
            address: row.address,
        };
        Ok(rows.into_iter().map(session).collect())
    }

    /// Ends a session at once; its access and refresh tokens are worth nothing from now on.
    /// Returns whether the user had it.
    pub async fn end_session(
        &self,
        user: UserId,
        session: SessionId,
        actor: &Actor,
    ) -> Result<bool, StoreError> {
        let mut entry = self.entry(actor, "session.end");
        entry.object = Some(session.to_string());
        let (ending, now) = (Ending::One(session), self.clock.now());
        let ended = self.store.end_sessions(user, ending, now, &entry).await?;
        Ok(ended > 0)
    }

    /// Ends every session of a user at once.
    pub async fn end_all_sessions(&self, user: UserId, actor: &Actor) -> Result<(), StoreError> {
        let mut entry = self.entry(actor, "session.end_all");
        entry.object = Some(user.to_string());
        let (ending, now) = (Ending::All, self.clock.now());
        self.store.end_sessions(user, ending, now, &entry).await?;
        Ok(())
    }

    /// Whether somebody signed in to the account of this address from there before.
    pub async fn has_signed_in_from(
        &self,
        email: &str,
        address: std::net::IpAddr,
    ) -> Result<bool, StoreError> {
        let user = self.store.user_by_email(&email_key(email)).await?;
        let Some(user) = user else { return Ok(false) };
        let address = address.to_string();
        self.store.has_signed_in_from(user.id, &address).await
    }
}
