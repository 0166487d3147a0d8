//! The power is cut: only what is on the disk is there afterwards.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use crate::common::Node;
use crate::load::Load;
use crate::root::{self, Mounted};

const CLIENTS: usize = 8;

fn rounds() -> u64 {
    let rounds = std::env::var("TERSE_TEST_ROUNDS").ok();
    rounds.and_then(|rounds| rounds.parse().ok()).unwrap_or(5)
}

/// Cuts the power again and again. Every click that was answered `window` before a cut must be
/// there, and every one that is answered once the machine is back for good.
fn assert_a_power_cut_takes_no_more_than(durability: &str, window: Duration) {
    let mut node = Node::new(&[("TERSE_CLICK_DURABILITY", durability)]);
    let image = node.dir().join("disk");
    let disk = Mounted::ext4(&image, &node.data(), 1_024);
    node.start();
    node.create_link("x");
    let mut ages: HashMap<String, Duration> = HashMap::new();
    for round in 0..rounds() {
        let load = Load::named(node.port(), CLIENTS, "/x", &format!("r{round}-"));
        std::thread::sleep(Duration::from_millis(1_300 + 130 * (round % 7)));
        // The machine stands still; what happens to its disk then, happens at this moment.
        node.freeze();
        let cut = Instant::now();
        disk.cut_power();
        node.kill();
        load.stop();
        let answered = load.answered_at().into_iter();
        // An answer may have been on its way to the client when the machine stopped.
        ages.extend(answered.map(|(id, at)| (id, cut.saturating_duration_since(at))));
        disk.come_back(&image);
        node.start();
    }
    let last = Load::named(node.port(), CLIENTS, "/x", "last");
    node.wait_until("there is load", |_| last.count() > 500);
    last.stop();
    node.wait_until_folded();
    let (code, text) = node.verify();
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(node.stop(), Some(0));
    let ids = node.counted_ids();
    let counted: HashSet<&String> = ids.iter().collect();
    assert_eq!(counted.len(), ids.len(), "no click is counted twice");
    let lost = ages.iter().filter(|(id, _)| !counted.contains(id));
    let lost: Vec<Duration> = lost.map(|(_, age)| *age).collect();
    let dropped = last.answered();
    let dropped = dropped.iter().filter(|id| !counted.contains(id)).count();
    let oldest = lost.iter().max().copied().unwrap_or_default();
    println!(
        "{durability}: cuts={} answered={} counted={} lost={} oldest_lost={oldest:?} dropped_after={dropped}",
        rounds(),
        ages.len() + last.count(),
        ids.len(),
        lost.len()
    );
    assert_eq!(dropped, 0, "answered after the restart");
    let beyond = lost.iter().filter(|age| **age >= window).count();
    assert_eq!(beyond, 0, "lost although answered {window:?} before");
    assert!(ages.len() > 500, "there was hardly any load");
}

#[test]
fn at_level_power_a_power_cut_takes_no_answered_click() {
    if root::wanted() {
        assert_a_power_cut_takes_no_more_than("power", Duration::ZERO);
    }
}

#[test]
fn at_level_process_a_power_cut_takes_the_last_second_at_most_and_nothing_afterwards() {
    if root::wanted() {
        assert_a_power_cut_takes_no_more_than("process", Duration::from_secs(1));
    }
}
