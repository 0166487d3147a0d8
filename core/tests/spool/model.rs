//! A model of spool, folder and database: whatever happens in whatever order, each click that was
//! answered is in the database once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use proptest::prelude::*;
use terse_core::model::ManualClock;
use terse_core::spool::{Batch, Durability, ReadOutcome, Seq, Spool, StreamId};

use crate::sim::SimDisk;
use crate::{clock, open_on, options};

#[derive(Clone, Debug)]
enum Action {
    Append(u8),
    Sync,
    Crash,
    PowerLoss(u64),
    CleanRestart,
    Rotate,
    Fold(u8),
    /// The transaction was committed, but the folder never heard of it.
    FoldWithLostAck(u8),
    /// The next write fails half-way.
    FailWrite,
    /// The next sync fails.
    FailSync,
    Snapshot,
    /// The database goes back to its snapshot.
    Restore,
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => (1..60_u8).prop_map(Action::Append),
        2 => Just(Action::Sync),
        1 => Just(Action::Crash),
        1 => any::<u64>().prop_map(Action::PowerLoss),
        1 => Just(Action::CleanRestart),
        1 => Just(Action::Rotate),
        3 => (1..50_u8).prop_map(Action::Fold),
        1 => (1..50_u8).prop_map(Action::FoldWithLostAck),
        1 => Just(Action::FailWrite),
        1 => Just(Action::FailSync),
        1 => Just(Action::Snapshot),
        1 => Just(Action::Restore),
    ]
}

#[derive(Clone, Default)]
struct Database {
    cursors: BTreeMap<StreamId, u64>,
    rows: BTreeSet<u64>,
}

struct World {
    disk: Arc<SimDisk>,
    clock: Arc<ManualClock>,
    durability: Durability,
    spool: Spool,
    database: Database,
    snapshot: Database,
    starts: u64,
    next_click: u64,
    /// Must be in the database in the end.
    promised: BTreeSet<u64>,
    /// Answered, but not known to be on stable storage.
    unsynced: BTreeSet<u64>,
    failed_sync: bool,
    runtime: tokio::runtime::Runtime,
}

impl World {
    fn new(durability: Durability) -> Self {
        let disk = Arc::new(SimDisk::default());
        let clock = clock();
        Self {
            spool: open_on(&disk, options(durability), &clock, 0).unwrap(),
            disk,
            clock,
            durability,
            database: Database::default(),
            snapshot: Database::default(),
            starts: 1,
            next_click: 0,
            promised: BTreeSet::new(),
            unsynced: BTreeSet::new(),
            failed_sync: false,
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap(),
        }
    }

    fn act(&mut self, action: &Action) {
        match action {
            Action::Append(clicks) => self.append(*clicks),
            Action::Sync => {
                if self.spool.sync().is_ok() {
                    self.unsynced.clear();
                }
            }
            Action::FailWrite => self.disk.faults.write_errors.store(1, Ordering::SeqCst),
            Action::FailSync => {
                self.failed_sync = true;
                self.disk.faults.sync_errors.store(1, Ordering::SeqCst);
            }
            Action::Crash => self.reopen(|_| {}),
            Action::PowerLoss(seed) => self.lose_power(*seed),
            Action::CleanRestart => {
                self.spool.close();
                // A failing disk may have refused; then a power cut may still take them.
                if self.disk.faults.sync_errors.load(Ordering::SeqCst) == 0 && !self.failed_sync {
                    self.unsynced.clear();
                }
                self.reopen(|_| {});
            }
            Action::Rotate => self.spool.rotate(),
            Action::Fold(records) => self.fold(usize::from(*records), true),
            Action::FoldWithLostAck(records) => self.fold(usize::from(*records), false),
            Action::Snapshot => self.snapshot = self.database.clone(),
            Action::Restore => self.database = self.snapshot.clone(),
        }
    }

