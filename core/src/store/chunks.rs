//! Sealed clicks: rows of the tail become a chunk, small chunks become a large one.

use std::borrow::Cow;
use std::collections::HashMap;

use futures_util::TryStreamExt as _;
use sqlx::{QueryBuilder, Row as _};

use crate::columns::{Column, Damaged, EncodedChunk, KindCounts, Parcel, encode};
use crate::failpoint::failpoint;
use crate::model::{Timestamp, WorkspaceId};
use crate::store::clicks::{in_chunks, insert_parcels};
use crate::store::sealed::{Sealed, by_day, last_of, tail_after};
use crate::store::{Store, StoreError, in_tx, is_alone, with_db};

pub(crate) const DAY_MILLIS: i64 = 86_400_000;

/// What is known of a chunk without its columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct ChunkHead {
    pub(crate) id: i64,
    /// Since 1970, in UTC.
    pub(crate) day: i64,
    /// Chunks of older releases have fewer.
    pub(crate) column_count: i64,
    pub(crate) row_count: i64,
    pub(crate) first_at: i64,
    pub(crate) last_at: i64,
    pub(crate) humans: i64,
    pub(crate) bots: i64,
    pub(crate) previews: i64,
    /// Whether its rows are kept; otherwise only their counts are.
    pub(crate) detail: bool,
}

impl ChunkHead {
    pub(crate) fn rows(&self) -> usize {
        usize::try_from(self.row_count).unwrap_or(0)
    }

    /// Whether it lacks columns that this release knows: their values are unknown.
    pub(crate) fn is_of_older_release(&self) -> bool {
        usize::try_from(self.column_count).is_ok_and(|count| count < Column::all().count())
    }

    pub(crate) fn kinds(&self) -> KindCounts {
        KindCounts([self.humans, self.bots, self.previews].map(i64::cast_unsigned))
    }
}

/// One column of one chunk.
#[derive(Clone, Debug)]
pub(crate) struct StoredColumn<'a> {
    pub(crate) column: Column,
    pub(crate) counts: Cow<'a, [u8]>,
    /// `None` when it was not asked for, or is past its retention.
    pub(crate) data: Option<Cow<'a, [u8]>>,
}

impl StoredColumn<'_> {
    pub(crate) fn into_owned(self) -> StoredColumn<'static> {
        StoredColumn {
            column: self.column,
            counts: self.counts.into_owned().into(),
            data: self.data.map(|data| data.into_owned().into()),
        }
    }
}

/// Hands over columns of a chunk, where they are: in the rows that the driver read.
macro_rules! hand_over {
    ($chunk:expr, $rows:expr, $data:expr, $each:ident) => {{
        let mut columns = Vec::with_capacity($rows.len());
        for (column, row) in &$rows {
            let counts: &[u8] = row.try_get(1)?;
            let data: Option<&[u8]> = if $data { row.try_get(2)? } else { None };
            columns.push(StoredColumn {
                column: *column,
                counts: counts.into(),
                data: data.map(Into::into),
            });
        }
        $each($chunk, columns)?;
    }};
}

/// Columns per chunk in the ids of `chunk_columns`.
pub(crate) const COLUMNS: i64 = 64;

impl From<Damaged> for StoreError {
    fn from(damaged: Damaged) -> Self {
        Self::Unreadable(damaged.0)
    }
}

/// Appends a list of numbers.
macro_rules! push_numbers {
    ($query:ident, $numbers:expr) => {{
        $query.push("(");
        let mut list = $query.separated(", ");
        for number in $numbers {
            list.push_bind(*number);
        }
        $query.push(")");
    }};
}

macro_rules! head_columns {
    () => {
        "id, day, column_count, row_count, first_at, last_at, humans, bots, previews, detail"
    };
}
pub(crate) use head_columns;

macro_rules! insert_chunk {
    ($tx:ident, $workspace:expr, $day:expr, $chunk:expr, $now:expr) => {{
        let chunk: &EncodedChunk = $chunk;
        let [humans, bots, previews] = chunk.kinds.0.map(u64::cast_signed);
        let id: i64 = sqlx::query_scalar(
            "INSERT INTO chunks (workspace_id, day, column_count, row_count, first_at, \
             last_at, humans, bots, previews, detail, sealed_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) RETURNING id",
        )
        .bind($workspace)
        .bind($day)
        .bind(i64::try_from(chunk.columns.len()).unwrap_or(i64::MAX))
        .bind(humans + bots + previews)
        .bind(chunk.first_at)
        .bind(chunk.last_at)
        .bind(humans)
        .bind(bots)
        .bind(previews)
        .bind(true)
        .bind($now)
        .fetch_one(&mut *$tx)
        .await?;
        for column in &chunk.columns {
            sqlx::query("INSERT INTO chunk_columns (id, counts, data) VALUES ($1, $2, $3)")
                .bind(id * COLUMNS + column.column.number())
                .bind(column.counts.as_slice())
                .bind(column.data.as_slice())
                .execute(&mut *$tx)
                .await?;
        }
    }};
}
pub(crate) use insert_chunk;

