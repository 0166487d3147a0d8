//! Hosts that links answer on, and facts about the installation.

use crate::model::{DomainId, Timestamp};
use crate::store::{Store, StoreError, in_tx};

impl Store {
    /// The domain row of `host`, made when it is missing.
    pub(crate) async fn ensure_domain(
        &self,
        host: &str,
        fresh: DomainId,
        now: Timestamp,
    ) -> Result<DomainId, StoreError> {
        let id = in_tx!(&self.db, |tx| {
            sqlx::query(
                "INSERT INTO domains (id, host, created_at) VALUES ($1, $2, $3) \
                 ON CONFLICT (host) DO NOTHING",
            )
            .bind(fresh)
            .bind(host)
            .bind(now)
            .execute(&mut *tx)
            .await?;
            sqlx::query_scalar("SELECT id FROM domains WHERE host = $1")
                .bind(host)
                .fetch_one(&mut *tx)
                .await?
        });
        Ok(id)
    }

    /// The stored value of `name`, which becomes `first` when there is none yet.
    pub(crate) async fn setting_or(&self, name: &str, first: &str) -> Result<String, StoreError> {
        let value = in_tx!(&self.db, |tx| {
            sqlx::query(
                "INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING",
            )
            .bind(name)
            .bind(first)
            .execute(&mut *tx)
            .await?;
            sqlx::query_scalar("SELECT value FROM settings WHERE name = $1")
                .bind(name)
                .fetch_one(&mut *tx)
                .await?
        });
        Ok(value)
    }
}
