//! How much room clicks take.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use futures_util::TryStreamExt as _;

use crate::columns::{Column, Text};
use crate::store::chunks::COLUMNS;
use crate::store::{Db, Store, StoreError, with_db};

/// How clicks are stored, and what that takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StorageReport {
    /// Clicks in chunks, and in the tail.
    pub sealed_clicks: i64,
    pub tail_clicks: i64,
    pub chunks: i64,
    /// Clicks of the largest chunk.
    pub largest_chunk: i64,
    /// Chunks that were merged into others and are deleted some minutes later.
    pub replaced_chunks: i64,
    /// Chunks per workspace and day beyond the first.
    pub chunks_beyond_one_a_day: i64,
    /// Bytes in use: of the whole file on SQLite, of the tables of clicks on PostgreSQL.
    pub bytes: i64,
    /// Bytes of the SQLite file that wait to be used again.
    pub free_bytes: i64,
    /// Bytes of each column of all chunks, the largest first.
    pub columns: Vec<(String, i64)>,
}

impl Store {
    pub(crate) async fn storage(&self) -> Result<StorageReport, StoreError> {
        let (chunks, sealed_clicks, largest_chunk, days): (i64, i64, i64, i64) =
            with_db!(&self.db, |pool| sqlx::query_as(
                "SELECT CAST(COALESCE(SUM(chunks), 0) AS BIGINT), \
                 CAST(COALESCE(SUM(clicks), 0) AS BIGINT), \
                 CAST(COALESCE(MAX(largest), 0) AS BIGINT), COUNT(*) FROM \
                 (SELECT COUNT(*) AS chunks, SUM(row_count) AS clicks, MAX(row_count) AS largest \
                 FROM chunks WHERE replaced_at IS NULL GROUP BY workspace_id, day) per_day",
            )
            .fetch_one(pool)
            .await?);
        let (tail_clicks, replaced_chunks): (i64, i64) = with_db!(&self.db, |pool| sqlx::query_as(
            "SELECT (SELECT CAST(COALESCE(SUM(click_count), 0) AS BIGINT) FROM tail), \
             (SELECT COUNT(*) FROM chunks WHERE replaced_at IS NOT NULL)",
        )
        .fetch_one(pool)
        .await?);
        let (bytes, free_bytes) = self.bytes().await?;
        Ok(StorageReport {
            sealed_clicks,
            tail_clicks,
            chunks,
            largest_chunk,
            replaced_chunks,
            chunks_beyond_one_a_day: chunks - days,
            bytes,
            free_bytes,
            columns: self.column_bytes().await?,
        })
    }

    /// In use, and free. Each database tells it in its own way.
    async fn bytes(&self) -> Result<(i64, i64), StoreError> {
        let bytes =
            match &self.db {
                Db::Sqlite(pool) => sqlx::query_as(
                    "SELECT (page_count - freelist_count) * page_size, freelist_count * page_size \
                     FROM pragma_page_count, pragma_page_size, pragma_freelist_count",
                )
                .fetch_one(pool)
                .await?,
                Db::Postgres(pool) => sqlx::query_as(
                    "SELECT CAST(SUM(pg_total_relation_size(oid)) AS BIGINT), CAST(0 AS BIGINT) \
                     FROM pg_class \
                     WHERE relname IN ('tail', 'chunks', 'chunk_columns', 'link_counters')",
                )
                .fetch_one(pool)
                .await?,
            };
        Ok(bytes)
    }

    async fn column_bytes(&self) -> Result<Vec<(String, i64)>, StoreError> {
        let mut bytes: BTreeMap<i64, i64> = BTreeMap::new();
        with_db!(&self.db, |pool| {
            // Added up here: grouping by the remainder, SQLite would sort whole columns in a file.
            let mut columns = sqlx::query_as(
                "SELECT id, CAST(LENGTH(counts) + COALESCE(LENGTH(data), 0) AS BIGINT) \
                 FROM chunk_columns",
            )
            .fetch(pool);
            while let Some((id, length)) = columns.try_next().await? {
                let (id, length): (i64, i64) = (id, length);
                *bytes.entry(id % COLUMNS).or_default() += length;
            }
        });
        let mut columns: Vec<_> = bytes.into_iter().collect();
        columns.sort_by_key(|(_, bytes)| Reverse(*bytes));
        let named = columns.into_iter().map(|(number, bytes)| {
            let name = match Column::from_number(number) {
                Some(Column::Text(Text::Fact(fact))) => fact.name().to_owned(),
                Some(column) => format!("{column:?}").to_lowercase(),
                None => number.to_string(),
            };
            (name, bytes)
        });
        Ok(named.collect())
    }
}
