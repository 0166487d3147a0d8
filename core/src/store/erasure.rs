//! Deleting clicks of one link: each step takes them out of one chunk or parcel and off the link's
//! counters, in one transaction.

use futures_util::TryStreamExt as _;
use sqlx::{QueryBuilder, Row as _};

use crate::columns::{EncodedChunk, KindCounts, Parcel, open_parcel};
use crate::failpoint::failpoint;
use crate::model::{LinkId, Timestamp, WorkspaceId};
use crate::store::audit::{AuditEntry, record};
use crate::store::chunks::{COLUMNS, ChunkHead, delete_columns, head_columns, insert_chunk};
use crate::store::clicks::{in_chunks, insert_parcels};
use crate::store::{Store, StoreError, in_snapshot, in_tx};

/// Clicks to be deleted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Erasure {
    pub(crate) workspace: WorkspaceId,
    pub(crate) link: LinkId,
    /// The last of them may have happened at this moment.
    pub(crate) until: Timestamp,
}

impl Erasure {
    /// Whether a click is one of those to be deleted.
    pub(crate) fn takes(&self, link: i64, at: i64) -> bool {
        link == self.link.number() && at <= self.until.as_millis()
    }
}

/// What may hold clicks of a link, at one moment.
#[derive(Debug)]
pub(crate) struct ErasableClicks {
    /// Those past their retention too.
    pub(crate) chunks: Vec<ChunkHead>,
    /// Keys of the parcels that do.
    pub(crate) parcels: Vec<(i64, i64)>,
    pub(crate) last_clicked_at: Option<Timestamp>,
}

/// Takes clicks off a link's counters, inside the transaction that deletes them.
macro_rules! reduce_counters {
    ($tx:ident, $link:expr, $removed:expr) => {
        let [humans, bots, previews] = $removed.0.map(u64::cast_signed);
        sqlx::query(
            "UPDATE link_counters SET humans = humans - $1, bots = bots - $2, \
             previews = previews - $3 WHERE link_id = $4",
        )
        .bind(humans)
        .bind(bots)
        .bind(previews)
        .bind($link)
        .execute(&mut *$tx)
        .await?;
    };
}

impl Store {
    /// Every chunk that an erasure has to look into, and every parcel that holds some of its clicks.
    pub(crate) async fn erasable_clicks(
        &self,
        erasure: &Erasure,
    ) -> Result<ErasableClicks, StoreError> {
        let found = in_snapshot!(&self.db, |tx| {
            let chunks = sqlx::query_as(concat!(
                "SELECT ",
                head_columns!(),
                " FROM chunks WHERE workspace_id = $1 AND first_at <= $2 \
                 AND replaced_at IS NULL ORDER BY id"
            ))
            .bind(erasure.workspace)
            .bind(erasure.until)
            .fetch_all(&mut *tx)
            .await?;
            let mut parcels = Vec::new();
            {
                let mut tail = sqlx::query(
                    "SELECT stream, seq, records FROM tail \
                     WHERE workspace_id = $1 AND first_at <= $2",
                )
                .bind(erasure.workspace)
                .bind(erasure.until)
                .fetch(&mut *tx);
                // One parcel at a time is in memory.
                while let Some(parcel) = tail.try_next().await? {
                    let mut holds_some = false;
                    open_parcel(parcel.try_get(2)?, |row| {
                        holds_some |= erasure.takes(row.link, row.at);
                    })?;
                    if holds_some {
                        parcels.push((parcel.try_get(0)?, parcel.try_get(1)?));
                    }
                }
            }
            let last: Option<Option<Timestamp>> =
                sqlx::query_scalar("SELECT last_clicked_at FROM link_counters WHERE link_id = $1")
                    .bind(erasure.link)
                    .fetch_optional(&mut *tx)
                    .await?;
            ErasableClicks {
                chunks,
                parcels,
                last_clicked_at: last.flatten(),
            }
        });
        Ok(found)
    }

