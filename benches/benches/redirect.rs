//! Redirects with every click recorded, beside the least that a poem server can do.
//!
//! `cargo bench -p terse-benches --bench redirect -- [burst] [level] [sustained] [power]
//! [listeners] [memory] [start] [instructions]`; everything when nothing is named. From the environment: `SECONDS` per
//! slot (3), `ROUNDS` (5), `QUICK=1` for a short look.
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

#[path = "redirect/burst.rs"]
mod burst;
#[path = "redirect/instructions.rs"]
mod instructions;
#[path = "redirect/listeners.rs"]
mod listeners;
#[path = "redirect/resources.rs"]
mod resources;
#[path = "redirect/stage.rs"]
mod stage;
#[path = "redirect/sustained.rs"]
mod sustained;

use anyhow::Result;
use terse_benches::baseline;

use stage::Stage;

/// The real server's allocator, so that the baseline has the same.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SECTIONS: [&str; 8] = [
    "burst",
    "level",
    "sustained",
    "power",
    "listeners",
    "memory",
    "start",
    "instructions",
];

fn main() -> Result<()> {
    if baseline::is_asked_for() {
        return baseline::serve();
    }
    let asked: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    anyhow::ensure!(
        asked.iter().all(|name| SECTIONS.contains(&name.as_str())),
        "sections are {SECTIONS:?}"
    );
    let wants = |name: &str| asked.is_empty() || asked.iter().any(|section| section == name);
    let stage = Stage::prepare()?;
    stage.describe();
    if wants("burst") {
        burst::run(&stage)?;
    }
    if wants("level") || wants("sustained") {
        let capacity = sustained::capacity(&stage)?;
        if wants("level") {
            sustained::level(&stage, capacity)?;
        }
        if wants("sustained") {
            sustained::sustained(&stage, capacity)?;
        }
    }
    if wants("power") {
        burst::power(&stage)?;
    }
    if wants("listeners") {
        listeners::run(&stage)?;
    }
    if wants("memory") {
        resources::memory(&stage)?;
    }
    if wants("start") {
        resources::start(&stage)?;
    }
    if wants("instructions") {
        instructions::run(&stage)?;
    }
    Ok(())
}
