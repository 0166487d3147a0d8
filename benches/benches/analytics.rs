//! Questions about many clicks: what they take of the disk, how long answers take, and what asking does
//! to redirects and folding.
//!
//! `cargo bench -p terse-benches --bench analytics -- [storage] [questions] [growth] [visitors] [export]
//! [beside]`; everything when nothing is named. From the environment: `CLICKS` of the data set
//! (10,000,000), `RATE` of redirects per second beside questions (5,000), `SECONDS` of each load (10),
//! `QUICK=1` for a short look, `QUESTION` for those questions only whose name contains it, and
//! `TERSE_TEST_POSTGRES_URL`, an empty PostgreSQL database; with `ONLY=postgres` or `ONLY=sqlite` one of
//! the two. A year of clicks is loaded the way a server takes them, which is the long part: the data set
//! stays in `target/bench-analytics`, and is used again until it is deleted.
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

#[path = "analytics/beside.rs"]
mod beside;
#[path = "analytics/crowd.rs"]
mod crowd;
#[path = "analytics/dataset.rs"]
mod dataset;
#[path = "analytics/export.rs"]
mod export;
#[path = "analytics/loading.rs"]
mod loading;
#[path = "analytics/questions.rs"]
mod questions;
#[path = "analytics/storage.rs"]
mod storage;
#[path = "analytics/visitors.rs"]
mod visitors;

use anyhow::Result;
use terse_benches::settings::{self, Sections};
use terse_core::DatabaseUrl;

use dataset::Dataset;

/// The real server's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SECTIONS: [&str; 6] = [
    "storage",
    "questions",
    "growth",
    "visitors",
    "export",
    "beside",
];

fn main() -> Result<()> {
    let sections = Sections::asked_for(&SECTIONS)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let clicks = settings::clicks()?;
    let only = std::env::var("ONLY").unwrap_or_default();
    if only != "postgres" {
        runtime.block_on(measure(
            "SQLite",
            dataset::sqlite(clicks)?,
            clicks,
            &sections,
        ))?;
    }
    match std::env::var("TERSE_TEST_POSTGRES_URL") {
        Ok(url) if only != "sqlite" => {
            runtime.block_on(measure("PostgreSQL", url.parse()?, clicks, &sections))?;
        }
        _ => println!("PostgreSQL: set TERSE_TEST_POSTGRES_URL to measure it"),
    }
    Ok(())
}

async fn measure(
    name: &str,
    database: DatabaseUrl,
    clicks: u64,
    sections: &Sections,
) -> Result<()> {
    println!("{name}");
    let data = Dataset::open(database, clicks).await?;
    if sections.wants("storage") {
        storage::run(&data).await?;
    }
    if sections.wants("questions") {
        questions::run(&data).await?;
    }
    if sections.wants("growth") {
        questions::growth(&data).await?;
    }
    if sections.wants("export") {
        export::run(&data).await?;
    }
    if sections.wants("beside") {
        beside::run(&data).await?;
    }
    data.close().await;
    if sections.wants("visitors") {
        visitors::run(clicks).await?;
    }
    Ok(())
}
