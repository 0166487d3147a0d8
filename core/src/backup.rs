//! A copy of the database in a file.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::store::{Store, StoreError};

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("only SQLite is copied; PostgreSQL has pg_dump and pg_basebackup")]
    NotSqlite,
    #[error("{0} exists already")]
    Exists(PathBuf),
    #[error("the copy cannot be written")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The file gets its name when it is complete and on stable storage.
pub(crate) async fn backup(store: &Store, to: &Path) -> Result<u64, BackupError> {
    if to.symlink_metadata().is_ok() {
        return Err(BackupError::Exists(to.to_owned()));
    }
    let mut unfinished: OsString = to.as_os_str().to_owned();
    unfinished.push(".unfinished");
    let unfinished = PathBuf::from(unfinished);
    make_empty(&unfinished)?;
    let copied = copy(store, &unfinished, to).await;
    fs::remove_file(&unfinished)?;
    copied
}

async fn copy(store: &Store, unfinished: &Path, to: &Path) -> Result<u64, BackupError> {
    if !store.copy_into(unfinished).await? {
        return Err(BackupError::NotSqlite);
    }
    let file = File::open(unfinished)?;
    file.sync_all()?;
    // Unlike renaming it, this never replaces a file.
    fs::hard_link(unfinished, to).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => BackupError::Exists(to.to_owned()),
        _ => BackupError::Io(error),
    })?;
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
    Ok(file.metadata()?.len())
}

/// What a killed backup left is made anew.
fn make_empty(path: &Path) -> io::Result<()> {
    if path.symlink_metadata().is_ok() {
        fs::remove_file(path)?;
    }
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;
    use crate::store::{DatabaseUrl, PoolPurpose};

    #[tokio::test]
    async fn no_visitor_salt_is_readable_in_a_copy() {
        let dir = tempfile::tempdir().unwrap();
        let url = DatabaseUrl::Sqlite(dir.path().join("terse.db"));
        let store = Store::connect(&url, PoolPurpose::Requests).await.unwrap();
        store.migrate_up().await.unwrap();
        let mut kept = Vec::new();
        for (epoch, ends_at) in [("2026-03", 1), ("2026-04", 2)] {
            let salt = epoch.as_bytes().repeat(3);
            let ends_at = Timestamp::from_millis(ends_at);
            kept.push(store.salt_of_epoch(epoch, ends_at, &salt).await.unwrap());
        }
        let to = dir.path().join("copy.db");
        let bytes = backup(&store, &to).await.unwrap();
        let copy = fs::read(&to).unwrap();
        assert_eq!(copy.len() as u64, bytes);
        for salt in &kept {
            assert!(!copy.windows(salt.len()).any(|window| window == salt));
        }
        let names = fs::read_dir(dir.path()).unwrap();
        let names = names.map(|file| file.unwrap().file_name());
        let beside = names.filter(|name| name.to_string_lossy().starts_with("copy"));
        assert_eq!(beside.count(), 1, "nothing else is left behind");
        let url = DatabaseUrl::Sqlite(to.clone());
        let copied = Store::connect(&url, PoolPurpose::Requests).await.unwrap();
        assert!(copied.setting_or("public_url", "x").await.is_ok());
        let again = backup(&store, &to).await;
        assert!(matches!(again, Err(BackupError::Exists(_))));
    }
}
