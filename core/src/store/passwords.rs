//! New passwords for those who know the old one, or hold a token from a mail.

use crate::model::{Timestamp, UserId};
use crate::store::audit::{AuditEntry, record};
use crate::store::jobs::{NewJob, enqueue};
use crate::store::mailed_tokens::{TokenPurpose, consume_token, forget_tokens};
use crate::store::sessions::{Ending, end_sessions};
use crate::store::standings::bump_revision;
use crate::store::{Store, StoreError, in_tx, with_db};

macro_rules! set_password {
    ($tx:ident, $user:expr, $hash:expr, $now:expr) => {
        sqlx::query("UPDATE users SET password_hash = $1, updated_at = $2 WHERE id = $3")
            .bind($hash)
            .bind($now)
            .bind($user)
            .execute(&mut *$tx)
            .await?
            .rows_affected()
    };
}

impl Store {
    /// Whether a token would be accepted now: worth hashing a password for.
    pub(crate) async fn is_token_good(
        &self,
        purpose: TokenPurpose,
        digest: &[u8],
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let found: Option<i64> = with_db!(&self.db, |pool| {
            sqlx::query_scalar(
                "SELECT subject FROM mailed_tokens WHERE digest = $1 AND purpose = $2 \
                 AND used_at IS NULL AND expires_at > $3",
            )
            .bind(digest)
            .bind(purpose)
            .bind(now)
            .fetch_optional(pool)
            .await?
        });
        Ok(found.is_some())
    }

    /// Uses up a reset token: sets the password and ends every session. Returns whose it was.
    pub(crate) async fn reset_password(
        &self,
        digest: &[u8],
        hash: &str,
        entry: &AuditEntry<'_>,
        notice: impl Fn(UserId) -> NewJob,
    ) -> Result<Option<UserId>, StoreError> {
        let now = entry.at;
        let (revision, user) = in_tx!(&self.db, |tx| {
            let revision = bump_revision!(tx);
            let Some(subject) = consume_token!(tx, TokenPurpose::Reset, digest, now) else {
                return Ok(None);
            };
            let user = UserId::from_number(subject);
            if set_password!(tx, user, hash, now) == 0 {
                return Ok(None);
            }
            end_sessions!(tx, user, Ending::All, now);
            let job = notice(user);
            enqueue!(tx, &job);
            let mut entry = entry.clone();
            entry.object = Some(user.to_string());
            record!(tx, &entry);
            (revision, user)
        });
        self.authorization.noticed(revision);
        self.jobs_queued();
        Ok(Some(user))
    }

    /// Puts `new` in place of `old` unless it has changed meanwhile, and ends other sessions.
    pub(crate) async fn change_password(
        &self,
        user: UserId,
        old: &str,
        new: &str,
        ending: Ending,
        entry: &AuditEntry<'_>,
        notice: &NewJob,
    ) -> Result<bool, StoreError> {
        let now = entry.at;
        let revision = in_tx!(&self.db, |tx| {
            let revision = bump_revision!(tx);
            let unchanged: Option<UserId> =
                sqlx::query_scalar("SELECT id FROM users WHERE id = $1 AND password_hash = $2")
                    .bind(user)
                    .bind(old)
                    .fetch_optional(&mut *tx)
                    .await?;
            if unchanged.is_none() {
                return Ok(false);
            }
            set_password!(tx, user, new, now);
            end_sessions!(tx, user, ending, now);
            forget_tokens!(tx, TokenPurpose::Reset, user);
            enqueue!(tx, notice);
            record!(tx, entry);
            revision
        });
        self.authorization.noticed(revision);
        self.jobs_queued();
        Ok(true)
    }
}
