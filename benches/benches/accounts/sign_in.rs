//! Latency of redirects while many people sign in, and what their passwords take of the machine.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use terse_benches::agents::human_agents;
use terse_benches::load::{Outcome, Pace};
use terse_benches::machine;
use terse_benches::server::TerseServer;
use terse_benches::settings;
use terse_benches::stats::{float, grouped, median, range, ratios, whole};
use terse_benches::traffic::Visits;

use crate::stage::{FOLDING, MANY, Stage};

const CONNECTIONS: usize = 64;
const PEOPLE: usize = 200;
const MOST_SLOWDOWN: f64 = 2.0;
const MEBIBYTE: u64 = 1024 * 1024;
/// What the server may take besides, and for each password that is checked at the same time.
const MOST_BYTES: u64 = 200 * MEBIBYTE;
const BYTES_PER_PERMIT: u64 = 19 * MEBIBYTE;
/// Shorter than checking a password.
const LOOK_AT_MEMORY: Duration = Duration::from_millis(5);

/// What went on beside the redirects of one slot.
#[derive(Debug, Default)]
struct Beside {
    /// Sign-ins that were answered while redirects were measured.
    sign_ins: u64,
    peak_bytes: u64,
}

#[derive(Debug, Default)]
struct Series {
    quiet_us: Vec<f64>,
    busy_us: Vec<f64>,
    sign_ins: Vec<f64>,
    peak_bytes: u64,
}

/// The same load of redirects with and without sign-ins, in turns.
pub(crate) fn run(stage: &Stage) -> Result<()> {
    let links = if stage.quick { MANY / 10 } else { MANY };
    let rate = match settings::rate()? {
        Some(rate) => float(rate),
        None => capacity(stage)? / 4.0,
    };
    println!(
        "{}/s redirects offered, {links} links; {PEOPLE} people sign in again and again",
        grouped(rate)
    );
    let terse = stage.terse("process")?;
    let visits = terse.create_links(links)?;
    stage.warm_up(terse.address(), &visits)?;
    let pace = Pace::Open {
        rate,
        duration: stage.slot,
    };
    let mut series = Series::default();
    for _ in 0..stage.rounds {
        terse.wait_until_folded(FOLDING)?;
        let quiet = stage.send(terse.address(), CONNECTIONS, pace, &visits)?;
        print_slot("quiet", &quiet);
        terse.wait_until_folded(FOLDING)?;
        let (busy, beside) = with_sign_ins(stage, &terse, || {
            stage.send(terse.address(), CONNECTIONS, pace, &visits)
        })?;
        print_slot("sign-ins", &busy);
        series.add(&quiet, &busy, &beside);
    }
    series.print(stage.cores.server.len());
    on_busy_cores(stage, &terse, &visits)?;
    terse.stop()
}

/// How long one person waits to be let in while redirects take all that the cores have.
fn on_busy_cores(stage: &Stage, terse: &TerseServer, visits: &Visits) -> Result<()> {
    let over = AtomicBool::new(false);
    let (outcome, waits) = thread::scope(|scope| {
        let person = scope.spawn(|| {
            machine::pin_this_thread(&stage.cores.load)?;
            let mut waits = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let start = Instant::now();
                terse.sign_in()?;
                waits.push(start.elapsed().as_secs_f64());
            }
            anyhow::Ok(waits)
        });
        let pace = Pace::Closed(stage.slot * 4);
        let outcome = stage.send(terse.address(), CONNECTIONS, pace, visits);
        over.store(true, Ordering::Relaxed);
        let waits = person.join().map_err(|_| anyhow!("a thread panicked"))??;
        anyhow::Ok((outcome?, waits))
    })?;
    println!(
        "  while {}/s redirects are answered, the most that the cores can: {} sign-ins one after \
         the other, {:.2} s each, {:.2} s at most",
        grouped(outcome.rate()),
        waits.len(),
        median(&waits),
        range(&waits).1
    );
    Ok(())
}

