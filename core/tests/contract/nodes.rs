//! Two nodes on one database. Only PostgreSQL can be shared.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use terse_core::model::{Clock, NewLink, SystemClock};
use terse_core::{DatabaseUrl, Resolution, Sealing, Terse};

use crate::fixture::{HOST, Installation, all, person, person_at, sign_up};

/// Another node of the same installation.
async fn node(database: &DatabaseUrl, sealing: Sealing) -> (Terse, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let terse = Terse::builder()
        .database(database.clone())
        .spool_dir(dir.path().join("spool"))
        .public_url("https://go.example")
        .sealing(sealing)
        .clock(Arc::new(SystemClock) as Arc<dyn Clock>);
    (terse.open().await.unwrap(), dir)
}

async fn folded(terse: &Terse) {
    let waited = tokio::time::timeout(Duration::from_mins(1), async {
        while terse.status().spool.pending > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.expect("clicks are folded");
}

/// Clicks a link for so long; returns how many were answered.
async fn click_for(terse: Terse, path: &'static str, time: Duration) -> i64 {
    let begun = Instant::now();
    let mut answered = 0;
    while begun.elapsed() < time {
        let answer = terse.resolve(HOST, path, &person()).await;
        answered += i64::from(matches!(answer, Ok(Resolution::Redirect(_))));
        if answered % 16 == 0 {
            tokio::task::yield_now().await;
        }
        if answered % 200 == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    answered
}

/// As [`click_for`], and until nobody is led on any more.
async fn click_up(terse: Terse, path: &'static str, time: Duration) -> i64 {
    let mut answered = click_for(terse.clone(), path, time).await;
    let last = Instant::now() + Duration::from_mins(1);
    while let Ok(Resolution::Redirect(_)) = terse.resolve(HOST, path, &person()).await {
        answered += 1;
        assert!(Instant::now() < last, "the limit is never reached");
    }
    answered
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_on_one_hot_link_and_one_limited_link_fold_and_seal_without_a_deadlock() {
    let Some(t) = Installation::on_postgres().await else {
        return;
    };
    t.terse.close().await;
    let small = Sealing {
        ripe_clicks: 64,
        ripe_parcels: 2,
        at_once: 1_000,
        fewest: 16,
        large_tail: 1_000,
        largest_chunk: 20_000,
    };
    let (one, _one) = node(&t.database, small).await;
    let (two, _two) = node(&t.database, small).await;
    let workspace = sign_up(&one, "nodes@example.com").await;
    let hot = NewLink::to("https://example.com/").alias("hot");
    let hot = one.links().create(&workspace, hot).await.unwrap();
    let limited = NewLink {
        max_clicks: Some(500),
        ..NewLink::to("https://example.com/").alias("limited")
    };
    let limited = one.links().create(&workspace, limited).await.unwrap();
    let time = Duration::from_secs(5);
    let mut clicks = tokio::task::JoinSet::new();
    let mut slots = tokio::task::JoinSet::new();
    for terse in [&one, &two] {
        for _ in 0..2 {
            clicks.spawn(click_for(terse.clone(), "/hot", time));
            slots.spawn(click_up(terse.clone(), "/limited", time));
        }
    }
    let clicked: i64 = clicks.join_all().await.iter().sum();
    let taken: i64 = slots.join_all().await.iter().sum();
    folded(&one).await;
    folded(&two).await;
    let of = async |id| one.links().get(&workspace, id).await.unwrap().clicks;
    assert_eq!(of(hot.id).await, clicked);
    assert_eq!((of(limited.id).await, taken), (500, 500));
    // Sealing waits for folding, and what is folded is sealed after.
    let sealed = || one.status().sealed + two.status().sealed;
    let sealing = tokio::time::timeout(Duration::from_secs(30), async {
        while sealed() <= 1_000 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    sealing.await.expect("clicks are sealed");
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(t.number(deadlocks).await, 0);
    let failures = [one.status().fold_failures, two.status().fold_failures];
    assert_eq!(failures, [0, 0]);
    let report = two.verify().await.unwrap();
    assert!(report.is_consistent(), "{report:?}");
    one.close().await;
    two.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_hears_the_clicks_of_another_node_usually_within_two_seconds_and_each_once() {
    let Some(t) = Installation::on_postgres().await else {
        return;
    };
    t.terse.close().await;
    let (here, _here) = node(&t.database, Sealing::default()).await;
    let (there, _there) = node(&t.database, Sealing::default()).await;
    let workspace = sign_up(&here, "live@example.com").await;
    let new = NewLink::to("https://example.com/").alias("live");
    here.links().create(&workspace, new).await.unwrap();
    let mut live = here
        .analytics()
        .live(&workspace, all(), None)
        .await
        .unwrap();
    let mut ids = std::collections::HashSet::new();
    let mut waits = Vec::new();
    for round in 0..6_u8 {
        let node = if round % 3 == 2 { &here } else { &there };
        let answer = node.resolve(HOST, "/live", &person_at(round)).await;
        assert!(matches!(answer, Ok(Resolution::Redirect(_))));
        let clicked = Instant::now();
        let heard = tokio::time::timeout(Duration::from_secs(5), live.next()).await;
        let heard = heard.expect("the click is heard").unwrap();
        waits.push(clicked.elapsed());
        assert!(ids.insert(heard.click.position));
    }
    // Folding takes up to half a second of it. A busy machine may keep its thread from one of them.
    waits.sort_unstable();
    assert!(waits[3] < Duration::from_secs(2), "{waits:?}");
    let more = tokio::time::timeout(Duration::from_millis(1_500), live.next()).await;
    assert!(more.is_err(), "a click was told twice");
    here.close().await;
    there.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keeping_a_retention_waits_for_the_node_that_seals_at_the_moment() {
    let Some(t) = Installation::on_postgres().await else {
        return;
    };
    t.link("old").await;
    t.terse.resolve(HOST, "/old", &person()).await.unwrap();
    t.folded().await;
    t.clock.advance(Duration::from_hours(240));
    t.sql("UPDATE workspaces SET retention_days = 3").await;
    let sealing = t.sql(
        "SELECT pg_advisory_lock(hashtextextended('terse seal ' || workspace_id, 0)) FROM tail; \
         SELECT pg_sleep(1)",
    );
    let keeping = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        t.terse.apply_retention().await.unwrap()
    };
    let ((), kept) = tokio::join!(sealing, keeping);
    assert_eq!((kept.sealed_clicks, kept.shrunk_chunks), (1, 1));
    t.terse.close().await;
}
