//! Files cut off and bits flipped.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use std::time::Duration;

use terse_core::spool::{Batch, Durability, ReadOutcome, Seq, Spool, StreamId};

use crate::sim::SimDisk;
use crate::{clock, open_on, options, read_all};

/// One file with 60 records, as a crash leaves it or as a clean stop does.
fn one_file(clean: bool) -> (PathBuf, Vec<u8>, usize) {
    let disk = Arc::new(SimDisk::default());
    let clock = clock();
    let mut one_lane = options(Durability::Process);
    one_lane.lanes = 1;
    let spool = open_on(&disk, one_lane, &clock, 1).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    for click in 0..60_u64 {
        let payload = payload(click);
        runtime.block_on(spool.append(&payload)).unwrap();
    }
    if clean {
        spool.close();
    }
    drop(spool);
    let (path, mut bytes) = disk.contents().into_iter().next().unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    bytes.truncate(end + 200);
    (path, bytes, end)
}

fn payload(click: u64) -> Vec<u8> {
    let mut payload = click.to_le_bytes().to_vec();
    payload.resize(8 + usize::try_from(click % 120).unwrap(), 0xA5);
    payload
}

fn reopened(path: &Path, bytes: Vec<u8>) -> Spool {
    let disk = SimDisk::holding(BTreeMap::from([(path.to_owned(), bytes)]));
    open_on(&disk, options(Durability::Process), &clock(), 2).unwrap()
}

/// Every record that is read is one that was written, under its own number.
fn assert_nothing_invented(spool: &Spool) -> (usize, usize) {
    let (records, gaps) = read_all(spool);
    for (_, seq, read) in &records {
        assert_eq!(*read, payload(seq - 1));
    }
    (records.len(), gaps)
}

#[test]
fn a_file_cut_off_at_any_byte_keeps_every_whole_record_before_the_cut() {
    let (path, bytes, end) = one_file(false);
    let mut fewest = 0;
    for cut in end.saturating_sub(4096)..end {
        let spool = reopened(&path, bytes[..cut].to_vec());
        let (records, gaps) = assert_nothing_invented(&spool);
        assert_eq!(gaps, 0, "a cut tail is no gap");
        assert!(records >= fewest, "more bytes never mean fewer records");
        fewest = records;
        assert!(records < 60);
    }
    let spool = reopened(&path, bytes);
    assert_eq!(assert_nothing_invented(&spool), (60, 0));
}

#[test]
fn a_flipped_bit_never_invents_a_record_and_damage_before_the_end_is_reported() {
    for clean in [false, true] {
        let (path, bytes, end) = one_file(clean);
        for flip in 0..200 {
            let position = 64 + (end - 64) * flip / 200;
            let mut broken = bytes.clone();
            broken[position] ^= 1 << (flip % 8);
            let spool = reopened(&path, broken);
            let (records, gaps) = assert_nothing_invented(&spool);
            assert!(
                records >= 57,
                "one flipped bit cost {} records",
                60 - records
            );
            let status = spool.status();
            if records < 59 || (clean && records < 60) {
                assert!(
                    gaps > 0 && status.corrupt_files == 1,
                    "{position}: {status:?}"
                );
            }
            if records < 60 {
                assert!(
                    status.corrupt_files + status.torn_tails > 0,
                    "{position}: silent loss"
                );
            }
        }
    }
}

#[test]
fn a_broken_header_is_reported_and_the_file_left_alone() {
    let (path, mut bytes, _) = one_file(true);
    bytes[20] ^= 1;
    let disk = SimDisk::holding(BTreeMap::from([(path.clone(), bytes)]));
    let spool = open_on(&disk, options(Durability::Process), &clock(), 2).unwrap();
    assert_eq!(spool.status().corrupt_files, 1);
    assert!(spool.streams().is_empty());
    assert!(disk.contents().contains_key(&path));
}

#[test]
fn a_file_whose_making_was_cut_off_is_removed_and_one_with_records_is_not() {
    let (path, mut bytes, _) = one_file(true);
    bytes[..64].fill(0);
    for (bytes, is_blank) in [(vec![0; 65_536], true), (Vec::new(), true), (bytes, false)] {
        let disk = SimDisk::holding(BTreeMap::from([(path.clone(), bytes)]));
        let spool = open_on(&disk, options(Durability::Process), &clock(), 2).unwrap();
        assert_eq!(disk.contents().contains_key(&path), !is_blank);
        let status = spool.status();
        let unreadable = u64::from(!is_blank);
        assert_eq!(status.corrupt_files, unreadable);
        assert_eq!(status.unreadable_files, unreadable);
        assert!(spool.streams().is_empty());
    }
}

fn read_after(spool: &Spool, stream: StreamId, after: u64) -> ReadOutcome {
    spool
        .read(stream, after.into(), 100, 1 << 20, &mut Batch::default())
        .unwrap()
}

#[test]
fn a_file_whose_last_records_are_missing_is_kept_until_that_is_accepted() {
    let (path, bytes, end) = one_file(true);
    // Where the last of the 60 begins; or the first, and all of them are gone.
    for (from, left) in [(end - 60, 59_u64), (64, 0)] {
        let mut broken = bytes.clone();
        broken[from..end - 20].fill(0);
        let disk = SimDisk::holding(BTreeMap::from([(path.clone(), broken)]));
        let clock = clock();
        let spool = open_on(&disk, options(Durability::Process), &clock, 2).unwrap();
        let id = spool.streams()[0].id;
        let fold_and_sweep = || {
            spool.folded(id, left.into());
            clock.advance(Duration::from_hours(48));
            spool.sweep();
        };
        fold_and_sweep();
        assert!(disk.contents().contains_key(&path), "{left} left");
        let (after, next) = (Seq::from(left), None);
        assert_eq!(
            read_after(&spool, id, left),
            ReadOutcome::Gap { after, next }
        );
        spool.accept_gap(id, after);
        assert_eq!(read_after(&spool, id, left), ReadOutcome::End);
        fold_and_sweep();
        assert!(!disk.contents().contains_key(&path), "{left} left");
    }
}

#[test]
fn a_file_that_lost_records_which_the_database_has_is_not_missed() {
    let (path, mut bytes, end) = one_file(true);
    bytes[end - 60..end - 20].fill(0);
    let disk = SimDisk::holding(BTreeMap::from([(path.clone(), bytes)]));
    let clock = clock();
    let spool = open_on(&disk, options(Durability::Process), &clock, 2).unwrap();
    let id = spool.streams()[0].id;
    assert_eq!(read_after(&spool, id, 60), ReadOutcome::End);
    spool.folded(id, 60.into());
    clock.advance(Duration::from_hours(48));
    spool.sweep();
    assert!(!disk.contents().contains_key(&path));
}
