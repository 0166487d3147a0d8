//! Writing clicks: the fold of spooled clicks, and the few that go straight into the database.
//! Those of one workspace and one transaction go into the tail as one parcel.

use std::collections::BTreeMap;

use sqlx::QueryBuilder;

use crate::classify::{Kind, Reason};
use crate::click::ClickHead;
use crate::columns::{Parcel, Row};
use crate::failpoint::failpoint;
use crate::model::Timestamp;
use crate::store::streams::{StreamLimit, store_limit};
use crate::store::{Store, StoreError, in_tx};

/// Clicks of one stream, ready to be written.
#[derive(Clone, Debug, Default)]
pub(crate) struct NewClicks {
    heads: Vec<(i64, ClickHead)>,
    facts: Vec<u8>,
    /// Where the facts of each click end.
    ends: Vec<usize>,
}

impl NewClicks {
    /// Adds a click with its number in the stream.
    pub(crate) fn push(&mut self, seq: i64, head: ClickHead, facts: &[u8]) {
        self.heads.push((seq, head));
        self.facts.extend_from_slice(facts);
        self.ends.push(self.facts.len());
    }

    /// Gives the only click its number.
    fn renumber(&mut self, number: i64) {
        for (seq, _) in &mut self.heads {
            *seq = number;
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.heads.len()
    }

    /// Every click: its number in the stream, what is known of every click, and its facts.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (i64, &ClickHead, &[u8])> {
        let mut start = 0;
        self.heads
            .iter()
            .zip(&self.ends)
            .map(move |((seq, head), end)| {
                let facts = &self.facts[start..*end];
                start = *end;
                (*seq, head, facts)
            })
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
    pub(crate) clicks: NewClicks,
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
    fn add(&mut self, click: &ClickHead) {
        self.workspace = click.workspace.number();
        match Kind::from_code(click.kind.into()) {
            Kind::Human => {
                self.humans += 1;
                self.last_clicked_at = self.last_clicked_at.max(Some(click.at.as_millis()));
            }
            Kind::Bot => self.bots += 1,
            Kind::Preview => self.previews += 1,
        }
    }
}

/// Whether a fold took effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FoldOutcome {
    /// The number of each part's stream.
    Applied(Vec<i64>),
    /// The cursor of this part was not where the fold expected it: nothing was written.
    Moved(usize),
}

// Few distinct statements: a connection keeps each that it prepared, program and all.
const COUNTER_CHUNKS: [usize; 4] = [128, 16, 4, 1];

