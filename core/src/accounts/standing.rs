//! Whose a request is and what it may do, remembered for as long as nothing about it changes.
//!
//! What is remembered was read at one revision of the database. Every change of who may do what
//! makes a new revision in its own transaction; this node knows of its own at once and asks for
//! those of others when it has not asked for [`ASK_AGAIN`], or when one of them says so by Redis.
//! While the database cannot answer, nobody is let in: what they want needs it anyway.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use moka::sync::Cache;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq as _;

use crate::accounts::AuthenticationError;
use crate::model::{
    ApiKeyId, Clock, Credential, InstanceRole, Permissions, Principal, SessionId, Timestamp,
    UserId, UserStatus, WorkspaceId, built_in_role,
};
use crate::store::standings::StandingRow;
use crate::store::{Store, StoreError, within};

/// Other nodes' changes are in force here after this time at most, and that of one query.
const ASK_AGAIN: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(2);
const REMEMBERED: u64 = 10_000;
/// How exactly the last use of a key is kept.
const NOTED_FOR: Duration = Duration::from_mins(1);

#[derive(Debug)]
struct Standing {
    revision: i64,
    user: UserId,
    email: Arc<str>,
    role: InstanceRole,
    /// In force before this; for ever without.
    ends_at: Option<Timestamp>,
    key: Option<KeyLimits>,
    memberships: Vec<(WorkspaceId, Permissions)>,
}

#[derive(Debug)]
struct KeyLimits {
    workspace: WorkspaceId,
    digest: Vec<u8>,
    scopes: Permissions,
}

/// Answers for sessions and keys.
#[derive(Clone, Debug)]
pub(super) struct Standings {
    store: Store,
    clock: Arc<dyn Clock>,
    remembered: Cache<Credential, Arc<Standing>>,
    asked_at: Arc<AtomicI64>,
    asking: Arc<tokio::sync::Mutex<()>>,
    used: Cache<ApiKeyId, Timestamp>,
}

