//! Every single click, one after the other.

use std::time::Instant;

use anyhow::{Result, ensure};
use terse_benches::machine;
use terse_benches::stats::{float, grouped};
use terse_core::analytics::AnalyticsQuery;

use crate::dataset::{Dataset, end, start};
use crate::storage::verdict;

const MOST_CLICKS: u64 = 10_000_000;
const MOST_BYTES: u64 = 100 * 1024 * 1024;

/// Exports up to ten million clicks, and looks at the time and memory that it takes.
pub(crate) async fn run(data: &Dataset) -> Result<()> {
    let before = machine::forget_peak()?;
    let start_time = Instant::now();
    let clicks = export(data, MOST_CLICKS).await?;
    let seconds = start_time.elapsed().as_secs_f64();
    let grown = machine::peak_bytes()?.saturating_sub(before);
    ensure!(
        clicks >= data.clicks.min(MOST_CLICKS) * 9 / 10,
        "only {clicks} clicks were exported"
    );
    println!(
        "Export: {} clicks in {seconds:.1} s, {}/s; memory grew by {:.0} MiB to {:.0} (target {}): {}",
        grouped(float(clicks)),
        grouped(float(clicks) / seconds),
        float(grown) / 1_048_576.0,
        float(before + grown) / 1_048_576.0,
        MOST_BYTES / 1_048_576,
        verdict(grown < MOST_BYTES)
    );
    Ok(())
}

/// Takes so many clicks of all kinds out of the year. Returns how many there were.
pub(crate) async fn export(data: &Dataset, most: u64) -> Result<u64> {
    let query = AnalyticsQuery {
        from: Some(start()?.to_string()),
        to: Some(end()?.to_string()),
        include: Some("bots,previews".to_owned()),
        ..AnalyticsQuery::default()
    };
    let mut export = data
        .terse
        .analytics()
        .export(&data.workspace, query)
        .await?;
    let mut clicks = 0;
    while let Some(some) = export.next().await? {
        clicks += some.len() as u64;
        if clicks >= most {
            break;
        }
    }
    Ok(clicks)
}
