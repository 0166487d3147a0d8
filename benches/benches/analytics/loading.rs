//! Clicks on their way in, as a server takes them: answered, spooled, folded, sealed, merged.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use terse_benches::machine;
use terse_benches::stats::{float, grouped};
use terse_core::Resolution;
use terse_core::model::{ManualClock, Timestamp};

use crate::crowd;
use crate::dataset::{DAYS, Dataset, start};
use crate::storage;

/// Half of the cores of a small machine: folding, sealing and merging give way to whoever answers.
const ANSWERING: usize = 2;
/// Clicks that one thread answers before it looks for the next.
const AT_ONCE: u64 = 16;
/// More than this waiting to be folded would only fill the spool.
const MOST_PENDING: u64 = 400_000;
const DAY_MILLIS: u64 = 86_400_000;

/// What the answering threads share.
struct Load {
    terse: terse_core::Terse,
    clock: Arc<ManualClock>,
    crowd: Arc<crowd::Crowd>,
    paths: Vec<String>,
    start: Timestamp,
    clicks: u64,
    next: AtomicU64,
}

/// Answers all clicks of the year, and waits until they are in chunks.
pub(crate) async fn load(data: &Dataset) -> Result<()> {
    println!("  loading {} clicks", grouped(float(data.clicks)));
    let load = Arc::new(Load {
        terse: data.terse.clone(),
        clock: Arc::clone(&data.clock),
        crowd: Arc::clone(&data.crowd),
        paths: paths(),
        start: start()?,
        clicks: data.clicks,
        next: AtomicU64::new(0),
    });
    let began = Instant::now();
    let cpu = machine::own_cpu_time()?;
    let tasks: Vec<_> = (0..ANSWERING)
        .map(|_| {
            let load = Arc::clone(&load);
            tokio::spawn(async move { load.answer().await })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    let answered = began.elapsed();
    while data.terse.status().spool.pending > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let folded = began.elapsed();
    while storage::tail_clicks(data).await? > 20_000 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let status = data.terse.status();
    ensure!(
        status.folded == data.clicks && status.unrecorded == 0,
        "{} clicks were folded, {} not recorded",
        status.folded,
        status.unrecorded
    );
    print_rates(
        data.clicks,
        [answered, folded, began.elapsed()],
        machine::own_cpu_time()?.saturating_sub(cpu),
    );
    Ok(())
}

fn print_rates(clicks: u64, [answered, folded, sealed]: [Duration; 3], cpu: Duration) {
    println!(
        "  answered in {:.1} s, folded in {:.1} s, sealed in {:.1} s: {}/s in all; {:.2} us of \
         processor time per click",
        answered.as_secs_f64(),
        folded.as_secs_f64(),
        sealed.as_secs_f64(),
        grouped(float(clicks) / sealed.as_secs_f64()),
        cpu.as_secs_f64() * 1e6 / float(clicks)
    );
}

/// The paths of all links.
pub(crate) fn paths() -> Vec<String> {
    (0..crowd::LINKS)
        .map(|link| format!("/{}", crowd::slug(link)))
        .collect()
}

impl Load {
    async fn answer(&self) -> Result<()> {
        loop {
            let first = self.next.fetch_add(AT_ONCE, Ordering::Relaxed);
            if first >= self.clicks {
                return Ok(());
            }
            if first.is_multiple_of(4_096) {
                while self.terse.status().spool.pending > MOST_PENDING {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }
            for number in first..(first + AT_ONCE).min(self.clicks) {
                if number.is_multiple_of(4) {
                    self.clock.set(self.moment(number));
                }
                let visit = self.crowd.visit(number);
                let path = &self.paths[visit.link];
                let answer = self.terse.resolve("localhost", path, &visit.facts).await?;
                ensure!(
                    matches!(answer, Resolution::Redirect(_)),
                    "not a redirect: {answer:?}"
                );
            }
        }
    }

    /// When a click is: most of them in the middle of the day.
    fn moment(&self, number: u64) -> Timestamp {
        let into_year = u128::from(number) * u128::from(u64::from(DAYS) * DAY_MILLIS);
        let into_year = u64::try_from(into_year / u128::from(self.clicks)).unwrap_or(0);
        let into_day = float(into_year % DAY_MILLIS) / float(DAY_MILLIS);
        let later = 0.12 * (std::f64::consts::TAU * into_day).sin();
        let into_day = Duration::from_hours(24).mul_f64((into_day + later).clamp(0.0, 0.999_999));
        let days = Duration::from_millis(into_year - into_year % DAY_MILLIS);
        self.start.plus(days + into_day)
    }
}
