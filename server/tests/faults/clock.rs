//! A clock that jumps under a running server.

use std::path::PathBuf;

use crate::common::Node;
use crate::database::Lock;
use crate::load::Load;
use crate::{assert_nothing_missing, own_server, root};

const CLIENTS: usize = 4;
const JUMP: i64 = 2 * 60 * 60;

fn libfaketime() -> PathBuf {
    let found = ["x86_64", "aarch64"].map(|machine| {
        PathBuf::from(format!(
            "/usr/lib/{machine}-linux-gnu/faketime/libfaketime.so.1"
        ))
    });
    found
        .into_iter()
        .find(|path| path.exists())
        .expect("libfaketime is installed by scripts/test --all")
}

/// Jumps back and forth under load, with a kill while the clock is behind.
fn assert_jumps_lose_and_double_nothing(mut node: Node, jump: impl Fn(&Node, i64)) {
    jump(&node, 0);
    node.start();
    node.create_link("x");
    let load = Load::start(node.port(), CLIENTS, "/x");
    for seconds in [-JUMP, 0, JUMP, -JUMP, 0] {
        jump(&node, seconds);
        let before = load.count();
        node.wait_until("redirects go on", |_| load.count() > before + 200);
        assert_eq!(node.get("/health/ready"), 200, "at {seconds} s");
        match seconds {
            // The access token has ended: the server does live in that time.
            JUMP => assert_eq!(node.list_links(), 401),
            0 => assert_eq!(node.list_links(), 200),
            _ => {}
        }
    }
    assert_eq!((load.refused(), load.broken()), (0, 0));
    jump(&node, -JUMP);
    node.kill();
    jump(&node, 0);
    node.start();
    let before = load.count();
    node.wait_until("redirects go on", |_| load.count() > before + 200);
    // Clicks of a time that has not come, when the database gets them.
    let lock = Lock::take(&node);
    jump(&node, JUMP);
    let before = load.count();
    node.wait_until("redirects go on", |_| load.count() > before + 200);
    jump(&node, 0);
    drop(lock);
    node.wait_until("they are taken as of now", |node| {
        node.metric("terse_clock_skew_total") >= 200
    });
    load.stop();
    assert_nothing_missing(&mut node, &[&load], CLIENTS);
}

#[test]
fn a_clock_that_jumps_by_hours_loses_and_doubles_nothing() {
    assert_jumps_lose_and_double_nothing(own_server::node(&[]), own_server::move_clock);
}

#[test]
fn the_real_server_on_a_machine_whose_clock_jumps_loses_and_doubles_nothing() {
    if !root::wanted() {
        return;
    }
    let mut node = Node::new(&[]);
    let offset = node.dir().join(own_server::OFFSET);
    node.set("LD_PRELOAD", libfaketime().to_str().unwrap());
    node.set("FAKETIME_TIMESTAMP_FILE", offset.to_str().unwrap());
    node.set("FAKETIME_NO_CACHE", "1");
    // Timeouts measure what passed, as on a machine whose clock is set.
    node.set("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    assert_jumps_lose_and_double_nothing(node, own_server::move_clock);
}

#[test]
fn a_clock_that_jumps_neither_renews_nor_prolongs_a_limit() {
    let mut node = own_server::node(&[("TERSE_RATE_LIMIT_REDIRECT", "30/m")]);
    node.start();
    node.create_link("x");
    let answered = |times: usize| (0..times).filter(|_| node.get("/x") == 302).count();
    assert!((1..40).contains(&answered(40)), "the limit is met");
    own_server::move_clock(&node, JUMP);
    // One more may have become free by the passing of real time.
    assert!(answered(20) <= 2, "hours that did not pass renew nothing");
    own_server::move_clock(&node, -JUMP);
    node.wait_until("another visit is allowed soon", |node| {
        node.get("/x") == 302
    });
}
