//! Changes of links.

use std::sync::Arc;
use std::time::Duration;

use terse_core::model::LinkChanges;
use terse_core::{GoneReason, Resolution};

use super::{Nodes, redis_of_all, resolve, soon, status, target};
use crate::fixture::builder;

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_and_a_deletion_on_one_node_are_in_force_on_the_other_within_a_second() {
    let Some(redis) = redis_of_all() else { return };
    let Some(nodes) = Nodes::open(&redis).await else {
        return;
    };
    let second = &nodes.second;
    let link = nodes.known_link("told").await;
    nodes.edit(&link, "https://example.com/new").await;
    soon("the edit", || async {
        target(second, "told").await == "https://example.com/new"
    })
    .await;
    nodes.delete(&link).await;
    let deleted = Ok(Resolution::Gone(GoneReason::Deleted));
    soon("the deletion", || async {
        resolve(second, "told").await == deleted
    })
    .await;
    assert_eq!(
        resolve(second, "later").await,
        Ok(Resolution::NotFound),
        "remembered as unknown"
    );
    nodes.first.link("later").await;
    soon("the new link", || async {
        target(second, "later").await == "https://example.com/target"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_read_lately_the_other_has_from_redis_also_without_the_database() {
    let Some(redis) = redis_of_all() else { return };
    let Some(nodes) = Nodes::open(&redis).await else {
        return;
    };
    nodes.first.link("lent").await;
    let reads = status(&nodes.second).hits;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(
        target(&nodes.second, "lent").await,
        "https://example.com/target"
    );
    assert_eq!(status(&nodes.second).hits, reads + 1);
    // Unknown slugs too.
    assert_eq!(
        resolve(&nodes.first.terse, "nobody").await,
        Ok(Resolution::NotFound)
    );
    let asked = status(&nodes.first.terse).misses;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(
        resolve(&nodes.second, "nobody").await,
        Ok(Resolution::NotFound)
    );
    assert_eq!(status(&nodes.second).hits, reads + 2, "{asked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_edits_and_loads_beside_each_other_leave_the_newest_everywhere() {
    let Some(redis) = redis_of_all() else { return };
    let Some(nodes) = Nodes::open(&redis).await else {
        return;
    };
    let nodes = Arc::new(nodes);
    let link = nodes.first.link("raced").await;
    let mut racing = Vec::new();
    for n in 0..50 {
        let (nodes, id) = (Arc::clone(&nodes), link.id);
        racing.push(tokio::spawn(async move {
            let node = if n % 2 == 0 {
                &nodes.first.terse
            } else {
                &nodes.second
            };
            if n % 5 == 0 {
                let changes = LinkChanges {
                    target_url: Some(format!("https://example.com/{n}")),
                    ..LinkChanges::default()
                };
                let links = node.links();
                let _ = links.update(&nodes.first.workspace, id, changes).await;
            } else {
                target(node, "raced").await;
            }
        }));
    }
    for one in racing {
        one.await.unwrap();
    }
    let links = nodes.first.terse.links();
    let stored = links.get(&nodes.first.workspace, link.id).await.unwrap();
    for node in [&nodes.first.terse, &nodes.second] {
        soon("the newest", || async {
            target(node, "raced").await == stored.target_url
        })
        .await;
    }
    // Whoever knows nothing gets it from Redis.
    let dir = tempfile::tempdir().unwrap();
    let third = builder(&dir, &nodes.first.database, &nodes.first.clock);
    let third = third.redis(redis.parse().unwrap()).open().await.unwrap();
    assert_eq!(target(&third, "raced").await, stored.target_url);
}
