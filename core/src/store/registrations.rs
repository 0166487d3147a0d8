//! Accounts that wait for their address to be verified.

use sqlx::FromRow;

use crate::model::{InstanceRole, RegistrationId, Timestamp, UserId, UserStatus, WorkspaceId};
use crate::store::accounts::{UserRow, insert_user};
use crate::store::audit::{AuditEntry, record};
use crate::store::jobs::{NewJob, enqueue};
use crate::store::mailed_tokens::{TokenPurpose, consume_token};
use crate::store::{Store, StoreError, in_tx, with_db};

/// In place of a hash: no password is the right one.
pub(crate) const NO_PASSWORD: &str = "none";

/// A registration as stored.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct RegistrationRow {
    pub(crate) id: RegistrationId,
    pub(crate) email: String,
    pub(crate) email_key: String,
    pub(crate) name: Option<String>,
    pub(crate) password_hash: String,
    pub(crate) created_at: Timestamp,
    pub(crate) expires_at: Timestamp,
}

impl Store {
    /// Keeps a registration and queues `verify`; for an address that has an account, queues `exists`
    /// with the address as the account has it.
    pub(crate) async fn register(
        &self,
        registration: &RegistrationRow,
        verify: &NewJob,
        exists: impl Fn(String) -> NewJob,
    ) -> Result<(), StoreError> {
        in_tx!(&self.db, |tx| {
            sqlx::query("DELETE FROM registrations WHERE expires_at <= $1")
                .bind(registration.created_at)
                .execute(&mut *tx)
                .await?;
            let holder: Option<String> =
                sqlx::query_scalar("SELECT email FROM users WHERE email_key = $1")
                    .bind(&registration.email_key)
                    .fetch_optional(&mut *tx)
                    .await?;
            if let Some(email) = holder {
                let job = exists(email);
                enqueue!(tx, &job);
            } else {
                sqlx::query(
                    "INSERT INTO registrations (id, email, email_key, name, password_hash, \
                     created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
                )
                .bind(registration.id)
                .bind(&registration.email)
                .bind(&registration.email_key)
                .bind(&registration.name)
                .bind(&registration.password_hash)
                .bind(registration.created_at)
                .bind(registration.expires_at)
                .execute(&mut *tx)
                .await?;
                enqueue!(tx, verify);
            }
        });
        self.jobs_queued();
        Ok(())
    }

    /// The newest registration with this address.
    pub(crate) async fn registration_by_email(
        &self,
        email_key: &str,
        now: Timestamp,
    ) -> Result<Option<RegistrationId>, StoreError> {
        let id = with_db!(&self.db, |pool| {
            sqlx::query_scalar(
                "SELECT id FROM registrations WHERE email_key = $1 AND expires_at > $2 \
                 ORDER BY created_at DESC, id LIMIT 1",
            )
            .bind(email_key)
            .bind(now)
            .fetch_optional(pool)
            .await?
        });
        Ok(id)
    }

    /// Whether somebody invited this address and still does.
    pub(crate) async fn is_invited(
        &self,
        email_key: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let invitations: i64 = with_db!(&self.db, |pool| {
            sqlx::query_scalar(
                "SELECT COUNT(*) FROM invitations WHERE email_key = $1 AND ended_at IS NULL \
                 AND expires_at > $2",
            )
            .bind(email_key)
            .bind(now)
            .fetch_one(pool)
            .await?
        });
        Ok(invitations > 0)
    }

    /// Makes the account of the registration that this token verifies, and forgets all others of
    /// the same address. If there are others, the account has no password, and `reset` is queued. `None` when the token is good for nothing.
    pub(crate) async fn verify_registration(
        &self,
        digest: &[u8],
        user: UserId,
        workspace: WorkspaceId,
        entry: &AuditEntry<'_>,
        reset: &NewJob,
    ) -> Result<Option<UserRow>, StoreError> {
        let row = in_tx!(&self.db, |tx| {
            let now = entry.at;
            let Some(subject) = consume_token!(tx, TokenPurpose::Verify, digest, now) else {
                return Ok(None);
            };
            let registration: Option<RegistrationRow> = sqlx::query_as(
                "SELECT id, email, email_key, name, password_hash, created_at, expires_at \
                 FROM registrations WHERE id = $1 AND expires_at > $2",
            )
            .bind(subject)
            .bind(now)
            .fetch_optional(&mut *tx)
            .await?;
            let Some(registration) = registration else {
                return Ok(None);
            };
            let rivals: i64 = sqlx::query_scalar(
                "SELECT COUNT(*) FROM registrations WHERE email_key = $1 AND expires_at > $2",
            )
            .bind(&registration.email_key)
            .bind(now)
            .fetch_one(&mut *tx)
            .await?;
            let contested = rivals > 1;
            let row = UserRow {
                id: user,
                email: registration.email,
                name: registration.name,
                // Whose password it is cannot be told: the owner of the address chooses a new one.
                password_hash: if contested {
                    NO_PASSWORD.to_owned()
                } else {
                    registration.password_hash
                },
                role: InstanceRole::User,
                status: UserStatus::Active,
                created_at: now,
            };
            insert_user!(tx, &row, &registration.email_key, workspace);
            sqlx::query("DELETE FROM registrations WHERE email_key = $1")
                .bind(&registration.email_key)
                .execute(&mut *tx)
                .await?;
            let mut entry = entry.clone();
            entry.object = Some(row.id.to_string());
            entry.details = serde_json::json!({ "email": row.email });
            record!(tx, &entry);
            if contested {
                enqueue!(tx, reset);
            }
            row
        });
        self.jobs_queued();
        Ok(Some(row))
    }
}
