//! A disk that refuses.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use terse_core::spool::{AppendError, Durability, Spool};

use crate::sim::SimDisk;
use crate::{clock, open_on, options, read_all};

fn opened(durability: Durability) -> (Arc<SimDisk>, Arc<terse_core::model::ManualClock>, Spool) {
    let disk = Arc::new(SimDisk::default());
    let clock = clock();
    let spool = open_on(&disk, options(durability), &clock, 1).unwrap();
    (disk, clock, spool)
}

/// Everything readable, once each, also after the process was killed and started again.
fn assert_holds(
    disk: &Arc<SimDisk>,
    spool: Spool,
    durability: Durability,
    expected: &HashSet<Vec<u8>>,
) {
    for spool in [Some(spool), None] {
        let spool =
            spool.unwrap_or_else(|| open_on(disk, options(durability), &clock(), 9).unwrap());
        let (records, gaps) = read_all(&spool);
        assert_eq!(gaps, 0);
        let read: HashSet<Vec<u8>> = records
            .iter()
            .map(|(_, _, payload)| payload.clone())
            .collect();
        assert_eq!(read.len(), records.len(), "nothing twice");
        assert!(
            read == *expected,
            "{} read, {} expected",
            read.len(),
            expected.len()
        );
        drop(spool);
    }
}

#[tokio::test]
async fn a_failed_write_moves_the_click_to_a_fresh_file() {
    for durability in [Durability::Process, Durability::Power] {
        let (disk, _, spool) = opened(durability);
        let mut expected = HashSet::new();
        for click in 0..50_u8 {
            if click % 20 == 10 {
                disk.faults.write_errors.store(1, Ordering::SeqCst);
            }
            spool.append(&[click; 40]).await.unwrap();
            expected.insert(vec![click; 40]);
        }
        assert!(spool.status().write_errors >= 1);
        assert_holds(&disk, spool, durability, &expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_sync_loses_and_doubles_nothing_at_level_power() {
    let (disk, clock, spool) = opened(Durability::Power);
    let mut expected = HashSet::new();
    let mut failed = 0;
    for round in 0..10_u8 {
        disk.faults
            .sync_errors
            .store(u64::from(round % 3 == 1), Ordering::SeqCst);
        let appends = (0..20_u8).map(|click| {
            let (spool, clock) = (spool.clone(), clock.clone());
            tokio::spawn(async move {
                let mut appended = spool.append(&[round, click, 1]).await;
                // The failure may have met a file that was being made ahead: another is made later.
                while matches!(appended, Err(AppendError::NoSpace)) {
                    clock.advance(Duration::from_millis(200));
                    appended = spool.append(&[round, click, 1]).await;
                }
                appended
            })
        });
        for (click, append) in (0_u8..).zip(appends.collect::<Vec<_>>()) {
            append.await.unwrap().unwrap();
            expected.insert(vec![round, click, 1]);
        }
        failed += u64::from(round % 3 == 1) - disk.faults.sync_errors.load(Ordering::SeqCst);
    }
    assert_eq!(failed, 3, "a failure met every third round");
    assert_holds(&disk, spool, Durability::Power, &expected);
}

#[tokio::test]
async fn a_failed_sync_at_level_process_ends_the_file_and_keeps_its_clicks() {
    let (disk, _, spool) = opened(Durability::Process);
    spool.append(b"before").await.unwrap();
    disk.faults.sync_errors.store(1, Ordering::SeqCst);
    assert!(spool.sync().is_err());
    spool.append(b"after").await.unwrap();
    assert_eq!((spool.status().sync_errors, spool.streams().len()), (1, 2));
    let expected = [b"before".to_vec(), b"after".to_vec()].into();
    assert_holds(&disk, spool, Durability::Process, &expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_never_syncs_refuses_instead_of_waiting_for_ever() {
    let (disk, clock, spool) = opened(Durability::Power);
    spool.append(b"good").await.unwrap();
    disk.faults.sync_errors.store(u64::MAX, Ordering::SeqCst);
    let refused = tokio::time::timeout(Duration::from_secs(10), spool.append(b"bad")).await;
    assert!(refused.unwrap().is_err());
    let syncs = disk.faults.syncs.load(Ordering::SeqCst);
    assert!(syncs < 100, "no busy loop: {syncs} syncs");
    disk.faults.sync_errors.store(0, Ordering::SeqCst);
    // It recovers by itself, once its clock says that it may ask again.
    clock.advance(Duration::from_secs(1));
    spool.append(b"again").await.unwrap();
}

#[tokio::test]
async fn a_full_disk_is_told_and_forgotten_when_there_is_room_again() {
    let (disk, clock, spool) = opened(Durability::Process);
    disk.faults.full.store(true, Ordering::SeqCst);
    assert!(matches!(
        spool.append(b"click").await,
        Err(AppendError::NoSpace)
    ));
    assert!(!spool.status().writable);
    disk.faults.full.store(false, Ordering::SeqCst);
    clock.advance(Duration::from_millis(200));
    spool.append(b"click").await.unwrap();
    assert!(spool.status().writable);
}

#[tokio::test]
async fn a_used_up_quota_refuses_new_clicks_and_drops_no_old_one() {
    let disk = Arc::new(SimDisk::default());
    let mut small = options(Durability::Process);
    small.max_bytes = 300 * 1024;
    let most_files = small.most_files();
    let spool = open_on(&disk, small, &clock(), 1).unwrap();
    let mut recorded = 0;
    let refusal = loop {
        match spool.append(&[1; 1_000]).await {
            Ok(()) => recorded += 1,
            Err(error) => break error,
        }
        assert!(recorded < 10_000, "the quota never bites");
    };
    assert!(matches!(refusal, AppendError::Full), "{refusal:?}");
    assert_eq!(read_all(&spool).0.len(), recorded);
    let files = disk.contents().len() as u64;
    assert!((4..=most_files).contains(&files), "{files} of {most_files}");
    for view in spool.streams() {
        spool.folded(view.id, view.visible);
    }
    let freed = tokio::time::timeout(Duration::from_secs(5), async {
        while spool.append(b"again").await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    freed.await.expect("folding makes room");
}

#[tokio::test]
async fn a_payload_that_is_too_long_is_refused() {
    let (_, _, spool) = opened(Durability::Process);
    assert!(matches!(
        spool.append(&[0; 2_049]).await,
        Err(AppendError::TooLong)
    ));
    spool.append(&[0; 2_048]).await.unwrap();
}
