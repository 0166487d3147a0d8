//! What versions of links do not tell: changes of workspaces, of clicks, and of who may do what.

use std::time::Duration;

use terse_core::model::{Actor, Change, NewLink, Origin, WorkspaceChanges};
use terse_core::{GoneReason, Resolution, Terse};

use super::{Nodes, redis_of_all, resolve, soon, status, within};
use crate::fixture::{HOST, PASSWORD, all, builder, person_at};
use crate::people::{Person, by};

async fn is_redirect(node: &Terse, slug: &str) -> bool {
    matches!(resolve(node, slug).await, Ok(Resolution::Redirect(_)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_workspaces_links_are_gone_on_the_other_node_within_a_second() {
    let Some(redis) = redis_of_all() else { return };
    let Some(nodes) = Nodes::open(&redis).await else {
        return;
    };
    nodes.known_link("orphan").await;
    let accounts = nodes.first.terse.accounts();
    let grant = accounts
        .sign_in("ada@example.com", &PASSWORD.into(), &Origin::default())
        .await
        .unwrap();
    let ada = accounts.authenticate(grant.session, grant.user, None);
    let ada = ada.await.unwrap();
    let workspaces = nodes.first.terse.workspaces();
    // Nobody is left without a workspace.
    workspaces
        .create(&ada, &Actor::system(), "Another")
        .await
        .unwrap();
    workspaces
        .delete(nodes.first.workspace, &Actor::system())
        .await
        .unwrap();
    assert!(!is_redirect(&nodes.first.terse, "orphan").await, "at once");
    soon("the deletion", || async {
        !is_redirect(&nodes.second, "orphan").await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ended_session_is_worth_nothing_on_the_other_node_although_its_clock_stands_still() {
    let Some(redis) = redis_of_all() else { return };
    let Some(nodes) = Nodes::open(&redis).await else {
        return;
    };
    let accounts = nodes.first.terse.accounts();
    let grant = accounts
        .sign_in("ada@example.com", &PASSWORD.into(), &Origin::default())
        .await
        .unwrap();
    let enter = || async {
        let accounts = nodes.second.accounts();
        accounts
            .authenticate(grant.session, grant.user, None)
            .await
            .is_ok()
    };
    assert!(enter().await);
    accounts
        .end_session(grant.user, grant.session, &Actor::system())
        .await
        .unwrap();
    // The clock of these tests never reaches the next look at the database.
    soon("the end", || async { !enter().await }).await;
}

async fn choose_days(nodes: &Nodes) {
    let home = Person::ada(&nodes.first).await.at_home().await;
    let changes = WorkspaceChanges {
        visitor_epoch: Change::Set("day".to_owned()),
        ..WorkspaceChanges::default()
    };
    let workspaces = nodes.first.terse.workspaces();
    workspaces.update(&home, &by(&home), changes).await.unwrap();
}

/// Visitors, after one more click by way of this node.
async fn visitors(nodes: &Nodes, node: &Terse, person: u8) -> Option<i64> {
    let found = node.resolve(HOST, "/counted", &person_at(person)).await;
    found.unwrap();
    within(Duration::from_secs(20), "it is folded", || async {
        node.status().spool.pending == 0
    })
    .await;
    let analytics = nodes.first.terse.analytics();
    let summary = analytics.summary(&nodes.first.workspace, all(), None);
    summary.await.unwrap().visitors
}

#[tokio::test(flavor = "multi_thread")]
async fn another_visitor_epoch_is_in_force_here_at_once_there_soon_and_kept_with_the_link() {
    let Some(redis) = redis_of_all() else { return };
    let Some(nodes) = Nodes::open(&redis).await else {
        return;
    };
    let (first, second) = (&nodes.first.terse, &nodes.second);
    nodes.first.link("counted").await;
    for person in 1..=3 {
        let sum = Some(i64::from(person));
        assert_eq!(visitors(&nodes, first, person).await, sum);
        assert_eq!(visitors(&nodes, second, person).await, sum);
    }
    choose_days(&nodes).await;
    // Whoever comes again counts once more: another key.
    assert_eq!(visitors(&nodes, first, 1).await, Some(4));
    // The clock stands still: no lifetime ends, it must have heard.
    within(Duration::from_secs(10), "the choice", || async {
        visitors(&nodes, second, 2).await == Some(5)
    })
    .await;
    // Who knows nothing has it from Redis, the choice with it.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let dir = tempfile::tempdir().unwrap();
    let third = builder(&dir, &nodes.first.database, &nodes.first.clock);
    let third = third.redis(redis.parse().unwrap()).open().await.unwrap();
    assert_eq!(visitors(&nodes, &third, 3).await, Some(6));
    assert_eq!(status(&third).hits, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_clicks_give_slots_back_here_at_once_and_there_within_a_second() {
    let Some(redis) = redis_of_all() else { return };
    let Some(nodes) = Nodes::open(&redis).await else {
        return;
    };
    let limited = NewLink {
        max_clicks: Some(2),
        ..NewLink::to("https://example.com/").alias("two-only")
    };
    let link = nodes.first.create(limited).await;
    let (first, second) = (&nodes.first.terse, &nodes.second);
    let used_up = Ok(Resolution::Gone(GoneReason::Exhausted));
    for _ in 0..10 {
        assert!(is_redirect(first, "two-only").await);
        soon("the slot", || is_redirect(second, "two-only")).await;
        assert_eq!(resolve(first, "two-only").await, used_up);
        assert_eq!(resolve(second, "two-only").await, used_up);
        let links = nodes.first.terse.links();
        let deleted = links.delete_clicks(&nodes.first.workspace, link.id).await;
        deleted.unwrap();
    }
}
