//! The sealer and the merger come to rest, whoever else uses the database and whatever is damaged.

use std::ops::Range;
use std::sync::Arc;

use sqlx::Executor as _;

use super::merger::{Merger, MergerParts};
use super::*;
use crate::classify::{Kind, Reason};
use crate::columns::{Parcel, Row};
use crate::model::ManualClock;
use crate::store::clicks::{in_chunks, insert_parcels};
use crate::store::{DatabaseUrl, Db, PoolPurpose, in_tx};
use sqlx::QueryBuilder;

const PLAN: Sealing = Sealing {
    ripe_clicks: 20,
    ripe_parcels: 3,
    at_once: 10,
    fewest: 5,
    large_tail: 30,
    largest_chunk: 100,
};
const WORKSPACE: i64 = 5;
const TODAY: i64 = 20_000;

struct Node {
    store: Store,
    url: DatabaseUrl,
    _dir: tempfile::TempDir,
}

impl Node {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = DatabaseUrl::Sqlite(dir.path().join("terse.db"));
        let store = Store::connect(&url, PoolPurpose::Requests).await.unwrap();
        store.migrate_up().await.unwrap();
        Self {
            store,
            url,
            _dir: dir,
        }
    }

    /// Puts a parcel of these clicks into the tail, each on a day that follows from its number.
    async fn put(&self, seqs: Range<i64>, day_of: impl Fn(i64) -> i64 + Send + Sync) {
        let put = async || -> Result<(), StoreError> {
            let mut parcel = Parcel::default();
            for seq in seqs.clone() {
                parcel.push(&Row {
                    link: 1,
                    at: day_of(seq) * DAY_MILLIS + seq,
                    kind: Kind::Human,
                    reason: Reason::Browser,
                    visitor: 1,
                    stream: 1,
                    seq,
                    facts: b"",
                });
            }
            in_tx!(&self.store.db, |tx| {
                insert_parcels!(tx, [(WORKSPACE, parcel)]);
            });
            Ok(())
        };
        put().await.unwrap();
    }

    async fn sql(&self, statement: &'static str) {
        let Db::Sqlite(pool) = &self.store.db else {
            panic!("not SQLite");
        };
        pool.execute(statement).await.unwrap();
    }
}

fn now() -> Timestamp {
    Timestamp::from_millis(TODAY * DAY_MILLIS)
}

fn sealer() -> (Sealer, Arc<Tails>) {
    let tails = Arc::new(Tails::default());
    let sealer = Sealer::new(PLAN, Arc::clone(&tails), MergeBell::default());
    (sealer, tails)
}

/// Seals until nothing is ripe.
async fn come_to_rest(sealer: &mut Sealer, store: &Store) {
    for _ in 0..10 {
        if !sealer.step(store, now()).await.unwrap() {
            return;
        }
    }
    panic!("the sealer goes on and on");
}

#[tokio::test]
async fn a_tail_that_another_node_has_sealed_is_left_alone() {
    let node = Node::new().await;
    let ((mut mine, tails), (mut other, _)) = (sealer(), sealer());
    come_to_rest(&mut mine, &node.store).await;
    for parcel in 0..5 {
        node.put(parcel * 10..parcel * 10 + 10, |_| TODAY).await;
        tails.add(WorkspaceId::from_number(WORKSPACE), 10);
    }
    come_to_rest(&mut other, &node.store).await;
    assert!(node.store.tails().await.unwrap().is_empty());
    come_to_rest(&mut mine, &node.store).await;
    // And what it left, too.
    for _ in 0..5 {
        tails.add(WorkspaceId::from_number(WORKSPACE), 10);
    }
    node.put(100..102, |_| TODAY).await;
    come_to_rest(&mut mine, &node.store).await;
}

#[tokio::test]
async fn few_clicks_of_many_days_are_looked_at_once() {
    let node = Node::new().await;
    let (mut sealer, tails) = sealer();
    come_to_rest(&mut sealer, &node.store).await;
    for (seqs, clicks) in [(0..25, 25), (25..26, 1), (26..27, 1), (27..28, 1)] {
        node.put(seqs, |seq| TODAY - seq).await;
        tails.add(WorkspaceId::from_number(WORKSPACE), clicks);
    }
    come_to_rest(&mut sealer, &node.store).await;
    let tails = node.store.tails().await.unwrap();
    assert_eq!(tails, [(WorkspaceId::from_number(WORKSPACE), 28, 1)]);
}

#[tokio::test]
async fn a_damaged_chunk_keeps_no_other_day_from_being_merged() {
    for damage in [
        "UPDATE chunk_columns SET data = x'00' WHERE id = 64 + 1",
        "DELETE FROM chunk_columns WHERE id = 64 + 1",
        "DELETE FROM chunk_columns WHERE id >= 64 AND id < 128",
    ] {
        let node = Node::new().await;
        let (mut sealer, tails) = sealer();
        for parcel in 0..8 {
            let day = TODAY - 2 + parcel / 4;
            node.put(parcel * 40..parcel * 40 + 40, |_| day).await;
            tails.add(WorkspaceId::from_number(WORKSPACE), 40);
            come_to_rest(&mut sealer, &node.store).await;
        }
        node.sql(damage).await;
        let mut merger = Merger::new(MergerParts {
            database: node.url.clone(),
            plan: PLAN,
            bell: sealer.merger.clone(),
            tails: Arc::default(),
            errands: Errands::new().1,
            clock: Arc::new(ManualClock::at(now())),
        });
        merger.chores(&node.store).await.unwrap();
        let workspace = WorkspaceId::from_number(WORKSPACE);
        let damaged = node.store.chunks_of_day(workspace, TODAY - 2).await;
        let sound = node.store.chunks_of_day(workspace, TODAY - 1).await;
        assert_eq!(damaged.unwrap().len(), 4, "{damage}");
        assert_eq!(sound.unwrap().len(), 2, "{damage}");
        let report = crate::verify::verify(&node.store).await.unwrap();
        assert_eq!(report.damaged.len(), 1, "{damage}");
    }
}
