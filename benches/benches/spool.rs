//! The spool alone: what recording one click costs a request.
//!
//! `cargo bench -p terse-benches --bench spool`; from the environment: `ROUNDS` (5), `QUICK=1`.
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use terse_benches::histogram::Histogram;
use terse_benches::server::target_dir;
use terse_benches::settings;
use terse_benches::stats::{float, grouped, median};
use terse_core::model::{OsEntropy, SystemClock};
use terse_core::spool::{Durability, Spool, SpoolOptions};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// As long as a click's record usually is.
const PAYLOAD: [u8; 150] = [0x5a; 150];

fn main() -> Result<()> {
    let quick = settings::is_quick();
    let rounds = settings::rounds()?;
    let appends: u64 = if quick { 100_000 } else { 400_000 };
    println!(
        "level process, {} bytes, medians of {rounds}",
        PAYLOAD.len()
    );
    for threads in [1, 2, 4] {
        let mut ns = Vec::new();
        for _ in 0..rounds {
            ns.push(process(threads, appends)?);
        }
        println!(
            "  {threads} threads: {:>6.0} ns an append in each thread, {:>10}/s in all",
            median(&ns),
            grouped(1e9 / median(&ns) * float(threads))
        );
    }
    println!("level power, {} bytes", PAYLOAD.len());
    for tasks in [64, 256] {
        power(tasks, Duration::from_secs(if quick { 1 } else { 5 }))
            .context("level power needs a target directory on a disk")?;
    }
    Ok(())
}

/// Nanoseconds per append with this many threads at once.
fn process(threads: u64, appends: u64) -> Result<f64> {
    let (_dir, spool) = open(Durability::Process)?;
    let start = Instant::now();
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|_| scope.spawn(|| append_many(&spool, appends)))
            .collect();
        running.into_iter().try_for_each(|thread| {
            thread
                .join()
                .map_err(|_| anyhow::anyhow!("an appending thread panicked"))?
        })
    })?;
    let elapsed = start.elapsed();
    finish(&spool, threads * appends)?;
    Ok(elapsed.as_secs_f64() * 1e9 / float(appends))
}

fn append_many(spool: &Spool, appends: u64) -> Result<()> {
    tokio::runtime::Builder::new_current_thread()
        .build()?
        .block_on(async {
            for _ in 0..appends {
                spool.append(&PAYLOAD).await?;
            }
            Ok(())
        })
}

/// Appends per second of this many tasks, each waiting for the disk.
fn power(tasks: usize, duration: Duration) -> Result<()> {
    let (_dir, spool) = open(Durability::Power)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let total = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    let latency = runtime.block_on(async {
        let running: Vec<_> = (0..tasks)
            .map(|_| {
                let (spool, total) = (spool.clone(), Arc::clone(&total));
                tokio::spawn(async move {
                    let mut latency = Histogram::default();
                    while start.elapsed() < duration {
                        let asked = Instant::now();
                        spool.append(&PAYLOAD).await?;
                        latency.record(asked.elapsed());
                        total.fetch_add(1, Ordering::Relaxed);
                    }
                    anyhow::Ok(latency)
                })
            })
            .collect();
        let mut latency = Histogram::default();
        for task in running {
            latency.merge(&task.await.context("an appending task")??);
        }
        anyhow::Ok(latency)
    })?;
    let elapsed = start.elapsed().as_secs_f64();
    let total = total.load(Ordering::Relaxed);
    println!(
        "  {tasks} tasks: {:>10}/s, p50 {:.2} ms, p99 {:.2} ms",
        grouped(float(total) / elapsed),
        latency.permille(500).as_secs_f64() * 1e3,
        latency.permille(990).as_secs_f64() * 1e3
    );
    finish(&spool, total)
}

fn open(durability: Durability) -> Result<(TempDir, Spool)> {
    let dir = tempfile::Builder::new()
        .prefix("bench-spool-")
        .tempdir_in(target_dir()?)?;
    let options = SpoolOptions {
        durability,
        max_bytes: 64 << 30,
        ..SpoolOptions::at(dir.path())
    };
    let spool = Spool::open(options, Arc::new(SystemClock), Arc::new(OsEntropy))?;
    Ok((dir, spool))
}

fn finish(spool: &Spool, appended: u64) -> Result<()> {
    let status = spool.status();
    ensure!(
        status.appended >= appended,
        "{} of {appended} records are in the spool",
        status.appended
    );
    spool.close();
    Ok(())
}
