//! API keys: for programs, bound to one workspace, never mightier than their owner.

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use crate::accounts::{Accounts, AuthenticationError};
use crate::model::{
    Actor, ApiKeyId, Credential, FieldError, Permissions, Principal, Timestamp, UserId,
    WorkspaceId, random_bytes,
};
use crate::store::StoreError;
use crate::store::keys::ApiKeyRow;

/// What every key begins with, so that people and scanners of leaked secrets know it.
pub const PREFIX: &str = "terse_";

const ID_CHARS: usize = 13;
const SECRET_BYTES: usize = 32;
const SECRET_CHARS: usize = 2 * SECRET_BYTES;
const CHECKSUM_CHARS: usize = 8;
const MAX_NAME_CHARS: usize = 100;

/// A key to be made.
#[derive(Clone, Debug)]
pub struct NewApiKey {
    /// 1 to 100 characters.
    pub name: String,
    /// Names of permissions, at least one, none that its maker lacks.
    pub scopes: Vec<String>,
    /// In the future; good until revoked when absent.
    pub expires_at: Option<Timestamp>,
}

/// A key as its workspace sees it: without its secret, which nobody can read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    pub id: ApiKeyId,
    pub name: String,
    pub scopes: Permissions,
    /// Whose permissions limit it.
    pub owner: UserId,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    /// To the minute.
    pub last_used_at: Option<Timestamp>,
}

/// Why a key was not made or revoked.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("the key was refused")]
    Refused(Vec<FieldError>),
    /// A scope that its maker does not have.
    #[error("nobody can give more than they may do themselves")]
    MoreThanOwn,
    /// Unknown, revoked, or of another workspace.
    #[error("there is no such key")]
    NotFound,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Accounts {
    /// Makes a key for the principal's workspace. Its text is returned once and kept nowhere.
    pub async fn create_key(
        &self,
        principal: &Principal,
        actor: &Actor,
        new: NewApiKey,
    ) -> Result<(ApiKey, SecretString), KeyError> {
        let now = self.clock.now();
        let scopes = check(&new, now).map_err(KeyError::Refused)?;
        let own = principal.permissions.union(principal.on_instance);
        if !own.covers(scopes) {
            return Err(KeyError::MoreThanOwn);
        }
        let id = ApiKeyId::random(&*self.entropy);
        let secret: [u8; SECRET_BYTES] = random_bytes(&*self.entropy);
        let row = ApiKeyRow {
            id,
            workspace_id: principal.workspace,
            user_id: principal.user,
            name: new.name,
            scopes: scopes.to_string(),
            created_at: now,
            expires_at: new.expires_at,
            last_used_at: None,
        };
        let mut entry = self.entry(actor, "key.create");
        entry.workspace = Some(principal.workspace);
        entry.object = Some(id.to_string());
        entry.details = serde_json::json!({ "name": row.name, "scopes": row.scopes });
        let digest = Sha256::digest(secret);
        self.store.insert_key(&row, &digest, &entry).await?;
        Ok((shown(row), text(id, &secret)))
    }

    /// The workspace's keys that are not revoked, newest first.
    pub async fn keys(&self, workspace: WorkspaceId) -> Result<Vec<ApiKey>, KeyError> {
        let rows = self.store.keys(workspace).await?;
        Ok(rows.into_iter().map(shown).collect())
    }

    /// Makes a key worthless at once.
    pub async fn revoke_key(
        &self,
        workspace: WorkspaceId,
        key: ApiKeyId,
        actor: &Actor,
    ) -> Result<(), KeyError> {
        let mut entry = self.entry(actor, "key.revoke");
        entry.workspace = Some(workspace);
        entry.object = Some(key.to_string());
        if self.store.revoke_key(workspace, key, &entry).await? {
            Ok(())
        } else {
            Err(KeyError::NotFound)
        }
    }

    /// Whose this key is, and what it may do now.
    pub async fn authenticate_key(
        &self,
        key: &SecretString,
        workspace: Option<WorkspaceId>,
    ) -> Result<Principal, AuthenticationError> {
        let (id, secret) = parts(key.expose_secret()).ok_or(AuthenticationError::KeyInvalid)?;
        let credential = Credential::Key(id);
        let principal = self.standings.of_key(credential, &secret, workspace).await;
        let principal = principal.map_err(|error| match error {
            AuthenticationError::Ended => AuthenticationError::KeyInvalid,
            other => other,
        })?;
        self.note_use(id);
        Ok(principal)
    }

    /// Notes that a key was used, at most once a minute and behind the request's back.
    fn note_use(&self, key: ApiKeyId) {
        let now = self.clock.now();
        if self.standings.is_use_noted(key, now) {
            return;
        }
        let store = self.store.clone();
        tokio::spawn(async move {
            if let Err(error) = store.note_key_use(key, now).await {
                tracing::debug!(%error, "the use of a key could not be noted");
            }
        });
    }
}

