//! Why the database did not do what it was asked.

/// The database failed; nothing of the statement's transaction remains.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached, is locked, or has no room: the same request may succeed later.
    #[error("the database is not available")]
    Unavailable(#[source] sqlx::Error),
    /// A row with this key exists already.
    #[error("the key is taken")]
    Taken,
    /// A stored value cannot be understood.
    #[error("the database holds a value that cannot be read: {0}")]
    Unreadable(&'static str),
    /// Anything else.
    #[error("the database failed")]
    Failed(#[source] sqlx::Error),
    /// A migration failed.
    #[error("the database could not be migrated")]
    Migration(#[source] sqlx::migrate::MigrateError),
}

impl StoreError {
    /// Whether the same request may succeed later.
    pub const fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    /// Whether a table or column is not there: the database is empty, of an older release, or not Terse's.
    pub fn lacks_tables(&self) -> bool {
        const UNDEFINED_IN_POSTGRES: [&str; 2] = ["42P01", "42703"];
        let Self::Failed(sqlx::Error::Database(database)) = self else {
            return false;
        };
        // SQLite has no code of its own for it.
        database.message().starts_with("no such ")
            || database
                .code()
                .is_some_and(|code| UNDEFINED_IN_POSTGRES.contains(&&*code))
    }

    /// Whether the disk that SQLite writes to is full.
    pub(crate) fn is_disk_full(&self) -> bool {
        const SQLITE_FULL: &str = "13";
        let Self::Unavailable(sqlx::Error::Database(database)) = self else {
            return false;
        };
        database.code().is_some_and(|code| code == SQLITE_FULL)
    }
}

// SQLite: busy, locked, read-only, I/O error, full, cannot open. PostgreSQL: connection, resource
// and shutdown classes, cancelled statement, lock timeout, read-only standby.
const SQLITE_PASSING: [i64; 6] = [5, 6, 8, 10, 13, 14];
const POSTGRES_PASSING_CLASSES: [&str; 3] = ["08", "53", "57"];
const POSTGRES_PASSING: [&str; 4] = ["55P03", "25006", "40001", "40P01"];

fn is_passing(code: &str) -> bool {
    if let Ok(number) = code.parse::<i64>()
        && code.len() < 5
    {
        // Extended result codes carry the primary one in their low byte.
        return SQLITE_PASSING.contains(&(number & 0xff));
    }
    POSTGRES_PASSING.contains(&code)
        || POSTGRES_PASSING_CLASSES
            .iter()
            .any(|class| code.starts_with(class))
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::Unavailable(error),
            sqlx::Error::Database(database) => {
                if database.is_unique_violation() {
                    Self::Taken
                } else if database.code().is_some_and(|code| is_passing(&code)) {
                    Self::Unavailable(error)
                } else {
                    Self::Failed(error)
                }
            }
            _ => Self::Failed(error),
        }
    }
}
