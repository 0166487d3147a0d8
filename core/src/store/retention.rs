//! Giving up single clicks that are past their retention: their counts stay.

use crate::model::WorkspaceId;
use crate::store::chunks::COLUMNS;
use crate::store::{Store, StoreError, in_tx, with_db};

/// Chunks, and clicks of them, that one transaction shrinks.
const CHUNKS_AT_ONCE: i64 = 16;
const CLICKS_AT_ONCE: i64 = 1 << 18;

/// The first chunks that one transaction shrinks: at least one, if there is any.
fn at_once(chunks: Vec<(i64, i64)>) -> impl Iterator<Item = i64> {
    let mut clicks = 0;
    chunks
        .into_iter()
        .take_while(move |(_, rows)| {
            let is_first = clicks == 0;
            clicks += rows;
            is_first || clicks <= CLICKS_AT_ONCE
        })
        .map(|(id, _)| id)
}

impl Store {
    /// For how many days workspaces keep single clicks, those that do not keep them for ever; deleted
    /// ones too.
    pub(crate) async fn retentions(&self) -> Result<Vec<(WorkspaceId, i64)>, StoreError> {
        let retentions = with_db!(&self.db, |pool| {
            sqlx::query_as(
                "SELECT id, retention_days FROM workspaces WHERE retention_days IS NOT NULL",
            )
            .fetch_all(pool)
            .await?
        });
        Ok(retentions)
    }

    /// Gives up the rows of some chunks of days before `day`. Returns how many chunks, and whether
    /// there may be more.
    pub(crate) async fn shrink_chunks(
        &self,
        workspace: WorkspaceId,
        day: i64,
    ) -> Result<(u64, bool), StoreError> {
        let shrunk = in_tx!(&self.db, |tx| {
            let chunks: Vec<(i64, i64)> = sqlx::query_as(
                "SELECT id, row_count FROM chunks WHERE workspace_id = $1 AND day < $2 \
                 AND detail = TRUE AND replaced_at IS NULL ORDER BY day, id LIMIT $3",
            )
            .bind(workspace)
            .bind(day)
            .bind(CHUNKS_AT_ONCE)
            .fetch_all(&mut *tx)
            .await?;
            let more = !chunks.is_empty();
            let mut shrunk = 0;
            for id in at_once(chunks) {
                // Another node may have merged or shrunk it meanwhile.
                let changed = sqlx::query(
                    "UPDATE chunks SET detail = FALSE \
                     WHERE id = $1 AND detail = TRUE AND replaced_at IS NULL",
                )
                .bind(id)
                .execute(&mut *tx)
                .await?
                .rows_affected();
                if changed > 0 {
                    sqlx::query("UPDATE chunk_columns SET data = NULL WHERE id >= $1 AND id < $2")
                        .bind(id * COLUMNS)
                        .bind((id + 1) * COLUMNS)
                        .execute(&mut *tx)
                        .await?;
                }
                shrunk += changed;
            }
            (shrunk, more)
        });
        Ok(shrunk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_shrinks_many_small_chunks_or_one_large_one() {
        let shrunk = |rows: &[i64]| at_once(rows.iter().map(|rows| (0, *rows)).collect()).count();
        assert_eq!(shrunk(&[]), 0);
        assert_eq!(shrunk(&[1; 16]), 16);
        assert_eq!(shrunk(&[CLICKS_AT_ONCE, 1]), 1);
        assert_eq!(shrunk(&[CLICKS_AT_ONCE + 1, 1]), 1);
        assert_eq!(shrunk(&[CLICKS_AT_ONCE / 2; 3]), 2);
    }
}
