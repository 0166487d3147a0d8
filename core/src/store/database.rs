//! The two databases behind one face.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection as _, PgPool, SqlitePool};
use tokio::sync::Notify;

use crate::store::StoreError;
use crate::store::silence::noticing_silence;
use crate::store::standings::Revision;

/// Runs one SQL body on whichever database is open. The body is compiled once per driver, so it
/// must be valid on both: `migrations/README.md` names the portable subset.
macro_rules! with_db {
    ($db:expr, |$pool:ident| $body:expr) => {
        match $db {
            $crate::store::Db::Sqlite($pool) => $body,
            $crate::store::Db::Postgres($pool) => $body,
        }
    };
}
pub(crate) use with_db;

/// As `with_db!`, inside a write transaction. Leaving the body with `?` or `return` rolls back.
macro_rules! in_tx {
    ($db:expr, |$tx:ident| $body:expr) => {
        match $db {
            $crate::store::Db::Sqlite(pool) => {
                let mut $tx = pool.begin_with("BEGIN IMMEDIATE").await?;
                let out = $body;
                $tx.commit().await?;
                out
            }
            $crate::store::Db::Postgres(pool) => {
                let mut $tx = pool.begin_with("BEGIN").await?;
                // A server-wide `synchronous_commit = off` must not take back what was answered.
                sqlx::query("SET LOCAL synchronous_commit = on")
                    .execute(&mut *$tx)
                    .await?;
                let out = $body;
                $tx.commit().await?;
                out
            }
        }
    };
}
pub(crate) use in_tx;

/// Whether this transaction alone may do the named work: on PostgreSQL only one node at a time. SQLite's
/// write lock has seen to it already.
macro_rules! is_alone {
    ($db:expr, $tx:ident, $work:expr) => {
        match $db {
            $crate::store::Db::Sqlite(_) => true,
            $crate::store::Db::Postgres(_) => {
                let lock = "SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0))";
                let work: &str = $work;
                let free = sqlx::query_scalar(lock).bind(work);
                free.fetch_one(&mut *$tx).await?
            }
        }
    };
}
pub(crate) use is_alone;

/// As `with_db!`, inside a read transaction that sees one moment of the database.
macro_rules! in_snapshot {
    ($db:expr, |$tx:ident| $body:expr) => {
        match $db {
            $crate::store::Db::Sqlite(pool) => {
                let mut $tx = pool.begin_with("BEGIN DEFERRED").await?;
                $body
            }
            $crate::store::Db::Postgres(pool) => {
                let mut $tx = pool
                    .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                    .await?;
                $body
            }
        }
    };
}
pub(crate) use in_snapshot;

/// Where the database is.
#[derive(Clone)]
pub enum DatabaseUrl {
    /// A SQLite file, made when it does not exist.
    Sqlite(PathBuf),
    /// A `postgres://` URL; it may hold a password and is never printed.
    Postgres(SecretString),
}

/// The text names no database that Terse can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a database URL starts with sqlite: or postgres://")]
pub struct DatabaseUrlError;

impl DatabaseUrl {
    /// How long one transaction of clicks may take as long as all is well. A network that went silent must
    /// not be waited for longer than that, while SQLite's thread may simply not get a processor.
    pub(crate) const fn fold_patience(&self) -> Duration {
        match self {
            Self::Sqlite(_) => Duration::from_secs(30),
            Self::Postgres(_) => Duration::from_secs(5),
        }
    }
}

impl FromStr for DatabaseUrl {
    type Err = DatabaseUrlError;

    fn from_str(text: &str) -> Result<Self, DatabaseUrlError> {
        if let Some(path) = text.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return Ok(Self::Sqlite(PathBuf::from(path)));
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Self::Postgres(SecretString::from(text)));
        }
        Err(DatabaseUrlError)
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(_) => f.write_str("postgres://…"),
        }
    }
}