fn shown(row: ApiKeyRow) -> ApiKey {
    ApiKey {
        id: row.id,
        name: row.name,
        scopes: Permissions::from_stored(&row.scopes),
        owner: row.user_id,
        created_at: row.created_at,
        expires_at: row.expires_at,
        last_used_at: row.last_used_at,
    }
}

fn check(new: &NewApiKey, now: Timestamp) -> Result<Permissions, Vec<FieldError>> {
    let mut refused = Vec::new();
    let chars = new.name.chars().count();
    if !(1..=MAX_NAME_CHARS).contains(&chars) || new.name.chars().any(char::is_control) {
        refused.push(FieldError::new(
            "name",
            "name_invalid",
            "must be 1 to 100 characters, without control characters",
        ));
    }
    let scopes = Permissions::parse("scopes", new.scopes.iter().map(String::as_str))
        .map_err(|error| refused.push(error))
        .unwrap_or_default();
    if new.scopes.is_empty() {
        refused.push(FieldError::new(
            "scopes",
            "scopes_empty",
            "must name at least one permission",
        ));
    }
    if new.expires_at.is_some_and(|end| end <= now) {
        refused.push(FieldError::new(
            "expires_at",
            "time_in_the_past",
            "must be in the future",
        ));
    }
    if refused.is_empty() {
        Ok(scopes)
    } else {
        Err(refused)
    }
}

fn text(id: ApiKeyId, secret: &[u8]) -> SecretString {
    let mut text = format!("{PREFIX}{id}");
    for byte in secret {
        text.push_str(&format!("{byte:02x}"));
    }
    let checksum = crc32c::crc32c(text.as_bytes());
    text.push_str(&format!("{checksum:08x}"));
    SecretString::from(text)
}

/// The identifier and the secret of a key's text; `None` when a typing error or a guess shows
/// without asking the database.
fn parts(text: &str) -> Option<(ApiKeyId, Vec<u8>)> {
    let rest = text.strip_prefix(PREFIX)?;
    if !rest.is_ascii() || rest.len() != ID_CHARS + SECRET_CHARS + CHECKSUM_CHARS {
        return None;
    }
    let (covered, checksum) = text.split_at(text.len() - CHECKSUM_CHARS);
    let checksum = u32::from_str_radix(checksum, 16).ok()?;
    if crc32c::crc32c(covered.as_bytes()) != checksum {
        return None;
    }
    let (id, rest) = rest.split_at(ID_CHARS);
    let secret = (0..SECRET_BYTES)
        .map(|byte| u8::from_str_radix(rest.get(2 * byte..2 * byte + 2)?, 16).ok())
        .collect::<Option<Vec<u8>>>()?;
    Some((id.parse().ok()?, secret))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::SeededEntropy;

    proptest! {
        #[test]
        fn a_key_is_read_back_and_no_other_text_of_one_changed_letter_is(
            seed: u64, position in 0usize..91, letter in "[0-9a-z_]",
        ) {
            let entropy = SeededEntropy::new(seed);
            let id = ApiKeyId::random(&entropy);
            let secret: [u8; SECRET_BYTES] = random_bytes(&entropy);
            let key = text(id, &secret);
            let key = key.expose_secret();
            prop_assert_eq!(key.len(), 91);
            prop_assert_eq!(parts(key), Some((id, secret.to_vec())));
            let mut changed = key.to_owned();
            changed.replace_range(position..=position, &letter);
            if changed != key {
                prop_assert_eq!(parts(&changed), None);
            }
        }

        #[test]
        fn no_text_makes_reading_a_key_panic(text in "(terse_)?.{0,100}") {
            let _ = parts(&text);
        }
    }
}
