//! A machine on which no file can grow any more: database, spool and log alike. Unlike a full file
//! system it needs no root.

use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit};

use crate::common::Node;
use crate::load::Load;
use crate::{assert_gap_is_shown, assert_nothing_missing, outcome};

const CLIENTS: usize = 4;

/// Forbids the server to write to files, or allows it again.
fn allow_writing(node: &Node, allowed: bool) {
    let pid = Pid::from_raw(i32::try_from(node.pid()).unwrap());
    let limit = Rlimit {
        current: (!allowed).then_some(0),
        maximum: None,
    };
    rustix::process::prlimit(pid, Resource::Fsize, limit).unwrap();
}

fn through_a_time_without_growth(policy: &str) -> (Node, Load) {
    let mut node = Node::new(&[("TERSE_ON_UNRECORDABLE", policy)]);
    // Ignored, the signal becomes an error of the write.
    node.launch_through(&["env", "--ignore-signal=XFSZ"]);
    node.start();
    node.create_link("x");
    let load = Load::start(node.port(), CLIENTS, "/x");
    node.wait_until("there is load", |_| load.count() > 100);
    allow_writing(&node, false);
    node.wait_until("a click cannot be recorded", |node| {
        node.metric("terse_clicks_unrecorded_total") > 0 || load.refused() > 0
    });
    assert_eq!(node.get("/health/ready"), 503);
    assert_eq!(node.get("/health/live"), 200);
    assert!(matches!(node.try_create_link("y"), 503 | 507));
    assert_eq!(node.list_links(), 200, "reading goes on");
    std::thread::sleep(Duration::from_secs(1));
    allow_writing(&node, true);
    node.wait_until("it goes on without a restart", |node| {
        node.get("/health/ready") == 200
    });
    let (refused, unrecorded) = (load.refused(), node.metric("terse_clicks_unrecorded_total"));
    let before = load.count();
    node.wait_until("clicks are recorded again", |_| load.count() > before + 200);
    node.can_create_link("y");
    load.stop();
    assert_eq!(load.broken(), 0, "every request was answered");
    let failed_since = load.refused() + node.metric("terse_clicks_unrecorded_total");
    // A request under way when the first one succeeded may still fail.
    assert!(failed_since <= refused + unrecorded + CLIENTS as u64);
    (node, load)
}

#[test]
fn when_no_file_can_grow_redirects_go_on_and_the_missing_clicks_are_counted_as_missing() {
    let (mut node, load) = through_a_time_without_growth("serve");
    assert_eq!(load.refused(), 0);
    let unrecorded = node.metric("terse_clicks_unrecorded_total");
    let outcome = outcome(&mut node, &[&load], 0);
    assert_gap_is_shown(&outcome, unrecorded);
}

#[test]
fn when_no_file_can_grow_a_server_told_to_refuse_answers_no_click_that_it_cannot_record() {
    let (mut node, load) = through_a_time_without_growth("refuse");
    assert!(load.refused() > 0);
    assert_eq!(node.metric("terse_clicks_unrecorded_total"), 0);
    assert_nothing_missing(&mut node, &[&load], CLIENTS);
}