/// Deletes the columns of a chunk, inside the transaction that deletes it.
macro_rules! delete_columns {
    ($tx:ident, $chunk:expr) => {
        sqlx::query("DELETE FROM chunk_columns WHERE id >= $1 AND id < $2")
            .bind($chunk * COLUMNS)
            .bind(($chunk + 1) * COLUMNS)
            .execute(&mut *$tx)
            .await?
    };
}
pub(crate) use delete_columns;

impl Store {
    /// Clicks and parcels in the tail of every workspace that has any.
    pub(crate) async fn tails(&self) -> Result<Vec<(WorkspaceId, i64, i64)>, StoreError> {
        let tails = with_db!(&self.db, |pool| {
            sqlx::query_as(
                "SELECT workspace_id, CAST(SUM(click_count) AS BIGINT), COUNT(*) FROM tail \
                 GROUP BY workspace_id",
            )
            .fetch_all(pool)
            .await?
        });
        Ok(tails)
    }

    /// Moves clicks of a workspace out of the tail into chunks, in one transaction: about `most` of them,
    /// of those days for which `ripe` says so, given the day and its clicks, out of parcels that begin
    /// before `before`. The others go back as one parcel. Parcels leave the tail first, and what left is
    /// what is written. `None` when another node, or another thread of this one, is at it.
    pub(crate) async fn seal(
        &self,
        workspace: WorkspaceId,
        most: i64,
        before: i64,
        ripe: impl Fn(i64, usize) -> bool + Send + Sync,
        now: Timestamp,
    ) -> Result<Option<Sealed>, StoreError> {
        let work = format!("terse seal {}", workspace.number());
        let sealed = in_tx!(&self.db, |tx| {
            if !is_alone!(&self.db, tx, &work) {
                return Ok(None);
            }
            let keys: Vec<(i64, i64, i64)> = sqlx::query_as(
                "SELECT stream, seq, click_count FROM tail \
                 WHERE workspace_id = $1 AND first_at < $2 ORDER BY stream, seq",
            )
            .bind(workspace)
            .bind(before)
            .fetch_all(&mut *tx)
            .await?;
            let Some((stream, seq)) = last_of(&keys, most) else {
                return Ok(Some(Sealed::default()));
            };
            let parcels: Vec<Vec<u8>> = sqlx::query_scalar(
                "DELETE FROM tail WHERE workspace_id = $1 AND (stream, seq) <= ($2, $3) \
                 AND first_at < $4 RETURNING records",
            )
            .bind(workspace)
            .bind(stream)
            .bind(seq)
            .bind(before)
            .fetch_all(&mut *tx)
            .await?;
            let (days, rest) = by_day(&parcels, &ripe)?;
            failpoint("seal.taken");
            let mut sealed = Sealed {
                left: rest.clicks(),
                tail: tail_after(&keys, (stream, seq), rest.clicks()),
                ..Sealed::default()
            };
            for (day, batch) in days {
                sealed.clicks += batch.rows();
                sealed.days.push(day);
                let chunk = encode(&batch.finish())?;
                insert_chunk!(tx, workspace, day, &chunk, now);
            }
            failpoint("seal.inserted");
            if rest.clicks() > 0 {
                insert_parcels!(tx, [(workspace.number(), rest)]);
            }
            failpoint("seal.before_commit");
            sealed
        });
        failpoint("seal.committed");
        Ok(Some(sealed))
    }

    /// The chunks of one workspace and day that count, the oldest first.
    pub(crate) async fn chunks_of_day(
        &self,
        workspace: WorkspaceId,
        day: i64,
    ) -> Result<Vec<ChunkHead>, StoreError> {
        let heads = with_db!(&self.db, |pool| {
            sqlx::query_as(concat!(
                "SELECT ",
                head_columns!(),
                " FROM chunks WHERE workspace_id = $1 AND day = $2 AND replaced_at IS NULL \
                 ORDER BY id"
            ))
            .bind(workspace)
            .bind(day)
            .fetch_all(pool)
            .await?
        });
        Ok(heads)
    }

