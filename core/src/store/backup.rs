//! Copies of a SQLite database. PostgreSQL brings programs of its own for that.

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{Connection as _, SqliteConnection};

use crate::store::{Db, Store, StoreError};

impl Store {
    /// Copies the database as of one moment into an empty file, beside whoever reads and writes. `false`
    /// when it is no SQLite database.
    pub(crate) async fn copy_into(&self, file: &Path) -> Result<bool, StoreError> {
        let Db::Sqlite(pool) = &self.db else {
            return Ok(false);
        };
        let Some(path) = file.to_str() else {
            return Err(StoreError::Unreadable("the name of the copy is no UTF-8"));
        };
        sqlx::query("VACUUM INTO $1")
            .bind(path)
            .execute(pool)
            .await?;
        remove_salts(file).await?;
        Ok(true)
    }
}

/// Destroys the visitor salts in a copy: overwrites them, and leaves no journal that would hold them.
async fn remove_salts(file: &Path) -> Result<(), StoreError> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .journal_mode(SqliteJournalMode::Off)
        .synchronous(SqliteSynchronous::Full)
        .pragma("secure_delete", "ON");
    let mut copy = SqliteConnection::connect_with(&options).await?;
    sqlx::query("DELETE FROM visitor_salts")
        .execute(&mut copy)
        .await?;
    copy.close().await?;
    Ok(())
}
