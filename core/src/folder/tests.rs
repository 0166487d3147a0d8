//! The folder beside a disk that refuses.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use super::batch::{BatchReader, StreamState};
use super::*;
use crate::capture::OnUnrecordable;
use crate::click::ClickHead;
use crate::model::{LinkId, ManualClock, SeededEntropy, Timestamp, VisitorEpoch, WorkspaceId};
use crate::spool::{AppendError, Disk, DiskFile, Durability, LocalDisk, SpoolOptions, StreamId};
use crate::store::DatabaseUrl;
use crate::store::streams::StreamLimit;

/// The machine's disk, which syncs no more once it is told so.
#[derive(Debug, Default)]
struct Refusing {
    refuses: Arc<AtomicBool>,
}

#[derive(Debug)]
struct RefusingFile {
    file: Arc<dyn DiskFile>,
    refuses: Arc<AtomicBool>,
}

impl Refusing {
    fn wrapped(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(RefusingFile {
            file,
            refuses: Arc::clone(&self.refuses),
        })
    }
}

impl Disk for Refusing {
    fn prepare_dir(&self, dir: &Path) -> io::Result<()> {
        LocalDisk.prepare_dir(dir)
    }

    fn lock(&self, dir: &Path) -> io::Result<Box<dyn Send + Sync>> {
        LocalDisk.lock(dir)
    }

    fn is_volatile(&self, _: &Path) -> io::Result<bool> {
        Ok(false)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        LocalDisk.list(dir)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        LocalDisk.create(path).map(|file| self.wrapped(file))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        LocalDisk.open(path).map(|file| self.wrapped(file))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        LocalDisk.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        LocalDisk.sync_dir(dir)
    }
}

impl DiskFile for RefusingFile {
    fn allocate(&self, len: u64) -> io::Result<()> {
        self.file.allocate(len)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.refuses.load(Ordering::SeqCst) {
            return Err(io::Error::from_raw_os_error(5));
        }
        self.file.sync_data()
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.truncate(len)
    }

    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn modified(&self) -> io::Result<Timestamp> {
        self.file.modified()
    }
}

/// A node that can be killed and started again.
struct Node {
    dir: TempDir,
    clock: Arc<dyn Clock>,
    disk: Arc<Refusing>,
    store: Store,
}

