//! A disk that says it could not write.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::Node;
use crate::load::Load;
use crate::{assert_gap_is_shown, assert_nothing_missing, outcome, root};

const CLIENTS: usize = 4;
const BOTH: [&str; 2] = ["process", "power"];

/// Lets syncs fail, from outside.
struct Failing {
    strace: Vec<Child>,
    record: PathBuf,
}

impl Failing {
    /// The `when`th syncs of each thread whose name begins like this.
    fn in_threads(node: &Node, name: &str, when: &str) -> Self {
        let mut failing = Self::none(node);
        for thread in node.threads(name) {
            failing.attach(&thread.to_string(), &[], when);
        }
        assert!(!failing.strace.is_empty(), "no thread {name}");
        failing
    }

    /// Every sync of every thread, those of the database too.
    fn everywhere(node: &Node) -> Self {
        let mut failing = Self::none(node);
        failing.attach(&node.pid().to_string(), &["-f"], "1+");
        failing
    }

    fn none(node: &Node) -> Self {
        Self {
            strace: Vec::new(),
            record: node.dir().join("syncs"),
        }
    }

    fn attach(&mut self, process: &str, flags: &[&str], when: &str) {
        let record = format!("{}.{process}", self.record.display());
        let strace = Command::new("strace")
            .args(["-qq", "-o", &record, "-e", "trace=fdatasync,fsync"])
            .arg("-e")
            .arg(format!("inject=fdatasync,fsync:error=EIO:when={when}"))
            .args(flags)
            .args(["-p", process])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("strace is installed by scripts/test --all");
        self.strace.push(strace);
        self.record = record.into();
    }

    /// How many syncs failed so far, of those that were attached to last.
    fn count(&self) -> usize {
        let record = std::fs::read_to_string(&self.record).unwrap_or_default();
        record.matches("(INJECTED)").count()
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        for strace in &mut self.strace {
            let pid = rustix::process::Pid::from_child(strace);
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
            let _ = strace.wait();
        }
    }
}

fn loaded(settings: &[(&str, &str)]) -> (Node, Load) {
    let mut node = Node::new(settings);
    node.start();
    node.create_link("x");
    let load = Load::start(node.port(), CLIENTS, "/x");
    node.wait_until("there is load", |_| load.count() > 100);
    (node, load)
}

#[test]
fn one_failed_sync_costs_its_file_and_no_click() {
    if !root::wanted() {
        return;
    }
    for (durability, threads) in BOTH.into_iter().zip(["terse-spool", "terse-sync"]) {
        let (mut node, load) = loaded(&[("TERSE_CLICK_DURABILITY", durability)]);
        let files = node.spool_files();
        let failing = Failing::in_threads(&node, threads, "2");
        node.wait_until("a sync fails", |node| {
            node.metric("terse_spool_sync_errors_total") > 0
        });
        let before = load.count();
        node.wait_until("redirects go on", |_| load.count() > before + 200);
        drop(failing);
        let errors = node.metric("terse_spool_sync_errors_total");
        println!("{durability}: {errors} failed syncs, one per thread");
        assert!(node.spool_files() > files, "it goes on in fresh files");
        load.stop();
        assert_eq!((load.refused(), load.broken()), (0, 0));
        assert_eq!(node.metric("terse_clicks_unrecorded_total"), 0);
        assert_nothing_missing(&mut node, &[&load], CLIENTS);
    }
}

/// Through a time when nothing can be synced, neither clicks nor the database.
fn through_failing_syncs(durability: &str, policy: &str) -> (Node, Load) {
    let (node, load) = loaded(&[
        ("TERSE_CLICK_DURABILITY", durability),
        ("TERSE_ON_UNRECORDABLE", policy),
    ]);
    let failing = Failing::everywhere(&node);
    node.wait_until("a click cannot be recorded", |node| {
        node.metric("terse_clicks_unrecorded_total") > 0 || load.refused() > 0
    });
    node.wait_until("it says so", |node| node.get("/health/ready") == 503);
    assert_eq!(node.get("/health/live"), 200);
    let (begun, before) = (Instant::now(), failing.count());
    std::thread::sleep(Duration::from_secs(2));
    let tried = failing.count() - before;
    println!(
        "{durability}, {policy}: {tried} syncs tried in {:?}",
        begun.elapsed()
    );
    assert!(tried > 0, "it goes on trying");
    assert!(tried < 300, "a busy loop");
    drop(failing);
    node.wait_until("it goes on without a restart", |node| {
        node.get("/health/ready") == 200
    });
    let before = node.metric("terse_spool_appended_total");
    node.wait_until("clicks are recorded again", |node| {
        node.metric("terse_spool_appended_total") > before + 100
    });
    load.stop();
    assert_eq!(load.broken(), 0, "every request was answered");
    (node, load)
}

#[test]
fn while_nothing_can_be_synced_redirects_go_on_and_the_missing_clicks_are_counted_as_missing() {
    if !root::wanted() {
        return;
    }
    for durability in BOTH {
        let (mut node, load) = through_failing_syncs(durability, "serve");
        assert_eq!(load.refused(), 0);
        let unrecorded = node.metric("terse_clicks_unrecorded_total");
        let outcome = outcome(&mut node, &[&load], CLIENTS);
        assert_gap_is_shown(&outcome, unrecorded);
    }
}

#[test]
fn while_nothing_can_be_synced_a_server_told_to_refuse_answers_no_click_that_it_cannot_record() {
    if !root::wanted() {
        return;
    }
    for durability in BOTH {
        let (mut node, load) = through_failing_syncs(durability, "refuse");
        assert!(load.refused() > 0);
        assert_eq!(node.metric("terse_clicks_unrecorded_total"), 0);
        let refused = usize::try_from(load.refused()).unwrap();
        assert_nothing_missing(&mut node, &[&load], refused);
    }
}
