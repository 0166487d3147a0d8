//! A disk that says it could not write.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::common::Node;
use crate::load::Load;
use crate::{assert_nothing_missing, outcome, root};

const CLIENTS: usize = 4;

/// Lets syncs of the spool's own threads fail, from outside.
struct Failing {
    strace: Vec<Child>,
}

impl Failing {
    fn start(node: &Node, threads: &str, when: &str) -> Self {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", node.pid())).unwrap();
        let named = |task: &std::path::Path| {
            std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name.starts_with(threads))
        };
        let tasks = tasks
            .map(|task| task.unwrap().path())
            .filter(|task| named(task));
        let strace: Vec<_> = tasks
            .map(|task| {
                Command::new("strace")
                    .args(["-qq", "-o", "/dev/null", "-e", "trace=fdatasync,fsync"])
                    .args([
                        "-e",
                        &format!("inject=fdatasync,fsync:error=EIO:when={when}"),
                    ])
                    .args(["-p", task.file_name().unwrap().to_str().unwrap()])
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .spawn()
                    .expect("strace is installed by scripts/test --all")
            })
            .collect();
        assert!(!strace.is_empty(), "no thread {threads}");
        Self { strace }
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

fn under_failing_syncs(durability: &str, threads: &str, when: &str) -> (Node, Load) {
    let mut node = Node::new(&[("TERSE_CLICK_DURABILITY", durability)]);
    node.start();
    node.create_link("x");
    let load = Load::start(node.port(), CLIENTS, "/x");
    std::thread::sleep(Duration::from_millis(300));
    let failing = Failing::start(&node, threads, when);
    node.wait_until("a sync fails", |node| {
        node.metric("terse_spool_sync_errors_total") > 0
    });
    std::thread::sleep(Duration::from_secs(2));
    drop(failing);
    let before = load.answered().len();
    node.wait_until("clicks are answered", |_| {
        load.answered().len() > before + 50
    });
    load.stop();
    (node, load)
}

#[test]
fn one_failed_sync_costs_its_file_and_no_click() {
    if !root::wanted() {
        return;
    }
    for (durability, threads) in [("process", "terse-spool"), ("power", "terse-sync")] {
        let (mut node, load) = under_failing_syncs(durability, threads, "2");
        assert_nothing_missing(&mut node, &[&load], CLIENTS);
    }
}

#[test]
fn syncs_that_always_fail_are_no_busy_loop_and_every_click_is_counted_or_shown_as_missing() {
    if !root::wanted() {
        return;
    }
    for (durability, threads) in [("process", "terse-spool"), ("power", "terse-sync")] {
        let (mut node, load) = under_failing_syncs(durability, threads, "1+");
        let errors = node.metric("terse_spool_sync_errors_total");
        println!("{durability}: {errors} failed syncs");
        if durability == "process" {
            assert!(errors < 100, "{errors} failed syncs in about two seconds");
        }
        let unrecorded = node.metric("terse_clicks_unrecorded_total");
        let outcome = outcome(&mut node, &[&load], CLIENTS);
        assert_eq!(outcome.missing as u64, unrecorded);
    }
}
