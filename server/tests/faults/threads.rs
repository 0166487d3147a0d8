//! Threads and requests that panic: one request is lost at most, never the server without a word.

use std::time::{Duration, Instant};

use crate::common::{Node, client};
use crate::load::Load;
use crate::{assert_nothing_missing, own_server};

const CLIENTS: usize = 8;

/// Longer than any server may take to end.
const END: Duration = Duration::from_secs(15);

#[test]
fn a_server_ends_with_an_error_when_a_thread_that_clicks_depend_on_dies() {
    for durability in ["process", "power"] {
        for thread in ["terse-fold", "terse-spool"] {
            let mut node = own_server::node(&[("TERSE_CLICK_DURABILITY", durability)]);
            node.start();
            node.create_link("x");
            let load = Load::start(node.port(), CLIENTS, "/x");
            node.wait_until("there is load", |_| load.count() > 100);
            own_server::trap(&node, thread);
            own_server::wait_until_sprung(&node);
            let died = Instant::now();
            assert_eq!(node.wait_for_end(END), Some(1), "{}", node.logged());
            println!("{durability}, {thread}: ended after {:?}", died.elapsed());
            assert!(node.logged().contains("has died"), "{}", node.logged());
            node.start();
            let before = load.count();
            node.wait_until("clicks are answered again", |_| load.count() > before + 100);
            load.stop();
            assert_nothing_missing(&mut node, &[&load], CLIENTS);
        }
    }
}

fn links(node: &Node, token: &str) -> u16 {
    let answer = client()
        .get(node.url("/api/v1/links"))
        .bearer_auth(token)
        .send();
    answer.unwrap().status().as_u16()
}

#[test]
fn a_request_that_panics_gets_a_500_and_no_other_request_notices() {
    let mut node = own_server::node(&[]);
    node.start();
    node.create_link("x");
    let token = node.token();
    own_server::trap(&node, "tokio-");
    assert_eq!(links(&node, &token), 500);
    assert_eq!(links(&node, &token), 200);
    assert_eq!(node.metric("terse_panics_total"), 1);
    let load = Load::start(node.port(), CLIENTS, "/x");
    for panics in 2..=4 {
        let before = load.count();
        own_server::trap(&node, "tokio-");
        node.wait_until("a request panics", |node| {
            node.metric("terse_panics_total") == panics
        });
        node.wait_until("redirects go on", |_| load.count() > before + 200);
    }
    load.stop();
    assert_eq!(load.refused(), 3, "one answer for each panic");
    assert_eq!(load.broken(), 0, "no connection was closed");
    assert_nothing_missing(&mut node, &[&load], CLIENTS);
}
