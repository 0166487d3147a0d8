//! As fast as it goes, in turns with the baseline.

use std::time::Duration;

use anyhow::Result;
use terse_benches::load::{Outcome, Pace};
use terse_benches::machine;
use terse_benches::server::TerseServer;
use terse_benches::stats::{float, grouped, median, ratios};

use crate::stage::{FOLDING, MANY, Stage};

/// The same measurements of one server, slot by slot.
#[derive(Debug, Default)]
struct Series {
    rates: Vec<f64>,
    p50_us: Vec<f64>,
    p99_us: Vec<f64>,
    cpu_us: Vec<f64>,
}

impl Series {
    fn add(&mut self, outcome: &Outcome, cpu: Duration) {
        self.rates.push(outcome.rate());
        self.p50_us.push(micros(outcome.latency.permille(500)));
        self.p99_us.push(micros(outcome.latency.permille(990)));
        self.cpu_us.push(micros(cpu) / float(outcome.answers()));
    }

    fn print(&self, name: &str) {
        println!(
            "    {name:<9} {:>9}/s   p50 {:>6.0} us   p99 {:>6.0} us   cpu {:>5.2} us each",
            grouped(median(&self.rates)),
            median(&self.p50_us),
            median(&self.p99_us),
            median(&self.cpu_us),
        );
    }
}

/// Level `process`: a hot link and many, 64 and 256 connections.
pub(crate) fn run(stage: &Stage) -> Result<()> {
    println!("\nburst, level process (medians; the baseline runs while Terse is idle)");
    for (name, links) in [("one hot link", 1), ("10,000 links", MANY)] {
        for connections in [64, 256] {
            println!("  {name}, {connections} connections");
            alternate(stage, "process", links, connections)?;
        }
    }
    Ok(())
}

/// Level `power`: each answer waits for the disk.
pub(crate) fn power(stage: &Stage) -> Result<()> {
    println!("\nburst, level power, 10,000 links, 256 connections");
    alternate(stage, "power", MANY, 256)
}

fn alternate(
    stage: &Stage,
    durability: &'static str,
    links: usize,
    connections: usize,
) -> Result<()> {
    let baseline = stage.baseline()?;
    let terse = stage.terse(durability)?;
    let visits = terse.create_links(links)?;
    stage.warm_up(baseline.address(), &visits)?;
    let mut answered = stage.warm_up(terse.address(), &visits)?;
    let (mut plain, mut counting) = (Series::default(), Series::default());
    let pace = Pace::Closed(stage.slot);
    for _ in 0..stage.rounds {
        terse.wait_until_folded(FOLDING)?;
        let before = cpu(baseline.pid())?;
        let outcome = stage.send(baseline.address(), connections, pace, &visits)?;
        plain.add(&outcome, cpu(baseline.pid())?.saturating_sub(before));

        let before = cpu(terse.pid())?;
        let outcome = stage.send(terse.address(), connections, pace, &visits)?;
        counting.add(&outcome, cpu(terse.pid())?.saturating_sub(before));
        answered += outcome.redirects();
    }
    plain.print("baseline");
    counting.print("terse");
    let mut each = ratios(&counting.rates, &plain.rates);
    let ratio = median(&each);
    each.sort_by(f64::total_cmp);
    println!(
        "    ratio {ratio:.3} ({:.3} to {:.3})",
        each.first().unwrap_or(&f64::NAN),
        each.last().unwrap_or(&f64::NAN)
    );
    finish(terse, answered)
}

/// Whether every answered redirect is counted, and what the server holds in memory by now.
fn finish(terse: TerseServer, answered: u64) -> Result<()> {
    let took = terse.wait_until_folded(FOLDING)?;
    let anonymous = machine::anonymous_bytes(terse.pid())?;
    let counted = terse.counted()?;
    println!(
        "    answered {}, counted {} ({}); folded {:.1} s after the last; {} KiB anonymous memory",
        grouped(float(answered)),
        grouped(float(counted)),
        if answered == counted {
            "all"
        } else {
            "DIFFERENT"
        },
        took.as_secs_f64(),
        grouped(float(anonymous / 1024)),
    );
    anyhow::ensure!(
        answered == counted,
        "not every answered redirect is counted once"
    );
    terse.stop()
}

fn cpu(pid: u32) -> Result<Duration> {
    let (user, kernel) = machine::cpu_time(pid)?;
    Ok(user + kernel)
}

/// A duration in microseconds.
pub(crate) fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