    fn append(&mut self, clicks: u8) {
        for _ in 0..clicks {
            let click = self.next_click;
            self.next_click += 1;
            // Of different lengths, so that pages and files end anywhere.
            let mut payload = click.to_le_bytes().to_vec();
            payload.resize(8 + usize::try_from(click * 97 % 900).unwrap(), 7);
            if self.runtime.block_on(self.spool.append(&payload)).is_err() {
                // Not answered: it may be counted or not. The clock must move before a refusing disk is asked again.
                self.clock.advance(Duration::from_secs(1));
                continue;
            }
            self.promised.insert(click);
            if self.durability == Durability::Process {
                self.unsynced.insert(click);
            }
        }
    }

    fn reopen(&mut self, accident: impl FnOnce(&SimDisk)) {
        // Dropping it stops the threads and writes nothing.
        let elsewhere = Arc::new(SimDisk::default());
        let idle = open_on(&elsewhere, options(self.durability), &self.clock, 0).unwrap();
        drop(std::mem::replace(&mut self.spool, idle));
        accident(&self.disk);
        self.spool = open_on(
            &self.disk,
            options(self.durability),
            &self.clock,
            self.starts,
        )
        .unwrap();
        self.starts += 1;
    }

    fn lose_power(&mut self, seed: u64) {
        let mut state = seed | 1;
        self.reopen(|disk| {
            disk.lose_power(|| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                state >> 63 == 1
            });
        });
        for click in std::mem::take(&mut self.unsynced) {
            self.promised.remove(&click);
        }
        // A click that is in the database stays counted, whatever became of its file.
        self.promised.extend(
            self.database
                .rows
                .iter()
                .copied()
                .filter(|click| self.snapshot.rows.contains(click)),
        );
    }

    fn fold(&mut self, max_records: usize, heard: bool) {
        for view in self.spool.streams() {
            let after = self.database.cursors.get(&view.id).copied().unwrap_or(0);
            self.spool.folded(view.id, after.into());
            let mut batch = Batch::default();
            let outcome = self
                .spool
                .read(view.id, after.into(), max_records, 1 << 20, &mut batch)
                .unwrap();
            let mut last = after;
            for record in batch.records() {
                let click = u64::from_le_bytes(record.payload[..8].try_into().unwrap());
                assert!(
                    self.database.rows.insert(click),
                    "click {click} was counted twice"
                );
                assert!(click < self.next_click, "click {click} was invented");
                last = record.seq.into();
            }
            self.database.cursors.insert(view.id, last);
            if heard {
                self.spool.folded(view.id, last.into());
            }
            if let ReadOutcome::Gap { after, .. } = outcome {
                self.spool.accept_gap(view.id, after);
            }
        }
        self.spool.sweep();
    }

    fn fold_everything(&mut self) {
        for _ in 0..10_000 {
            let before = self.database.rows.len();
            self.fold(1_000, true);
            let gaps_left = self.spool.streams().iter().any(|view| {
                let cursor = self.database.cursors.get(&view.id).copied().unwrap_or(0);
                Seq::from(cursor) < view.visible
            });
            if self.database.rows.len() == before && !gaps_left {
                return;
            }
        }
        panic!("folding never ends");
    }

    fn check(&mut self) {
        self.fold_everything();
        let lost: Vec<_> = self.promised.difference(&self.database.rows).collect();
        assert!(lost.is_empty(), "lost: {lost:?}");
        assert_eq!(self.spool.status().pending, 0);
    }
}

fn holds(durability: Durability, actions: &[Action]) {
    let mut world = World::new(durability);
    for action in actions {
        world.act(action);
    }
    world.check();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, max_shrink_iters: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn at_level_process_every_answered_click_survives_a_crash_and_synced_ones_a_power_cut(actions in prop::collection::vec(action(), 1..40)) {
        holds(Durability::Process, &actions);
    }

    #[test]
    fn at_level_power_every_answered_click_survives_a_power_cut(actions in prop::collection::vec(action(), 1..25)) {
        holds(Durability::Power, &actions);
    }
}
