//! Writing clicks: the fold of spooled clicks, and the few that go straight into the database.

use std::collections::BTreeMap;

use sqlx::QueryBuilder;

use crate::classify::Kind;
use crate::model::Timestamp;
use crate::store::append::AppendClicks;
use crate::store::streams::{StreamLimit, store_limit};
use crate::store::{Store, StoreError, in_tx};

/// Clicks as columns, ready to be appended to the tail.
#[derive(Debug, Default)]
pub(crate) struct ClickRows {
    pub(crate) workspace: Vec<i64>,
    pub(crate) link: Vec<i64>,
    pub(crate) at: Vec<i64>,
    pub(crate) kind: Vec<i16>,
    pub(crate) reason: Vec<i16>,
    pub(crate) visitor: Vec<i64>,
    pub(crate) seq: Vec<i64>,
    pub(crate) facts: Vec<Vec<u8>>,
}

impl ClickRows {
    pub(crate) fn len(&self) -> usize {
        self.link.len()
    }
}

/// A record that no longer decodes.
#[derive(Debug)]
pub(crate) struct DeadRecord {
    pub(crate) seq: i64,
    pub(crate) version: u8,
    pub(crate) record: Vec<u8>,
}

/// What one stream adds to the database.
#[derive(Debug, Default)]
pub(crate) struct StreamPart {
    pub(crate) stream: [u8; 16],
    /// The cursor before.
    pub(crate) from: i64,
    /// The cursor after; `from` plus the number of records, or more where a gap was accepted.
    pub(crate) to: i64,
    pub(crate) rows: ClickRows,
    pub(crate) dead: Vec<DeadRecord>,
}

/// How the clicks of one link change its counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CounterDelta {
    pub(crate) workspace: i64,
    pub(crate) humans: i64,
    pub(crate) bots: i64,
    pub(crate) previews: i64,
    pub(crate) last_clicked_at: Option<i64>,
}

impl CounterDelta {
    pub(crate) fn add(&mut self, kind: i16, at: i64) {
        if kind == Kind::Human.code() {
            self.humans += 1;
            self.last_clicked_at = self.last_clicked_at.max(Some(at));
        } else if kind == Kind::Preview.code() {
            self.previews += 1;
        } else {
            self.bots += 1;
        }
    }
}

/// Whether a fold took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FoldOutcome {
    Applied,
    /// The cursor of this part was not where the fold expected it: nothing was written.
    Moved(usize),
}

// Few distinct statements: a connection keeps each that it prepared, program and all.
const COUNTER_CHUNKS: [usize; 4] = [128, 16, 4, 1];

/// Cuts `items` into slices of a few fixed lengths.
fn in_chunks<T>(mut items: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = COUNTER_CHUNKS
            .into_iter()
            .find(|&size| size <= items.len())?;
        let (chunk, rest) = items.split_at(size);
        items = rest;
        Some(chunk)
    })
}

macro_rules! push_counters {
    ($tx:ident, $deltas:expr) => {
        for chunk in in_chunks(&$deltas) {
            let mut query = QueryBuilder::new(
                "INSERT INTO link_counters \
                 (link_id, workspace_id, humans, bots, previews, last_clicked_at) ",
            );
            query.push_values(chunk, |mut row, (link, delta)| {
                row.push_bind(*link)
                    .push_bind(delta.workspace)
                    .push_bind(delta.humans)
                    .push_bind(delta.bots)
                    .push_bind(delta.previews)
                    .push_bind(delta.last_clicked_at);
            });
            query.push(
                " ON CONFLICT (link_id) DO UPDATE SET \
                 humans = link_counters.humans + excluded.humans, \
                 bots = link_counters.bots + excluded.bots, \
                 previews = link_counters.previews + excluded.previews, \
                 last_clicked_at = CASE WHEN link_counters.last_clicked_at IS NULL \
                 OR link_counters.last_clicked_at < excluded.last_clicked_at \
                 THEN excluded.last_clicked_at ELSE link_counters.last_clicked_at END",
            );
            query.build().execute(&mut *$tx).await?;
        }
    };
}

macro_rules! insert_dead {
    ($tx:ident, $part:expr, $now:expr) => {
        for dead in &$part.dead {
            sqlx::query(
                "INSERT INTO clicks_dead (stream, seq, found_at, version, record) \
                 VALUES ($1, $2, $3, $4, $5)",
            )
            .bind($part.stream.as_slice())
            .bind(dead.seq)
            .bind($now)
            .bind(i16::from(dead.version))
            .bind(dead.record.as_slice())
            .execute(&mut *$tx)
            .await?;
        }
    };
}

