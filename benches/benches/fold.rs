//! Folding alone: clicks per second out of the spool into the database, counters included.
//!
//! `cargo bench -p terse-benches --bench fold -- [alone] [nodes]`; everything when nothing is named. From
//! the environment: `ROUNDS` (5), `QUICK=1`, and `TERSE_TEST_POSTGRES_URL`, a PostgreSQL to fold into as
//! well, in databases of its own.
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

#[path = "fold/nodes.rs"]
mod nodes;
#[path = "fold/visiting.rs"]
mod visiting;

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};
use terse_benches::machine::Cores;
use terse_benches::postgres::{self, Database};
use terse_benches::server::target_dir;
use terse_benches::settings;
use terse_benches::stats::{float, grouped, median};
use terse_core::DatabaseUrl;
use tokio::runtime::Runtime;

use visiting::{create_links, drain, open, visit};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SECTIONS: [&str; 2] = ["alone", "nodes"];
const LINKS: usize = 1_000;

fn main() -> Result<()> {
    let asked: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    ensure!(
        asked.iter().all(|name| SECTIONS.contains(&name.as_str())),
        "sections are {SECTIONS:?}"
    );
    let wants = |name: &str| asked.is_empty() || asked.iter().any(|section| section == name);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let home = tempfile::Builder::new()
        .prefix("bench-fold-")
        .tempdir_in(target_dir()?)?;
    let server = postgres::server();
    if wants("alone") {
        let sqlite = DatabaseUrl::Sqlite(home.path().join("terse.db"));
        measure(&runtime, "SQLite", sqlite, &home.path().join("spool"))?;
        if let Some(server) = &server {
            let database = Database::create(server)?;
            let spool = home.path().join("postgres-spool");
            measure(&runtime, "PostgreSQL", database.url().parse()?, &spool)?;
        }
    }
    match &server {
        Some(server) if wants("nodes") => nodes::run(&runtime, server, home.path())?,
        Some(_) => {}
        None => println!("PostgreSQL: set TERSE_TEST_POSTGRES_URL to measure it"),
    }
    Ok(())
}

fn measure(runtime: &Runtime, name: &str, database: DatabaseUrl, spool: &Path) -> Result<()> {
    let quick = settings::is_quick();
    let clicks: usize = if quick { 100_000 } else { 1_000_000 };
    let terse = runtime.block_on(open(database, spool))?;
    let paths = runtime.block_on(create_links(&terse, LINKS))?;
    let cores = Cores::divided()?.load;
    println!(
        "{name}, {LINKS} links, {} clicks a round",
        grouped(float(clicks as u64))
    );
    let (mut draining, mut whole) = (Vec::new(), Vec::new());
    for round in 0..settings::rounds()? {
        let before = terse.status().folded;
        let start = Instant::now();
        visit(runtime, &terse, &paths, (clicks, round as u64), &cores)?;
        let (drained, took) = drain(&[&terse])?;
        ensure!(
            terse.status().folded - before == clicks as u64,
            "{} of {clicks} clicks were folded",
            terse.status().folded - before
        );
        whole.push(float(clicks as u64) / start.elapsed().as_secs_f64());
        draining.push(float(drained) / took.as_secs_f64());
        println!(
            "    {} were waiting when the last was answered; folded at {}/s from then on",
            grouped(float(drained)),
            grouped(float(drained) / took.as_secs_f64())
        );
    }
    println!(
        "  folding alone {}/s; answering and folding together {}/s (medians)",
        grouped(median(&draining)),
        grouped(median(&whole))
    );
    let report = runtime.block_on(terse.verify())?;
    ensure!(report.is_consistent(), "rows and counters differ");
    println!("  rows and counters agree");
    runtime.block_on(terse.close());
    Ok(())
}