/// An open database.
#[derive(Clone, Debug)]
pub(crate) enum Db {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// What a pool of connections is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PoolPurpose {
    /// Requests of people: short, many.
    Requests,
    /// The folder: one long-lived writer.
    Folding,
    /// Questions about clicks: long reads of large values.
    Scanning,
}

impl PoolPurpose {
    /// How long a connection is waited for.
    const fn patience(self) -> Duration {
        match self {
            Self::Requests | Self::Scanning => PATIENCE,
            Self::Folding => BACKGROUND_PATIENCE,
        }
    }
}

/// The database, seen through the domain's words.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    pub(crate) db: Db,
    /// Shared by the clones of one store.
    pub(crate) authorization: Arc<Revision>,
    /// Rung when a job was queued.
    pub(crate) job_bell: Arc<Notify>,
}

/// How long a visitor waits for the database, whatever it waits for itself.
pub(crate) const DATABASE_PATIENCE: Duration = Duration::from_secs(3);

/// Waits for the database for at most `patience`; it counts as unavailable after that.
pub(crate) async fn within<T>(
    patience: Duration,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    tokio::time::timeout(patience, work)
        .await
        .map_err(|_| StoreError::from(sqlx::Error::PoolTimedOut))?
}

// SQLite releases before this one can corrupt a WAL when a checkpoint meets a commit.
const OLDEST_SAFE_SQLITE: (u32, u32, u32) = (3, 51, 3);
// A person waits for at most this long before hearing that the database is not available.
const PATIENCE: Duration = Duration::from_millis(1_500);
// Nobody waits for the threads in the background, and on a busy machine they connect slowly: they only
// run when a core has nothing else to do.
const BACKGROUND_PATIENCE: Duration = Duration::from_secs(5);

impl Store {
    /// Opens the database without touching its schema.
    pub(crate) async fn connect(
        url: &DatabaseUrl,
        purpose: PoolPurpose,
    ) -> Result<Self, StoreError> {
        let db = match url {
            DatabaseUrl::Sqlite(path) => Db::Sqlite(open_sqlite(path, purpose).await?),
            DatabaseUrl::Postgres(url) => {
                Db::Postgres(open_postgres(url.expose_secret(), purpose).await?)
            }
        };
        Ok(Self {
            db,
            authorization: Arc::default(),
            job_bell: Arc::default(),
        })
    }

    /// Answers when the database does.
    pub(crate) async fn ping(&self) -> Result<(), StoreError> {
        with_db!(&self.db, |pool| {
            sqlx::query_scalar::<_, i64>("SELECT CAST(1 AS BIGINT)")
                .fetch_one(pool)
                .await?
        });
        Ok(())
    }

    /// Empties SQLite's log into the database file: what was deleted stays readable in it otherwise.
    /// Returns whether nothing is left in it, for readers may be in the way.
    pub(crate) async fn empty_log(&self) -> Result<bool, StoreError> {
        let Db::Sqlite(pool) = &self.db else {
            return Ok(true);
        };
        let (busy, _, _): (i64, i64, i64) = sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)")
            .fetch_one(pool)
            .await?;
        Ok(busy == 0)
    }

    pub(crate) async fn close(&self) {
        with_db!(&self.db, |pool| pool.close().await);
    }
}

/// Pages in the WAL before they are copied into the database file (16 MiB): each copying syncs the
/// file, and rows of many commits share the pages.
const WAL_PAGES: &str = "4000";

/// A connection's cached pages, in KiB when negative: each of the connections has a cache of its own,
/// and what requests read is a few rows.
const REQUEST_CACHE: &str = "-1024";

/// One for each thread that looks through clicks.
fn scanning_connections() -> u32 {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    u32::try_from(cores.clamp(2, 16)).unwrap_or(2)
}