/// Cuts `items` into slices of a few fixed lengths.
pub(crate) fn in_chunks<T>(mut items: &[T]) -> impl Iterator<Item = &[T]> {
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

/// Inserts parcels, one for each workspace, inside a transaction.
macro_rules! insert_parcels {
    ($tx:ident, $parcels:expr) => {
        let parcels: Vec<(i64, Parcel)> = $parcels.into_iter().collect();
        for chunk in in_chunks(&parcels) {
            let mut query = QueryBuilder::new(
                "INSERT INTO tail \
                 (workspace_id, stream, seq, click_count, first_at, last_at, records) ",
            );
            query.push_values(chunk, |mut row, (workspace, parcel)| {
                let ((stream, seq), (first_at, last_at)) = (parcel.key(), parcel.times());
                row.push_bind(*workspace)
                    .push_bind(stream)
                    .push_bind(seq)
                    .push_bind(i64::try_from(parcel.clicks()).unwrap_or(i64::MAX))
                    .push_bind(first_at)
                    .push_bind(last_at)
                    .push_bind(parcel.seal());
            });
            query.build().execute(&mut *$tx).await?;
        }
    };
}
pub(crate) use insert_parcels;

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

/// Gives a click the next number of a stream that has no file. Whoever gives another one waits for the
/// end of this transaction: the numbers are in the order in which the clicks are counted.
macro_rules! number_click {
    ($tx:ident, $click:expr, $stream:expr, $now:expr) => {
        let seq: i64 = sqlx::query_scalar(
            "UPDATE spool_streams SET seq = seq + 1, updated_at = $1 WHERE number = $2 \
             RETURNING seq",
        )
        .bind($now)
        .bind($stream)
        .fetch_one(&mut *$tx)
        .await?;
        $click.renumber(seq);
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
        let deltas = counter_deltas(parts.iter().map(|part| &part.clicks));
        let numbers = in_tx!(&self.db, |tx| {
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
            let clicks = parts
                .iter()
                .map(|part| &part.clicks)
                .zip(numbers.iter().copied());
            insert_parcels!(tx, parcels(clicks));
            push_counters!(tx, deltas);
            failpoint("ship.after_insert");
            numbers
        });
        failpoint("ship.after_db_commit");
        Ok(FoldOutcome::Applied(numbers))
    }

    /// Stores one click without the spool: rows and counters in one transaction, and in the same one
    /// the limit of the spool stream that holds it too.
    pub(crate) async fn insert_click(
        &self,
        mut click: NewClicks,
        stream: i64,
        limit: Option<StreamLimit>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let deltas = counter_deltas([&click]);
        in_tx!(&self.db, |tx| {
            if let Some(limit) = limit {
                store_limit!(tx, limit, now);
            }
            number_click!(tx, click, stream, now);
            insert_parcels!(tx, parcels([(&click, stream)]));
            push_counters!(tx, deltas);
        });
        Ok(())
    }

    /// Takes one of the link's `max_clicks` slots and stores the click, or does neither.
    /// Returns whether a slot was free: the human counter itself is the count of used slots. How many
    /// there are is read here too: another node may have changed the link since it was loaded.
    pub(crate) async fn insert_limited_click(
        &self,
        mut clicks: NewClicks,
        stream: i64,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let Some((_, click, _)) = clicks.iter().next() else {
            return Ok(false);
        };
        let (at, link) = (click.at, click.link);
        in_tx!(&self.db, |tx| {
            // Streams before counters, as everywhere: nobody waits in a circle. Without a free slot the
            // number is given back.
            number_click!(tx, clicks, stream, now);
            let taken = sqlx::query(
                "UPDATE link_counters SET humans = humans + 1, last_clicked_at = $1 \
                 WHERE link_id = $2 AND humans < (SELECT COALESCE(l.max_clicks, $3) FROM links l \
                 WHERE l.id = $2 AND l.state = 'active')",
            )
            .bind(at)
            .bind(link)
            .bind(i64::MAX)
            .execute(&mut *tx)
            .await?
            .rows_affected();
            if taken == 0 {
                return Ok(false);
            }
            insert_parcels!(tx, parcels([(&clicks, stream)]));
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
fn counter_deltas<'a>(clicks: impl IntoIterator<Item = &'a NewClicks>) -> Vec<(i64, CounterDelta)> {
    let mut deltas: BTreeMap<i64, CounterDelta> = BTreeMap::new();
    for (_, click, _) in clicks.into_iter().flat_map(NewClicks::iter) {
        deltas.entry(click.link.number()).or_default().add(click);
    }
    deltas.into_iter().collect()
}

/// The clicks of each workspace, out of streams with these numbers.
fn parcels<'a>(clicks: impl IntoIterator<Item = (&'a NewClicks, i64)>) -> BTreeMap<i64, Parcel> {
    let mut parcels: BTreeMap<i64, Parcel> = BTreeMap::new();
    for (clicks, stream) in clicks {
        for (seq, click, facts) in clicks.iter() {
            let parcel = parcels.entry(click.workspace.number()).or_default();
            parcel.push(&Row {
                link: click.link.number(),
                at: click.at.as_millis(),
                kind: Kind::from_code(click.kind.into()),
                reason: Reason::from_code(click.reason.into()),
                visitor: click.visitor,
                stream,
                seq,
                facts,
            });
        }
    }
    parcels
}
