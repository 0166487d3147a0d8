//! Tokens that went out in mails, as digests.

use crate::model::Timestamp;
use crate::store::{Store, StoreError, in_tx};

/// What a mailed token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "TEXT", rename_all = "snake_case")]
pub(crate) enum TokenPurpose {
    /// Its subject is a registration.
    Verify,
    /// Its subject is a user.
    Reset,
    /// Its subject is an invitation.
    Invite,
}

/// A token to be sent.
#[derive(Clone, Debug)]
pub(crate) struct NewMailedToken {
    pub(crate) digest: Vec<u8>,
    pub(crate) purpose: TokenPurpose,
    /// The number of what it is about.
    pub(crate) subject: i64,
    pub(crate) created_at: Timestamp,
    pub(crate) expires_at: Timestamp,
}

/// Uses up a token inside a transaction: its subject, or `None` when it is unknown, used or expired.
/// Of many that present the same one, the database lets one through.
macro_rules! consume_token {
    ($tx:ident, $purpose:expr, $digest:expr, $now:expr) => {
        sqlx::query_scalar::<_, i64>(
            "UPDATE mailed_tokens SET used_at = $1 WHERE digest = $2 AND purpose = $3 \
             AND used_at IS NULL AND expires_at > $1 RETURNING subject",
        )
        .bind($now)
        .bind($digest)
        .bind($purpose)
        .fetch_optional(&mut *$tx)
        .await?
    };
}
pub(crate) use consume_token;

/// Makes every token of this purpose and subject worthless inside a transaction.
macro_rules! forget_tokens {
    ($tx:ident, $purpose:expr, $subject:expr) => {
        sqlx::query("DELETE FROM mailed_tokens WHERE purpose = $1 AND subject = $2")
            .bind($purpose)
            .bind($subject)
            .execute(&mut *$tx)
            .await?
            .rows_affected()
    };
}
pub(crate) use forget_tokens;

impl Store {
    /// Keeps a token that is about to be sent; earlier ones about the same are worth nothing from
    /// here on.
    pub(crate) async fn insert_mailed_token(
        &self,
        token: &NewMailedToken,
    ) -> Result<(), StoreError> {
        in_tx!(&self.db, |tx| {
            sqlx::query(
                "INSERT INTO mailed_tokens (digest, purpose, subject, created_at, expires_at) \
                 VALUES ($1, $2, $3, $4, $5) \
                 ON CONFLICT (purpose, subject) DO UPDATE SET digest = excluded.digest, \
                 created_at = excluded.created_at, expires_at = excluded.expires_at, \
                 used_at = NULL",
            )
            .bind(&token.digest)
            .bind(token.purpose)
            .bind(token.subject)
            .bind(token.created_at)
            .bind(token.expires_at)
            .execute(&mut *tx)
            .await?
            .rows_affected()
        });
        Ok(())
    }
}
