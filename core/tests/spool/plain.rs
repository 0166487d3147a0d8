//! The spool on a real disk.

use std::collections::HashSet;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use terse_core::model::OsEntropy;
use terse_core::spool::{AppendError, Durability, Spool, SpoolError, SpoolOptions};

use crate::{clock, read_all};

fn open(dir: &std::path::Path) -> Result<Spool, SpoolError> {
    Spool::open(
        SpoolOptions::at(dir.join("spool")),
        clock(),
        Arc::new(OsEntropy),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn fifty_tasks_append_in_parallel_and_numbers_stay_contiguous() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path()).unwrap();
    let tasks = (0..50_u32).map(|task| {
        let spool = spool.clone();
        tokio::spawn(async move {
            for click in 0..400_u32 {
                let payload = [task.to_le_bytes(), click.to_le_bytes()].concat();
                spool.append(&payload).await.unwrap();
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert_eq!(spool.status().pending, 20_000);
    let (records, gaps) = read_all(&spool);
    assert_eq!(gaps, 0);
    let distinct: HashSet<_> = records
        .iter()
        .map(|(_, _, payload)| payload.clone())
        .collect();
    assert_eq!(distinct.len(), 20_000);
    for view in spool.streams() {
        let seqs: Vec<u64> = records
            .iter()
            .filter(|(id, ..)| *id == view.id)
            .map(|(_, seq, _)| *seq)
            .collect();
        assert!(seqs.iter().copied().eq(1..=u64::from(view.visible)));
    }
    spool.close();
    assert!(matches!(
        spool.append(b"late").await,
        Err(AppendError::Closed)
    ));
}

#[tokio::test]
async fn the_directory_is_private_and_belongs_to_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path()).unwrap();
    spool.append(b"click").await.unwrap();
    assert!(matches!(open(dir.path()), Err(SpoolError::Locked(_))));
    let path = dir.path().join("spool");
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    for entry in path.read_dir().unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
    spool.close();
    drop(spool);
    let again = open(dir.path()).unwrap();
    assert_eq!(read_all(&again).0.len(), 1);
}

#[test]
fn levels_that_survive_a_power_cut_refuse_a_directory_in_memory() {
    let Ok(dir) = tempfile::tempdir_in("/dev/shm") else {
        panic!("/dev/shm is where memory-backed files live on Linux");
    };
    let mut options = SpoolOptions::at(dir.path());
    for level in [Durability::Power, Durability::Node] {
        options.durability = level;
        let refused = Spool::open(options.clone(), clock(), Arc::new(OsEntropy));
        assert!(matches!(refused, Err(SpoolError::Volatile(_))), "{level:?}");
    }
    options.allow_volatile = true;
    assert!(Spool::open(options, clock(), Arc::new(OsEntropy)).is_ok());
}

#[tokio::test]
async fn folded_files_are_kept_for_a_while_and_then_removed() {
    let dir = tempfile::tempdir().unwrap();
    let clock = clock();
    let options = SpoolOptions::at(dir.path().join("spool"));
    let spool = Spool::open(options, Arc::clone(&clock) as _, Arc::new(OsEntropy)).unwrap();
    spool.append(b"click").await.unwrap();
    spool.rotate();
    let view = spool.streams()[0];
    clock.advance(Duration::from_hours(2));
    spool.sweep();
    assert_eq!(
        spool.streams().len(),
        1,
        "unfolded clicks are never removed"
    );
    spool.folded(view.id, view.visible);
    spool.sweep();
    assert_eq!(
        spool.streams().len(),
        1,
        "a backup from before the fold may yet be restored"
    );
    clock.advance(Duration::from_hours(2));
    spool.sweep();
    assert!(spool.streams().is_empty());
    assert_eq!(spool.status().appended, 1);
}

#[tokio::test]
async fn a_new_start_never_continues_an_old_stream() {
    let dir = tempfile::tempdir().unwrap();
    let mut streams = HashSet::new();
    for start in 1..=5 {
        let spool = open(dir.path()).unwrap();
        spool.append(b"click").await.unwrap();
        streams.extend(spool.streams().iter().map(|view| view.id));
        assert_eq!(streams.len(), start);
        spool.close();
    }
}

#[tokio::test]
async fn the_room_that_a_crashed_process_reserved_is_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path()).unwrap();
    for click in 0..100_u32 {
        spool.append(&click.to_le_bytes()).await.unwrap();
    }
    // What a crash would leave: the files as they are now.
    let crashed = tempfile::tempdir().unwrap();
    std::fs::create_dir(crashed.path().join("spool")).unwrap();
    for file in std::fs::read_dir(dir.path().join("spool")).unwrap() {
        let file = file.unwrap();
        let copy = crashed.path().join("spool").join(file.file_name());
        std::fs::copy(file.path(), copy).unwrap();
    }
    let bytes = || -> u64 {
        let files = std::fs::read_dir(crashed.path().join("spool")).unwrap();
        files
            .map(|file| file.unwrap().metadata().unwrap().len())
            .sum()
    };
    assert!(bytes() > 1 << 20);
    for _ in 0..2 {
        let recovered = open(crashed.path()).unwrap();
        assert!(bytes() < 1 << 16);
        let (records, gaps) = read_all(&recovered);
        assert_eq!((records.len(), gaps), (100, 0));
        recovered.close();
    }
}