impl Node {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::connect(&database(&dir), PoolPurpose::Requests)
            .await
            .unwrap();
        store.migrate_up().await.unwrap();
        let now = Timestamp::parse("now", "2026-03-15T12:00:00Z").unwrap();
        Self {
            dir,
            clock: Arc::new(ManualClock::at(now)),
            disk: Arc::default(),
            store,
        }
    }

    /// The spool and what writes into it, as a process has them.
    fn started(&self, seed: u64) -> (Spool, Arc<Capture>) {
        let entropy = Arc::new(SeededEntropy::new(seed));
        let options = SpoolOptions {
            durability: Durability::Power,
            lanes: 1,
            ..SpoolOptions::at(self.dir.path().join("spool"))
        };
        let clock = Arc::clone(&self.clock);
        let disk = Arc::clone(&self.disk);
        let spool = Spool::open_on(disk, options, clock, Arc::clone(&entropy) as _).unwrap();
        let capture = Capture::new(
            Some(spool.clone()),
            self.store.clone(),
            Arc::clone(&self.clock),
            &*entropy,
            OnUnrecordable::Refuse,
            Arc::default(),
            LiveHub::default(),
        );
        (spool, Arc::new(capture))
    }

    async fn fold(&self, spool: &Spool, capture: Arc<Capture>) {
        let entropy = Arc::new(SeededEntropy::new(9));
        let now = self.clock.now();
        let salts = VisitorSalts::open(&self.store, VisitorEpoch::Month, entropy, now);
        let folder = FolderHandle::start(FolderParts {
            spool: spool.clone(),
            database: database(&self.dir),
            capture,
            salts: Arc::new(salts.await.unwrap()),
            tails: Arc::default(),
            sealing: Sealing::default(),
            bell: MergeBell::default(),
            hub: LiveHub::default(),
            clock: Arc::clone(&self.clock),
        })
        .unwrap();
        let folded = tokio::time::timeout(Duration::from_secs(20), async {
            while spool.status().pending > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        folded.await.expect("clicks are folded within 20 s");
        folder.stop().await;
    }
}

fn database(dir: &TempDir) -> DatabaseUrl {
    DatabaseUrl::Sqlite(dir.path().join("terse.db"))
}

fn click(at: Timestamp) -> Vec<u8> {
    let head = ClickHead {
        link: LinkId::from_number(1),
        workspace: WorkspaceId::from_number(1),
        at,
        visitor: 1,
        kind: 0,
        reason: 0,
    };
    let mut payload = Vec::new();
    head.encode(&mut payload);
    payload
}

#[tokio::test(flavor = "multi_thread")]
async fn a_click_that_went_into_the_database_after_a_failed_sync_is_not_folded_again_after_a_kill()
{
    let node = Node::new().await;
    let (spool, capture) = node.started(1);
    let payload = click(node.clock.now());
    capture.record(&payload).await.unwrap();
    node.disk.refuses.store(true, Ordering::SeqCst);
    capture.record(&payload).await.unwrap();
    assert!(spool.status().sync_errors > 0, "the second one was direct");
    drop((spool, capture));

    node.disk.refuses.store(false, Ordering::SeqCst);
    let (spool, capture) = node.started(2);
    node.fold(&spool, capture).await;
    let report = crate::verify::verify(&node.store).await.unwrap();
    assert_eq!((report.clicks, report.is_consistent()), (2, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn before_a_stop_the_database_learns_where_streams_were_cut_short() {
    let node = Node::new().await;
    let (spool, capture) = node.started(1);
    let payload = click(node.clock.now());
    spool.append(&payload).await.unwrap();
    node.disk.refuses.store(true, Ordering::SeqCst);
    let Err(AppendError::SyncFailed { stream, limit }) = spool.append(&payload).await else {
        panic!("nothing can be synced");
    };
    capture.persist_last().await;
    let cursor = node.store.stream_cursor(stream.as_bytes()).await.unwrap();
    assert_eq!((u64::from(limit), cursor.unwrap().limit_seq), (1, Some(1)));
}

#[tokio::test]
async fn a_folder_takes_fewer_clicks_at_once_while_it_yields_with_the_only_write_lock() {
    let node = Node::new().await;
    let (spool, _capture) = node.started(1);
    let now = node.clock.now();
    let appends = (0..11_000).map(|_| {
        let (spool, payload) = (spool.clone(), click(now));
        tokio::spawn(async move { spool.append(&payload).await })
    });
    for append in appends.collect::<Vec<_>>() {
        append.await.unwrap().unwrap();
    }
    let sqlite = DatabaseUrl::Sqlite("terse.db".into());
    let postgres = DatabaseUrl::Postgres("postgres://db.example/terse".into());
    for (pace, database, clicks) in [
        (Pace::Yielding, &sqlite, 2_000),
        (Pace::Pressing, &sqlite, 10_000),
        (Pace::Yielding, &postgres, 10_000),
    ] {
        let mut reader = BatchReader::new(pace.max_records(database));
        let views = spool.streams().into_iter();
        let mut streams = views
            .map(|view| (view.id, StreamState::at(0, None)))
            .collect();
        let more = reader.fill(&spool, &mut streams, &*node.clock);
        assert!(more, "more waits");
        let rows = reader.parts().iter().map(|part| part.clicks.len());
        assert_eq!(rows.sum::<usize>(), clicks, "{pace:?} {database:?}");
    }
}

#[tokio::test]
async fn a_streams_limit_never_goes_up() {
    let node = Node::new().await;
    let stream = StreamId::from_bytes([7; 16]);
    for (told, stored) in [(5, 5), (3, 3), (4, 3)] {
        let limit = StreamLimit { stream, seq: told };
        node.store
            .limit_stream(limit, node.clock.now())
            .await
            .unwrap();
        let cursor = node.store.stream_cursor(stream.as_bytes()).await.unwrap();
        assert_eq!(cursor.unwrap().limit_seq, Some(stored));
    }
}
