//! Work beside a running server.

use std::path::Path;
use std::sync::Arc;

use crate::accounts::Accounts;
use crate::backup::{BackupError, backup};
use crate::folder::{ShipError, ShippedStream, ship};
use crate::model::{Clock, Entropy};
use crate::store::{MigrationStatus, StorageReport, Store, StoreError};
use crate::verify::{VerifyReport, verify};

/// The database alone, for an administrator's work beside a running server.
#[derive(Clone, Debug)]
pub struct Tools {
    store: Store,
    accounts: Accounts,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Tools {
    pub(crate) fn new(store: Store, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self {
            accounts: Accounts::new(store.clone(), Arc::clone(&clock), Arc::clone(&entropy)),
            store,
            clock,
            entropy,
        }
    }

    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// Compares every link's clicks with its counters.
    pub async fn verify(&self) -> Result<VerifyReport, StoreError> {
        verify(&self.store).await
    }

    /// How clicks are stored, and how much room they take.
    pub async fn storage(&self) -> Result<StorageReport, StoreError> {
        self.store.storage().await
    }

    /// Accepts the gaps that were found in this stream (32 hexadecimal digits); the running server
    /// goes on after them. Returns how many there were.
    pub async fn accept_gaps(&self, stream: &str) -> Result<u64, StoreError> {
        let Ok(stream) = u128::from_str_radix(stream, 16) else {
            return Ok(0);
        };
        self.store
            .accept_gaps(&stream.to_be_bytes(), self.clock.now())
            .await
    }

    /// Takes over the spool of a node that is gone: locks its directory, which a running server holds,
    /// and folds what the database does not have. Done again it ships nothing.
    pub async fn ship_spool(&self, dir: &Path) -> Result<Vec<ShippedStream>, ShipError> {
        ship(&self.store, dir, &self.clock, &self.entropy).await
    }

    /// Copies a SQLite database, as of one moment and beside a running server, into a file that only its
    /// owner can read and that must not exist. The visitor salts stay out of it. Returns its bytes.
    pub async fn backup(&self, to: &Path) -> Result<u64, BackupError> {
        backup(&self.store, to, &*self.entropy).await
    }

    /// Every migration that this release or the database knows.
    pub async fn migrations(&self) -> Result<Vec<MigrationStatus>, StoreError> {
        self.store.migration_status().await
    }

    /// Applies all migrations that are missing.
    pub async fn migrate_up(&self) -> Result<(), StoreError> {
        self.store.migrate_up().await
    }

    /// Takes back every migration after `target`; 0 takes back all, and with them all data.
    pub async fn migrate_down(&self, target: i64) -> Result<(), StoreError> {
        self.store.migrate_down(target).await
    }

    /// Closes the database.
    pub async fn close(&self) {
        self.store.close().await;
    }
}