impl Store {
    /// Applies clicks, counters and cursors in one transaction, or nothing.
    ///
    /// Each cursor moves first, by compare-and-set: a repeated delivery changes nothing.
    pub(crate) async fn fold(
        &self,
        parts: &[StreamPart],
        now: Timestamp,
    ) -> Result<FoldOutcome, StoreError> {
        let deltas = counter_deltas(parts);
        in_tx!(&self.db, |tx| {
            let mut numbers = Vec::with_capacity(parts.len());
            for (index, part) in parts.iter().enumerate() {
                if part.from == 0 {
                    sqlx::query(
                        "INSERT INTO spool_streams (stream, seq, updated_at) VALUES ($1, 0, $2) \
                         ON CONFLICT (stream) DO NOTHING",
                    )
                    .bind(part.stream.as_slice())
                    .bind(now)
                    .execute(&mut *tx)
                    .await?;
                }
                let moved: Option<i64> = sqlx::query_scalar(
                    "UPDATE spool_streams SET seq = $1, updated_at = $2 \
                     WHERE stream = $3 AND seq = $4 AND (limit_seq IS NULL OR limit_seq >= $1) \
                     RETURNING number",
                )
                .bind(part.to)
                .bind(now)
                .bind(part.stream.as_slice())
                .bind(part.from)
                .fetch_optional(&mut *tx)
                .await?;
                let Some(number) = moved else {
                    return Ok(FoldOutcome::Moved(index));
                };
                numbers.push(number);
                insert_dead!(tx, part, now);
            }
            for (part, number) in parts.iter().zip(numbers) {
                tx.append_clicks(&part.rows, number).await?;
            }
            push_counters!(tx, deltas);
        });
        Ok(FoldOutcome::Applied)
    }

    /// Stores one click without the spool: rows and counters in one transaction, and in the same one
    /// the limit of the spool stream that holds it too.
    pub(crate) async fn insert_click(
        &self,
        rows: &ClickRows,
        stream: i64,
        limit: Option<StreamLimit>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut delta = CounterDelta {
            workspace: rows.workspace[0],
            ..CounterDelta::default()
        };
        delta.add(rows.kind[0], rows.at[0]);
        let deltas = [(rows.link[0], delta)];
        in_tx!(&self.db, |tx| {
            if let Some(limit) = limit {
                store_limit!(tx, limit, now);
            }
            tx.append_clicks(rows, stream).await?;
            push_counters!(tx, deltas);
        });
        Ok(())
    }

    /// Takes one of the link's `max_clicks` slots and stores the click, or does neither.
    /// Returns whether a slot was free: the human counter itself is the count of used slots. How many
    /// there are is read here too: another node may have changed the link since it was loaded.
    pub(crate) async fn insert_limited_click(
        &self,
        rows: &ClickRows,
        stream: i64,
    ) -> Result<bool, StoreError> {
        in_tx!(&self.db, |tx| {
            let taken = sqlx::query(
                "UPDATE link_counters SET humans = humans + 1, last_clicked_at = $1 \
                 WHERE link_id = $2 AND humans < (SELECT COALESCE(l.max_clicks, $3) FROM links l \
                 WHERE l.id = $2 AND l.state = 'active')",
            )
            .bind(rows.at[0])
            .bind(rows.link[0])
            .bind(i64::MAX)
            .execute(&mut *tx)
            .await?
            .rows_affected();
            if taken == 0 {
                return Ok(false);
            }
            tx.append_clicks(rows, stream).await?;
        });
        Ok(true)
    }

    /// Adds to the count of answered redirects that no store took.
    pub(crate) async fn add_unrecorded(
        &self,
        day: i64,
        reason: &str,
        clicks: i64,
    ) -> Result<(), StoreError> {
        in_tx!(&self.db, |tx| {
            sqlx::query(
                "INSERT INTO clicks_unrecorded (day, reason, clicks) VALUES ($1, $2, $3) \
                 ON CONFLICT (day, reason) DO UPDATE \
                 SET clicks = clicks_unrecorded.clicks + excluded.clicks",
            )
            .bind(day)
            .bind(reason)
            .bind(clicks)
            .execute(&mut *tx)
            .await?;
        });
        Ok(())
    }
}

/// The sum of all parts per link, in the order of the links: two folders never wait for each other
/// in a circle.
fn counter_deltas(parts: &[StreamPart]) -> Vec<(i64, CounterDelta)> {
    let mut deltas: BTreeMap<i64, CounterDelta> = BTreeMap::new();
    for part in parts {
        let rows = &part.rows;
        for index in 0..rows.len() {
            let delta = deltas.entry(rows.link[index]).or_default();
            delta.workspace = rows.workspace[index];
            delta.add(rows.kind[index], rows.at[index]);
        }
    }
    deltas.into_iter().collect()
}
