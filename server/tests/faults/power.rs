//! The power is cut: only what is on the disk is there afterwards.

use std::collections::HashSet;
use std::time::Duration;

use crate::common::Node;
use crate::load::Load;
use crate::root::{self, Mounted};

const CLIENTS: usize = 8;

fn rounds() -> u64 {
    let rounds = std::env::var("TERSE_TEST_ROUNDS").ok();
    rounds.and_then(|rounds| rounds.parse().ok()).unwrap_or(5)
}

/// Cuts the power again and again. Every click that was answered `before` the cut must be there, and
/// every one that is answered once the machine is back for good.
fn assert_a_power_cut_takes_no_more_than(durability: &str, before: Duration) {
    let mut node = Node::new(&[("TERSE_CLICK_DURABILITY", durability)]);
    let image = node.dir().join("disk");
    let disk = Mounted::ext4(&image, &node.data(), 1_024);
    node.start();
    node.create_link("x");
    let mut safe: HashSet<String> = HashSet::new();
    let mut loads = Vec::new();
    for round in 0..rounds() {
        let load = Load::named(node.port(), CLIENTS, "/x", &format!("r{round}-"));
        std::thread::sleep(Duration::from_millis(700 + 130 * (round % 7)));
        safe.extend(load.answered());
        std::thread::sleep(before);
        disk.cut_power();
        load.stop();
        node.kill();
        disk.come_back(&image);
        node.start();
        loads.push(load);
    }
    let last = Load::named(node.port(), CLIENTS, "/x", "last");
    std::thread::sleep(Duration::from_millis(500));
    last.stop();
    safe.extend(last.answered());
    node.wait_until_folded();
    let (code, text) = node.verify();
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(node.stop(), Some(0));
    let ids = node.counted_ids();
    let counted: HashSet<&String> = ids.iter().collect();
    assert_eq!(counted.len(), ids.len(), "no click is counted twice");
    let lost = safe.iter().filter(|id| !counted.contains(id)).count();
    println!(
        "{durability}: safe={} counted={} lost={lost}",
        safe.len(),
        ids.len()
    );
    assert_eq!(lost, 0);
    assert!(safe.len() > 500, "there was hardly any load");
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
