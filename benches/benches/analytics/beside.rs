//! Redirects and folding while people ask and export: how much later a click is answered and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use terse_benches::histogram::Histogram;
use terse_benches::settings;
use terse_benches::stats::{float, grouped};
use terse_core::Resolution;

use crate::dataset::{Dataset, end};
use crate::storage::verdict;
use crate::{export, loading, questions};

const ASKERS: usize = 20;
const EXPORTERS: usize = 2;
const RATE: u64 = 5_000;
const SECONDS: u64 = 10;
const MOST_SLOWDOWN: f64 = 2.0;
const LOOK_EVERY: Duration = Duration::from_millis(1);
const EXPORT_AT_ONCE: u64 = 1_000_000;
const FOLDING_PATIENCE: Duration = Duration::from_mins(1);

/// What goes on beside the clicks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Company {
    Nobody,
    Askers,
    Exporters,
}

/// What came of one load.
struct Outcome {
    /// From when a click was due until it was answered.
    latency: Histogram,
    /// From when a click was answered until the figures include it.
    delay: Histogram,
    /// Of the questions asked meanwhile.
    answers: Histogram,
}

/// The same load of clicks with and without company.
pub(crate) async fn run(data: &Dataset) -> Result<()> {
    let rate = settings::rate()?.unwrap_or(RATE);
    println!("Beside {} redirects per second", grouped(float(rate)));
    println!("                 answered p50    p99   p99.9 ms   counted after p50    p99 ms");
    let data = Shared::of(data)?;
    let mut quiet = None;
    for company in [
        Company::Nobody,
        Company::Askers,
        Company::Exporters,
        Company::Nobody,
    ] {
        let outcome = data.load(rate, company).await?;
        let p99 = outcome.print(company);
        let quiet = *quiet.get_or_insert(p99);
        if company != Company::Nobody {
            println!(
                "      p99 {:.1} times the quiet one (target {MOST_SLOWDOWN}): {}",
                p99 / quiet,
                verdict(p99 / quiet < MOST_SLOWDOWN)
            );
        }
    }
    Ok(())
}

impl Outcome {
    fn print(&self, company: Company) -> f64 {
        let millis =
            |histogram: &Histogram, permille| histogram.permille(permille).as_secs_f64() * 1e3;
        println!(
            "    {:<12} {:12.3} {:6.3} {:7.3} {:22.0} {:6.0}",
            format!("{company:?}"),
            millis(&self.latency, 500),
            millis(&self.latency, 990),
            millis(&self.latency, 999),
            millis(&self.delay, 500),
            millis(&self.delay, 990),
        );
        if !self.answers.is_empty() {
            println!(
                "      {} answers meanwhile, p50 {:.0} ms, p95 {:.0} ms",
                grouped(float(self.answers.len())),
                millis(&self.answers, 500),
                millis(&self.answers, 950),
            );
        }
        millis(&self.latency, 990)
    }
}

/// The data set, for tasks.
#[derive(Clone)]
struct Shared {
    data: Arc<Dataset>,
    paths: Arc<Vec<String>>,
}

impl Shared {
    fn of(data: &Dataset) -> Result<Self> {
        let day_after = end()?.plus(Duration::from_hours(25));
        data.clock.set(day_after);
        Ok(Self {
            data: Arc::new(data.clone()),
            paths: Arc::new(loading::paths()),
        })
    }

    async fn load(&self, rate: u64, company: Company) -> Result<Outcome> {
        let seconds = match settings::seconds()? {
            Some(seconds) => seconds,
            None if settings::is_quick() => 2,
            None => SECONDS,
        };
        let over = Arc::new(AtomicBool::new(false));
        let ticking = self.tick(&over);
        let companions = self.companions(company, &over);
        let before = self.data.terse.status().folded;
        let watching = self.watch_folding(before, rate * seconds);
        let clicking = self.click(rate, rate * seconds);
        let (latency, times) = join(clicking).await?;
        over.store(true, Ordering::Relaxed);
        let folded = join(watching).await?;
        let mut answers = Histogram::default();
        for companion in companions {
            answers.merge(&companion.await??);
        }
        join(ticking).await?;
        let mut delay = Histogram::default();
        let mut seen = folded.into_iter().peekable();
        for (number, answered) in (1..).zip(times) {
            while seen.next_if(|(folded, _)| *folded < number).is_some() {}
            if let Some((_, at)) = seen.peek() {
                delay.record(at.saturating_duration_since(answered));
            }
        }
        Ok(Outcome {
            latency,
            delay,
            answers,
        })
    }