impl Standings {
    pub(super) fn new(store: Store, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            clock,
            remembered: Cache::new(REMEMBERED),
            asked_at: Arc::new(AtomicI64::new(i64::MIN)),
            asking: Arc::default(),
            used: Cache::new(REMEMBERED),
        }
    }

    pub(super) async fn of_session(
        &self,
        session: SessionId,
        user: UserId,
        workspace: Option<WorkspaceId>,
    ) -> Result<Principal, AuthenticationError> {
        let credential = Credential::Session(session);
        let standing = self.standing(credential).await?;
        let standing = standing
            .filter(|standing| standing.user == user)
            .ok_or(AuthenticationError::Ended)?;
        self.principal(credential, &standing, workspace).await
    }

    pub(super) async fn of_key(
        &self,
        credential: Credential,
        secret: &[u8],
        workspace: Option<WorkspaceId>,
    ) -> Result<Principal, AuthenticationError> {
        let standing = self.standing(credential).await?;
        let shown = Sha256::digest(secret);
        // An unknown key takes as long as a wrong secret.
        let kept = standing
            .as_ref()
            .and_then(|standing| standing.key.as_ref())
            .map_or(&[0; 32][..], |key| &key.digest);
        let matches = bool::from(shown.as_slice().ct_eq(kept));
        let standing = standing
            .filter(|_| matches)
            .ok_or(AuthenticationError::Ended)?;
        self.principal(credential, &standing, workspace).await
    }

    /// Whether a use of this key was noted within the minute; from here on it is.
    pub(super) fn is_use_noted(&self, key: ApiKeyId, now: Timestamp) -> bool {
        let noted = self.used.get(&key);
        let recently = noted.is_some_and(|at| at <= now && now.since(at) < NOTED_FOR);
        if !recently {
            self.used.insert(key, now);
        }
        recently
    }

    /// What `credential` stands for now; `None` when it is unknown or at its end.
    async fn standing(
        &self,
        credential: Credential,
    ) -> Result<Option<Arc<Standing>>, AuthenticationError> {
        self.learn_of_changes().await?;
        let known = self.remembered.get(&credential);
        let now = self.clock.now();
        let is_over = |standing: &Standing| standing.ends_at.is_some_and(|end| end <= now);
        // Refreshing moves the end of a session and makes no revision: what seems over is read again.
        let current = known.filter(|standing| {
            standing.revision == self.store.authorization.known() && !is_over(standing)
        });
        let standing = match current {
            Some(standing) => Some(standing),
            None => self.read(credential).await?,
        };
        Ok(standing.filter(|standing| !is_over(standing)))
    }

    async fn learn_of_changes(&self) -> Result<(), StoreError> {
        if self.is_up_to_date() {
            return Ok(());
        }
        // The wait for others who ask counts too: while the database is away nobody queues up.
        let asked = within(PATIENCE, async {
            let _turn = self.asking.lock().await;
            if self.is_up_to_date() {
                return Ok(());
            }
            let now = self.clock.now();
            self.store.read_revision().await?;
            self.asked_at.store(now.as_millis(), Ordering::Release);
            Ok(())
        });
        asked.await
    }

    fn is_up_to_date(&self) -> bool {
        if self.store.authorization.is_doubted() {
            return false;
        }
        let asked = self.asked_at.load(Ordering::Acquire);
        let now = self.clock.now().as_millis();
        let limit = i64::try_from(ASK_AGAIN.as_millis()).unwrap_or(0);
        // A clock that was set back says nothing.
        asked <= now && now.saturating_sub(asked) < limit
    }

    async fn read(&self, credential: Credential) -> Result<Option<Arc<Standing>>, StoreError> {
        let row = match credential {
            Credential::Session(session) => self.store.session_standing(session).await?,
            Credential::Key(key) => self.store.key_standing(key).await?,
        };
        let Some(standing) = row.and_then(standing_of).map(Arc::new) else {
            self.remembered.invalidate(&credential);
            return Ok(None);
        };
        self.store.authorization.learned(standing.revision);
        self.remembered.insert(credential, Arc::clone(&standing));
        Ok(Some(standing))
    }

    async fn principal(
        &self,
        credential: Credential,
        standing: &Standing,
        workspace: Option<WorkspaceId>,
    ) -> Result<Principal, AuthenticationError> {
        let everywhere = standing.role.permissions_everywhere();
        let own = standing.memberships.first().map(|(own, _)| *own);
        let bound = standing.key.as_ref().map(|key| key.workspace);
        if bound.is_some() && workspace.is_some() && workspace != bound {
            return Err(AuthenticationError::NoSuchWorkspace);
        }
        // Without any, nothing that belongs to a workspace is allowed or found.
        let wanted = bound.or(workspace).or(own);
        let membership = standing
            .memberships
            .iter()
            .find(|(member_of, _)| Some(*member_of) == wanted);
        let permissions = match (wanted, membership) {
            (_, Some((_, permissions))) => permissions.union(everywhere),
            (Some(wanted), None) => {
                let visible =
                    everywhere != Permissions::NONE && self.store.has_workspace(wanted).await?;
                if !visible && workspace.is_some() {
                    return Err(AuthenticationError::NoSuchWorkspace);
                }
                everywhere
            }
            (None, None) => Permissions::NONE,
        };
        let limit = |permissions: Permissions| match &standing.key {
            Some(key) => permissions.intersection(key.scopes),
            None => permissions,
        };
        Ok(Principal {
            user: standing.user,
            email: Arc::clone(&standing.email),
            credential,
            workspace: wanted.unwrap_or(WorkspaceId::from_number(0)),
            permissions: limit(permissions),
            on_instance: limit(standing.role.permissions()),
        })
    }
}

fn standing_of(row: StandingRow) -> Option<Standing> {
    let holder = row.holder;
    if holder.ended_at.is_some() || holder.status != UserStatus::Active {
        return None;
    }
    let memberships = row.memberships.into_iter().map(|membership| {
        let permissions = built_in_role(&membership.role).or_else(|| {
            let stored = membership.permissions.as_deref();
            stored.map(Permissions::from_stored)
        });
        let permissions = permissions.unwrap_or_default().of_workspace();
        (membership.workspace_id, permissions)
    });
    Some(Standing {
        revision: row.revision,
        user: holder.user_id,
        email: holder.email.into(),
        role: holder.role,
        ends_at: holder.expires_at,
        key: row.key.map(|key| KeyLimits {
            workspace: key.workspace_id,
            digest: key.digest,
            scopes: Permissions::from_stored(&key.scopes),
        }),
        memberships: memberships.collect(),
    })
}
