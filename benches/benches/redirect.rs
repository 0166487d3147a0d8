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
use terse_benches::settings::Sections;

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
    let sections = Sections::asked_for(&SECTIONS)?;
    let stage = Stage::prepare()?;
    stage.describe();
    if sections.wants("burst") {
        burst::run(&stage)?;
    }
    if sections.wants("level") || sections.wants("sustained") {
        let capacity = sustained::capacity(&stage)?;
        if sections.wants("level") {
            sustained::level(&stage, capacity)?;
        }
        if sections.wants("sustained") {
            sustained::sustained(&stage, capacity)?;
        }
    }
    if sections.wants("power") {
        burst::power(&stage)?;
    }
    if sections.wants("listeners") {
        listeners::run(&stage)?;
    }
    if sections.wants("memory") {
        resources::memory(&stage)?;
    }
    if sections.wants("start") {
        resources::start(&stage)?;
    }
    if sections.wants("instructions") {
        instructions::run(&stage)?;
    }
    Ok(())
}
