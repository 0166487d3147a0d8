//! Mails leave a real server: over SMTP to another real server, and as files.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[expect(dead_code, reason = "each test binary uses its part")]
#[path = "../common/mod.rs"]
mod common;

mod jobs;
mod outbox;
mod post_office;
mod registration;
mod silent;
mod smtp;

use serde_json::Value;

use common::Node;

/// A running server with these settings.
pub(crate) fn running(settings: &[(&str, &str)]) -> Node {
    let mut node = Node::new(settings);
    node.start();
    node
}

/// The jobs that are not done.
pub(crate) fn jobs(node: &Node, token: &str) -> Vec<Value> {
    let request = common::client()
        .get(node.url("/api/v1/jobs"))
        .header("Host", "localhost")
        .bearer_auth(token);
    let page: Value = request.send().unwrap().json().unwrap();
    page["items"].as_array().unwrap().clone()
}

/// Waits for an attempt to fail; returns why.
pub(crate) fn failure(node: &Node, token: &str) -> String {
    let error = |node: &Node| jobs(node, token)[0]["error"].as_str().map(str::to_owned);
    node.wait_until("an attempt fails", |node| error(node).is_some());
    error(node).unwrap()
}
