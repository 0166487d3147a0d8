//! Spool files that were copied, or that hold what nobody can read.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::Path;

use crate::common::Node;
use crate::database::Lock;
use crate::load::Load;
use crate::{assert_nothing_missing, outcome};

const CLIENTS: usize = 4;

fn streams(node: &Node) -> HashSet<OsString> {
    std::fs::read_dir(node.data().join("spool"))
        .unwrap()
        .map(|file| file.unwrap().file_name())
        .filter(|name| {
            Path::new(name)
                .extension()
                .is_some_and(|kind| kind == "spool")
        })
        .collect()
}

#[test]
fn a_copy_of_a_running_servers_directory_goes_on_in_streams_of_its_own_and_drops_no_click() {
    let mut node = Node::new(&[]);
    node.start();
    node.create_link("x");
    let load = Load::start(node.port(), CLIENTS, "/x");
    node.wait_until("there is load", |_| load.count() > 500);
    // As a snapshot of the machine would have it: all files at one moment, the server running.
    let mut copy = Node::new(&[]);
    let before = load.answered();
    node.freeze();
    crate::root::run(
        "cp",
        &[
            "-a",
            node.data().to_str().unwrap(),
            copy.data().to_str().unwrap(),
        ],
    );
    node.thaw();
    let copied = streams(&copy);
    assert!(!copied.is_empty());
    node.wait_until("the original goes on", |_| {
        load.count() > before.len() + 500
    });
    node.kill();
    load.stop();

    copy.start();
    let after = Load::named(copy.port(), CLIENTS, "/x", "copy");
    copy.wait_until("the copy is clicked", |_| after.count() > 500);
    let own: HashSet<_> = streams(&copy).difference(&copied).cloned().collect();
    assert!(!own.is_empty(), "it appends to files of its own");
    assert!(own.is_disjoint(&streams(&node)), "under names of their own");
    after.stop();
    copy.wait_until_folded();
    let (code, text) = copy.verify();
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(copy.stop(), Some(0));
    let counted = copy.counted_ids();
    let ids: HashSet<&String> = counted.iter().collect();
    assert_eq!(ids.len(), counted.len(), "counted twice");
    let after = after.answered();
    let lost = before.iter().chain(&after).filter(|id| !ids.contains(id));
    let lost = lost.count();
    println!(
        "before={} in the copy={} counted={} lost={lost}",
        before.len(),
        after.len(),
        counted.len()
    );
    assert_eq!(lost, 0);

    node.start();
    assert_nothing_missing(&mut node, &[&load], CLIENTS);
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

/// Bytes without meaning, the same in every run (Marsaglia's xorshift).
fn noise(bytes: &mut [u8]) {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    for byte in bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        *byte = state.to_le_bytes()[3];
    }
}

/// Where the payload says what kind of click it is: `core/src/click.rs`.
const KIND: usize = 32;

#[test]
fn records_that_nobody_can_read_are_set_aside_and_the_others_are_counted() {
    let mut node = Node::new(&[]);
    node.start();
    node.create_link("x");
    let lock = Lock::take(&node);
    let load = Load::start(node.port(), CLIENTS, "/x");
    node.wait_until("there is load", |_| load.count() > 1_000);
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
    assert!(records.len() > 100, "{}", records.len());
    // Of a version to come; of no known kind; of a kind that is known, and nothing else.
    for (index, kind) in [(0, None), (5, Some(200)), (9, Some(0)), (10, Some(2))] {
        let (at, length) = records[index];
        match kind {
            None => file[at + 8] = 255,
            Some(kind) => {
                noise(&mut file[at + 17..at + length]);
                file[at + 17 + KIND] = kind;
            }
        }
        reseal(&mut file, records[index]);
    }
    std::fs::write(&path, &file).unwrap();
    node.start();
    node.wait_until_folded();
    assert_eq!(node.metric("terse_clicks_dead_total"), 2);
    assert_eq!(node.metric("terse_spool_stopped_streams"), 0);
    let (_, text) = node.verify();
    assert!(text.contains("records that do not decode: 2"), "{text}");
    // What was overwritten is no longer to be found; every other click is counted.
    let outcome = outcome(&mut node, &[&load], CLIENTS);
    assert_eq!(outcome.missing, 4);
}
