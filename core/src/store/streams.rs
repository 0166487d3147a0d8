//! Cursors of the spool's streams: what was folded, and what is missing.

use crate::model::Timestamp;
use crate::spool::{Seq, StreamId};
use crate::store::{Store, StoreError, in_tx, with_db};

/// How far a stream was folded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct StreamCursor {
    /// The last folded sequence number.
    pub(crate) seq: i64,
    /// Nothing after this sequence number counts: those records were stored elsewhere.
    pub(crate) limit_seq: Option<i64>,
}

/// Where a stream was cut short: nothing after `seq` in it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StreamLimit {
    pub(crate) stream: StreamId,
    pub(crate) seq: i64,
}

impl StreamLimit {
    /// `None` when the limit is none that can be stored.
    pub(crate) fn new(stream: StreamId, limit: Seq) -> Option<Self> {
        let seq = i64::try_from(u64::from(limit)).ok()?;
        Some(Self { stream, seq })
    }
}

/// Stores a stream's limit inside a transaction. A limit only ever goes down: who knows of an older one
/// may come late.
macro_rules! store_limit {
    ($tx:ident, $limit:expr, $now:expr) => {
        sqlx::query(
            "INSERT INTO spool_streams (stream, seq, limit_seq, updated_at) \
             VALUES ($1, 0, $2, $3) \
             ON CONFLICT (stream) DO UPDATE SET limit_seq = \
             CASE WHEN spool_streams.limit_seq < excluded.limit_seq \
             THEN spool_streams.limit_seq ELSE excluded.limit_seq END",
        )
        .bind($limit.stream.as_bytes().as_slice())
        .bind($limit.seq)
        .bind($now)
        .execute(&mut *$tx)
        .await?
    };
}
pub(crate) use store_limit;

/// Records that a stream lacks.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct GapRow {
    pub(crate) stream: Vec<u8>,
    pub(crate) after_seq: i64,
    pub(crate) next_seq: Option<i64>,
    pub(crate) found_at: Timestamp,
    pub(crate) accepted_at: Option<Timestamp>,
}

impl Store {
    /// The cursor of a stream; `None` when nothing of it was folded.
    pub(crate) async fn stream_cursor(
        &self,
        stream: &[u8],
    ) -> Result<Option<StreamCursor>, StoreError> {
        let cursor = with_db!(&self.db, |pool| {
            sqlx::query_as("SELECT seq, limit_seq FROM spool_streams WHERE stream = $1")
                .bind(stream)
                .fetch_optional(pool)
                .await?
        });
        Ok(cursor)
    }

    /// Records where a stream was cut short.
    pub(crate) async fn limit_stream(
        &self,
        limit: StreamLimit,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        in_tx!(&self.db, |tx| {
            store_limit!(tx, limit, now);
        });
        Ok(())
    }

    /// Registers a stream that has no file, for clicks written straight into the database.
    pub(crate) async fn register_stream(
        &self,
        stream: &[u8],
        now: Timestamp,
    ) -> Result<i64, StoreError> {
        let number = in_tx!(&self.db, |tx| {
            sqlx::query(
                "INSERT INTO spool_streams (stream, seq, updated_at) VALUES ($1, 0, $2) \
                 ON CONFLICT (stream) DO NOTHING",
            )
            .bind(stream)
            .bind(now)
            .execute(&mut *tx)
            .await?;
            sqlx::query_scalar("SELECT number FROM spool_streams WHERE stream = $1")
                .bind(stream)
                .fetch_one(&mut *tx)
                .await?
        });
        Ok(number)
    }

    /// How far streams were counted that moved at this moment or later, by their numbers.
    pub(crate) async fn streams_moved_since(
        &self,
        since: Timestamp,
    ) -> Result<Vec<(i64, i64)>, StoreError> {
        let streams = with_db!(&self.db, |pool| {
            sqlx::query_as("SELECT number, seq FROM spool_streams WHERE updated_at >= $1")
                .bind(since)
                .fetch_all(pool)
                .await?
        });
        Ok(streams)
    }

    /// Notes a gap, once.
    pub(crate) async fn record_gap(
        &self,
        stream: &[u8],
        after: i64,
        next: Option<i64>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        in_tx!(&self.db, |tx| {
            sqlx::query(
                "INSERT INTO spool_gaps (stream, after_seq, next_seq, found_at) \
                 VALUES ($1, $2, $3, $4) ON CONFLICT (stream, after_seq) DO NOTHING",
            )
            .bind(stream)
            .bind(after)
            .bind(next)
            .bind(now)
            .execute(&mut *tx)
            .await?;
        });
        Ok(())
    }

    /// All gaps, oldest first.
    pub(crate) async fn gaps(&self) -> Result<Vec<GapRow>, StoreError> {
        let gaps = with_db!(&self.db, |pool| {
            sqlx::query_as(
                "SELECT stream, after_seq, next_seq, found_at, accepted_at FROM spool_gaps \
                 ORDER BY found_at, stream, after_seq",
            )
            .fetch_all(pool)
            .await?
        });
        Ok(gaps)
    }

    /// Whether a person accepted this gap.
    pub(crate) async fn gap_is_accepted(
        &self,
        stream: &[u8],
        after: i64,
    ) -> Result<bool, StoreError> {
        let accepted: Option<Timestamp> = with_db!(&self.db, |pool| {
            sqlx::query_scalar(
                "SELECT accepted_at FROM spool_gaps WHERE stream = $1 AND after_seq = $2",
            )
            .bind(stream)
            .bind(after)
            .fetch_optional(pool)
            .await?
            .flatten()
        });
        Ok(accepted.is_some())
    }

    /// Accepts every gap of a stream that waits; returns how many there were.
    pub(crate) async fn accept_gaps(
        &self,
        stream: &[u8],
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let accepted = in_tx!(&self.db, |tx| {
            sqlx::query(
                "UPDATE spool_gaps SET accepted_at = $1 WHERE accepted_at IS NULL AND stream = $2",
            )
            .bind(now)
            .bind(stream)
            .execute(&mut *tx)
            .await?
            .rows_affected()
        });
        Ok(accepted)
    }
}
