//! What clicks take of the disk.

use anyhow::Result;
use terse_benches::stats::{float, grouped};
use terse_core::{StorageReport, Terse};

use crate::dataset::Dataset;

const MOST_BYTES_PER_CLICK: f64 = 30.0;

async fn report(data: &Dataset) -> Result<StorageReport> {
    let tools = Terse::builder()
        .database(data.database.clone())
        .tools()
        .await?;
    let report = tools.storage().await?;
    tools.close().await;
    Ok(report)
}

/// Clicks in the tail.
pub(crate) async fn tail_clicks(data: &Dataset) -> Result<u64> {
    Ok(u64::try_from(report(data).await?.tail_clicks)?)
}

/// Clicks in chunks and in the tail.
pub(crate) async fn clicks(data: &Dataset) -> Result<u64> {
    let report = report(data).await?;
    Ok(u64::try_from(report.sealed_clicks + report.tail_clicks)?)
}

/// Whether chunks are still to be merged; or else, whether chunks that were replaced are still there.
pub(crate) async fn is_unsettled(data: &Dataset, merging: bool) -> Result<bool> {
    let before = report(data).await?;
    if !merging {
        return Ok(before.replaced_chunks > 0);
    }
    // Large days keep several chunks: they are settled when nothing changes any more.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let after = report(data).await?;
    Ok((before.chunks, before.replaced_chunks) != (after.chunks, after.replaced_chunks))
}

/// Prints bytes per click, in all and by column.
pub(crate) async fn run(data: &Dataset) -> Result<()> {
    let report = report(data).await?;
    let number = |number: i64| float(number.unsigned_abs());
    let clicks = number(report.sealed_clicks + report.tail_clicks);
    println!(
        "Storage: {} clicks in {} chunks of at most {} rows, {} of them in the tail",
        grouped(clicks),
        report.chunks,
        grouped(number(report.largest_chunk)),
        grouped(number(report.tail_clicks))
    );
    let per_click = number(report.bytes) / clicks;
    println!(
        "  {:.1} MiB in all, {per_click:.2} bytes per click (target {MOST_BYTES_PER_CLICK}): {}; \
         {:.1} MiB more are free for reuse",
        number(report.bytes) / 1_048_576.0,
        verdict(per_click <= MOST_BYTES_PER_CLICK),
        number(report.free_bytes) / 1_048_576.0
    );
    let all: f64 = report.columns.iter().map(|(_, bytes)| number(*bytes)).sum();
    let listed: Vec<_> = report
        .columns
        .iter()
        .map(|(name, bytes)| format!("{name} {:.2}", number(*bytes) / clicks))
        .collect();
    println!("  columns {:.2}: {}", all / clicks, listed.join(", "));
    Ok(())
}

/// How a target is spoken of.
pub(crate) fn verdict(is_met: bool) -> &'static str {
    if is_met { "met" } else { "MISSED" }
}
