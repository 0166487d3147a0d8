//! A full disk, and a quota that is used up.

use std::time::Duration;

use crate::common::Node;
use crate::load::Load;
use crate::root::{self, Mounted};
use crate::{assert_gap_is_shown, assert_nothing_missing, outcome};

const CLIENTS: usize = 4;

/// A server whose whole data directory is full before the first click, and gets its room back.
fn on_a_full_disk(policy: &str) -> (Node, Load, Mounted) {
    let mut node = Node::new(&[
        ("TERSE_ON_UNRECORDABLE", policy),
        ("TERSE_SPOOL_MAX_BYTES", "4MiB"),
    ]);
    let disk = Mounted::tmpfs(&node.data(), 16);
    node.start();
    node.create_link("x");
    let filler = root::fill(&node.data());
    let load = Load::start(node.port(), CLIENTS, "/x");
    node.wait_until("a click finds no room", |node| {
        node.metric("terse_clicks_unrecorded_total") > 0 || load.refused() > 0
    });
    assert_eq!(node.get("/health/ready"), 503);
    assert_eq!(node.get("/health/live"), 200);
    std::thread::sleep(Duration::from_millis(300));
    std::fs::remove_file(filler).unwrap();
    node.wait_until("it goes on without a restart", |node| {
        node.get("/health/ready") == 200
    });
    let before = load.count();
    node.wait_until("clicks are answered again", |_| load.count() > before + 100);
    load.stop();
    (node, load, disk)
}

#[test]
fn on_a_full_disk_redirects_go_on_and_the_missing_clicks_are_counted_as_missing() {
    if !root::wanted() {
        return;
    }
    let (mut node, load, _disk) = on_a_full_disk("serve");
    let unrecorded = node.metric("terse_clicks_unrecorded_total");
    let outcome = outcome(&mut node, &[&load], CLIENTS);
    assert_gap_is_shown(&outcome, unrecorded);
}

#[test]
fn on_a_full_disk_a_server_told_to_refuse_answers_no_click_that_it_cannot_record() {
    if !root::wanted() {
        return;
    }
    let (mut node, load, _disk) = on_a_full_disk("refuse");
    assert!(load.refused() > 0);
    assert_eq!(node.metric("terse_clicks_unrecorded_total"), 0);
    assert_nothing_missing(&mut node, &[&load], CLIENTS);
}

#[test]
fn a_full_disk_under_the_database_alone_stops_no_redirect_and_loses_nothing() {
    if !root::wanted() {
        return;
    }
    let mut node = Node::new(&[]);
    let disk = Mounted::tmpfs(&node.data(), 48);
    let spool = node.dir().join("other-disk");
    std::fs::create_dir(&spool).unwrap();
    std::os::unix::fs::symlink(&spool, node.data().join("spool")).unwrap();
    node.start();
    node.create_link("x");
    let load = Load::start(node.port(), CLIENTS, "/x");
    std::thread::sleep(Duration::from_millis(300));
    let filler = root::fill(&node.data());
    node.wait_until("the database takes no clicks", |node| {
        node.metric("terse_fold_failures_total") > 0
    });
    let before = load.count();
    node.wait_until("redirects go on", |_| load.count() > before + 500);
    assert!(node.metric("terse_spool_pending") > 0);
    assert!(matches!(node.try_create_link("y"), 503 | 507));
    std::fs::remove_file(filler).unwrap();
    node.can_create_link("y");
    load.stop();
    assert_eq!(load.refused(), 0);
    assert_nothing_missing(&mut node, &[&load], CLIENTS);
    drop(disk);
}

/// A server whose database is locked until its spool's quota is used up.
fn over_its_quota(policy: &str) -> (Node, Load) {
    let mut node = Node::new(&[
        ("TERSE_ON_UNRECORDABLE", policy),
        ("TERSE_SPOOL_MAX_BYTES", "1MiB"),
    ]);
    node.start();
    node.create_link("x");
    let lock = crate::database::Lock::take(&node);
    let load = Load::start(node.port(), 16, "/x");
    node.wait_until("the quota is used up", |node| {
        node.metric("terse_spool_writable") == 0
    });
    node.wait_until("a click meets it", |node| {
        node.metric("terse_clicks_unrecorded_total") > 0 || load.refused() > 0
    });
    assert_eq!(node.get("/health/ready"), 503);
    drop(lock);
    node.wait_until("there is room again", |node| {
        node.metric("terse_spool_writable") == 1
    });
    load.stop();
    (node, load)
}

#[test]
fn over_the_quota_redirects_go_on_and_nothing_that_was_recorded_is_given_up() {
    let (mut node, load) = over_its_quota("serve");
    let unrecorded = node.metric("terse_clicks_unrecorded_total");
    let outcome = outcome(&mut node, &[&load], 16);
    assert_gap_is_shown(&outcome, unrecorded);
}

#[test]
fn over_the_quota_a_server_told_to_refuse_answers_no_click_that_it_cannot_record() {
    let (mut node, load) = over_its_quota("refuse");
    assert!(load.refused() > 0);
    assert_nothing_missing(&mut node, &[&load], 16);
}