    /// Puts a chunk without the removed clicks in the place of one that has them, if that is still
    /// there with its rows. The old one is gone at once, with its columns.
    pub(crate) async fn swap_chunk(
        &self,
        erasure: &Erasure,
        old: &ChunkHead,
        new: Option<&EncodedChunk>,
        removed: KindCounts,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        in_tx!(&self.db, |tx| {
            let deleted = sqlx::query(
                "DELETE FROM chunks WHERE id = $1 AND replaced_at IS NULL AND detail = TRUE",
            )
            .bind(old.id)
            .execute(&mut *tx)
            .await?
            .rows_affected();
            if deleted == 0 {
                return Ok(());
            }
            delete_columns!(tx, old.id);
            if let Some(new) = new {
                insert_chunk!(tx, erasure.workspace, old.day, new, now);
            }
            reduce_counters!(tx, erasure.link, removed);
            failpoint("erase.before_commit");
        });
        Ok(())
    }

    /// Deletes the clicks in one parcel of the tail, if it is still there. Returns how many.
    pub(crate) async fn erase_in_parcel(
        &self,
        erasure: &Erasure,
        (stream, seq): (i64, i64),
    ) -> Result<usize, StoreError> {
        let erased = in_tx!(&self.db, |tx| {
            // What it holds by now: another may have taken clicks out of it.
            let records: Option<Vec<u8>> = sqlx::query_scalar(
                "DELETE FROM tail WHERE workspace_id = $1 AND stream = $2 AND seq = $3 \
                 RETURNING records",
            )
            .bind(erasure.workspace)
            .bind(stream)
            .bind(seq)
            .fetch_optional(&mut *tx)
            .await?;
            let Some(records) = records else {
                return Ok(0);
            };
            let (mut rest, mut removed) = (Parcel::default(), KindCounts::default());
            open_parcel(&records, |row| {
                if erasure.takes(row.link, row.at) {
                    removed.0[KindCounts::slot(row.kind)] += 1;
                } else {
                    rest.push(row);
                }
            })?;
            if removed.total() == 0 {
                return Ok(0);
            }
            if rest.clicks() > 0 {
                insert_parcels!(tx, [(erasure.workspace.number(), rest)]);
            }
            reduce_counters!(tx, erasure.link, removed);
            failpoint("erase.before_commit");
            usize::try_from(removed.total()).unwrap_or(usize::MAX)
        });
        Ok(erased)
    }

    /// Puts the time of a link's last click right after its clicks were deleted, unless there were
    /// newer ones since it was `seen`.
    pub(crate) async fn settle_last_click(
        &self,
        link: LinkId,
        seen: Timestamp,
        left: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        in_tx!(&self.db, |tx| {
            sqlx::query(
                "UPDATE link_counters SET last_clicked_at = \
                 CASE WHEN humans = 0 THEN NULL ELSE COALESCE($1, last_clicked_at) END \
                 WHERE link_id = $2 AND last_clicked_at = $3",
            )
            .bind(left)
            .bind(link)
            .bind(seen)
            .execute(&mut *tx)
            .await?;
        });
        Ok(())
    }

    /// Deletes chunks of a workspace that were replaced, some at a time. Returns how many.
    pub(crate) async fn purge_replaced_of(
        &self,
        workspace: WorkspaceId,
        most: i64,
    ) -> Result<u64, StoreError> {
        let purged = in_tx!(&self.db, |tx| {
            let ids: Vec<i64> = sqlx::query_scalar(
                "DELETE FROM chunks WHERE id IN (SELECT id FROM chunks \
                 WHERE replaced_at IS NOT NULL AND workspace_id = $1 LIMIT $2) RETURNING id",
            )
            .bind(workspace)
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

    /// Writes an entry of the audit log about what takes several transactions.
    pub(crate) async fn record(&self, entry: &AuditEntry<'_>) -> Result<(), StoreError> {
        in_tx!(&self.db, |tx| record!(tx, entry));
        Ok(())
    }
}
