//! Keys of the visitor hashes.

use crate::model::Timestamp;
use crate::store::{Store, StoreError, in_tx};

impl Store {
    /// The salt of `epoch`: the stored one, or `fresh` when there is none yet.
    pub(crate) async fn salt_of_epoch(
        &self,
        epoch: &str,
        ends_at: Timestamp,
        fresh: &[u8],
    ) -> Result<Vec<u8>, StoreError> {
        let salt = in_tx!(&self.db, |tx| {
            sqlx::query(
                "INSERT INTO visitor_salts (epoch, salt, ends_at) VALUES ($1, $2, $3) \
                 ON CONFLICT (epoch) DO NOTHING",
            )
            .bind(epoch)
            .bind(fresh)
            .bind(ends_at)
            .execute(&mut *tx)
            .await?;
            sqlx::query_scalar("SELECT salt FROM visitor_salts WHERE epoch = $1")
                .bind(epoch)
                .fetch_one(&mut *tx)
                .await?
        });
        Ok(salt)
    }

    /// Destroys the salts of epochs that ended before `moment`. Returns how many there were, and when
    /// the first epoch ends whose salt is left.
    pub(crate) async fn destroy_salts_before(
        &self,
        moment: Timestamp,
    ) -> Result<(u64, Option<Timestamp>), StoreError> {
        let destroyed = in_tx!(&self.db, |tx| {
            let destroyed = sqlx::query("DELETE FROM visitor_salts WHERE ends_at < $1")
                .bind(moment)
                .execute(&mut *tx)
                .await?
                .rows_affected();
            let oldest: Option<Timestamp> =
                sqlx::query_scalar("SELECT MIN(ends_at) FROM visitor_salts")
                    .fetch_one(&mut *tx)
                    .await?;
            (destroyed, oldest)
        });
        Ok(destroyed)
    }
}
