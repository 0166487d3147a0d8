//! A copy of the database in a file.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::model::{Entropy, random_bytes};
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
pub(crate) async fn backup(
    store: &Store,
    to: &Path,
    entropy: &dyn Entropy,
) -> Result<u64, BackupError> {
    if to.symlink_metadata().is_ok() {
        return Err(BackupError::Exists(to.to_owned()));
    }
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    remove_what_was_interrupted(parent)?;
    let workplace = Workplace::make(to, entropy)?;
    let unfinished = workplace.dir.join("copy.db");
    make_empty(&unfinished)?;
    if !store.copy_into(&unfinished).await? {
        return Err(BackupError::NotSqlite);
    }
    let file = File::open(&unfinished)?;
    file.sync_all()?;
    // Unlike renaming it, this never replaces a file.
    fs::hard_link(&unfinished, to).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => BackupError::Exists(to.to_owned()),
        _ => BackupError::Io(error),
    })?;
    File::open(parent)?.sync_all()?;
    Ok(file.metadata()?.len())
}

const UNFINISHED: &str = ".unfinished";
const LOCK: &str = "lock";

/// A directory beside the copy, of this backup alone: until it is done, there are visitor salts in it.
struct Workplace {
    dir: PathBuf,
    /// Not on the database itself: SQLite's own locks would meet it on a network's file system.
    _lock: File,
}

impl Workplace {
    fn make(to: &Path, entropy: &dyn Entropy) -> io::Result<Self> {
        let random = u128::from_le_bytes(random_bytes(entropy));
        let mut dir: OsString = to.as_os_str().to_owned();
        dir.push(format!(".{random:032x}{UNFINISHED}"));
        let dir = PathBuf::from(dir);
        DirBuilder::new().mode(0o700).create(&dir)?;
        let unnamed = dir.join("new");
        let lock = File::create_new(&unnamed)?;
        lock.try_lock()?;
        // Whoever finds it finds it locked.
        fs::rename(unnamed, dir.join(LOCK))?;
        Ok(Self { dir, _lock: lock })
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.dir) {
            tracing::warn!(%error, dir = %self.dir.display(), "what a backup was made in cannot be deleted");
        }
    }
}

/// Deletes what killed backups left in a directory; what another one works at is locked.
fn remove_what_was_interrupted(parent: &Path) -> io::Result<()> {
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        if !is_workplace(&entry.file_name()) || !entry.file_type()?.is_dir() {
            continue;
        }
        let Ok(lock) = OpenOptions::new().write(true).open(entry.path().join(LOCK)) else {
            continue;
        };
        if lock.try_lock().is_err() {
            continue;
        }
        match fs::remove_dir_all(entry.path()) {
            // Another backup was faster.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed?,
        }
    }
    Ok(())
}

fn is_workplace(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    let Some(name) = name.strip_suffix(UNFINISHED.as_bytes()) else {
        return false;
    };
    let random = name.rsplit(|byte| *byte == b'.').next().unwrap_or(name);
    random.len() == 32 && random.iter().all(u8::is_ascii_hexdigit)
}

/// SQLite would let others read it.
fn make_empty(path: &Path) -> io::Result<()> {
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
    use crate::model::{OsEntropy, Timestamp};
    use crate::store::{DatabaseUrl, PoolPurpose};

    async fn database(dir: &Path) -> Store {
        let url = DatabaseUrl::Sqlite(dir.join("terse.db"));
        let store = Store::connect(&url, PoolPurpose::Requests).await.unwrap();
        store.migrate_up().await.unwrap();
        store
    }

    /// What is there beside the database.
    fn copies(dir: &Path) -> Vec<String> {
        let names = fs::read_dir(dir).unwrap();
        let names = names.map(|file| file.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("copy")).collect()
    }

    #[tokio::test]
    async fn no_visitor_salt_is_readable_in_a_copy() {
        let dir = tempfile::tempdir().unwrap();
        let store = database(dir.path()).await;
        let mut kept = Vec::new();
        for (epoch, ends_at) in [("2026-03", 1), ("2026-04", 2)] {
            let salt = epoch.as_bytes().repeat(3);
            let ends_at = Timestamp::from_millis(ends_at);
            kept.push(store.salt_of_epoch(epoch, ends_at, &salt).await.unwrap());
        }
        let to = dir.path().join("copy.db");
        let bytes = backup(&store, &to, &OsEntropy).await.unwrap();
        let copy = fs::read(&to).unwrap();
        assert_eq!(copy.len() as u64, bytes);
        for salt in &kept {
            assert!(!copy.windows(salt.len()).any(|window| window == salt));
        }
        assert_eq!(
            copies(dir.path()),
            ["copy.db"],
            "nothing else is left behind"
        );
        let url = DatabaseUrl::Sqlite(to.clone());
        let copied = Store::connect(&url, PoolPurpose::Requests).await.unwrap();
        assert!(copied.setting_or("public_url", "x").await.is_ok());
        let again = backup(&store, &to, &OsEntropy).await;
        assert!(matches!(again, Err(BackupError::Exists(_))));
    }

    #[tokio::test]
    async fn of_backups_to_one_name_at_the_same_time_one_is_made_whole_and_the_others_are_refused()
    {
        let dir = tempfile::tempdir().unwrap();
        let store = database(dir.path()).await;
        let to = dir.path().join("copy.db");
        let many = (0..8).map(|_| backup(&store, &to, &OsEntropy));
        let made = futures_util::future::join_all(many).await;
        let whole: Vec<u64> = made.iter().flatten().copied().collect();
        assert_eq!(whole, [fs::metadata(&to).unwrap().len()]);
        assert!(
            made.iter()
                .filter_map(|made| made.as_ref().err())
                .all(|error| matches!(error, BackupError::Exists(_))),
            "{made:?}"
        );
        assert_eq!(copies(dir.path()), ["copy.db"]);
    }

    #[tokio::test]
    async fn a_backup_deletes_what_killed_ones_left_and_nothing_that_another_works_at() {
        let dir = tempfile::tempdir().unwrap();
        let store = database(dir.path()).await;
        let left = dir.path().join(format!("copy-1.db.{:032x}.unfinished", 1));
        fs::create_dir(&left).unwrap();
        for file in [LOCK, "copy.db", "copy.db-journal"] {
            fs::write(left.join(file), "salts").unwrap();
        }
        let working = Workplace::make(&dir.path().join("copy-2.db"), &OsEntropy).unwrap();
        fs::create_dir(dir.path().join("copy-of-mine.unfinished")).unwrap();

        backup(&store, &dir.path().join("copy-3.db"), &OsEntropy)
            .await
            .unwrap();

        assert!(!left.exists());
        assert!(working.dir.join(LOCK).exists());
        drop(working);
        let mut there = copies(dir.path());
        there.sort();
        assert_eq!(there, ["copy-3.db", "copy-of-mine.unfinished"]);
    }
}
