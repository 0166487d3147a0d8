//! Clicks as the first release kept them: one row each. Opening a database of that release moves them
//! into the tail, and taking the migration back moves all clicks into rows again.

use futures_util::TryStreamExt as _;
use sqlx::{QueryBuilder, Row as _};

use crate::classify::{Kind, Reason};
use crate::columns::{Batch, Parcel, Row, Text, open_parcel};
use crate::model::{Fact, WorkspaceId};
use crate::sealer::read_chunk;
use crate::store::clicks::{in_chunks, insert_parcels};
use crate::store::{Store, StoreError, in_tx, with_db};

/// Clicks per parcel.
const PARCEL: usize = 4_096;

impl Store {
    /// Moves rows into the tail, workspace by workspace. Does nothing when there are none.
    pub(crate) async fn adopt_rows(&self) -> Result<(), StoreError> {
        let workspaces: Vec<i64> = with_db!(&self.db, |pool| {
            sqlx::query_scalar("SELECT DISTINCT workspace_id FROM clicks")
                .fetch_all(pool)
                .await?
        });
        for workspace in workspaces {
            in_tx!(&self.db, |tx| {
                let mut parcels = vec![Parcel::default()];
                {
                    let mut rows = sqlx::query(
                        "DELETE FROM clicks WHERE workspace_id = $1 RETURNING \
                         link_id, at, kind, reason, visitor, stream, seq, facts",
                    )
                    .bind(workspace)
                    .fetch(&mut *tx);
                    while let Some(row) = rows.try_next().await? {
                        if parcels.last().is_none_or(|last| last.clicks() >= PARCEL) {
                            parcels.push(Parcel::default());
                        }
                        if let Some(parcel) = parcels.last_mut() {
                            parcel.push(&Row {
                                link: row.try_get(0)?,
                                at: row.try_get(1)?,
                                kind: Kind::from_code(row.try_get(2)?),
                                reason: Reason::from_code(row.try_get(3)?),
                                visitor: row.try_get::<i64, _>(4)?.cast_unsigned(),
                                stream: row.try_get(5)?,
                                seq: row.try_get(6)?,
                                facts: row.try_get(7)?,
                            });
                        }
                    }
                }
                // None of them are left when another node was faster.
                parcels.retain(|parcel| parcel.clicks() > 0);
                insert_parcels!(tx, parcels.into_iter().map(|parcel| (workspace, parcel)));
            });
        }
        Ok(())
    }

    /// Moves every click back into rows. Fails when the detail of some is past its retention: nothing
    /// but rows holds their counts there.
    pub(crate) async fn restore_rows(&self) -> Result<(), StoreError> {
        let all = self.all_clicks().await?;
        let chunks = all.chunks;
        if chunks.iter().any(|(_, chunk)| !chunk.detail) {
            return Err(StoreError::Unreadable(
                "clicks past their retention cannot become rows again",
            ));
        }
        for (workspace, chunk) in chunks {
            let rows = match read_chunk(self, &chunk).await? {
                Some(batch) => rows_of(&batch)?,
                None => Vec::new(),
            };
            self.move_into_rows(workspace, &rows, Home::Chunk(chunk.id))
                .await?;
        }
        for parcel in all.tail {
            let mut rows = Vec::new();
            open_parcel(&parcel.records, |row| rows.push(OwnedRow::of(row)))?;
            let home = Home::Parcel(parcel.stream, parcel.seq);
            self.move_into_rows(parcel.workspace_id, &rows, home)
                .await?;
        }
        Ok(())
    }

    /// Clicks leave their home in the transaction that makes rows of them: whatever ends this early,
    /// each of them is in one place.
    async fn move_into_rows(
        &self,
        workspace: WorkspaceId,
        rows: &[OwnedRow],
        home: Home,
    ) -> Result<(), StoreError> {
        in_tx!(&self.db, |tx| {
            let left = match home {
                Home::Chunk(id) => {
                    sqlx::query("DELETE FROM chunks WHERE id = $1 AND replaced_at IS NULL").bind(id)
                }
                Home::Parcel(stream, seq) => sqlx::query(
                    "DELETE FROM tail WHERE workspace_id = $1 AND stream = $2 AND seq = $3",
                )
                .bind(workspace)
                .bind(stream)
                .bind(seq),
            };
            if left.execute(&mut *tx).await?.rows_affected() != 1 {
                return Err(StoreError::Unreadable(
                    "clicks were sealed meanwhile: a server uses this database",
                ));
            }
            for row in rows {
                sqlx::query(
                    "INSERT INTO clicks \
                     (workspace_id, link_id, at, kind, reason, visitor, stream, seq, facts) \
                     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
                )
                .bind(workspace)
                .bind(row.link)
                .bind(row.at)
                .bind(row.kind)
                .bind(row.reason)
                .bind(row.visitor)
                .bind(row.stream)
                .bind(row.seq)
                .bind(row.facts.as_slice())
                .execute(&mut *tx)
                .await?;
            }
        });
        Ok(())
    }
}

/// Where clicks are before they become rows.
enum Home {
    Chunk(i64),
    /// By its key in the workspace's tail.
    Parcel(i64, i64),
}

struct OwnedRow {
    link: i64,
    at: i64,
    kind: i16,
    reason: i16,
    visitor: i64,
    stream: i64,
    seq: i64,
    facts: Vec<u8>,
}

impl OwnedRow {
    fn of(row: &Row<'_>) -> Self {
        Self {
            link: row.link,
            at: row.at,
            kind: row.kind.code(),
            reason: row.reason as i16,
            visitor: row.visitor.cast_signed(),
            stream: row.stream,
            seq: row.seq,
            facts: row.facts.to_vec(),
        }
    }
}

fn rows_of(batch: &Batch) -> Result<Vec<OwnedRow>, StoreError> {
    let (streams, kinds) = (batch.text(Text::Stream)?, batch.text(Text::Kind)?);
    let reasons = batch.text(Text::Reason)?;
    let mut owned = Vec::with_capacity(batch.rows());
    for (link, rows) in batch.links() {
        for row in rows {
            let mut facts = Vec::new();
            for fact in Fact::ALL {
                let value = batch.text(Text::Fact(fact))?.value(row);
                crate::classify::push_fact(&mut facts, fact, value.as_bytes());
            }
            owned.push(OwnedRow::of(&Row {
                link,
                at: batch.at[row],
                kind: Kind::from_name(kinds.value(row)),
                reason: Reason::from_name(reasons.value(row)),
                visitor: batch.visitors[row],
                stream: streams.value(row).parse().unwrap_or(0),
                seq: batch.seq[row],
                facts: &facts,
            }));
        }
    }
    Ok(owned)
}
