//! `terse-server spool ship`: taking over the clicks of a node that is gone.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::common::Node;
use crate::database::Database;
use crate::load::Load;
use crate::{CLIENTS, assert_exact};

/// Ships a directory; returns how many clicks that brought.
pub(crate) fn ship(node: &Node, dir: &Path) -> u64 {
    let (code, text) = node.run(&["spool", "ship", "--dir", dir.to_str().unwrap()], &[]);
    assert_eq!(code, Some(0), "{text}");
    shipped(&text)
}

fn shipped(text: &str) -> u64 {
    let mut lines = text.lines();
    let (_, clicks) = lines
        .find_map(|line| line.split_once(" streams, "))
        .unwrap();
    clicks.split(' ').next().unwrap().parse().unwrap()
}

fn copy_of_spool(node: &Node) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("spool");
    std::fs::create_dir(&copy).unwrap();
    for file in std::fs::read_dir(node.data().join("spool")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), copy.join(file.file_name())).unwrap();
    }
    (dir, copy)
}

/// A node that was killed with clicks that its database does not have.
fn killed_with_clicks(database: &Database) -> (Node, Load) {
    let mut node = database.node(&[]);
    node.start();
    node.create_link("x");
    let load = Load::start(node.port(), CLIENTS, "/x");
    node.wait_until("there is load", |_| load.count() > 300);
    let hold = database.hold();
    let before = load.count();
    node.wait_until("clicks wait", |_| load.count() > before + 300);
    node.kill();
    load.stop();
    drop(hold);
    (node, load)
}

#[test]
fn a_dead_nodes_spool_is_shipped_from_elsewhere_beside_a_running_server_and_the_second_time_brings_nothing()
 {
    let Some(database) = Database::new() else {
        return;
    };
    let (dead, load) = killed_with_clicks(&database);
    let mut other = database.node(&[]);
    other.start();
    let beside = Load::named(other.port(), CLIENTS, "/x", "beside");
    let (_dir, spool) = copy_of_spool(&dead);
    let first = ship(&other, &spool);
    let second = ship(&other, &spool);
    // The data directory that it came from holds the same.
    let third = ship(&other, &dead.data());
    println!("shipped {first}, then {second}, then {third}");
    assert!(first >= 300);
    assert_eq!((second, third), (0, 0));
    assert!(
        std::fs::read_dir(&spool).unwrap().count() > 1,
        "nothing is deleted"
    );
    beside.stop();
    other.wait_until_folded();
    assert_eq!(other.verify().0, Some(0));
    assert_eq!(other.stop(), Some(0));
    assert_exact(&other, &[&load, &beside], CLIENTS);
}

#[test]
fn two_shippers_of_copies_of_one_spool_ship_each_click_once() {
    let Some(database) = Database::new() else {
        return;
    };
    let (dead, load) = killed_with_clicks(&database);
    let copies: Vec<_> = (0..4).map(|_| copy_of_spool(&dead)).collect();
    let mut shippers: Vec<_> = copies
        .iter()
        .map(|(_, spool)| dead.piped(&["spool", "ship", "--dir", spool.to_str().unwrap()]))
        .collect();
    let mut clicks = Vec::new();
    for shipper in &mut shippers {
        let mut text = String::new();
        let mut out = shipper.stdout.take().unwrap();
        out.read_to_string(&mut text).unwrap();
        assert!(shipper.wait().unwrap().success(), "{text}");
        clicks.push(shipped(&text));
    }
    println!("shipped {clicks:?}");
    assert!(clicks.iter().sum::<u64>() >= 300);
    assert_exact(&dead, &[&load], CLIENTS);
}

