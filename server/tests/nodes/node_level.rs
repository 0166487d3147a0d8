//! `click_durability = node`: an answered click survives the loss of its machine.

use std::time::{Duration, Instant};

use crate::common::Node;
use crate::database::Database;
use crate::load::Load;
use crate::{CLIENTS, assert_exact};

const LEVEL: (&str, &str) = ("TERSE_CLICK_DURABILITY", "node");

fn loaded(mut node: Node) -> (Node, Load) {
    node.start();
    node.create_link("x");
    let load = Load::start(node.port(), CLIENTS, "/x");
    node.wait_until("there is load", |_| load.count() > 300);
    (node, load)
}

#[test]
fn nothing_that_was_answered_is_lost_with_the_machine() {
    let Some(database) = Database::new() else {
        return;
    };
    let (mut node, load) = loaded(database.node(&[LEVEL]));
    assert_eq!(node.metric("terse_clicks_unconfirmed_total"), 0);
    node.kill();
    load.stop();
    std::fs::remove_dir_all(node.data()).unwrap();
    let elsewhere = database.node(&[]);
    assert_exact(&elsewhere, &[&load], CLIENTS);
}

#[test]
fn with_sqlite_the_spool_is_not_needed_either() {
    let (mut node, load) = loaded(Node::new(&[LEVEL]));
    node.kill();
    load.stop();
    std::fs::remove_dir_all(node.data().join("spool")).unwrap();
    assert_exact(&node, &[&load], CLIENTS);
}

#[test]
fn an_idle_servers_click_is_answered_within_a_moment() {
    let Some(database) = Database::new() else {
        return;
    };
    let (mut node, load) = loaded(database.node(&[LEVEL]));
    load.stop();
    std::thread::sleep(Duration::from_secs(1));
    let mut answers = Vec::new();
    for _ in 0..10 {
        let begun = Instant::now();
        assert_eq!(node.get("/x?utm_content=none"), 302);
        answers.push(begun.elapsed());
        std::thread::sleep(Duration::from_millis(50));
    }
    // A busy machine may keep the folder's thread from one of them; clicks that gather would slow them all.
    answers.sort_unstable();
    println!("ten answers took {answers:?}");
    assert!(answers[7] < Duration::from_millis(300), "{answers:?}");
    assert_eq!(node.stop(), Some(0));
}

#[test]
fn while_the_database_is_away_clicks_are_refused_and_not_counted() {
    let Some(database) = Database::new() else {
        return;
    };
    let refuse = ("TERSE_ON_UNRECORDABLE", "refuse");
    let (mut node, load) = loaded(database.node(&[LEVEL, refuse]));
    let hold = database.hold();
    let begun = Instant::now();
    node.wait_until("clicks are refused", |_| load.refused() > 0);
    let waited = begun.elapsed();
    println!("refused after {waited:?}");
    assert!(waited < Duration::from_secs(5));
    node.wait_until("and again, without waiting", |_| load.refused() > 300);
    drop(hold);
    let before = load.count();
    node.wait_until("clicks are answered again", |_| load.count() > before + 300);
    load.stop();
    node.wait_until_folded();
    assert_eq!(node.metric("terse_clicks_unrecorded_total"), 0);
    assert_eq!(node.stop(), Some(0));
    // Those of one transaction that was under way.
    assert_exact(&node, &[&load], 2 * CLIENTS);
}

#[test]
fn while_the_database_is_away_clicks_are_answered_from_the_spool_when_that_is_wanted() {
    let Some(database) = Database::new() else {
        return;
    };
    let (mut node, load) = loaded(database.node(&[LEVEL]));
    let hold = database.hold();
    node.wait_until("clicks go on without it", |node| {
        node.metric("terse_clicks_unconfirmed_total") > 300
    });
    drop(hold);
    node.wait_until_folded();
    load.stop();
    node.wait_until_folded();
    assert_eq!(load.refused(), 0);
    assert_eq!(node.metric("terse_clicks_unrecorded_total"), 0);
    assert_eq!(node.stop(), Some(0));
    assert_exact(&node, &[&load], 0);
}
