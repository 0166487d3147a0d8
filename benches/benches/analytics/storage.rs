//! What clicks take of the disk. Terse itself does not tell, so the database is asked.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use secrecy::ExposeSecret as _;
use sqlx::Connection as _;
use terse_benches::stats::{float, grouped};
use terse_core::DatabaseUrl;

use crate::dataset::Dataset;

const MOST_BYTES_PER_CLICK: f64 = 30.0;
/// Of a day that is over, two chunks of at most so many rows become one.
const ROWS_OF_SMALL_CHUNKS: &str = "131072";
const CHUNK_COLUMNS: [(i64, &str); 7] = [
    (0, "link"),
    (1, "time"),
    (2, "visitor"),
    (3, "seq"),
    (4, "stream"),
    (5, "kind"),
    (6, "reason"),
];
/// `chunk_columns.id % 64` of the texts, in the order of their numbers.
const FACTS: [&str; 15] = [
    "browser",
    "os",
    "device",
    "language",
    "referrer",
    "utm_source",
    "utm_medium",
    "utm_campaign",
    "utm_term",
    "utm_content",
    "country",
    "region",
    "city",
    "browser_version",
    "trigger",
];

/// Asks for pairs of numbers.
async fn pairs(database: &DatabaseUrl, sql: String) -> Result<Vec<(i64, i64)>> {
    let sql = sqlx::AssertSqlSafe(sql);
    let pairs = match database {
        DatabaseUrl::Sqlite(file) => {
            let file = format!("sqlite:{}", file.display());
            let mut connection = sqlx::SqliteConnection::connect(&file).await?;
            let pairs = sqlx::query_as(sql).fetch_all(&mut connection).await?;
            connection.close().await?;
            pairs
        }
        DatabaseUrl::Postgres(url) => {
            let mut connection = sqlx::PgConnection::connect(url.expose_secret()).await?;
            let pairs = sqlx::query_as(sql).fetch_all(&mut connection).await?;
            connection.close().await?;
            pairs
        }
    };
    Ok(pairs)
}

async fn pair(data: &Dataset, sql: String) -> Result<(i64, i64)> {
    let pairs = pairs(&data.database, sql).await?;
    pairs.into_iter().next().context("no row")
}

/// Clicks in the tail.
pub(crate) async fn tail_clicks(data: &Dataset) -> Result<u64> {
    let sql = "SELECT CAST(COALESCE(SUM(click_count), 0) AS BIGINT), COUNT(*) FROM tail";
    Ok(u64::try_from(pair(data, sql.to_owned()).await?.0)?)
}

/// Clicks in chunks and in the tail.
pub(crate) async fn clicks(data: &Dataset) -> Result<u64> {
    let sql = "SELECT CAST(COALESCE(SUM(row_count), 0) AS BIGINT), COUNT(*) FROM chunks \
               WHERE replaced_at IS NULL";
    Ok(u64::try_from(pair(data, sql.to_owned()).await?.0)? + tail_clicks(data).await?)
}

/// Whether chunks are still to be merged; or else, whether chunks that were replaced are still there.
pub(crate) async fn is_unsettled(data: &Dataset, merging: bool) -> Result<bool> {
    let sql = if merging {
        format!(
            "SELECT COUNT(*), COUNT(*) FROM (SELECT 1 FROM chunks WHERE replaced_at IS NULL \
             AND row_count <= {ROWS_OF_SMALL_CHUNKS} GROUP BY workspace_id, day \
             HAVING COUNT(*) > 1) many"
        )
    } else {
        "SELECT COUNT(*), COUNT(*) FROM chunks WHERE replaced_at IS NOT NULL".to_owned()
    };
    Ok(pair(data, sql).await?.0 > 0)
}

/// Prints bytes per click, in all and by column.
pub(crate) async fn run(data: &Dataset) -> Result<()> {
    let clicks = float(clicks(data).await?);
    let in_tail = tail_clicks(data).await?;
    let sql = "SELECT COUNT(*), CAST(MAX(row_count) AS BIGINT) FROM chunks \
               WHERE replaced_at IS NULL";
    let (chunks, largest) = pair(data, sql.to_owned()).await?;
    println!(
        "Storage: {} clicks in {chunks} chunks of at most {} rows, {} of them in the tail",
        grouped(clicks),
        grouped(float(largest.unsigned_abs())),
        grouped(float(in_tail))
    );
    let (bytes, free) = database_bytes(data).await?;
    let per_click = bytes / clicks;
    println!(
        "  {:.1} MiB in all, {per_click:.2} bytes per click (target {MOST_BYTES_PER_CLICK}): {}; \
         {:.1} MiB more are free for reuse",
        bytes / 1_048_576.0,
        verdict(per_click <= MOST_BYTES_PER_CLICK),
        free / 1_048_576.0
    );
    by_column(data, clicks).await
}

/// Bytes that are in use, and bytes that the file has besides.
async fn database_bytes(data: &Dataset) -> Result<(f64, f64)> {
    if let DatabaseUrl::Sqlite(_) = &data.database {
        let sql = "SELECT page_count * page_size, freelist_count * page_size \
                   FROM pragma_page_count, pragma_page_size, pragma_freelist_count";
        let (bytes, free) = pair(data, sql.to_owned()).await?;
        let free = float(free.unsigned_abs());
        return Ok((float(bytes.unsigned_abs()) - free, free));
    }
    let sql = "SELECT CAST(SUM(pg_total_relation_size(oid)) AS BIGINT), CAST(0 AS BIGINT) \
               FROM pg_class WHERE relname IN ('tail', 'chunks', 'chunk_columns', 'link_counters')";
    let (bytes, _) = pair(data, sql.to_owned()).await?;
    Ok((float(bytes.unsigned_abs()), 0.0))
}

async fn by_column(data: &Dataset, clicks: f64) -> Result<()> {
    let sql = "SELECT id % 64, CAST(SUM(LENGTH(counts) + COALESCE(LENGTH(data), 0)) AS BIGINT) \
               FROM chunk_columns GROUP BY id % 64";
    let bytes: BTreeMap<i64, i64> = pairs(&data.database, sql.to_owned())
        .await?
        .into_iter()
        .collect();
    let facts = (17..).zip(FACTS);
    let mut columns: Vec<_> = CHUNK_COLUMNS
        .into_iter()
        .chain(facts)
        .filter_map(|(number, name)| Some((float(bytes.get(&number)?.unsigned_abs()), name)))
        .collect();
    columns.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let all: f64 = columns.iter().map(|(bytes, _)| bytes).sum();
    let listed: Vec<_> = columns
        .iter()
        .map(|(bytes, name)| format!("{name} {:.2}", bytes / clicks))
        .collect();
    println!("  columns {:.2}: {}", all / clicks, listed.join(", "));
    Ok(())
}

/// How a target is spoken of.
pub(crate) fn verdict(is_met: bool) -> &'static str {
    if is_met { "met" } else { "MISSED" }
}
