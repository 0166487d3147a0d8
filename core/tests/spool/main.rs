//! The spool against a disk that fails, forgets and fills up.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod damage;
mod failing;
mod golden;
mod model;
mod plain;
mod sim;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use terse_core::model::{ManualClock, SeededEntropy, Timestamp};
use terse_core::spool::{
    Batch, Durability, ReadOutcome, Seq, Spool, SpoolError, SpoolOptions, StreamId,
};

use sim::SimDisk;

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(Timestamp::from_millis(1_800_000_000_000)))
}

fn options(durability: Durability) -> SpoolOptions {
    SpoolOptions {
        durability,
        lanes: 2,
        segment_bytes: 64 * 1024,
        // Syncing happens when a test says so.
        sync_interval: Duration::from_hours(1),
        ..SpoolOptions::at(PathBuf::from("/spool"))
    }
}

fn open_on(
    disk: &Arc<SimDisk>,
    options: SpoolOptions,
    clock: &Arc<ManualClock>,
    seed: u64,
) -> Result<Spool, SpoolError> {
    Spool::open_on(
        Arc::clone(disk) as _,
        options,
        Arc::clone(clock) as _,
        Arc::new(SeededEntropy::new(seed)),
    )
}

/// All records of all streams, with gaps accepted, and how many gaps there were.
fn read_all(spool: &Spool) -> (Vec<(StreamId, u64, Vec<u8>)>, usize) {
    let mut records = Vec::new();
    let mut gaps = 0;
    for view in spool.streams() {
        gaps += read_stream(spool, view.id, Seq::default(), &mut records);
    }
    (records, gaps)
}

fn read_stream(
    spool: &Spool,
    id: StreamId,
    after: Seq,
    records: &mut Vec<(StreamId, u64, Vec<u8>)>,
) -> usize {
    let mut batch = Batch::default();
    let mut after = after;
    let mut gaps = 0;
    loop {
        let outcome = spool.read(id, after, 100, 1 << 20, &mut batch).unwrap();
        for record in batch.records() {
            records.push((id, record.seq.into(), record.payload.to_vec()));
            after = record.seq;
        }
        match outcome {
            ReadOutcome::More => {}
            ReadOutcome::CaughtUp | ReadOutcome::End => return gaps,
            ReadOutcome::Gap { after: at, .. } => {
                gaps += 1;
                spool.accept_gap(id, at);
            }
        }
        assert!(gaps < 1_000, "reading does not get on");
    }
}
