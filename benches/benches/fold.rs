//! Folding alone: clicks per second out of the spool into the database, counters included.
//!
//! `cargo bench -p terse-benches --bench fold`; from the environment: `ROUNDS` (5), `QUICK=1`, and
//! `TERSE_TEST_POSTGRES_URL`, an empty PostgreSQL database to fold into as well. Its tables stay.
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

use std::net::{IpAddr, Ipv4Addr};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use terse_benches::agents::human_agents;
use terse_benches::machine::{self, Cores};
use terse_benches::server::target_dir;
use terse_benches::settings;
use terse_benches::stats::{float, grouped, median};
use terse_benches::traffic::SplitMix;
use terse_core::classify::RequestFacts;
use terse_core::model::{NewLink, WorkspaceId};
use terse_core::{DatabaseUrl, Resolution, Terse};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const LINKS: usize = 1_000;
const EMAIL: &str = "bench@example.com";
const PASSWORD: &str = "a-password-for-benches-only";
const PATIENCE: Duration = Duration::from_mins(5);

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let home = tempfile::Builder::new()
        .prefix("bench-fold-")
        .tempdir_in(target_dir()?)?;
    let sqlite = DatabaseUrl::Sqlite(home.path().join("terse.db"));
    measure(&runtime, "SQLite", sqlite, &home.path().join("spool"))?;
    let Ok(url) = std::env::var("TERSE_TEST_POSTGRES_URL") else {
        println!("PostgreSQL: set TERSE_TEST_POSTGRES_URL to measure it");
        return Ok(());
    };
    let spool = home.path().join("postgres-spool");
    measure(&runtime, "PostgreSQL", url.parse()?, &spool)
}

fn measure(
    runtime: &tokio::runtime::Runtime,
    name: &str,
    database: DatabaseUrl,
    spool: &std::path::Path,
) -> Result<()> {
    let quick = settings::is_quick();
    let clicks: usize = if quick { 100_000 } else { 1_000_000 };
    let builder = Terse::builder().database(database).spool_dir(spool);
    let terse = runtime.block_on(builder.open())?;
    let paths = runtime.block_on(create_links(&terse))?;
    println!(
        "{name}, {LINKS} links, {} clicks a round",
        grouped(float(clicks as u64))
    );
    let (mut draining, mut whole) = (Vec::new(), Vec::new());
    for round in 0..settings::rounds()? {
        let before = terse.status().folded;
        let start = Instant::now();
        visit(runtime, &terse, &paths, clicks, round as u64)?;
        let (drained, took) = drain(&terse)?;
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

async fn create_links(terse: &Terse) -> Result<Vec<String>> {
    let workspace = sign_in(terse).await?;
    let mut paths = Vec::with_capacity(LINKS);
    for number in 0..LINKS {
        let new = NewLink::to(format!("https://example.com/articles/{number}"));
        let link = terse.links().create(&workspace, new).await?;
        paths.push(format!("/{}", link.slug));
    }
    Ok(paths)
}

async fn sign_in(terse: &Terse) -> Result<WorkspaceId> {
    let accounts = terse.accounts();
    let password = PASSWORD.to_owned().into();
    accounts
        .first_admin(Some(EMAIL.to_owned()), Some(PASSWORD.to_owned().into()))
        .await?;
    let grant = accounts
        .sign_in(EMAIL, &password, &terse_core::model::Origin::default())
        .await?;
    let principal = accounts
        .authenticate(grant.session, grant.user, None)
        .await?;
    Ok(principal.workspace)
}

/// Answers `clicks` redirects on half the cores, the way a server's threads do.
fn visit(
    runtime: &tokio::runtime::Runtime,
    terse: &Terse,
    paths: &[String],
    clicks: usize,
    seed: u64,
) -> Result<()> {
    let cores = Cores::divided()?.load;
    let agents = human_agents();
    let handle = runtime.handle();
    thread::scope(|scope| {
        let running: Vec<_> = cores
            .iter()
            .enumerate()
            .map(|(index, &core)| {
                let share = clicks / cores.len() + usize::from(index < clicks % cores.len());
                let random = SplitMix::seeded(seed * 1_000 + index as u64);
                let (terse, agents) = (terse.clone(), &agents);
                scope.spawn(move || {
                    machine::pin_this_thread(&[core])?;
                    handle.block_on(visit_share(&terse, paths, agents, share, random))
                })
            })
            .collect();
        running.into_iter().try_for_each(|thread| {
            thread
                .join()
                .map_err(|_| anyhow::anyhow!("a visiting thread panicked"))?
        })
    })
}

async fn visit_share(
    terse: &Terse,
    paths: &[String],
    agents: &[String],
    clicks: usize,
    mut random: SplitMix,
) -> Result<()> {
    for _ in 0..clicks {
        // A hundred thousand visitors.
        let host = u32::try_from(random.below(100_000))?;
        let facts = RequestFacts {
            user_agent: agents[random.below(agents.len())].as_bytes(),
            accept_language: b"en-US,en;q=0.9",
            referer: b"https://news.example/today",
            ..RequestFacts::of(IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 | host)))
        };
        let path = &paths[random.below(paths.len())];
        let answer = terse.resolve("localhost", path, &facts).await?;
        ensure!(
            matches!(answer, Resolution::Redirect(_)),
            "not a redirect: {answer:?}"
        );
    }
    Ok(())
}

/// Clicks that were waiting, and how long it took until none was.
fn drain(terse: &Terse) -> Result<(u64, Duration)> {
    let start = Instant::now();
    let waiting = terse.status().spool.pending;
    while terse.status().spool.pending > 0 {
        ensure!(start.elapsed() < PATIENCE, "folding takes too long");
        thread::sleep(Duration::from_millis(2));
    }
    Ok((waiting, start.elapsed()))
}
