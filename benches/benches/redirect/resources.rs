//! What the server takes: memory after many redirects, time to start.

use std::time::Instant;

use anyhow::{Result, ensure};
use terse_benches::load::Pace;
use terse_benches::stats::{float, grouped, median};
use terse_benches::{http, machine};

use crate::stage::{FOLDING, MANY, Stage};

/// Anonymous memory while five million redirects over 10,000 links are answered.
pub(crate) fn memory(stage: &Stage) -> Result<()> {
    let step: u64 = if stage.quick { 200_000 } else { 1_000_000 };
    println!("\nanonymous memory, 10,000 links, 64 connections");
    let terse = stage.terse("process")?;
    let idle = machine::anonymous_bytes(terse.pid())?;
    let visits = terse.create_links(MANY)?;
    println!("  with no links {}", mebibytes(idle));
    let created = machine::anonymous_bytes(terse.pid())?;
    println!("  10,000 links made {}", mebibytes(created));
    for done in 1..=5 {
        stage.send(terse.address(), 64, Pace::Requests(step), &visits)?;
        let at_once = machine::anonymous_bytes(terse.pid())?;
        terse.wait_until_folded(FOLDING)?;
        let folded = machine::anonymous_bytes(terse.pid())?;
        println!(
            "  after {} redirects {}, when folded {}",
            grouped(float(done * step)),
            mebibytes(at_once),
            mebibytes(folded)
        );
    }
    let counted = terse.counted()?;
    ensure!(counted == 5 * step, "counted {counted} of {}", 5 * step);
    println!("  all are counted");
    terse.stop()
}

/// From the start of the process to its first answer: on an empty directory, and with data.
pub(crate) fn start(stage: &Stage) -> Result<()> {
    let mut terse = stage.terse("process")?;
    println!(
        "\nstart to ready on an empty directory (an administrator is made): {:.0} ms",
        terse.first_answer().as_secs_f64() * 1e3
    );
    let visits = terse.create_links(MANY)?;
    stage.warm_up(terse.address(), &visits)?;
    terse.wait_until_folded(FOLDING)?;
    let (mut ready, mut redirect) = (Vec::new(), Vec::new());
    for _ in 0..stage.rounds {
        terse.restart()?;
        ready.push(terse.first_answer().as_secs_f64() * 1e3);
        let asked = Instant::now();
        let answer = http::get(terse.address(), "/page-00000", "")?;
        ensure!(
            answer.status == 302,
            "the first redirect: {}",
            answer.status
        );
        redirect.push(asked.elapsed().as_secs_f64() * 1e3);
    }
    println!(
        "start to ready with 10,000 links and their clicks: {:.0} ms, the first redirect {:.1} ms after",
        median(&ready),
        median(&redirect)
    );
    terse.stop()
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", float(bytes) / (1024.0 * 1024.0))
}