async fn open_sqlite(path: &Path, purpose: PoolPurpose) -> Result<SqlitePool, StoreError> {
    let mut options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("wal_autocheckpoint", WAL_PAGES)
        // What is deleted is gone from the file: a destroyed salt must not be found again.
        .pragma("secure_delete", "ON")
        .busy_timeout(PATIENCE)
        .optimize_on_close(true, None)
        .log_slow_statements(tracing::log::LevelFilter::Warn, Duration::from_secs(5));
    let connections = match purpose {
        PoolPurpose::Requests => {
            options = options.pragma("cache_size", REQUEST_CACHE);
            8
        }
        PoolPurpose::Folding => 1,
        PoolPurpose::Scanning => {
            options = options
                .pragma("cache_size", REQUEST_CACHE)
                // Rows that wait to be looked at are whole columns.
                .row_buffer_size(2);
            scanning_connections()
        }
    };
    let pool = SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(purpose.patience())
        // A ping is a round trip to the connection's own thread, and the file does not go away.
        .test_before_acquire(false)
        // A full disk makes SQLite itself roll back: the driver's own rollback fails then, and the
        // connection would take itself to be in a transaction for ever.
        .before_acquire(|connection, _| Box::pin(async { Ok(!connection.is_in_transaction()) }))
        .max_lifetime(None)
        .idle_timeout((purpose != PoolPurpose::Folding).then_some(Duration::from_mins(1)));
    if purpose == PoolPurpose::Scanning {
        // Until somebody asks, there is nothing to look through.
        return Ok(pool.connect_lazy_with(options));
    }
    let pool = pool.connect_with(options).await?;
    refuse_unsafe_sqlite(&pool).await?;
    Ok(pool)
}

async fn refuse_unsafe_sqlite(pool: &SqlitePool) -> Result<(), StoreError> {
    let text: String = sqlx::query_scalar("SELECT sqlite_version()")
        .fetch_one(pool)
        .await?;
    let mut parts = text.split('.').map(|part| part.parse().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    let version = (next(), next(), next());
    if version < OLDEST_SAFE_SQLITE {
        return Err(StoreError::Unreadable(
            "SQLite is older than 3.51.3 and can corrupt its log; link the bundled one",
        ));
    }
    Ok(())
}

async fn open_postgres(url: &str, purpose: PoolPurpose) -> Result<PgPool, StoreError> {
    let options = PgConnectOptions::from_str(url)?
        .application_name("terse")
        .options([
            // Each start hears otherwise that the table of migrations is there already.
            ("client_min_messages", "warning"),
            ("lock_timeout", "5s"),
            ("statement_timeout", "30s"),
            // What a node holds locked that lost its power or its network is free again after 15 s.
            ("idle_in_transaction_session_timeout", "15s"),
            // With nothing under way, given up at the first sign of life that is asked for after so long: 11 s
            // after the last one.
            ("tcp_user_timeout", "10s"),
            ("tcp_keepalives_idle", "5"),
            ("tcp_keepalives_interval", "3"),
            ("tcp_keepalives_count", "3"),
        ]);
    let connections = match purpose {
        PoolPurpose::Requests => 16,
        PoolPurpose::Folding => 1,
        PoolPurpose::Scanning => scanning_connections(),
    };
    let pool = PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(purpose.patience());
    let pool = noticing_silence(pool);
    if purpose == PoolPurpose::Scanning {
        return Ok(pool.connect_lazy_with(options));
    }
    Ok(pool.connect_with(options).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_connections_of_requests_cache_a_mebibyte_each_and_the_folders_more() {
        let dir = tempfile::tempdir().unwrap();
        let url = DatabaseUrl::Sqlite(dir.path().join("terse.db"));
        let cached = async |purpose| {
            let store = Store::connect(&url, purpose).await.unwrap();
            let Db::Sqlite(pool) = &store.db else {
                panic!("not SQLite");
            };
            let pages = sqlx::query_scalar::<_, i64>("PRAGMA cache_size");
            pages.fetch_one(pool).await.unwrap()
        };
        assert_eq!(cached(PoolPurpose::Requests).await, -1024);
        assert!(cached(PoolPurpose::Folding).await < -1024);
    }
}
