//! Making a link once, however often it is asked for (draft-ietf-httpapi-idempotency-key-header).

use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::links::{LinkError, Links};
use crate::model::{Link, NewLink, WorkspaceId};
use crate::store::StoreError;
use crate::store::idempotency::RepeatableRequest;
use crate::store::links::LinkRow;

const MAX_KEY_BYTES: usize = 255;

/// A client's own name for one request: 1 to 255 visible ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey(String);

/// The text is no such key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 255 visible ASCII characters")]
pub struct MalformedIdempotencyKey;

impl FromStr for IdempotencyKey {
    type Err = MalformedIdempotencyKey;

    fn from_str(text: &str) -> Result<Self, MalformedIdempotencyKey> {
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        if visible && (1..=MAX_KEY_BYTES).contains(&text.len()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(MalformedIdempotencyKey)
        }
    }
}

impl Links {
    /// Makes a link unless the same principal asked for the same with this key in the last 24 hours:
    /// then that link is returned, as it was made. What was refused may be asked for again.
    pub async fn create_once(
        &self,
        workspace: &WorkspaceId,
        key: &IdempotencyKey,
        new: NewLink,
    ) -> Result<Link, LinkError> {
        let asked = format!("{workspace} {new:?}");
        let request = RepeatableRequest {
            principal: self.principal(),
            key: key.0.clone(),
            fingerprint: Sha256::digest(asked.as_bytes()).to_vec(),
        };
        if let Some(link) = self.made_before(&request).await? {
            return Ok(link);
        }
        if let Some(link) = self.make(workspace, new, Some(&request)).await? {
            return Ok(link);
        }
        let made = self.made_before(&request).await?;
        made.ok_or(LinkError::Contended)
    }

    fn principal(&self) -> String {
        match (self.actor.key, self.actor.user) {
            (Some(key), _) => format!("key {key}: create link"),
            (None, Some(user)) => format!("user {user}: create link"),
            (None, None) => "system: create link".to_owned(),
        }
    }

    async fn made_before(&self, request: &RepeatableRequest) -> Result<Option<Link>, LinkError> {
        let now = self.clock.now();
        let Some(kept) = self.store.idempotent_answer(request, now).await? else {
            return Ok(None);
        };
        if kept.fingerprint != request.fingerprint {
            return Err(LinkError::KeyReused);
        }
        let row: LinkRow = serde_json::from_str(&kept.answer)
            .map_err(|_| StoreError::Unreadable("an idempotent answer"))?;
        Ok(Some(self.shown(row)))
    }
}
