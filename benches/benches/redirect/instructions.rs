//! User-space instructions per redirect: the figure that noise does not touch.

use std::net::SocketAddr;
use std::process::Command;

use anyhow::Result;
use terse_benches::agents;
use terse_benches::baseline::Baseline;
use terse_benches::load::Pace;
use terse_benches::postgres::{self, Database};
use terse_benches::server::{Options, TerseServer, target_dir};
use terse_benches::stats::{float, grouped};
use terse_benches::traffic::Visits;
use terse_benches::valgrind::{self, ByThread, Callgrind};

use crate::stage::{FOLDING, Stage};

/// Links, so that the cache is used and creating them under callgrind stays short.
const LINKS: usize = 100;
const FEW: u64 = 10_000;
const CONNECTIONS: usize = 16;
/// The threads that answer; all others work in the background.
const ANSWERING: &str = "tokio-rt-worker";
/// How much more a node on PostgreSQL and Redis may take than one on SQLite.
const AIM: f64 = 1.03;

/// What one redirect takes, by thread.
type PerRedirect = Vec<(String, f64)>;

/// Two runs each, with different numbers of redirects: what starting and stopping takes falls out.
pub(crate) fn run(stage: &Stage) -> Result<()> {
    if !valgrind::is_available() {
        println!("\ninstructions: valgrind is not installed");
        return Ok(());
    }
    let many = if stage.quick { 2 * FEW } else { 5 * FEW };
    println!("\nuser-space instructions per redirect, by callgrind ({FEW} and {many} redirects)");
    let plain = per_redirect(many, |redirects| baseline(stage, redirects))?;
    print("baseline", &plain);
    let alone = per_redirect(many, |redirects| terse(stage, redirects, Vec::new()))?;
    print("one node on SQLite", &alone);
    println!(
        "  ratio to the baseline {:.2}",
        total(&alone) / total(&plain)
    );
    let (Some(server), Some(redis)) = (postgres::server(), postgres::redis()) else {
        println!("  on PostgreSQL and Redis: set TERSE_TEST_POSTGRES_URL and TERSE_TEST_REDIS_URL");
        return Ok(());
    };
    let shared = per_redirect(many, |redirects| {
        let database = Database::create(&server)?;
        terse(stage, redirects, of_cluster(&database, &redis))
    })?;
    print("a node on PostgreSQL and Redis", &shared);
    println!(
        "  ratio to the node on SQLite: {:.3} in all, {:.3} of the threads that answer (aim {AIM})",
        total(&shared) / total(&alone),
        answering(&shared) / answering(&alone)
    );
    Ok(())
}

fn of_cluster(database: &Database, redis: &str) -> Vec<(&'static str, String)> {
    vec![
        ("TERSE_DATABASE_URL", database.url()),
        ("TERSE_REDIS_URL", redis.to_owned()),
        (
            "TERSE_JWT_SECRET",
            "a-secret-for-benches-only-0123456789".to_owned(),
        ),
    ]
}

fn per_redirect(many: u64, count: impl Fn(u64) -> Result<ByThread>) -> Result<PerRedirect> {
    let (above, below) = (count(many)?, count(FEW)?);
    let mut threads: PerRedirect = above
        .into_iter()
        .map(|(name, above)| {
            let below = below.get(&name).copied().unwrap_or_default();
            // Whoever only started and stopped did so by chance a little faster in the longer run.
            let each = float(above.saturating_sub(below)) / float(many - FEW);
            (name, each)
        })
        .collect();
    threads.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    Ok(threads)
}

fn total(threads: &PerRedirect) -> f64 {
    threads.iter().map(|(_, each)| each).sum()
}

fn answering(threads: &PerRedirect) -> f64 {
    let answering = threads.iter().filter(|(name, _)| name == ANSWERING);
    answering.map(|(_, each)| each).sum()
}

fn print(name: &str, threads: &PerRedirect) {
    println!("  {name}: {}", grouped(total(threads)));
    for (thread, each) in threads.iter().filter(|(_, each)| *each >= 1.0) {
        println!("      {thread:<16} {:>7}", grouped(*each));
    }
}

fn baseline(stage: &Stage, redirects: u64) -> Result<ByThread> {
    let callgrind = Callgrind::within(&target_dir()?)?;
    let words = callgrind.words();
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    let baseline = Baseline::start_under(command, &stage.cores.server)?;
    let paths: Vec<String> = (0..LINKS)
        .map(|number| format!("/page-{number:05}"))
        .collect();
    let visits = Visits::new("localhost", &paths, &agents::human_agents(), 1);
    visit(stage, baseline.address(), redirects, &visits)?;
    let threads = valgrind::threads(baseline.pid())?;
    baseline.stop()?;
    callgrind.instructions(&threads)
}

fn terse(stage: &Stage, redirects: u64, settings: Vec<(&'static str, String)>) -> Result<ByThread> {
    let callgrind = Callgrind::within(&target_dir()?)?;
    let options = Options {
        durability: "process",
        cores: stage.cores.server.clone(),
        instrument: callgrind.words(),
        settings,
    };
    let terse = TerseServer::start(&stage.program, options)?;
    let visits = terse.create_links(LINKS)?;
    visit(stage, terse.address(), redirects, &visits)?;
    terse.wait_until_folded(FOLDING)?;
    let threads = valgrind::threads(terse.pid())?;
    terse.stop()?;
    callgrind.instructions(&threads)
}

fn visit(stage: &Stage, address: SocketAddr, redirects: u64, visits: &Visits) -> Result<()> {
    stage.send(address, CONNECTIONS, Pace::Requests(redirects), visits)?;
    Ok(())
}
