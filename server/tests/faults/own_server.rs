//! The server in a process of its own whose clock tests can tamper with: everything else, from
//! reading the settings to the exit code, is what the real binary does.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser as _;
use terse_core::model::{Clock, SystemClock, Timestamp};
use terse_server::args::Arguments;
use terse_server::commands;

use crate::common::Node;

const TRAP: &str = "CLOCK_TRAP";
/// Beside the server: by how many seconds its clock is moved, as libfaketime reads it too.
pub(crate) const OFFSET: &str = "CLOCK_OFFSET";

/// The wall clock, moved by what one file says; it breaks, once, on the thread that another names.
#[derive(Debug)]
struct TamperedClock {
    trap: PathBuf,
    offset: PathBuf,
}

impl Clock for TamperedClock {
    fn now(&self) -> Timestamp {
        if let Ok(name) = std::fs::read_to_string(&self.trap)
            && std::thread::current()
                .name()
                .is_some_and(|own| own.starts_with(&name))
            && std::fs::remove_file(&self.trap).is_ok()
        {
            panic!("the trap is sprung");
        }
        let now = SystemClock.now();
        let seconds = std::fs::read_to_string(&self.offset).unwrap_or_default();
        match seconds.trim().parse::<i64>() {
            Ok(seconds) => Timestamp::from_millis(now.as_millis() + seconds * 1_000),
            Err(_) => now,
        }
    }
}

#[test]
#[ignore = "is the server of other tests, in a process that they start"]
fn a_server_with_a_tampered_clock() {
    let file = |name| PathBuf::from(std::env::var_os(name).unwrap());
    let clock = TamperedClock {
        trap: file(TRAP),
        offset: file(OFFSET),
    };
    let arguments = Arguments::parse_from(["terse-server"]);
    let code = commands::run_adapted(arguments, |builder| builder.clock(Arc::new(clock)));
    std::process::exit(i32::from(code != ExitCode::SUCCESS));
}

/// A node whose server is that one.
pub(crate) fn node(settings: &[(&str, &str)]) -> Node {
    let mut node = Node::new(settings);
    let program = std::env::current_exe().unwrap();
    let test = "own_server::a_server_with_a_tampered_clock";
    node.launch(
        [program.to_str().unwrap(), test]
            .into_iter()
            .chain(["--exact", "--ignored", "--nocapture", "--test-threads=1"])
            .map(str::to_owned)
            .collect(),
    );
    // The threads that yield to all others take seconds to look up the names of a backtrace.
    node.set("RUST_BACKTRACE", "0");
    for name in [TRAP, OFFSET] {
        let file = node.dir().join(name);
        node.set(name, file.to_str().unwrap());
    }
    node
}

/// The next time a thread of a name like this asks for the time, it panics.
pub(crate) fn trap(node: &Node, thread: &str) {
    put(node, TRAP, thread);
}

/// Waits until some thread has panicked.
pub(crate) fn wait_until_sprung(node: &Node) {
    node.wait_until("the trap is sprung", |node| !node.dir().join(TRAP).exists());
}

/// Moves the server's clock this far from the machine's.
pub(crate) fn move_clock(node: &Node, seconds: i64) {
    put(node, OFFSET, &format!("{seconds:+}\n"));
    // Requests under way have asked for the time already.
    std::thread::sleep(Duration::from_millis(50));
}

/// At once: nobody must see half of it.
fn put(node: &Node, name: &str, text: &str) {
    let draft = node.dir().join("draft");
    std::fs::write(&draft, text).unwrap();
    std::fs::rename(draft, node.dir().join(name)).unwrap();
}
