//! Redis as it is in bad hours.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use deadpool_redis::redis;
use terse_core::shared::Taken;
use terse_core::{GoneReason, Resolution};

use super::{
    LIFETIME, Nodes, OwnRedis, command, redis_of_all, resolve, soon, status, target, within,
};
use crate::fixture::builder;

#[tokio::test(flavor = "multi_thread")]
async fn after_redis_was_emptied_an_edit_is_in_force_on_the_other_node_within_a_second() {
    if redis_of_all().is_none() {
        return;
    }
    let redis = OwnRedis::start();
    let Some(nodes) = Nodes::open(&redis.url()).await else {
        return;
    };
    let link = nodes.known_link("flushed").await;
    command(&redis, &["FLUSHALL"]).await;
    nodes.edit(&link, "https://example.com/after").await;
    soon("the edit", || async {
        target(&nodes.second, "flushed").await == "https://example.com/after"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_redis_still_tells_of_an_edit() {
    if redis_of_all().is_none() {
        return;
    }
    let redis = OwnRedis::start();
    let Some(nodes) = Nodes::open(&redis.url()).await else {
        return;
    };
    let link = nodes.known_link("full").await;
    command(&redis, &["CONFIG", "SET", "maxmemory", "1"]).await;
    nodes.edit(&link, "https://example.com/after").await;
    soon("the edit", || async {
        target(&nodes.second, "full").await == "https://example.com/after"
    })
    .await;
    // Nobody gets the old one from Redis.
    let dir = tempfile::tempdir().unwrap();
    let third = builder(&dir, &nodes.first.database, &nodes.first.clock);
    let third = third.redis(redis.url().parse().unwrap());
    let third = third.open().await.unwrap();
    assert_eq!(target(&third, "full").await, "https://example.com/after");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_an_edit_is_in_force_on_the_other_node_after_the_lifetime_and_news_come_back()
{
    if redis_of_all().is_none() {
        return;
    }
    let mut redis = OwnRedis::start();
    let Some(nodes) = Nodes::open(&redis.url()).await else {
        return;
    };
    let second = &nodes.second;
    let link = nodes.known_link("cut-off").await;
    redis.kill();
    nodes.edit(&link, "https://example.com/unheard").await;
    assert_eq!(
        target(second, "cut-off").await,
        "https://example.com/target"
    );
    nodes.first.clock.advance(LIFETIME);
    soon("the edit", || async {
        target(second, "cut-off").await == "https://example.com/unheard"
    })
    .await;
    nodes.edit(&link, "https://example.com/missed").await;
    redis.restart();
    // Whoever comes back doubts what it has.
    within(Duration::from_secs(10), "what was missed", || async {
        target(second, "cut-off").await == "https://example.com/missed"
    })
    .await;
    within(Duration::from_secs(10), "both ask it again", || async {
        let (first, second) = (status(&nodes.first.terse), status(second));
        first.up && first.listening && second.up && second.listening
    })
    .await;
    nodes.edit(&link, "https://example.com/heard").await;
    soon("the edit", || async {
        target(second, "cut-off").await == "https://example.com/heard"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hung_redis_costs_known_links_nothing_and_unknown_slugs_a_moment_once() {
    if redis_of_all().is_none() {
        return;
    }
    let redis = OwnRedis::start();
    let Some(nodes) = Nodes::open(&redis.url()).await else {
        return;
    };
    let link = nodes.known_link("steady").await;
    redis.signal("-STOP");
    // Nothing is waited for where nothing is asked.
    let before = status(&nodes.second);
    for _ in 0..20 {
        target(&nodes.second, "steady").await;
    }
    assert_eq!(status(&nodes.second), before);
    let mut lookups = Vec::new();
    for n in 0..10 {
        let slug = format!("unknown-{n}");
        let begun = Instant::now();
        assert_eq!(
            resolve(&nodes.second, &slug).await,
            Ok(Resolution::NotFound)
        );
        lookups.push(begun.elapsed());
    }
    // Other tests run on the same cores: two of the ten may have waited for a core.
    lookups.sort_unstable();
    let total: Duration = lookups[..8].iter().sum();
    assert!(lookups[7] < Duration::from_millis(200), "{lookups:?}");
    assert!(total < Duration::from_millis(600), "{lookups:?}");
    assert!(lookups[9] < Duration::from_secs(2), "{lookups:?}");
    assert!(!status(&nodes.second).up);
    // Changes are made without it, and told of when it is back.
    let mut edits = Vec::new();
    for target in ["https://example.com/other", "https://example.com/meanwhile"] {
        let begun = Instant::now();
        nodes.edit(&link, target).await;
        edits.push(begun.elapsed());
    }
    let shortest = edits.iter().min().unwrap();
    assert!(*shortest < Duration::from_millis(500), "{edits:?}");
    tokio::time::sleep(Duration::from_secs(1)).await;
    redis.signal("-CONT");
    within(Duration::from_secs(10), "what was missed", || async {
        target(&nodes.second, "steady").await == "https://example.com/meanwhile"
    })
    .await;
    within(Duration::from_secs(10), "it is asked again", || async {
        status(&nodes.second).up
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_data_in_redis_revive_no_deleted_link_beyond_their_lifetime() {
    if redis_of_all().is_none() {
        return;
    }
    let redis = OwnRedis::start();
    let Some(nodes) = Nodes::open(&redis.url()).await else {
        return;
    };
    let link = nodes.first.link("revived").await;
    let entries = || async {
        let found = command(&redis, &["KEYS", "*:link:*"]).await;
        redis::from_redis_value::<Vec<String>>(found).unwrap()
    };
    soon("the entry", || async { !entries().await.is_empty() }).await;
    let key = entries().await.remove(0);
    let old = command(&redis, &["GET", &key]).await;
    let old: String = redis::from_redis_value(old).unwrap();
    nodes.delete(&link).await;
    let deleted = Ok(Resolution::Gone(GoneReason::Deleted));
    tokio::time::sleep(Duration::from_millis(200)).await;
    // An entry without an end is not believed at all.
    command(&redis, &["SET", &key, &old]).await;
    assert_eq!(resolve(&nodes.second, "revived").await, deleted);
    // A node that has it in memory does not ask.
    command(&redis, &["SET", &key, &old, "PX", "20000"]).await;
    assert_eq!(resolve(&nodes.first.terse, "revived").await, deleted);
    assert_eq!(resolve(&nodes.second, "revived").await, deleted);
    // Who never heard of it believes it for as long as it has to live.
    let dir = tempfile::tempdir().unwrap();
    let third = builder(&dir, &nodes.first.database, &nodes.first.clock);
    let third = third
        .redis(redis.url().parse().unwrap())
        .open()
        .await
        .unwrap();
    soon("it listens", || async { status(&third).listening }).await;
    target(&third, "revived").await;
    nodes.first.clock.advance(Duration::from_secs(21));
    soon("the deletion", || async {
        resolve(&third, "revived").await == deleted
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_share_an_allowance_and_do_without_redis_when_it_is_away() {
    if redis_of_all().is_none() {
        return;
    }
    let mut redis = OwnRedis::start();
    let Some(nodes) = Nodes::open(&redis.url()).await else {
        return;
    };
    let limits = [&nodes.first.terse, &nodes.second].map(|node| node.shared_limits().unwrap());
    let count = NonZeroU32::new(10).unwrap();
    let minute = Duration::from_mins(1);
    for n in 0..10 {
        let taken = limits[n % 2].take("auth", 7, count, minute).await;
        assert_eq!(taken, Taken::Allowed, "{n}");
    }
    for limits in &limits {
        let Taken::Wait(wait) = limits.take("auth", 7, count, minute).await else {
            panic!("allowed beyond the allowance");
        };
        assert!(wait <= Duration::from_secs(6), "{wait:?}");
        let other = limits.take("api", 7, count, minute).await;
        assert_eq!(other, Taken::Allowed);
    }
    redis.kill();
    let begun = Instant::now();
    for limits in limits.iter().cycle().take(20) {
        assert_eq!(limits.take("auth", 7, count, minute).await, Taken::Away);
    }
    assert!(begun.elapsed() < Duration::from_millis(400));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_redis_keeps_nobody_from_starting() {
    let Some(nodes) = Nodes::open_without_redis().await else {
        return;
    };
    let link = nodes.link("alone").await;
    assert_eq!(link.slug, "alone");
    assert_eq!(
        target(&nodes.terse, "alone").await,
        "https://example.com/target"
    );
    assert!(!status(&nodes.terse).up);
}