    /// Days of workspaces that have several chunks, with how many.
    pub(crate) async fn days_of_many_chunks(
        &self,
    ) -> Result<Vec<(WorkspaceId, i64, i64)>, StoreError> {
        let days = with_db!(&self.db, |pool| {
            sqlx::query_as(
                "SELECT workspace_id, day, COUNT(*) FROM chunks WHERE replaced_at IS NULL \
                 GROUP BY workspace_id, day HAVING COUNT(*) > 1",
            )
            .fetch_all(pool)
            .await?
        });
        Ok(days)
    }

    /// Puts one chunk in the place of several, or does nothing when one of them is no longer there.
    /// Those who read the old ones already may go on: their columns stay for a while.
    pub(crate) async fn replace_chunks(
        &self,
        workspace: WorkspaceId,
        day: i64,
        old: &[i64],
        new: &EncodedChunk,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let work = format!("terse merge {}", workspace.number());
        let replaced = in_tx!(&self.db, |tx| {
            // Another node that is at it locks the same rows.
            if !is_alone!(&self.db, tx, &work) {
                return Ok(false);
            }
            let mut query = QueryBuilder::new("UPDATE chunks SET replaced_at = ");
            query.push_bind(now);
            // What another node shrank meanwhile must not get its rows back.
            query.push(" WHERE replaced_at IS NULL AND detail = TRUE AND id IN ");
            push_numbers!(query, old);
            let update = query.build().persistent(false);
            let replaced = update.execute(&mut *tx).await?.rows_affected();
            if replaced != old.len() as u64 {
                return Ok(false);
            }
            failpoint("merge.replaced");
            insert_chunk!(tx, workspace, day, new, now);
            failpoint("merge.before_commit");
            true
        });
        failpoint("merge.committed");
        Ok(replaced)
    }

    /// Deletes chunks that were replaced before `before`, some at a time. Returns how many.
    pub(crate) async fn purge_replaced(
        &self,
        before: Timestamp,
        most: i64,
    ) -> Result<u64, StoreError> {
        let purged = in_tx!(&self.db, |tx| {
            if !is_alone!(&self.db, tx, "terse purge") {
                return Ok(0);
            }
            let ids: Vec<i64> = sqlx::query_scalar(
                "DELETE FROM chunks WHERE id IN (SELECT id FROM chunks \
                 WHERE replaced_at IS NOT NULL AND replaced_at < $1 ORDER BY replaced_at LIMIT $2) \
                 RETURNING id",
            )
            .bind(before)
            .bind(most)
            .fetch_all(&mut *tx)
            .await?;
            for id in &ids {
                delete_columns!(tx, id);
            }
            ids.len() as u64
        });
        Ok(purged)
    }

    /// Hands over some columns of some chunks, chunk by chunk in no promised order; without their data
    /// unless that is asked for. A chunk that is gone has none.
    pub(crate) async fn chunk_columns(
        &self,
        chunks: &[i64],
        columns: &[Column],
        data: bool,
        mut each: impl FnMut(i64, Vec<StoredColumn<'_>>) -> Result<(), StoreError> + Send,
    ) -> Result<(), StoreError> {
        let ids = chunks.iter().flat_map(|chunk| {
            columns
                .iter()
                .map(move |column| chunk * COLUMNS + column.number())
        });
        let ids: Vec<i64> = ids.collect();
        with_db!(&self.db, |pool| {
            // Without an order: a database might write whole columns into a file to sort them.
            let mut query = QueryBuilder::new(if data {
                "SELECT id, counts, data FROM chunk_columns WHERE id IN "
            } else {
                "SELECT id, counts FROM chunk_columns WHERE id IN "
            });
            push_numbers!(query, &ids);
            let mut begun: HashMap<i64, Vec<_>> = HashMap::new();
            let mut rows = query.build().persistent(false).fetch(pool);
            while let Some(row) = rows.try_next().await? {
                let id: i64 = row.try_get(0)?;
                let chunk = id / COLUMNS;
                let Some(column) = Column::from_number(id % COLUMNS) else {
                    continue;
                };
                let read = begun.entry(chunk).or_default();
                read.push((column, row));
                if read.len() == columns.len()
                    && let Some(read) = begun.remove(&chunk)
                {
                    hand_over!(chunk, read, data, each);
                }
            }
            for (chunk, read) in begun {
                hand_over!(chunk, read, data, each);
            }
        });
        Ok(())
    }
}
