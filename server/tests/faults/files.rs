//! Spool files that were copied, or that hold what nobody can read.

use std::time::Duration;

use crate::common::Node;
use crate::load::Load;
use crate::{assert_nothing_missing, outcome};

#[test]
fn a_copy_of_a_running_servers_directory_starts_elsewhere_and_drops_no_new_click() {
    let mut node = Node::new(&[]);
    node.start();
    node.create_link("x");
    let first = Load::start(node.port(), 4, "/x");
    std::thread::sleep(Duration::from_millis(400));
    first.stop();
    node.wait_until_folded();
    // As a snapshot of the machine would have it: the files as they are, the server running.
    let mut copy = Node::new(&[]);
    crate::root::run(
        "cp",
        &[
            "-a",
            node.data().to_str().unwrap(),
            copy.data().to_str().unwrap(),
        ],
    );
    copy.start();
    let second = Load::named(copy.port(), 4, "/x", "copy");
    let third = Load::named(node.port(), 4, "/x", "original");
    std::thread::sleep(Duration::from_millis(400));
    second.stop();
    third.stop();
    assert_nothing_missing(&mut copy, &[&first, &second], 0);
    assert_nothing_missing(&mut node, &[&first, &third], 0);
}

/// Records of a spool file as docs/durability.md describes them: where each begins, and its length.
fn records(file: &[u8]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut at = 64;
    while let Some(head) = file.get(at..at + 17) {
        let length = u32::from_le_bytes(head[..4].try_into().unwrap()) as usize;
        if length == 0 || length > 2_048 {
            break;
        }
        found.push((at, 17 + length));
        at += 17 + length;
    }
    found
}

/// Makes a record's checksum right again.
fn reseal(file: &mut [u8], (at, length): (usize, usize)) {
    let seed = crc32c::crc32c(&file[12..28]);
    let crc = crc32c::crc32c_append(seed, &file[at + 8..at + length]);
    file[at + 4..at + 8].copy_from_slice(&crc.to_le_bytes());
}

#[test]
fn records_that_nobody_can_read_are_set_aside_and_the_others_are_counted() {
    let mut node = Node::new(&[]);
    node.start();
    node.create_link("x");
    let lock = crate::database::Lock::take(&node);
    let load = Load::start(node.port(), 4, "/x");
    std::thread::sleep(Duration::from_millis(400));
    load.stop();
    node.kill();
    drop(lock);
    let files = std::fs::read_dir(node.data().join("spool")).unwrap();
    let files = files.map(|file| file.unwrap().path());
    let (path, mut file) = files
        .filter(|path| path.extension().is_some_and(|kind| kind == "spool"))
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .max_by_key(|(_, file)| records(file).len())
        .unwrap();
    let records = records(&file);
    assert!(records.len() > 20, "{}", records.len());
    // One of a version to come, one of whose fields make no sense.
    let (at, _) = records[5];
    file[at + 8] = 255;
    reseal(&mut file, records[5]);
    let (at, length) = records[9];
    file[at + 17..at + length].fill(0xEE);
    reseal(&mut file, records[9]);
    std::fs::write(&path, &file).unwrap();
    node.start();
    node.wait_until_folded();
    assert_eq!(node.metric("terse_clicks_dead_total"), 2);
    let outcome = outcome(&mut node, &[&load], 4);
    assert_eq!(outcome.missing, 2);
}
