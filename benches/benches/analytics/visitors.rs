//! How far counts of visitors are off: of links whose visitors are known.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use terse_benches::agents::human_agents;
use terse_benches::server::target_dir;
use terse_benches::settings;
use terse_benches::stats::{float, grouped, median};
use terse_core::analytics::AnalyticsQuery;
use terse_core::classify::RequestFacts;
use terse_core::model::{ManualClock, NewLink};
use terse_core::{Resolution, Terse};

use crate::dataset::{sign_in, start};

/// From so many on, ten million visitors are tried too.
const MANY: u64 = 100_000_000;
const TRIALS: usize = 5;
/// With more visitors, one trial has to do.
const LARGE: u64 = 1_000_000;
const MOST_PENDING: u64 = 400_000;

/// Sends known numbers of visitors to links of their own, and asks how many there were.
pub(crate) async fn run(clicks: u64) -> Result<()> {
    let home = tempfile::Builder::new()
        .prefix("bench-visitors-")
        .tempdir_in(target_dir()?)?;
    let clock = Arc::new(ManualClock::at(start()?));
    let terse = Terse::builder()
        .sqlite(home.path().join("terse.db"))
        .spool_retain(Duration::ZERO)
        .clock(Arc::<ManualClock>::clone(&clock))
        .open()
        .await?;
    let mut sizes = vec![10, 100, 1_000, 10_000, 100_000];
    if !settings::is_quick() {
        sizes.push(LARGE);
    }
    if clicks >= MANY {
        sizes.push(10 * LARGE);
    }
    println!("Visitors: known numbers, each of whom clicks once or twice");
    let workspace = sign_in(&terse).await?;
    for visitors in sizes {
        let mut errors = Vec::new();
        let trials = if visitors < LARGE { TRIALS } else { 1 };
        for trial in 0..trials {
            let link = terse
                .links()
                .create(&workspace, NewLink::to("https://example.com/"))
                .await?;
            visit(&terse, &format!("/{}", link.slug), visitors, trial, &clock).await?;
            let query = AnalyticsQuery {
                link_id: vec![link.id.to_string()],
                ..AnalyticsQuery::default()
            };
            let answer = terse.analytics().summary(&workspace, query, None).await?;
            let told = answer.visitors.context("visitors are not told")?;
            let off = float(told.abs_diff(visitors.cast_signed())) / float(visitors);
            errors.push(off * 100.0);
        }
        println!(
            "  {:>10}: off by {:.2} % (median of {trials}), {:.2} % at most",
            grouped(float(visitors)),
            median(&errors),
            errors.iter().copied().fold(0.0, f64::max)
        );
    }
    terse.close().await;
    Ok(())
}

async fn visit(
    terse: &Terse,
    path: &str,
    visitors: u64,
    trial: usize,
    clock: &ManualClock,
) -> Result<()> {
    let agents = human_agents();
    for visitor in 0..visitors {
        // Other people in every trial.
        let address = u32::try_from(visitor)? + (u32::try_from(trial)? << 27);
        let facts = RequestFacts {
            user_agent: agents[trial].as_bytes(),
            ..RequestFacts::of(IpAddr::V4(Ipv4Addr::from_bits(0x0100_0000 + address)))
        };
        for _ in 0..=visitor % 2 {
            let answer = terse.resolve("localhost", path, &facts).await?;
            ensure!(matches!(answer, Resolution::Redirect(_)), "not a redirect");
        }
        if visitor.is_multiple_of(1_000) {
            clock.advance(Duration::from_millis(10));
            wait_until(terse, MOST_PENDING).await;
        }
    }
    wait_until(terse, 0).await;
    Ok(())
}

async fn wait_until(terse: &Terse, most: u64) {
    while terse.status().spool.pending > most {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