/// The baseline's rate with nothing else going on.
fn capacity(stage: &Stage) -> Result<f64> {
    let baseline = stage.baseline()?;
    let visits = Visits::new("localhost", &["/page".to_owned()], &human_agents(), 1);
    stage.warm_up(baseline.address(), &visits)?;
    let mut rates = Vec::new();
    for _ in 0..stage.rounds {
        let pace = Pace::Closed(stage.slot);
        let outcome = stage.send(baseline.address(), CONNECTIONS, pace, &visits)?;
        rates.push(outcome.rate());
    }
    println!("the baseline's rate: {}/s", grouped(median(&rates)));
    Ok(median(&rates))
}

/// Runs `load` while people sign in: they begin with it, and none begins again after it.
fn with_sign_ins(
    stage: &Stage,
    terse: &TerseServer,
    load: impl FnOnce() -> Result<Outcome>,
) -> Result<(Outcome, Beside)> {
    let (over, sign_ins) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let person = || {
            machine::pin_this_thread(&stage.cores.load)?;
            while !over.load(Ordering::Relaxed) {
                terse.sign_in()?;
                sign_ins.fetch_add(1, Ordering::Relaxed);
            }
            anyhow::Ok(())
        };
        let people: Vec<_> = (0..PEOPLE).map(|_| scope.spawn(person)).collect();
        let memory = scope.spawn(|| peak_bytes(stage, terse.pid(), &over));
        let outcome = load();
        let answered = sign_ins.load(Ordering::Relaxed);
        over.store(true, Ordering::Relaxed);
        let peak_bytes = memory.join().map_err(|_| anyhow!("a thread panicked"))??;
        for person in people {
            person.join().map_err(|_| anyhow!("a thread panicked"))??;
        }
        let beside = Beside {
            sign_ins: answered,
            peak_bytes,
        };
        Ok((outcome?, beside))
    })
}

fn peak_bytes(stage: &Stage, pid: u32, over: &AtomicBool) -> Result<u64> {
    machine::pin_this_thread(&stage.cores.load)?;
    let mut peak = 0;
    while !over.load(Ordering::Relaxed) {
        peak = peak.max(machine::anonymous_bytes(pid)?);
        thread::sleep(LOOK_AT_MEMORY);
    }
    Ok(peak)
}

fn print_slot(name: &str, outcome: &Outcome) {
    let latency = &outcome.latency;
    println!(
        "    {name:<9} {:>9}/s   p50 {:>6.0} us   p99 {:>6.0} us   p99.9 {:>6.0} us   {} given up",
        grouped(outcome.rate()),
        micros(latency.permille(500)),
        micros(latency.permille(990)),
        micros(latency.permille(999)),
        grouped(float(outcome.missed)),
    );
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

impl Series {
    fn add(&mut self, quiet: &Outcome, busy: &Outcome, beside: &Beside) {
        self.quiet_us.push(micros(quiet.latency.permille(990)));
        self.busy_us.push(micros(busy.latency.permille(990)));
        let seconds = busy.elapsed.as_secs_f64();
        self.sign_ins.push(float(beside.sign_ins) / seconds);
        self.peak_bytes = self.peak_bytes.max(beside.peak_bytes);
    }

    fn print(&self, cores: usize) {
        let slower = ratios(&self.busy_us, &self.quiet_us);
        let (least, most) = range(&slower);
        let slowdown = median(&slower);
        println!(
            "  p99 quiet {:.0} us, during sign-ins {:.0} us; ratio {slowdown:.2} ({least:.2} to {most:.2}), \
             under {MOST_SLOWDOWN}: {}",
            median(&self.quiet_us),
            median(&self.busy_us),
            yes(slowdown < MOST_SLOWDOWN)
        );
        println!(
            "  {} sign-ins/s, at most {PEOPLE} waiting",
            whole(median(&self.sign_ins))
        );
        let permits = (cores / 2).max(1) as u64;
        let allowed = MOST_BYTES + permits * BYTES_PER_PERMIT;
        println!(
            "  anonymous memory at its peak {} MiB; under {} MiB ({permits} at a time): {}",
            self.peak_bytes / MEBIBYTE,
            allowed / MEBIBYTE,
            yes(self.peak_bytes < allowed)
        );
    }
}

fn yes(held: bool) -> &'static str {
    if held { "yes" } else { "NO" }
}
