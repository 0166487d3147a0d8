//! Visits of an installation's links, the way a server's threads answer them.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use terse_benches::agents::human_agents;
use terse_benches::machine;
use terse_benches::traffic::SplitMix;
use terse_core::classify::RequestFacts;
use terse_core::model::{NewLink, WorkspaceId};
use terse_core::{DatabaseUrl, Resolution, Terse};

const EMAIL: &str = "bench@example.com";
const PASSWORD: &str = "a-password-for-benches-only";
const PATIENCE: Duration = Duration::from_mins(5);

/// An installation, or one node of it, with a spool of its own.
pub(crate) async fn open(database: DatabaseUrl, spool: &Path) -> Result<Terse> {
    let builder = Terse::builder().database(database).spool_dir(spool);
    Ok(builder.open().await?)
}

/// The paths of so many new links of one workspace.
pub(crate) async fn create_links(terse: &Terse, links: usize) -> Result<Vec<String>> {
    let workspace = sign_in(terse).await?;
    let mut paths = Vec::with_capacity(links);
    for number in 0..links {
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

/// Answers `clicks` redirects, a thread on each of these cores.
pub(crate) fn visit(
    runtime: &tokio::runtime::Runtime,
    terse: &Terse,
    paths: &[String],
    (clicks, seed): (usize, u64),
    cores: &[usize],
) -> Result<()> {
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

/// Clicks that were waiting at these nodes, and how long it took until none was.
pub(crate) fn drain(nodes: &[&Terse]) -> Result<(u64, Duration)> {
    let start = Instant::now();
    let pending = || nodes.iter().map(|node| node.status().spool.pending).sum();
    let waiting: u64 = pending();
    while pending() > 0 {
        ensure!(start.elapsed() < PATIENCE, "folding takes too long");
        thread::sleep(Duration::from_millis(2));
    }
    Ok((waiting, start.elapsed()))
}
