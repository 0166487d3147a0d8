//! What the real server does when the machine under it fails: disks that are full or refuse, power
//! that is cut, clocks that jump, directories that are copied. Every test ends with the same
//! question: is each answered click counted exactly once, or shown as missing?

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::print_stdout, reason = "the figures belong into the log")]

mod clock;
#[expect(dead_code, reason = "each test binary uses its part")]
#[path = "../common/mod.rs"]
mod common;
mod database;
mod files;
mod full;
#[path = "../common/load.rs"]
mod load;
mod no_growth;
mod own_server;
mod power;
mod read_only;
mod root;
mod slow_disk;
mod sync_error;
mod threads;

use std::collections::{HashMap, HashSet};

use common::Node;
use load::Load;

/// Clicks that were answered, and what became of them.
struct Outcome {
    answered: usize,
    /// Answered and not counted.
    missing: usize,
    /// What `terse-server verify` says was answered without a record.
    told: usize,
}

/// Stops the server in order and looks at every click. None is counted twice, none was never sent;
/// beyond the answered ones at most `under_way` are counted.
fn outcome(node: &mut Node, loads: &[&Load], under_way: usize) -> Outcome {
    node.wait_until_folded();
    let (code, text) = node.verify();
    assert_eq!(code, Some(0), "verify beside the running server: {text}");
    assert_eq!(node.stop(), Some(0));
    let (code, text) = node.verify();
    assert_eq!(code, Some(0), "verify after the end: {text}");
    let told = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("answered without a record: "));
    let told = told.map_or(0, |told| told.parse().unwrap());
    let mut times: HashMap<String, usize> = HashMap::new();
    for id in node.counted_ids() {
        *times.entry(id).or_default() += 1;
    }
    let answered: HashSet<String> = loads.iter().flat_map(|load| load.answered()).collect();
    let sent: HashSet<String> = loads.iter().flat_map(|load| load.sent()).collect();
    assert!(times.values().all(|times| *times == 1), "counted twice");
    assert!(times.keys().all(|id| sent.contains(id)), "never sent");
    let beyond = times.keys().filter(|id| !answered.contains(*id)).count();
    assert!(
        beyond <= under_way,
        "{beyond} unanswered clicks are counted"
    );
    let missing = answered.iter().filter(|id| !times.contains_key(*id));
    let missing = missing.count();
    println!(
        "answered={} counted={} missing={missing} told={told}",
        answered.len(),
        times.len()
    );
    Outcome {
        answered: answered.len(),
        missing,
        told,
    }
}

/// Clicks are missing, and each is in the metric and in the database as missing.
fn assert_gap_is_shown(outcome: &Outcome, unrecorded: u64) {
    assert!(unrecorded > 0, "no click was missing");
    assert_eq!(outcome.missing as u64, unrecorded);
    assert_eq!(outcome.missing, outcome.told);
}

/// Every answered click is counted.
fn assert_nothing_missing(node: &mut Node, loads: &[&Load], under_way: usize) {
    let outcome = outcome(node, loads, under_way);
    assert_eq!(
        (outcome.missing, outcome.told),
        (0, 0),
        "of {}",
        outcome.answered
    );
    assert!(outcome.answered > 50, "there was hardly any load");
}
