//! Users, and the workspace that each begins with.

use sqlx::{FromRow, QueryBuilder};

use crate::model::{Change, InstanceRole, Timestamp, UserId, UserStatus, WorkspaceId};
use crate::store::audit::{AuditEntry, record};
use crate::store::sessions::{Ending, end_sessions};
use crate::store::standings::bump_revision;
use crate::store::{Store, StoreError, in_tx, with_db};

/// A user as stored, with what is needed to check a password.
#[derive(Clone, Debug, FromRow)]
pub(crate) struct UserRow {
    pub(crate) id: UserId,
    pub(crate) email: String,
    pub(crate) name: Option<String>,
    pub(crate) password_hash: String,
    pub(crate) role: InstanceRole,
    pub(crate) status: UserStatus,
    pub(crate) created_at: Timestamp,
}

/// What a list of users asks for, already checked.
#[derive(Clone, Debug, Default)]
pub(crate) struct UserSelection {
    /// Part of the address or the name.
    pub(crate) search: Option<String>,
    pub(crate) role: Option<InstanceRole>,
    pub(crate) status: Option<UserStatus>,
    pub(crate) after: Option<(Timestamp, UserId)>,
    pub(crate) limit: i64,
}

/// What changes about a user; what is `None` stays.
#[derive(Clone, Debug, Default)]
pub(crate) struct UserUpdate {
    pub(crate) name: Change<String>,
    pub(crate) role: Option<InstanceRole>,
    pub(crate) status: Option<UserStatus>,
}

/// What became of a change of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UserOutcome {
    Done,
    NotFound,
    /// No administrator would be left.
    LastAdmin,
}

/// Stores a user with a workspace of their own inside a transaction.
macro_rules! insert_user {
    ($tx:ident, $user:expr, $email_key:expr, $workspace:expr) => {{
        let user: &$crate::store::accounts::UserRow = $user;
        sqlx::query(
            "INSERT INTO users (id, email, email_key, name, password_hash, role, status, \
             created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)",
        )
        .bind(user.id)
        .bind(&user.email)
        .bind($email_key)
        .bind(&user.name)
        .bind(&user.password_hash)
        .bind(user.role)
        .bind(user.status)
        .bind(user.created_at)
        .execute(&mut *$tx)
        .await?;
        sqlx::query("INSERT INTO workspaces (id, name, created_at) VALUES ($1, $2, $3)")
            .bind($workspace)
            .bind(&user.email)
            .bind(user.created_at)
            .execute(&mut *$tx)
            .await?;
        sqlx::query(
            "INSERT INTO memberships (workspace_id, user_id, role, created_at) \
             VALUES ($1, $2, 'owner', $3)",
        )
        .bind($workspace)
        .bind(user.id)
        .bind(user.created_at)
        .execute(&mut *$tx)
        .await?;
    }};
}
pub(crate) use insert_user;

macro_rules! is_last_admin {
    ($tx:ident, $user:expr) => {{
        let others: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM users WHERE role = 'admin' AND status = 'active' AND id <> $1",
        )
        .bind($user)
        .fetch_one(&mut *$tx)
        .await?;
        others == 0
    }};
}
pub(crate) use is_last_admin;

macro_rules! user {
    ($tx:ident, $user:expr) => {
        sqlx::query_as::<_, UserRow>(
            "SELECT id, email, name, password_hash, role, status, created_at FROM users \
             WHERE id = $1",
        )
        .bind($user)
        .fetch_optional($tx)
        .await?
    };
}

impl Store {
    /// Stores a user with a workspace of their own; [`StoreError::Taken`] when the e-mail is.
    /// With `only_first`, does nothing and returns false when any user exists.
    pub(crate) async fn insert_user(
        &self,
        user: &UserRow,
        email_key: &str,
        workspace: WorkspaceId,
        only_first: bool,
        entry: &AuditEntry<'_>,
    ) -> Result<bool, StoreError> {
        in_tx!(&self.db, |tx| {
            if only_first {
                let users: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM users")
                    .fetch_one(&mut *tx)
                    .await?;
                if users > 0 {
                    return Ok(false);
                }
            }
            insert_user!(tx, user, email_key, workspace);
            record!(tx, entry);
        });
        Ok(true)
    }

