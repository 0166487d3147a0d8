//! What an answered click survives: the real server, killed at random moments under load.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::print_stdout, reason = "the figures belong into the log")]

#[expect(dead_code, reason = "each test binary uses its part")]
#[path = "../common/mod.rs"]
mod common;
mod ladder;
#[expect(dead_code, reason = "each test binary uses its part")]
#[path = "../common/load.rs"]
mod load;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::time::Duration;

use common::Node;
use load::Load;

/// Rounds of the kill loop: 10 in the suite, more by hand.
fn rounds() -> usize {
    std::env::var("TERSE_TEST_ROUNDS")
        .ok()
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(10)
}

const CLIENTS: usize = 16;

/// What became of the clicks of a load.
#[derive(Default)]
struct Tally {
    sent: usize,
    answered: usize,
    counted: usize,
    /// Counted although nobody got the answer.
    extra: usize,
}

/// Looks at every click: each answered one is counted once, and none that was never sent.
fn tally(load: &Load, counted: &[String]) -> Tally {
    let mut times: HashMap<&str, usize> = HashMap::new();
    for id in counted {
        *times.entry(id).or_default() += 1;
    }
    let (answered, sent) = (load.answered(), load.sent());
    let lost = answered
        .iter()
        .filter(|id| !times.contains_key(id.as_str()));
    let doubled = times.values().filter(|times| **times > 1);
    let (lost, doubled) = (lost.count(), doubled.count());
    assert!(
        lost == 0 && doubled == 0,
        "of {} answered clicks {lost} were lost; {doubled} were counted twice",
        answered.len()
    );
    let invented: Vec<_> = times.keys().filter(|id| !sent.contains(**id)).collect();
    assert!(invented.is_empty(), "{invented:?}");
    Tally {
        sent: sent.len(),
        answered: answered.len(),
        counted: counted.len(),
        extra: times.keys().filter(|id| !answered.contains(**id)).count(),
    }
}

/// What is counted beyond the answered clicks was under way at a kill.
fn assert_exactly_once(load: &Load, counted: &[String], kills: usize) {
    let tally = tally(load, counted);
    println!(
        "kills={kills} sent={} answered={} counted={} lost=0 doubled=0 unanswered_but_counted={}",
        tally.sent, tally.answered, tally.counted, tally.extra
    );
    assert!(tally.extra <= CLIENTS * kills.max(1));
    assert!(
        tally.answered > 100 * kills.min(10),
        "there was hardly any load"
    );
}

#[test]
fn a_server_killed_again_and_again_loses_and_doubles_no_answered_click() {
    for (durability, sealing) in [
        ("process", "usual"),
        ("process", "small"),
        ("power", "small"),
    ] {
        let mut node = Node::new(&[
            ("TERSE_CLICK_DURABILITY", durability),
            ("TERSE_TEST_SEALING", sealing),
        ]);
        node.start();
        node.create_link("x");
        let load = Load::start(node.port(), CLIENTS, "/x");
        let rounds = rounds();
        let mut kills = 0;
        for round in 0..rounds {
            std::thread::sleep(Duration::from_millis(120 + 37 * (round as u64 % 11)));
            node.kill();
            kills += 1;
            if round % 4 == 1 {
                // Once more, while it recovers.
                node.spawn();
                std::thread::sleep(Duration::from_millis(5 + 9 * (round as u64 % 7)));
                node.kill();
                kills += 1;
            }
            node.start();
        }
        std::thread::sleep(Duration::from_millis(300));
        load.stop();
        node.wait_until_folded();
        node.wait_until("clicks are sealed", |node| {
            let (code, text) = node.verify();
            assert_eq!(code, Some(0), "verify beside the running server: {text}");
            sealing != "small" || !text.contains(" 0 chunks")
        });
        assert_eq!(node.stop(), Some(0));
        assert_exactly_once(&load, &node.counted_ids(), kills);
    }
}

/// Every place of the library that may die by its name, of those whose names begin so.
fn failpoints(beginnings: &[&str]) -> Vec<String> {
    let mut places = BTreeSet::new();
    let mut dirs = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/src")];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                let text = std::fs::read_to_string(path).unwrap();
                let named = text.split("failpoint(\"").skip(1);
                places.extend(named.map(|rest| rest.split('"').next().unwrap().to_owned()));
            }
        }
    }
    let wanted = |place: &String| beginnings.iter().any(|name| place.starts_with(name));
    places.into_iter().filter(wanted).collect()
}

#[test]
fn a_server_that_dies_while_it_seals_or_merges_loses_and_doubles_no_answered_click() {
    // Nothing is erased unless somebody asks for it.
    let places = failpoints(&["seal.", "merge."]);
    assert!(places.len() >= 7, "{places:?}");
    // A few at a time: each has to get so far that it dies.
    for places in places.chunks(2) {
        std::thread::scope(|scope| {
            for place in places {
                scope.spawn(move || dies_once(place));
            }
        });
    }
}

