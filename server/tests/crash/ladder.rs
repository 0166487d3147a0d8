//! F45: the server dies between any two steps of a click's way into the database, the first, the second and
//! the seventh time that it gets there.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::common::Node;
use crate::load::Load;
use crate::{Tally, failpoints, tally};

/// How often a life gets to the place at which it ends, and at which level clicks are answered in it.
const LIVES: [(u32, &str); 3] = [(1, "process"), (2, "power"), (7, "process")];
const CLIENTS: u32 = 4;
/// Servers that run beside each other.
const AT_ONCE: usize = 5;

#[test]
fn a_server_that_dies_between_any_two_steps_of_a_clicks_way_loses_and_doubles_nothing() {
    let places = failpoints(&["resolve.", "spool.", "answer.", "ship.", "rotate."]);
    assert!(places.len() >= 13, "{places:?}");
    let begun = Instant::now();
    let (waiting, tallies) = (Mutex::new(places.iter()), Mutex::new(Vec::new()));
    let next = || waiting.lock().unwrap().next();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(place) = next() {
                    let tally = dies_at(place);
                    tallies.lock().unwrap().push(tally);
                }
            });
        }
    });
    let tallies = tallies.into_inner().unwrap();
    let sum = |of: fn(&Tally) -> usize| tallies.iter().map(of).sum::<usize>();
    println!(
        "deaths={} places={} answered={} counted={} lost=0 doubled=0 unanswered_but_counted={} took={:.1?}",
        places.len() * LIVES.len(),
        places.len(),
        sum(|tally| tally.answered),
        sum(|tally| tally.counted),
        sum(|tally| tally.extra),
        begun.elapsed()
    );
}

fn dies_at(place: &str) -> Tally {
    let mut node = Node::new(&[
        // Small files that are removed at once: some are made, ended and removed in every life.
        ("TERSE_SPOOL_MAX_BYTES", "512KiB"),
        ("TERSE_SPOOL_RETAIN", "1ms"),
        ("TERSE_ON_UNRECORDABLE", "refuse"),
    ]);
    node.start();
    node.create_link("x");
    assert_eq!(node.stop(), Some(0));
    let per_second = if place.starts_with("rotate") {
        600
    } else {
        100
    };
    let load = Load::paced(node.port(), CLIENTS, "/x", "c", per_second);
    for (times, durability) in LIVES {
        node.set("TERSE_CLICK_DURABILITY", durability);
        node.set("TERSE_FAILPOINT", &format!("{place}@{times}"));
        // It may be dead before anybody has seen it ready.
        node.spawn();
        let code = node.wait_for_end(Duration::from_mins(1));
        assert_eq!(code, None, "aborted at {place}: {}", node.logged());
    }
    node.set("TERSE_FAILPOINT", "");
    node.start();
    let before = load.count();
    node.wait_until("there are clicks again", |_| load.count() > before + 50);
    load.stop();
    node.wait_until_folded();
    assert_eq!(node.stop(), Some(0), "{place}: {}", node.logged());
    let tally = tally(&load, &node.counted_ids());
    assert!(
        tally.extra <= CLIENTS as usize * LIVES.len(),
        "{place}: {} unanswered clicks are counted",
        tally.extra
    );
    tally
}