    pub(crate) async fn user_by_email(
        &self,
        email_key: &str,
    ) -> Result<Option<UserRow>, StoreError> {
        let user = with_db!(&self.db, |pool| {
            sqlx::query_as(
                "SELECT id, email, name, password_hash, role, status, created_at FROM users \
                 WHERE email_key = $1",
            )
            .bind(email_key)
            .fetch_optional(pool)
            .await?
        });
        Ok(user)
    }

    pub(crate) async fn has_users(&self) -> Result<bool, StoreError> {
        let users: i64 = with_db!(&self.db, |pool| {
            sqlx::query_scalar("SELECT COUNT(*) FROM users")
                .fetch_one(pool)
                .await?
        });
        Ok(users > 0)
    }

    pub(crate) async fn user(&self, user: UserId) -> Result<Option<UserRow>, StoreError> {
        Ok(with_db!(&self.db, |pool| user!(pool, user)))
    }

    /// Up to `limit` users, oldest first.
    pub(crate) async fn users(
        &self,
        selection: &UserSelection,
    ) -> Result<Vec<UserRow>, StoreError> {
        let rows = with_db!(&self.db, |pool| {
            let mut query = QueryBuilder::new(
                "SELECT id, email, name, password_hash, role, status, created_at FROM users \
                 WHERE 1 = 1",
            );
            if let Some(search) = &selection.search {
                let pattern = crate::store::like_pattern(search);
                query
                    .push(" AND (LOWER(email) LIKE LOWER(")
                    .push_bind(pattern.clone())
                    .push(") ESCAPE '\\' OR LOWER(name) LIKE LOWER(")
                    .push_bind(pattern)
                    .push(") ESCAPE '\\')");
            }
            if let Some(role) = selection.role {
                query.push(" AND role = ").push_bind(role.as_str());
            }
            if let Some(status) = selection.status {
                query.push(" AND status = ").push_bind(status.as_str());
            }
            if let Some((at, id)) = selection.after {
                query.push(" AND (created_at, id) > (").push_bind(at);
                query.push(", ").push_bind(id).push(")");
            }
            query.push(" ORDER BY created_at, id LIMIT ");
            query.push_bind(selection.limit);
            query
                .build_query_as()
                .persistent(false)
                .fetch_all(pool)
                .await?
        });
        Ok(rows)
    }

    /// Changes a user; one who is suspended or gets another role is signed out everywhere.
    pub(crate) async fn update_user(
        &self,
        user: UserId,
        update: &UserUpdate,
        entry: &AuditEntry<'_>,
    ) -> Result<UserOutcome, StoreError> {
        let revision = in_tx!(&self.db, |tx| {
            // First, so that of two administrators who demote each other one waits for the other.
            let revision = bump_revision!(tx);
            let tx_ref = &mut *tx;
            let Some(mut row) = user!(tx_ref, user) else {
                return Ok(UserOutcome::NotFound);
            };
            let was = (row.role, row.status);
            row.name = update.name.clone().apply(row.name);
            row.role = update.role.unwrap_or(row.role);
            row.status = update.status.unwrap_or(row.status);
            let is = (row.role, row.status);
            let admin = (InstanceRole::Admin, UserStatus::Active);
            if was == admin && is != admin && is_last_admin!(tx, user) {
                return Ok(UserOutcome::LastAdmin);
            }
            sqlx::query(
                "UPDATE users SET name = $1, role = $2, status = $3, updated_at = $4 WHERE id = $5",
            )
            .bind(&row.name)
            .bind(row.role)
            .bind(row.status)
            .bind(entry.at)
            .bind(user)
            .execute(&mut *tx)
            .await?;
            if was != is {
                end_sessions!(tx, user, Ending::All, entry.at);
            }
            record!(tx, entry);
            revision
        });
        self.authorization.noticed(revision);
        Ok(UserOutcome::Done)
    }

    /// Puts a better hash of the same password in place of `old`.
    pub(crate) async fn upgrade_hash(
        &self,
        user: UserId,
        old: &str,
        new: &str,
    ) -> Result<bool, StoreError> {
        let upgraded = with_db!(&self.db, |pool| {
            sqlx::query("UPDATE users SET password_hash = $1 WHERE id = $2 AND password_hash = $3")
                .bind(new)
                .bind(user)
                .bind(old)
                .execute(pool)
                .await?
                .rows_affected()
        });
        Ok(upgraded > 0)
    }
}
