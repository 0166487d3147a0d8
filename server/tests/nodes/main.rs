//! Machines that are lost, databases that are away or older than they were: what the real servers on one
//! database do then. Every test ends with the same question: is each answered click counted exactly once?

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::print_stdout, reason = "the figures belong into the log")]

mod backup;
#[expect(dead_code, reason = "each test binary uses its part")]
#[path = "../common/mod.rs"]
mod common;
mod database;
#[expect(dead_code, reason = "each test binary uses its part")]
#[path = "../common/load.rs"]
mod load;
mod migration;
mod node_level;
mod restored;
mod ship;
mod together;

use std::collections::{HashMap, HashSet};

use common::Node;
use load::Load;

const CLIENTS: usize = 4;

/// Looks at every click in the database of a node, whose server must not run: every answered one is
/// counted, none is counted twice or was never sent, and at most `beyond` are counted unanswered.
fn assert_exact(node: &Node, loads: &[&Load], beyond: usize) {
    let (code, text) = node.run(&["verify"], &[]);
    assert_eq!(code, Some(0), "{text}");
    let mut times: HashMap<String, usize> = HashMap::new();
    for id in node.counted_ids() {
        *times.entry(id).or_default() += 1;
    }
    let answered: HashSet<String> = loads.iter().flat_map(|load| load.answered()).collect();
    let sent: HashSet<String> = loads.iter().flat_map(|load| load.sent()).collect();
    let lost = answered.iter().filter(|id| !times.contains_key(*id));
    let lost = lost.count();
    let doubled = times.values().filter(|times| **times > 1).count();
    let unanswered = times.keys().filter(|id| !answered.contains(*id)).count();
    println!(
        "answered={} counted={} lost={lost} doubled={doubled} unanswered_but_counted={unanswered}",
        answered.len(),
        times.len()
    );
    assert_eq!((lost, doubled), (0, 0));
    assert!(times.keys().all(|id| sent.contains(id)), "never sent");
    assert!(
        unanswered <= beyond,
        "{unanswered} refused clicks are counted"
    );
    assert!(answered.len() > 50, "there was hardly any load");
}
