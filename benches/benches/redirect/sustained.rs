//! At a fixed offered load: latency beside the baseline's, and whether the folder keeps pace.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow};
use terse_benches::load::{Outcome, Pace};
use terse_benches::server::TerseServer;
use terse_benches::stats::{float, grouped, median, ratios};
use terse_benches::traffic::Visits;

use crate::burst::micros;
use crate::stage::{FOLDING, MANY, Stage};

const CONNECTIONS: usize = 64;
const FRACTIONS: [f64; 3] = [0.5, 0.65, 0.8];
/// The promise is to count within this, up to the rate that is sustained.
const COUNTED_WITHIN_SECONDS: f64 = 2.0;

/// The baseline's rate with nothing else going on, the median of all rounds.
pub(crate) fn capacity(stage: &Stage) -> Result<f64> {
    let baseline = stage.baseline()?;
    let visits = Visits::new(
        "localhost",
        &["/page-00000".to_owned()],
        &terse_benches::agents::human_agents(),
        1,
    );
    stage.warm_up(baseline.address(), &visits)?;
    let mut rates = Vec::new();
    for _ in 0..stage.rounds {
        let pace = Pace::Closed(stage.slot);
        let outcome = stage.send(baseline.address(), CONNECTIONS, pace, &visits)?;
        rates.push(outcome.rate());
    }
    let capacity = median(&rates);
    println!("\nthe baseline's rate: {}/s", grouped(capacity));
    Ok(capacity)
}

/// p99 at half the baseline's rate, for both.
pub(crate) fn level(stage: &Stage, capacity: f64) -> Result<()> {
    let rate = capacity / 2.0;
    println!(
        "latency at {}/s offered (half the baseline's rate), from when each request was due",
        grouped(rate)
    );
    let baseline = stage.baseline()?;
    let terse = stage.terse("process")?;
    let visits = terse.create_links(MANY)?;
    stage.warm_up(baseline.address(), &visits)?;
    stage.warm_up(terse.address(), &visits)?;
    let pace = Pace::Open {
        rate,
        duration: stage.slot,
    };
    let (mut plain, mut counting) = (Vec::new(), Vec::new());
    for _ in 0..stage.rounds {
        terse.wait_until_folded(FOLDING)?;
        let outcome = stage.send(baseline.address(), CONNECTIONS, pace, &visits)?;
        plain.push(p99(&outcome));
        print_latency("baseline", &outcome);
        let outcome = stage.send(terse.address(), CONNECTIONS, pace, &visits)?;
        counting.push(p99(&outcome));
        print_latency("terse", &outcome);
    }
    println!(
        "  p99 baseline {:.0} us, terse {:.0} us, ratio {:.2}",
        median(&plain),
        median(&counting),
        median(&ratios(&counting, &plain))
    );
    terse.stop()
}

fn p99(outcome: &Outcome) -> f64 {
    micros(outcome.latency.permille(990))
}

fn print_latency(name: &str, outcome: &Outcome) {
    println!(
        "    {name:<9} {:>9}/s   p50 {:>6.0} us   p99 {:>6.0} us   p99.9 {:>6.0} us{}",
        grouped(outcome.rate()),
        micros(outcome.latency.permille(500)),
        p99(outcome),
        micros(outcome.latency.permille(999)),
        if outcome.missed == 0 {
            String::new()
        } else {
            format!("   {} given up", grouped(float(outcome.missed)))
        },
    );
}

/// The highest of some fractions of the baseline's rate at which the folder keeps pace.
pub(crate) fn sustained(stage: &Stage, capacity: f64) -> Result<()> {
    let duration = Duration::from_secs(if stage.quick { 3 } else { 8 });
    println!(
        "sustained, level process, 10,000 links, {} s each",
        duration.as_secs()
    );
    let mut highest = None;
    for fraction in FRACTIONS {
        if keeps_pace(stage, capacity, fraction, duration)? {
            highest = Some(fraction);
        }
    }
    match highest {
        Some(fraction) => println!("  sustained: {fraction:.2} of the baseline's rate"),
        None => println!("  not even {:.2} is sustained", FRACTIONS[0]),
    }
    Ok(())
}

fn keeps_pace(stage: &Stage, capacity: f64, fraction: f64, duration: Duration) -> Result<bool> {
    let rate = capacity * fraction;
    let terse = stage.terse("process")?;
    let visits = terse.create_links(MANY)?;
    let mut answered = stage.warm_up(terse.address(), &visits)?;
    terse.wait_until_folded(FOLDING)?;
    let pace = Pace::Open { rate, duration };
    let (outcome, samples) = watch_pending(&terse, duration / 4, || {
        stage.send(terse.address(), CONNECTIONS, pace, &visits)
    })?;
    answered += outcome.redirects();
    let behind: Vec<f64> = samples
        .iter()
        .map(|&pending| float(pending) / rate)
        .collect();
    let last = behind.last().copied().unwrap_or(f64::NAN);
    let caught_up = terse.wait_until_folded(FOLDING)?;
    let counted = terse.counted()?;
    let sustained =
        outcome.missed == 0 && outcome.rate() > 0.98 * rate && last <= COUNTED_WITHIN_SECONDS;
    println!(
        "  {fraction:.2}: {}/s offered, {}/s answered, p99 {:.0} us; behind by {} s of load; \
         caught up in {:.1} s; counted {} of {}: {}",
        grouped(rate),
        grouped(outcome.rate()),
        p99(&outcome),
        behind
            .iter()
            .map(|seconds| format!("{seconds:.2}"))
            .collect::<Vec<_>>()
            .join(", "),
        caught_up.as_secs_f64(),
        grouped(float(counted)),
        grouped(float(answered)),
        if sustained {
            "kept pace"
        } else {
            "fell behind"
        },
    );
    anyhow::ensure!(
        counted == answered,
        "not every answered redirect is counted once"
    );
    terse.stop()?;
    Ok(sustained)
}

/// Pending clicks while `load` runs: every `interval`, and once more at its end.
fn watch_pending<R: Send>(
    terse: &TerseServer,
    interval: Duration,
    load: impl FnOnce() -> Result<R> + Send,
) -> Result<(R, Vec<u64>)> {
    let (ended, end) = channel::<()>();
    thread::scope(|scope| {
        let watcher = scope.spawn(move || {
            let mut samples = Vec::new();
            while end.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                samples.push(terse.pending()?);
            }
            samples.push(terse.pending()?);
            anyhow::Ok(samples)
        });
        let result = load();
        drop(ended);
        let samples = watcher
            .join()
            .map_err(|_| anyhow!("a watcher panicked"))??;
        Ok((result?, samples))
    })
}
