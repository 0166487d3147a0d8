//! F37: `terse-server migrate` is killed on its way.

use std::cell::Cell;
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

/// Runs a command and kills it as soon as this says so, if it runs so long.
fn kill_when(node: &Node, arguments: &[&str], due: impl Fn() -> bool) {
    let mut process = node.piped(arguments);
    while process.try_wait().unwrap().is_none() && !due() {
        std::thread::sleep(Duration::from_micros(100));
    }
    let _ = process.kill();
    process.wait().unwrap();
}

fn kill_after(node: &Node, arguments: &[&str], length: Duration) {
    let begun = Instant::now();
    kill_when(node, arguments, || begun.elapsed() >= length);
}

/// The moments at which something is killed: each once, and all again, twenty times at most, until
/// `under_way` finds that one of them met a migration that had begun and not ended.
fn at_all_moments(mut under_way: impl FnMut(u32) -> bool) {
    let mut met = 0;
    let mut killed = 0;
    for round in 0..20 {
        if round == 0 || met == 0 {
            met += (0..moments()).filter(|moment| under_way(*moment)).count();
            killed += moments();
        }
    }
    println!("killed={killed} under_way={met}");
    assert!(met > 0, "no kill met a migration under way");
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

/// Whether somebody was killed between two migrations.
fn is_between(node: &Node) -> bool {
    let (applied, pending) = applied(node);
    applied > 0 && pending > 0
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
    asked(node, "SELECT type, name, sql FROM sqlite_master")
}

/// What a SQLite file answers, sorted.
fn asked(node: &Node, question: &str) -> String {
    const SCRIPT: &str = "import sqlite3, sys
for row in sorted(sqlite3.connect(sys.argv[1]).execute(sys.argv[2]), key=str):
    print(*row)";
    let mut python = std::process::Command::new("/usr/bin/python3");
    python
        .args(["-c", SCRIPT])
        .arg(node.data().join("terse.db"))
        .arg(question);
    let output = python.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// How much was committed to a SQLite file since it was opened.
fn committed(node: &Node) -> u64 {
    let log = node.data().join("terse.db-wal");
    std::fs::metadata(log).map_or(0, |log| log.len())
}

#[test]
fn a_migration_of_sqlite_that_is_killed_at_any_moment_is_done_by_the_next_one() {
    let usual = Node::new(&[]);
    let most = Cell::new(0);
    let begun = Instant::now();
    kill_when(&usual, &UP, || {
        most.set(most.get().max(committed(&usual)));
        false
    });
    let length = begun.elapsed();
    assert_eq!(applied(&usual).1, 0);
    let undisturbed = sqlite_schema(&usual);
    at_all_moments(|moment| {
        let by_time = Node::new(&[]);
        kill_after(&by_time, &UP, length * moment / moments());
        let by_progress = Node::new(&[]);
        let enough = most.get() * u64::from(moment) / u64::from(moments());
        kill_when(&by_progress, &UP, || committed(&by_progress) > enough);
        // Whoever is killed at once leaves no file.
        let has_file = |node: &Node| node.data().join("terse.db").exists();
        let between = [&by_time, &by_progress].map(|node| has_file(node) && is_between(node));
        assert_whole(by_time, sqlite_schema, &undisturbed);
        assert_whole(by_progress, sqlite_schema, &undisturbed);
        between.contains(&true)
    });
}

/// A database in which such statements take some time, so that a kill meets one.
fn slow_database(statement: &str) -> Option<Database> {
    let database = Database::new()?;
    database.ask(
        "CREATE FUNCTION slow() RETURNS event_trigger LANGUAGE plpgsql \
         AS 'BEGIN PERFORM pg_sleep(0.05); END'",
    );
    database.ask(&format!(
        "CREATE EVENT TRIGGER slow ON ddl_command_end \
         WHEN TAG IN ('{statement}') EXECUTE FUNCTION slow()"
    ));
    Some(database)
}

#[test]
fn a_migration_of_postgresql_that_is_killed_at_any_moment_is_done_by_the_next_one() {
    let Some(usual) = slow_database("CREATE TABLE") else {
        return;
    };
    let length = length_of(&usual.node(&[]), &UP);
    let undisturbed = usual.schema();
    at_all_moments(|moment| {
        let database = slow_database("CREATE TABLE").unwrap();
        let node = database.node(&[]);
        kill_after(&node, &UP, length * moment / moments());
        let between = is_between(&node);
        database.ask("DROP EVENT TRIGGER slow");
        assert_whole(node, |_| database.schema(), &undisturbed);
        between
    });
}

/// Kills a command after so long; returns whether it had done a part of its work and not all.
fn is_killed_under_way(
    state: impl Fn() -> (usize, String),
    kill: impl Fn(),
    is_done: impl Fn(usize, &str) -> bool,
) -> bool {
    let before = state();
    kill();
    let after = state();
    after != before && !is_done(after.0, &after.1)
}

/// Takes the latest migration, which moves every click, back and applies it again, killed at many moments
/// of both. `rows` counts the clicks that are where the migration takes them from.
fn move_clicks_to_and_fro(mut node: Node, rows: impl Fn(&Node) -> String) {
    node.start();
    node.create_link("x");
    let load = Load::start(node.port(), CLIENTS, "/x");
    node.wait_until("there are clicks", |_| load.count() > 1_000);
    load.stop();
    node.wait_until_folded();
    assert_eq!(node.stop(), Some(0));
    let all = applied(&node).0;
    let (length_down, length_up) = (length_of(&node, &DOWN), length_of(&node, &UP));
    let state = || (applied(&node).0, rows(&node));
    let mut met = [false, false];
    at_all_moments(|moment| {
        let length = length_down * moment / moments();
        let kill = || kill_after(&node, &DOWN, length);
        let down = is_killed_under_way(state, kill, |applied, _| applied < all);
        // Nobody takes back more than the latest one.
        if applied(&node).0 == all {
            length_of(&node, &DOWN);
        }
        let length = length_up * moment / moments();
        let kill = || kill_after(&node, &UP, length);
        let up = is_killed_under_way(state, kill, |applied, rows| applied == all && rows == "0");
        length_of(&node, &UP);
        println!("moment={moment} down_under_way={down} up_under_way={up}");
        met = [met[0] || down, met[1] || up];
        met == [true, true]
    });
    assert_exact(&node, &[&load], 0);
}

/// How many clicks of a SQLite file are rows still.
fn sqlite_rows(node: &Node) -> String {
    asked(node, "SELECT count(*) FROM clicks").trim().to_owned()
}

#[test]
fn a_migration_of_sqlite_that_moves_clicks_moves_each_once_however_often_it_is_killed() {
    move_clicks_to_and_fro(Node::new(&[("TERSE_TEST_SEALING", "small")]), sqlite_rows);
}

#[test]
fn a_migration_of_postgresql_that_moves_clicks_moves_each_once_however_often_it_is_killed() {
    if let Some(database) = slow_database("DROP TABLE") {
        let node = database.node(&[("TERSE_TEST_SEALING", "small")]);
        move_clicks_to_and_fro(node, |_| database.ask("SELECT count(*) FROM clicks"));
    }
}