#[test]
fn a_spool_in_use_is_not_shipped_and_neither_is_what_is_none() {
    let mut node = Node::new(&[]);
    node.start();
    for dir in [node.data(), node.data().join("spool")] {
        let (code, text) = node.run(&["spool", "ship", "--dir", dir.to_str().unwrap()], &[]);
        assert_eq!(code, Some(1), "{text}");
        assert!(
            text.contains("another process uses the spool directory"),
            "{text}"
        );
    }
    let missing = node.data().join("nowhere");
    let (code, text) = node.run(&["spool", "ship", "--dir", missing.to_str().unwrap()], &[]);
    assert_eq!(code, Some(1));
    assert!(text.contains("is no spool directory"), "{text}");
    assert!(!missing.exists());
    assert_eq!(node.stop(), Some(0));
}

#[test]
fn an_older_sqlite_database_is_given_what_it_lacks_by_shipping_too() {
    let mut node = Node::new(&[]);
    node.start();
    node.create_link("x");
    let first = Load::start(node.port(), CLIENTS, "/x");
    node.wait_until("there is load", |_| first.count() > 200);
    first.stop();
    node.wait_until_folded();
    assert_eq!(node.stop(), Some(0));
    let backup = node.backup();
    node.start();
    let second = Load::named(node.port(), CLIENTS, "/x", "later");
    node.wait_until("there is load", |_| second.count() > 200);
    second.stop();
    node.wait_until_folded();
    assert_eq!(node.stop(), Some(0));
    node.restore(&backup);
    let again = ship(&node, &node.data());
    assert_eq!(again, second.count() as u64);
    assert_eq!(ship(&node, &node.data()), 0);
    assert_exact(&node, &[&first, &second], 0);
}

/// The file of a spool that has most in it, and how much that is.
fn fullest_file(spool: &Path) -> (PathBuf, Vec<u8>, usize) {
    let files = std::fs::read_dir(spool).unwrap();
    let files = files.map(|file| file.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|kind| kind == "spool"));
    let used = files.map(|path| {
        let bytes = std::fs::read(&path).unwrap();
        let end = bytes.iter().rposition(|byte| *byte != 0);
        (path, bytes, end.unwrap_or(0))
    });
    used.max_by_key(|(_, _, used)| *used).unwrap()
}

#[test]
fn behind_damage_that_was_accepted_a_dead_nodes_spool_is_shipped_to_its_end() {
    let Some(database) = Database::new() else {
        return;
    };
    let (dead, load) = killed_with_clicks(&database);
    let (_dir, spool) = copy_of_spool(&dead);
    let (path, mut bytes, used) = fullest_file(&spool);
    bytes[used * 4 / 5] ^= 1;
    std::fs::write(path, bytes).unwrap();
    let directory = spool.to_str().unwrap();
    let (code, text) = dead.run(&["spool", "ship", "--dir", directory], &[]);
    assert_eq!(code, Some(1), "{text}");
    let line = text.lines().find(|line| line.contains("STOPPED")).unwrap();
    let stream = line.split_whitespace().next().unwrap();
    let before = shipped(&text);
    let (code, text) = dead.run(&["spool", "accept-gap", stream], &[]);
    assert_eq!(code, Some(0), "{text}");
    let after = ship(&dead, &spool);
    println!("shipped {before}, and {after} behind the damage");
    assert!(after > 0);
    assert_eq!(ship(&dead, &spool), 0);
    let counted = dead.counted_ids().len();
    let lost = load.answered().len().saturating_sub(counted);
    assert!(lost <= 1, "{lost} clicks are lost by one changed byte");
}

#[test]
fn a_spool_with_a_file_that_cannot_be_read_is_not_reported_as_shipped() {
    let Some(database) = Database::new() else {
        return;
    };
    let (dead, _) = killed_with_clicks(&database);
    let (_dir, spool) = copy_of_spool(&dead);
    let (path, mut bytes, _) = fullest_file(&spool);
    bytes[..32].fill(0xff);
    std::fs::write(path, bytes).unwrap();
    let (code, text) = dead.run(&["spool", "ship", "--dir", spool.to_str().unwrap()], &[]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("keep the directory"), "{text}");
}
