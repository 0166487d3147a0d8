//! What requests with an `Idempotency-Key` were answered.

use sqlx::FromRow;

use crate::model::Timestamp;
use crate::store::{Store, StoreError, with_db};

/// A request that may be sent again and must have its effect once.
#[derive(Clone, Debug)]
pub(crate) struct RepeatableRequest {
    /// Who asks, and for what: keys of others do not meet this one.
    pub(crate) principal: String,
    pub(crate) key: String,
    /// A digest of what is asked for.
    pub(crate) fingerprint: Vec<u8>,
}

/// What such a request was answered.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct AnswerRow {
    pub(crate) fingerprint: Vec<u8>,
    pub(crate) answer: String,
}

/// Keeps the answer inside the transaction that makes it true, unless there is one already. Of many
/// that ask at the same time, one is first; the others wait for its transaction.
macro_rules! is_first {
    ($tx:ident, $request:expr, $answer:expr, $now:expr) => {{
        let request: &$crate::store::idempotency::RepeatableRequest = $request;
        sqlx::query("DELETE FROM idempotent_answers WHERE created_at < $1")
            .bind($now.minus($crate::store::idempotency::KEPT_FOR))
            .execute(&mut *$tx)
            .await?;
        let inserted = sqlx::query(
            "INSERT INTO idempotent_answers (principal, key, fingerprint, answer, created_at) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (principal, key) DO NOTHING",
        )
        .bind(&request.principal)
        .bind(&request.key)
        .bind(&request.fingerprint)
        .bind(&$answer)
        .bind($now)
        .execute(&mut *$tx)
        .await?;
        inserted.rows_affected() > 0
    }};
}
pub(crate) use is_first;

/// How long an answer can be asked for again.
pub(crate) const KEPT_FOR: std::time::Duration = std::time::Duration::from_hours(24);

impl Store {
    pub(crate) async fn idempotent_answer(
        &self,
        request: &RepeatableRequest,
        now: Timestamp,
    ) -> Result<Option<AnswerRow>, StoreError> {
        let row = with_db!(&self.db, |pool| {
            sqlx::query_as(
                "SELECT fingerprint, answer FROM idempotent_answers \
                 WHERE principal = $1 AND key = $2 AND created_at >= $3",
            )
            .bind(&request.principal)
            .bind(&request.key)
            .bind(now.minus(KEPT_FOR))
            .fetch_optional(pool)
            .await?
        });
        Ok(row)
    }
}
