//! The schema: embedded, reversible, applied when the database is opened.

use sqlx::migrate::{Migrate, MigrateError, Migrator};

use crate::store::{Db, Store, StoreError, with_db};

static SQLITE: Migrator = sqlx::migrate!("../migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("../migrations/postgres");

/// The migration that made rows of clicks into parcels and chunks.
const CHUNKS: i64 = 20_260_101_000_003;

/// How one migration stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationStatus {
    /// Its number, growing with time.
    pub version: i64,
    pub name: String,
    pub state: MigrationState,
}

/// Whether a migration is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MigrationState {
    Applied,
    Pending,
    /// The database knows it and this program does not: it was written by a newer release.
    Unknown,
}

impl Store {
    fn migrator(&self) -> &'static Migrator {
        match &self.db {
            Db::Sqlite(_) => &SQLITE,
            Db::Postgres(_) => &POSTGRES,
        }
    }

    /// Applies what is missing; refuses a database of a newer release.
    pub(crate) async fn migrate_up(&self) -> Result<(), StoreError> {
        let migrator = self.migrator();
        with_db!(&self.db, |pool| migrator.run(pool).await).map_err(StoreError::Migration)?;
        self.adopt_rows().await
    }

    /// Takes back every migration after `target`; `0` empties the database.
    pub(crate) async fn migrate_down(&self, target: i64) -> Result<(), StoreError> {
        let sealed = self.migration_status().await?.into_iter().any(|migration| {
            migration.version == CHUNKS && migration.state == MigrationState::Applied
        });
        if sealed && target < CHUNKS {
            self.restore_rows().await?;
        }
        let migrator = self.migrator();
        with_db!(&self.db, |pool| migrator.undo(pool, target).await).map_err(StoreError::Migration)
    }

    /// Every migration that this program or the database knows, oldest first.
    pub(crate) async fn migration_status(&self) -> Result<Vec<MigrationStatus>, StoreError> {
        let migrator = self.migrator();
        let applied: Vec<i64> = with_db!(&self.db, |pool| {
            let mut connection = pool.acquire().await?;
            let table = migrator.table_name.as_ref();
            connection
                .ensure_migrations_table(table)
                .await
                .map_err(StoreError::Migration)?;
            connection
                .list_applied_migrations(table)
                .await
                .map_err(StoreError::Migration)?
                .into_iter()
                .map(|migration| migration.version)
                .collect()
        });
        let mut known: Vec<MigrationStatus> = migrator
            .iter()
            .filter(|migration| !migration.migration_type.is_down_migration())
            .map(|migration| MigrationStatus {
                version: migration.version,
                name: migration.description.to_string(),
                state: if applied.contains(&migration.version) {
                    MigrationState::Applied
                } else {
                    MigrationState::Pending
                },
            })
            .collect();
        for version in applied {
            if !known.iter().any(|status| status.version == version) {
                known.push(MigrationStatus {
                    version,
                    name: "unknown to this release".to_owned(),
                    state: MigrationState::Unknown,
                });
            }
        }
        known.sort_by_key(|status| status.version);
        Ok(known)
    }
}

impl StoreError {
    /// Whether the database was written by a newer release.
    pub fn is_newer_schema(&self) -> bool {
        matches!(self, Self::Migration(MigrateError::VersionMissing(_)))
    }
}
