//! A database that does not answer.

use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use crate::assert_nothing_missing;
use crate::common::Node;
use crate::load::Load;
use crate::root;

const CLIENTS: usize = 8;

/// Where SQLite keeps the lock that a writer holds, in the `-shm` file of a database in WAL mode
/// (sqlite.org/walformat.html, section 2.3.1).
const WRITE_LOCK: i64 = 120;

/// Another process that writes to the database for very long.
pub(crate) struct Lock {
    _shm: std::fs::File,
}

impl Lock {
    pub(crate) fn take(node: &Node) -> Self {
        let shm = std::fs::File::options()
            .read(true)
            .write(true)
            .open(node.data().join("terse.db-shm"))
            .unwrap();
        let lock = libc::flock {
            l_type: i16::try_from(libc::F_WRLCK).unwrap(),
            l_whence: i16::try_from(libc::SEEK_SET).unwrap(),
            l_start: WRITE_LOCK,
            l_len: 1,
            l_pid: 0,
        };
        fcntl(&shm, FcntlArg::F_SETLKW(&lock)).unwrap();
        Self { _shm: shm }
    }
}

#[test]
fn while_the_database_is_locked_redirects_go_on_and_every_click_is_counted_after() {
    let seconds = if root::slow() { 30 } else { 4 };
    let mut node = Node::new(&[]);
    node.start();
    node.create_link("x");
    let load = Load::start(node.port(), CLIENTS, "/x");
    node.wait_until("there is load", |_| load.count() > 100);
    let lock = Lock::take(&node);
    let complaints = |node: &Node| node.logged().matches("clicks wait in the spool").count();
    let begun = Instant::now();
    let mut refused = 0;
    // On a busy machine the folder, which yields to all others, notices later.
    while begun.elapsed() < Duration::from_secs(seconds)
        || (complaints(&node) == 0 && begun.elapsed() < Duration::from_mins(1))
    {
        let before = load.count();
        let asked = Instant::now();
        assert_eq!(node.try_create_link("y"), 503);
        assert!(asked.elapsed() < Duration::from_secs(3), "refused in time");
        refused += 1;
        assert_eq!(node.list_links(), 200, "reading goes on");
        assert_eq!(node.get("/health/ready"), 200, "redirects are answered");
        assert!(load.count() > before, "redirects go on");
    }
    let pending = node.metric("terse_spool_pending");
    assert!(pending > 100, "{pending}");
    drop(lock);
    let locked = begun.elapsed();
    node.can_create_link("y");
    load.stop();
    assert_eq!((load.refused(), load.broken()), (0, 0));
    let complaints = complaints(&node);
    println!(
        "{locked:.0?} locked: {refused} links refused, {pending} clicks waited, {complaints} complaints"
    );
    assert!((1..=2 + locked.as_secs() / 10).contains(&(complaints as u64)));
    assert_nothing_missing(&mut node, &[&load], CLIENTS);
}

#[test]
fn a_server_stops_in_time_and_in_order_while_its_database_is_locked() {
    for durability in ["process", "power"] {
        let mut node = Node::new(&[("TERSE_CLICK_DURABILITY", durability)]);
        node.start();
        node.create_link("x");
        let load = Load::start(node.port(), CLIENTS, "/x");
        node.wait_until("there is load", |_| load.count() > 100);
        let lock = Lock::take(&node);
        let before = load.count();
        node.wait_until("clicks wait", |node| {
            load.count() > before + 100 && node.metric("terse_spool_pending") > 100
        });
        let begun = Instant::now();
        assert_eq!(node.stop(), Some(0));
        let took = begun.elapsed();
        println!("{durability}: stopped after {took:?}");
        assert!(took < Duration::from_secs(10));
        load.stop();
        drop(lock);
        node.start();
        assert_nothing_missing(&mut node, &[&load], CLIENTS);
    }
}
