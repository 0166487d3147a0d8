//! A disk in memory that knows what was synced, and can lose the rest.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use terse_core::model::Timestamp;
use terse_core::spool::{Disk, DiskFile};

const PAGE: usize = 4096;

#[derive(Debug, Default)]
pub(crate) struct SimDisk {
    files: Mutex<BTreeMap<PathBuf, Arc<SimFile>>>,
    locked: Arc<AtomicBool>,
    pub(crate) faults: Arc<Faults>,
}

/// What goes wrong from now on.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Syncs of data that fail: this many, counted down.
    pub(crate) sync_errors: AtomicU64,
    pub(crate) write_errors: AtomicU64,
    pub(crate) full: AtomicBool,
    pub(crate) syncs: AtomicU64,
}

impl Faults {
    fn strikes(counter: &AtomicU64) -> bool {
        counter
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(1)
            })
            .is_ok()
    }
}

#[derive(Debug)]
struct SimFile {
    written: Mutex<Vec<u8>>,
    synced: Mutex<Vec<u8>>,
    name_is_synced: AtomicBool,
    faults: Arc<Faults>,
}

struct Guard(Arc<AtomicBool>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

impl SimDisk {
    /// The power goes: of what was not synced, each page survives or not as `choose` says.
    pub(crate) fn lose_power(&self, mut choose: impl FnMut() -> bool) {
        let mut files = self.files.lock().unwrap();
        files.retain(|_, file| file.name_is_synced.load(Ordering::SeqCst) || choose());
        for file in files.values() {
            let mut written = file.written.lock().unwrap();
            let mut synced = file.synced.lock().unwrap();
            let mut after = synced.clone();
            if written.len() > after.len() && choose() {
                after.resize(written.len(), 0);
            }
            for start in (0..after.len().min(written.len())).step_by(PAGE) {
                let end = (start + PAGE).min(after.len()).min(written.len());
                if choose() {
                    after[start..end].copy_from_slice(&written[start..end]);
                }
            }
            synced.clone_from(&after);
            *written = after;
            file.name_is_synced.store(true, Ordering::SeqCst);
        }
    }

    /// The bytes of every file.
    pub(crate) fn contents(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let files = self.files.lock().unwrap();
        files
            .iter()
            .map(|(path, file)| (path.clone(), file.written.lock().unwrap().clone()))
            .collect()
    }

    /// A disk that holds these files, all synced.
    pub(crate) fn holding(contents: BTreeMap<PathBuf, Vec<u8>>) -> Arc<Self> {
        let disk = Self::default();
        for (path, bytes) in contents {
            let file = disk.new_file();
            file.written.lock().unwrap().clone_from(&bytes);
            *file.synced.lock().unwrap() = bytes;
            file.name_is_synced.store(true, Ordering::SeqCst);
            disk.files.lock().unwrap().insert(path, file);
        }
        Arc::new(disk)
    }

    fn new_file(&self) -> Arc<SimFile> {
        Arc::new(SimFile {
            written: Mutex::default(),
            synced: Mutex::default(),
            name_is_synced: AtomicBool::new(false),
            faults: Arc::clone(&self.faults),
        })
    }
}

impl Disk for SimDisk {
    fn prepare_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, _: &Path) -> io::Result<Box<dyn Send + Sync>> {
        if self.locked.swap(true, Ordering::SeqCst) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(Guard(Arc::clone(&self.locked))))
    }

    fn is_volatile(&self, _: &Path) -> io::Result<bool> {
        Ok(false)
    }

    fn list(&self, _: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(self.files.lock().unwrap().keys().cloned().collect())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        if self.faults.full.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let file = self.new_file();
        let earlier = self
            .files
            .lock()
            .unwrap()
            .insert(path.to_owned(), Arc::clone(&file));
        assert!(earlier.is_none(), "a stream's name was used again");
        Ok(file)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let files = self.files.lock().unwrap();
        let file = files.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::clone(file) as Arc<dyn DiskFile>)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.files.lock().unwrap().remove(path);
        Ok(())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        for file in self.files.lock().unwrap().values() {
            file.name_is_synced.store(true, Ordering::SeqCst);
        }
        Ok(())
    }
}

impl DiskFile for SimFile {
    fn allocate(&self, len: u64) -> io::Result<()> {
        let mut written = self.written.lock().unwrap();
        let len = usize::try_from(len).unwrap().max(written.len());
        written.resize(len, 0);
        Ok(())
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut written = self.written.lock().unwrap();
        let start = usize::try_from(offset).unwrap();
        if Faults::strikes(&self.faults.write_errors) {
            // Half of it arrives.
            let half = bytes.len() / 2;
            written[start..start + half].copy_from_slice(&bytes[..half]);
            return Err(io::Error::from_raw_os_error(5));
        }
        if written.len() < start + bytes.len() {
            written.resize(start + bytes.len(), 0);
        }
        written[start..start + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let written = self.written.lock().unwrap();
        let start = usize::try_from(offset).unwrap().min(written.len());
        let len = buffer.len().min(written.len() - start);
        buffer[..len].copy_from_slice(&written[start..start + len]);
        Ok(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.faults.syncs.fetch_add(1, Ordering::SeqCst);
        if Faults::strikes(&self.faults.sync_errors) {
            return Err(io::Error::from_raw_os_error(5));
        }
        let written = self.written.lock().unwrap().clone();
        *self.synced.lock().unwrap() = written;
        Ok(())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.written
            .lock()
            .unwrap()
            .truncate(usize::try_from(len).unwrap());
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.written.lock().unwrap().len() as u64)
    }

    fn modified(&self) -> io::Result<Timestamp> {
        Ok(Timestamp::from_millis(1_800_000_000_000))
    }
}
