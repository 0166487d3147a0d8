//! A database that does not answer.

use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use crate::assert_nothing_missing;
use crate::common::Node;
use crate::load::Load;

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
fn a_server_stops_in_time_and_in_order_while_its_database_is_locked() {
    let mut node = Node::new(&[]);
    node.start();
    node.create_link("x");
    let load = Load::start(node.port(), 8, "/x");
    std::thread::sleep(Duration::from_millis(300));
    let lock = Lock::take(&node);
    std::thread::sleep(Duration::from_millis(300));
    let begun = Instant::now();
    assert_eq!(node.stop(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(10));
    load.stop();
    drop(lock);
    node.start();
    assert_nothing_missing(&mut node, &[&load], 8);
}
