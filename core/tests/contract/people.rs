//! People with accounts, and how they get into workspaces.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use secrecy::SecretString;
use sha2::{Digest as _, Sha256};
use terse_core::accounts::AuthenticationError;
use terse_core::model::{Actor, Origin, Principal, SessionId, UserId, Workspace, WorkspaceId};
use terse_core::workspaces::WorkspaceError;
use terse_core::{DatabaseUrl, Terse};

use crate::fixture::{Installation, PASSWORD, sign_up};

/// Somebody who is signed in.
pub(crate) struct Person {
    terse: Terse,
    pub(crate) user: UserId,
    pub(crate) email: String,
    session: SessionId,
}

impl Person {
    /// The one whom every installation has, with a workspace of her own.
    pub(crate) async fn ada(t: &Installation) -> Self {
        Self::signed_in(t, "ada@example.com").await
    }

    /// Somebody new, with a workspace of their own.
    pub(crate) async fn new(t: &Installation, name: &str) -> Self {
        let email = format!("{name}@example.com");
        sign_up(&t.terse, &email).await;
        Self::signed_in(t, &email).await
    }

    /// Somebody new who is a member of a workspace.
    pub(crate) async fn member(t: &Installation, name: &str, of: &Principal, role: &str) -> Self {
        let person = Self::new(t, name).await;
        person.join(t, of, role).await;
        person
    }

    async fn signed_in(t: &Installation, email: &str) -> Self {
        let password = SecretString::from(PASSWORD);
        let accounts = t.terse.accounts();
        let grant = accounts.sign_in(email, &password, &Origin::default()).await;
        let grant = grant.unwrap();
        // Their own workspace is the one that they belonged to first.
        t.clock.advance(Duration::from_millis(1));
        Self {
            terse: t.terse.clone(),
            user: grant.user,
            email: email.to_owned(),
            session: grant.session,
        }
    }

    /// What they may do in a workspace, by a request that begins now.
    pub(crate) async fn in_workspace(
        &self,
        workspace: WorkspaceId,
    ) -> Result<Principal, AuthenticationError> {
        let accounts = self.terse.accounts();
        accounts
            .authenticate(self.session, self.user, Some(workspace))
            .await
    }

    /// What they may do in their own workspace.
    pub(crate) async fn at_home(&self) -> Principal {
        let accounts = self.terse.accounts();
        let principal = accounts.authenticate(self.session, self.user, None).await;
        principal.unwrap()
    }

    /// Makes a workspace; what they may do in it.
    pub(crate) async fn founds(&self, name: &str) -> Principal {
        let home = self.at_home().await;
        let workspaces = self.terse.workspaces();
        let made = workspaces.create(&home, &by(&home), name).await.unwrap();
        self.in_workspace(made.id).await.unwrap()
    }

    /// Gets in by an invitation.
    pub(crate) async fn join(&self, t: &Installation, of: &Principal, role: &str) {
        self.is_invited(of, role).await.unwrap();
        let token = mailed_token(t, &self.email).await;
        self.accept(&token).await.unwrap();
    }

    pub(crate) async fn is_invited(
        &self,
        of: &Principal,
        role: &str,
    ) -> Result<(), WorkspaceError> {
        let workspaces = self.terse.workspaces();
        workspaces.invite(of, &by(of), &self.email, role).await?;
        Ok(())
    }

    pub(crate) async fn accept(&self, token: &str) -> Result<Workspace, WorkspaceError> {
        let home = self.at_home().await;
        let token = SecretString::from(token);
        let workspaces = self.terse.workspaces();
        workspaces
            .accept_invitation(&home, &by(&home), &token)
            .await
    }
}

pub(crate) fn by(principal: &Principal) -> Actor {
    Actor::of(principal, None)
}

/// The token of the mail about an address's newest invitation, as if it had been sent.
pub(crate) async fn mailed_token(t: &Installation, email: &str) -> String {
    static SENT: AtomicU32 = AtomicU32::new(0);
    let token = format!("token {}", SENT.fetch_add(1, Ordering::Relaxed));
    let mut digest = String::new();
    for byte in Sha256::digest(&token) {
        write!(digest, "{byte:02x}").unwrap();
    }
    let digest = match t.database {
        DatabaseUrl::Sqlite(_) => format!("x'{digest}'"),
        DatabaseUrl::Postgres(_) => format!("decode('{digest}', 'hex')"),
    };
    let statement = format!(
        "INSERT INTO mailed_tokens (digest, purpose, subject, created_at, expires_at) \
         SELECT {digest}, 'invite', id, created_at, expires_at FROM invitations \
         WHERE email_key = '{email}' AND ended_at IS NULL"
    );
    t.sql(statement.leak()).await;
    token
}