fn dies_once(place: &str) {
    let mut node = Node::new(&[("TERSE_TEST_SEALING", "small"), ("TERSE_FAILPOINT", place)]);
    node.start();
    node.create_link("x");
    // Sealing and merging give way to redirects: on few cores they would wait for as long as these never pause.
    let load = Load::paced(node.port(), 4, "/x", "c", 400);
    let code = node.wait_for_end(Duration::from_mins(3));
    assert_eq!(code, None, "aborted at {place}");
    node.set("TERSE_FAILPOINT", "");
    node.start();
    let before = load.count();
    node.wait_until("there are clicks again", |_| load.count() > before + 200);
    load.stop();
    node.wait_until_folded();
    node.wait_until("clicks are sealed", |node| {
        let (code, text) = node.verify();
        assert_eq!(code, Some(0), "{place}: verify beside the server: {text}");
        !text.contains(" 0 chunks")
    });
    assert_eq!(node.stop(), Some(0));
    println!("{place}:");
    assert_exactly_once(&load, &node.counted_ids(), 1);
    let (code, text) = node.verify();
    assert_eq!(code, Some(0), "{place}: {text}");
}

#[test]
fn a_server_that_dies_while_it_deletes_clicks_has_deleted_none_or_all_of_a_chunk() {
    let place = "erase.before_commit";
    let mut node = Node::new(&[("TERSE_TEST_SEALING", "small"), ("TERSE_FAILPOINT", place)]);
    node.start();
    node.create_link("x");
    let load = Load::start(node.port(), 2, "/x");
    node.wait_until("there are clicks", |_| load.count() > 200);
    load.stop();
    node.wait_until_folded();
    assert_eq!(node.delete_clicks(), None, "nobody answered any more");
    assert_eq!(node.wait_for_end(Duration::from_mins(1)), None);
    node.set("TERSE_FAILPOINT", "");
    node.start();
    let (code, text) = node.verify();
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(node.delete_clicks(), Some(204));
    let (code, text) = node.verify();
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(node.stop(), Some(0));
    assert!(node.counted_ids().is_empty());
}

#[test]
fn a_graceful_stop_under_load_finishes_in_time_and_loses_nothing() {
    let mut node = Node::new(&[]);
    node.start();
    node.create_link("x");
    let load = Load::start(node.port(), CLIENTS, "/x");
    std::thread::sleep(Duration::from_millis(500));
    let begun = std::time::Instant::now();
    assert_eq!(node.stop(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(10));
    load.stop();
    node.start();
    node.wait_until_folded();
    assert_eq!(node.stop(), Some(0));
    assert_exactly_once(&load, &node.counted_ids(), 1);
}

#[test]
fn a_database_put_back_from_a_backup_is_given_the_missing_clicks_again() {
    let mut node = Node::new(&[]);
    node.start();
    node.create_link("x");
    let first = Load::start(node.port(), 2, "/x");
    std::thread::sleep(Duration::from_millis(300));
    first.stop();
    node.wait_until_folded();
    assert_eq!(node.stop(), Some(0));
    let backup = node.backup();
    node.start();
    let second = Load::named(node.port(), 2, "/x", "later");
    std::thread::sleep(Duration::from_millis(300));
    second.stop();
    node.wait_until_folded();
    assert_eq!(node.stop(), Some(0));
    node.restore(&backup);
    node.start();
    node.wait_until_folded();
    assert_eq!(node.stop(), Some(0));
    let counted: HashSet<String> = node.counted_ids().into_iter().collect();
    let expected: HashSet<String> = first
        .answered()
        .union(&second.answered())
        .cloned()
        .collect();
    assert_eq!(counted.len(), expected.len());
    assert!(counted == expected);
}

#[test]
fn a_second_server_on_the_same_directory_refuses_to_start() {
    let mut node = Node::new(&[]);
    node.start();
    let text = node.second_server_refusal();
    assert!(
        text.contains("another process uses the spool directory"),
        "{text}"
    );
    assert_eq!(node.stop(), Some(0));
}

/// Changes a byte of every place of the database that holds this text.
fn damage(node: &Node, text: &[u8]) {
    let path = node.data().join("terse.db");
    let mut file = std::fs::read(&path).unwrap();
    let places: Vec<_> = (0..file.len() - text.len())
        .filter(|place| &file[*place..place + text.len()] == text)
        .collect();
    assert!(!places.is_empty(), "the text is in the database");
    for place in places {
        file[place] ^= 1;
    }
    std::fs::write(path, file).unwrap();
}

#[test]
fn verify_tells_where_stored_clicks_are_damaged() {
    let sealings = [
        ("usual", "0 chunks", "the tail: "),
        ("small", " chunks", ", chunk "),
    ];
    for (sealing, chunks, place) in sealings {
        let mut node = Node::new(&[("TERSE_TEST_SEALING", sealing)]);
        node.start();
        node.create_link("x");
        let load = Load::named(node.port(), 1, "/x", "needle");
        node.wait_until("there are clicks", |_| load.count() > 200);
        load.stop();
        node.wait_until_folded();
        node.wait_until("clicks are sealed", |node| {
            sealing != "small" || !node.verify().1.contains(" 0 chunks")
        });
        assert_eq!(node.stop(), Some(0));
        let (code, text) = node.verify();
        assert_eq!(code, Some(0), "{text}");
        assert!(
            text.contains(chunks) && text.contains("rows and counters agree"),
            "{text}"
        );
        damage(&node, b"needle");
        let (code, text) = node.verify();
        assert_eq!(code, Some(1), "{text}");
        assert!(
            text.contains("clicks are DAMAGED, rows and counters DIFFER"),
            "{text}"
        );
        let line = text.lines().find(|line| line.contains(place));
        let line = line.unwrap_or_else(|| panic!("{place:?} in {text}"));
        assert!(line.starts_with("  workspace "), "{line}");
        assert!(line.ends_with(": a checksum differs"), "{line}");
        if sealing == "small" {
            assert!(line.contains(" of 20"), "the day: {line}");
        }
    }
}