    /// Time goes by as it does.
    fn tick(&self, over: &Arc<AtomicBool>) -> thread::JoinHandle<Result<()>> {
        let (data, over) = (Arc::clone(&self.data), Arc::clone(over));
        thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                thread::sleep(LOOK_EVERY);
                data.clock.advance(LOOK_EVERY);
            }
            Ok(())
        })
    }

    /// Sends clicks at a fixed rate. Returns how long answers took, and when each came.
    fn click(
        &self,
        rate: u64,
        clicks: u64,
    ) -> thread::JoinHandle<Result<(Histogram, Vec<Instant>)>> {
        let shared = self.clone();
        let runtime = tokio::runtime::Handle::current();
        thread::spawn(move || {
            let (mut latency, mut times) = (Histogram::default(), Vec::new());
            let data = &shared.data;
            let start = Instant::now();
            for number in 0..clicks {
                let due = start + Duration::from_nanos(number * 1_000_000_000 / rate);
                while let Some(early) = due.checked_duration_since(Instant::now()) {
                    // Sleeping takes longer than it was asked to: the last moment is waited for.
                    if let Some(long) = early.checked_sub(Duration::from_micros(100)) {
                        thread::sleep(long);
                    } else {
                        thread::yield_now();
                    }
                }
                let visit = data.crowd.visit(data.clicks + number);
                let path = &shared.paths[visit.link];
                let answer = data.terse.resolve("localhost", path, &visit.facts);
                let answer = runtime.block_on(answer)?;
                latency.record(due.elapsed());
                times.push(Instant::now());
                ensure!(matches!(answer, Resolution::Redirect(_)), "not a redirect");
            }
            Ok((latency, times))
        })
    }

    /// When how many of the clicks were in the figures.
    fn watch_folding(
        &self,
        before: u64,
        clicks: u64,
    ) -> thread::JoinHandle<Result<Vec<(u64, Instant)>>> {
        let data = Arc::clone(&self.data);
        thread::spawn(move || {
            let (mut seen, mut last) = (Vec::new(), 0);
            let mut changed = Instant::now();
            while last < clicks {
                let folded = data.terse.status().folded - before;
                if folded > last {
                    changed = Instant::now();
                    seen.push((folded, changed));
                    last = folded;
                }
                ensure!(changed.elapsed() < FOLDING_PATIENCE, "folding stands still");
                thread::sleep(LOOK_EVERY);
            }
            Ok(seen)
        })
    }

    fn companions(
        &self,
        company: Company,
        over: &Arc<AtomicBool>,
    ) -> Vec<tokio::task::JoinHandle<Result<Histogram>>> {
        let count = match company {
            Company::Nobody => 0,
            Company::Askers => ASKERS,
            Company::Exporters => EXPORTERS,
        };
        (0..count)
            .map(|number| {
                let (shared, over) = (self.clone(), Arc::clone(over));
                tokio::spawn(async move {
                    match company {
                        Company::Askers => shared.ask(number, &over).await,
                        _ => shared.export(&over).await,
                    }
                })
            })
            .collect()
    }

    async fn ask(&self, asker: usize, over: &AtomicBool) -> Result<Histogram> {
        let mut answers = Histogram::default();
        for turn in asker.. {
            let now = self.data.terse.clock().now();
            for case in questions::dashboard(now, turn) {
                if over.load(Ordering::Relaxed) {
                    return Ok(answers);
                }
                let start = Instant::now();
                case.ask(&self.data).await?;
                answers.record(start.elapsed());
            }
        }
        Ok(answers)
    }

    async fn export(&self, over: &AtomicBool) -> Result<Histogram> {
        let mut exported = Histogram::default();
        while !over.load(Ordering::Relaxed) {
            let start = Instant::now();
            export::export(&self.data, EXPORT_AT_ONCE).await?;
            exported.record(start.elapsed());
        }
        Ok(exported)
    }
}

async fn join<T: Send + 'static>(thread: thread::JoinHandle<Result<T>>) -> Result<T> {
    tokio::task::spawn_blocking(move || thread.join())
        .await?
        .map_err(|_| anyhow!("a thread panicked"))?
}
