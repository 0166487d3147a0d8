//! User-space instructions per redirect: the figure that noise does not touch.

use std::net::SocketAddr;
use std::process::Command;

use anyhow::Result;
use terse_benches::baseline::Baseline;
use terse_benches::load::Pace;
use terse_benches::server::{Options, TerseServer, target_dir};
use terse_benches::stats::{float, grouped};
use terse_benches::traffic::Visits;
use terse_benches::{agents, valgrind};

use crate::stage::{FOLDING, Stage};

/// Links, so that the cache is used and creating them under callgrind stays short.
const LINKS: usize = 100;
const FEW: u64 = 10_000;
const CONNECTIONS: usize = 16;

/// Two runs each, with different numbers of redirects: what starting and stopping takes falls out.
pub(crate) fn run(stage: &Stage) -> Result<()> {
    if !valgrind::is_available() {
        println!("\ninstructions: valgrind is not installed");
        return Ok(());
    }
    let many = if stage.quick { 2 * FEW } else { 5 * FEW };
    println!("\nuser-space instructions per redirect, by callgrind ({FEW} and {many} redirects)");
    let plain = baseline(stage, many)?.saturating_sub(baseline(stage, FEW)?);
    let counting = terse(stage, many)?.saturating_sub(terse(stage, FEW)?);
    let (plain, counting) = (
        float(plain) / float(many - FEW),
        float(counting) / float(many - FEW),
    );
    println!("  baseline {}", grouped(plain));
    println!(
        "  terse    {} (the click's way into SQLite included), ratio {:.2}",
        grouped(counting),
        counting / plain
    );
    Ok(())
}

fn baseline(stage: &Stage, redirects: u64) -> Result<u64> {
    let log = tempfile::NamedTempFile::new_in(target_dir()?)?;
    let words = valgrind::instrument(log.path());
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    let baseline = Baseline::start_under(command, &stage.cores.server)?;
    let paths: Vec<String> = (0..LINKS)
        .map(|number| format!("/page-{number:05}"))
        .collect();
    let visits = Visits::new("localhost", &paths, &agents::human_agents(), 1);
    visit(stage, baseline.address(), redirects, &visits)?;
    baseline.stop()?;
    valgrind::instructions(log.path())
}

fn terse(stage: &Stage, redirects: u64) -> Result<u64> {
    let log = tempfile::NamedTempFile::new_in(target_dir()?)?;
    let options = Options {
        durability: "process",
        cores: stage.cores.server.clone(),
        instrument: valgrind::instrument(log.path()),
    };
    let terse = TerseServer::start(&stage.program, options)?;
    let visits = terse.create_links(LINKS)?;
    visit(stage, terse.address(), redirects, &visits)?;
    terse.wait_until_folded(FOLDING)?;
    terse.stop()?;
    valgrind::instructions(log.path())
}

fn visit(stage: &Stage, address: SocketAddr, redirects: u64, visits: &Visits) -> Result<()> {
    stage.send(address, CONNECTIONS, Pace::Requests(redirects), visits)?;
    Ok(())
}
