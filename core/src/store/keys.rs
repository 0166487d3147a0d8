//! API keys, as digests.

use sqlx::FromRow;

use crate::model::{ApiKeyId, Timestamp, UserId, WorkspaceId};
use crate::store::audit::{AuditEntry, record};
use crate::store::standings::bump_revision;
use crate::store::{Store, StoreError, in_tx, with_db};

/// A key as stored, without its digest.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct ApiKeyRow {
    pub(crate) id: ApiKeyId,
    pub(crate) workspace_id: WorkspaceId,
    pub(crate) user_id: UserId,
    pub(crate) name: String,
    pub(crate) scopes: String,
    pub(crate) created_at: Timestamp,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) last_used_at: Option<Timestamp>,
}

impl Store {
    pub(crate) async fn insert_key(
        &self,
        key: &ApiKeyRow,
        digest: &[u8],
        entry: &AuditEntry<'_>,
    ) -> Result<(), StoreError> {
        in_tx!(&self.db, |tx| {
            sqlx::query(
                "INSERT INTO api_keys (id, workspace_id, user_id, name, digest, scopes, created_at, \
                 expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            )
            .bind(key.id)
            .bind(key.workspace_id)
            .bind(key.user_id)
            .bind(&key.name)
            .bind(digest)
            .bind(&key.scopes)
            .bind(key.created_at)
            .bind(key.expires_at)
            .execute(&mut *tx)
            .await?;
            record!(tx, entry);
        });
        Ok(())
    }

    pub(crate) async fn keys(&self, workspace: WorkspaceId) -> Result<Vec<ApiKeyRow>, StoreError> {
        let rows = with_db!(&self.db, |pool| {
            sqlx::query_as(
                "SELECT id, workspace_id, user_id, name, scopes, created_at, expires_at, \
                 last_used_at FROM api_keys WHERE workspace_id = $1 AND revoked_at IS NULL \
                 ORDER BY created_at DESC, id LIMIT 1000",
            )
            .bind(workspace)
            .fetch_all(pool)
            .await?
        });
        Ok(rows)
    }

    /// Returns whether there was such a key to revoke.
    pub(crate) async fn revoke_key(
        &self,
        workspace: WorkspaceId,
        key: ApiKeyId,
        entry: &AuditEntry<'_>,
    ) -> Result<bool, StoreError> {
        let revision = in_tx!(&self.db, |tx| {
            let revision = bump_revision!(tx);
            let revoked = sqlx::query(
                "UPDATE api_keys SET revoked_at = $1 \
                 WHERE id = $2 AND workspace_id = $3 AND revoked_at IS NULL",
            )
            .bind(entry.at)
            .bind(key)
            .bind(workspace)
            .execute(&mut *tx)
            .await?
            .rows_affected();
            if revoked == 0 {
                return Ok(false);
            }
            record!(tx, entry);
            revision
        });
        self.authorization.noticed(revision);
        Ok(true)
    }

    pub(crate) async fn note_key_use(
        &self,
        key: ApiKeyId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        with_db!(&self.db, |pool| {
            sqlx::query("UPDATE api_keys SET last_used_at = $1 WHERE id = $2")
                .bind(now)
                .bind(key)
                .execute(pool)
                .await?
                .rows_affected()
        });
        Ok(())
    }
}
