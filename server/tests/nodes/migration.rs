//! F37: `terse-server migrate` is killed on its way.

use std::time::{Duration, Instant};

use crate::common::Node;
use crate::database::Database;
use crate::load::Load;
use crate::{CLIENTS, assert_exact};

const UP: [&str; 2] = ["migrate", "up"];
const DOWN: [&str; 3] = ["migrate", "down", "--yes-delete-data"];

/// At how many moments of a migration it is killed.
fn moments() -> u32 {
    if std::env::var_os("TERSE_TEST_ALL").is_some() {
        40
    } else {
        8
    }
}

/// Runs a command for so long at most; returns whether it was killed.
fn killed_after(node: &Node, arguments: &[&str], length: Duration) -> bool {
    let mut process = node.piped(arguments);
    std::thread::sleep(length);
    let ended = process.try_wait().unwrap().is_some();
    let _ = process.kill();
    process.wait().unwrap();
    !ended
}

/// How long a command takes that nobody kills.
fn length_of(node: &Node, arguments: &[&str]) -> Duration {
    let begun = Instant::now();
    let (code, text) = node.run(arguments, &[]);
    assert_eq!(code, Some(0), "{text}");
    begun.elapsed()
}

/// How many migrations are in force, and how many are not.
fn applied(node: &Node) -> (usize, usize) {
    let (code, text) = node.run(&["migrate", "status"], &[]);
    assert_eq!(code, Some(0), "{text}");
    let ending = |state| text.lines().filter(|line| line.ends_with(state)).count();
    (ending("  applied"), ending("  pending"))
}

/// A database that was made by migrations of which the first was killed at some moment: it serves, and
/// has what one has that nobody disturbed.
fn assert_whole(mut node: Node, schema: impl Fn(&Node) -> String, undisturbed: &str) {
    length_of(&node, &UP);
    assert_eq!(applied(&node).1, 0);
    assert_eq!(schema(&node), undisturbed);
    node.start();
    node.create_link("x");
    assert_eq!(node.get("/x?utm_content=one"), 302);
    node.wait_until_folded();
    assert_eq!(node.stop(), Some(0));
    assert_eq!(node.verify().0, Some(0));
    assert_eq!(node.counted_ids(), ["one"]);
}

/// Every table and index of a SQLite file.
fn sqlite_schema(node: &Node) -> String {
    const SCRIPT: &str = "import sqlite3, sys
for row in sorted(sqlite3.connect(sys.argv[1]).execute('SELECT type, name, sql FROM sqlite_master'), key=str):
    print(*row)";
    let mut python = std::process::Command::new("/usr/bin/python3");
    python
        .args(["-c", SCRIPT])
        .arg(node.data().join("terse.db"));
    let output = python.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_migration_of_sqlite_that_is_killed_at_any_moment_is_done_by_the_next_one() {
    let usual = Node::new(&[]);
    let length = length_of(&usual, &UP);
    let undisturbed = sqlite_schema(&usual);
    let mut killed = 0;
    for moment in 0..moments() {
        let node = Node::new(&[]);
        killed += usize::from(killed_after(&node, &UP, length * moment / moments()));
        assert_whole(node, sqlite_schema, &undisturbed);
    }
    println!("moments={} killed={killed} length={length:.1?}", moments());
    assert!(killed > 0);
}

#[test]
fn a_migration_of_postgresql_that_is_killed_at_any_moment_is_done_by_the_next_one() {
    let Some(usual) = Database::new() else {
        return;
    };
    let length = length_of(&usual.node(&[]), &UP);
    let undisturbed = usual.schema();
    let mut killed = 0;
    for moment in 0..moments() {
        let database = Database::new().unwrap();
        let node = database.node(&[]);
        killed += usize::from(killed_after(&node, &UP, length * moment / moments()));
        assert_whole(node, |_| database.schema(), &undisturbed);
    }
    println!("moments={} killed={killed} length={length:.1?}", moments());
    assert!(killed > 0);
}

/// Takes the latest migration, which moves every click, back and applies it again, killed at many moments
/// of both.
fn move_clicks_to_and_fro(mut node: Node) {
    node.start();
    node.create_link("x");
    let load = Load::start(node.port(), CLIENTS, "/x");
    node.wait_until("there are clicks", |_| load.count() > 1_000);
    load.stop();
    node.wait_until_folded();
    assert_eq!(node.stop(), Some(0));
    let all = applied(&node).0;
    let (length_down, length_up) = (length_of(&node, &DOWN), length_of(&node, &UP));
    let mut killed = [0, 0];
    for moment in 0..moments() {
        // Nobody takes back more than the latest one.
        if applied(&node).0 == all {
            let length = length_down * moment / moments();
            killed[0] += usize::from(killed_after(&node, &DOWN, length));
        }
        let length = length_up * moment / moments();
        killed[1] += usize::from(killed_after(&node, &UP, length));
    }
    length_of(&node, &UP);
    println!(
        "moments={} killed_on_the_way_down={} and_up={}",
        moments(),
        killed[0],
        killed[1]
    );
    assert!(killed.iter().all(|killed| *killed > 0));
    assert_exact(&node, &[&load], 0);
}

#[test]
fn a_migration_of_sqlite_that_moves_clicks_moves_each_once_however_often_it_is_killed() {
    move_clicks_to_and_fro(Node::new(&[("TERSE_TEST_SEALING", "small")]));
}

#[test]
fn a_migration_of_postgresql_that_moves_clicks_moves_each_once_however_often_it_is_killed() {
    if let Some(database) = Database::new() {
        move_clicks_to_and_fro(database.node(&[("TERSE_TEST_SEALING", "small")]));
    }
}
