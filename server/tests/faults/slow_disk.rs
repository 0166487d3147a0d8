//! A disk on which every sync takes long.

use std::time::{Duration, Instant};

use crate::common::Node;
use crate::load::Load;
use crate::{assert_nothing_missing, root};

/// What each sync takes longer than the disk under the test needs.
const DELAY: Duration = Duration::from_millis(20);
const CLIENTS: u32 = 48;
const PER_SECOND: u32 = 480;
const LENGTH: Duration = Duration::from_secs(3);

/// What visitors saw.
struct Seen {
    p50: Duration,
    p99: Duration,
    clicks_per_sync: f64,
}

/// The server has every sync of its own and of its database delayed from its first one on, with no thread
/// held up otherwise.
fn node(durability: &str, delay: Duration) -> Node {
    let mut node = Node::new(&[("TERSE_CLICK_DURABILITY", durability)]);
    let record = node.dir().join("syncs").display().to_string();
    let inject = format!("inject=fdatasync,fsync:delay_enter={}", delay.as_micros());
    node.launch_through(&[
        "strace",
        "-D",
        "-f",
        "--seccomp-bpf",
        "-qq",
        "-o",
        &record,
        "-e",
        "signal=none",
        "-e",
        "trace=fdatasync,fsync",
        "-e",
        &inject,
    ]);
    node
}

/// How many syncs these threads have made so far.
fn syncs(node: &Node, threads: &[u32]) -> usize {
    let record = std::fs::read_to_string(node.dir().join("syncs")).unwrap();
    let by = record.lines().filter_map(|line| {
        let (thread, call) = line.split_once(' ')?;
        call.contains("sync(").then(|| thread.parse::<u32>().ok())?
    });
    by.filter(|thread| threads.contains(thread)).count()
}

fn through_load(durability: &str, delay: Duration) -> Seen {
    let mut node = node(durability, delay);
    node.start();
    node.create_link("x");
    let load = Load::paced(node.port(), CLIENTS, "/x", "c", PER_SECOND);
    node.wait_until("there is load", |_| load.count() > CLIENTS as usize);
    let threads = node.threads("terse-sync");
    let (begun, before) = (Instant::now(), load.count());
    let (_, synced) = (load.p99(), syncs(&node, &threads));
    let mut slowest_question = Duration::ZERO;
    while begun.elapsed() < LENGTH {
        let asked = Instant::now();
        assert_eq!(node.list_links(), 200);
        slowest_question = slowest_question.max(asked.elapsed());
        std::thread::sleep(Duration::from_millis(50));
    }
    let (p50, p99) = load.p50_and_p99();
    let clicks = load.count() - before;
    let synced = syncs(&node, &threads) - synced;
    load.stop();
    let (memory, lines) = (node.peak_memory(), node.logged().lines().count());
    // No thread syncs for clicks where none waits for it.
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let clicks_per_sync = clicks as f64 / synced.max(1) as f64;
    println!(
        "{durability}, syncs delayed by {delay:?}: p50={p50:.1?} p99={p99:.1?} clicks={clicks} waited_for_syncs={synced} slowest_question={slowest_question:.1?} peak_mib={memory} lines_logged={lines}"
    );
    assert_eq!((load.refused(), load.broken()), (0, 0), "nobody gave up");
    assert_eq!(node.metric("terse_clicks_unrecorded_total"), 0);
    assert!(memory < 256, "{memory} MiB");
    assert!(lines < 20, "{}", node.logged());
    assert_nothing_missing(&mut node, &[&load], CLIENTS as usize);
    Seen {
        p50,
        p99,
        clicks_per_sync,
    }
}

#[test]
fn on_a_slow_disk_clicks_that_wait_for_a_sync_wait_together() {
    if !root::can_trace() {
        return;
    }
    let usual = through_load("power", Duration::ZERO);
    let slow = through_load("power", DELAY);
    // One's own sync, and what is left of the one before.
    assert!(slow.p50 >= DELAY, "{:?}", slow.p50);
    assert!(slow.p50 < usual.p50 * 2 + DELAY * 3, "{:?}", slow.p50);
    assert!(slow.p99 < Duration::from_secs(1), "{:?}", slow.p99);
    assert!(slow.clicks_per_sync > 2.0, "{:.1}", slow.clicks_per_sync);
}

#[test]
fn on_a_slow_disk_clicks_that_wait_for_no_sync_are_answered_at_once() {
    if !root::can_trace() {
        return;
    }
    let slow = through_load("process", DELAY);
    assert!(slow.p50 < DELAY, "{:?}", slow.p50);
}
