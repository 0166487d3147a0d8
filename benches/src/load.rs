//! A load generator for HTTP/1.1 keep-alive over loopback that costs little: one epoll loop per
//! thread, one `write` and one `read` per request, no allocation while it runs.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;

use crate::connection::Connection;
use crate::histogram::Histogram;
use crate::machine;
use crate::traffic::Traffic;

/// How long requests under way at the end may still take.
const DRAIN: Duration = Duration::from_secs(10);
/// How often a server that went away is tried again.
const RECONNECT: Duration = Duration::from_millis(5);

/// How requests follow each other.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// Each connection sends its next request when the last one is answered, for this long.
    Closed(Duration),
    /// The same, until this many requests were sent in all.
    Requests(u64),
    /// Requests are due at this fixed rate (per second, in all) for this long, whether or not
    /// earlier ones are answered. Latency counts from when a request was due, so a stall of the
    /// server shows in every request that it delayed. Those that still wait for a free connection
    /// a quarter of the time after the end are given up: the load is too high.
    Open { rate: f64, duration: Duration },
}

/// What happens when a connection breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnBreak {
    /// The run fails.
    Fail,
    /// The request counts as broken and the connection is opened again, for as long as it takes.
    Reconnect,
}

/// A run of the generator. One thread per entry of `traffic`.
#[derive(Clone, Debug)]
pub struct Load {
    pub address: SocketAddr,
    /// Connections in all, divided among the threads; at least one per thread.
    pub connections: usize,
    pub pace: Pace,
    pub on_break: OnBreak,
    /// Cores to stay on, one per thread in turn; anywhere when empty.
    pub cores: Vec<usize>,
}

/// What came of a run.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Answers by the first digit of their status.
    pub by_class: [u64; 10],
    /// Requests sent whose connection broke before the answer.
    pub broken: u64,
    /// Requests that were due and given up.
    pub missed: u64,
    /// From the first request to the last answer.
    pub elapsed: Duration,
    pub latency: Histogram,
}

impl Outcome {
    /// Answers with a 3xx status.
    pub fn redirects(&self) -> u64 {
        self.by_class[3]
    }

    /// Answers with any status.
    pub fn answers(&self) -> u64 {
        self.by_class.iter().sum()
    }

    /// Answers per second.
    pub fn rate(&self) -> f64 {
        crate::stats::float(self.answers()) / self.elapsed.as_secs_f64()
    }

    /// The number of redirects; an error if anything was answered in another way, or not at all.
    pub fn only_redirects(&self) -> Result<u64> {
        ensure!(
            self.redirects() == self.answers() && self.broken == 0,
            "not all answers were redirects: {:?} by class, {} broken",
            self.by_class,
            self.broken
        );
        Ok(self.redirects())
    }

    fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.by_class.iter_mut().zip(&other.by_class) {
            *mine += theirs;
        }
        self.broken += other.broken;
        self.missed += other.missed;
        self.elapsed = self.elapsed.max(other.elapsed);
        self.latency.merge(&other.latency);
    }
}

impl Load {
    /// Runs on one thread per entry of `traffic`, and hands the entries back with what came of it.
    /// Returns when every request under way was answered (10 s at most after the last was sent).
    pub fn run<T: Traffic>(&self, traffic: Vec<T>) -> Result<(Outcome, Vec<T>)> {
        let threads = traffic.len();
        ensure!(threads > 0, "a load needs a thread");
        let start = Instant::now();
        let results: Vec<Result<(Outcome, T)>> = thread::scope(|scope| {
            let running: Vec<_> = traffic
                .into_iter()
                .enumerate()
                .map(|(index, traffic)| {
                    scope.spawn(move || {
                        if !self.cores.is_empty() {
                            machine::pin_this_thread(&[self.cores[index % self.cores.len()]])?;
                        }
                        let share = Share { index, threads };
                        Worker::connect(self, share, traffic, start)?.run()
                    })
                })
                .collect();
            running
                .into_iter()
                .map(|thread| {
                    thread
                        .join()
                        .map_err(|_| anyhow!("a load thread panicked"))?
                })
                .collect()
        });
        let mut outcome = Outcome::default();
        let mut back = Vec::with_capacity(threads);
        for result in results {
            let (part, traffic) = result?;
            outcome.merge(&part);
            back.push(traffic);
        }
        Ok((outcome, back))
    }
}

/// One thread's part of the load.
#[derive(Clone, Copy, Debug)]
struct Share {
    index: usize,
    threads: usize,
}

impl Share {
    fn of(self, whole: usize) -> usize {
        whole / self.threads + usize::from(self.index < whole % self.threads)
    }
}

/// When this thread's requests are due.
#[derive(Debug)]
enum Schedule {
    Until(Instant),
    Count(u64),
    Fixed {
        next: Instant,
        gap: Duration,
        end: Instant,
        give_up: Instant,
    },
}

impl Schedule {
    fn new(pace: Pace, share: Share, start: Instant) -> Self {
        match pace {
            Pace::Closed(duration) => Self::Until(start + duration),
            Pace::Requests(count) => {
                let whole = usize::try_from(count).unwrap_or(usize::MAX);
                Self::Count(share.of(whole) as u64)
            }
            Pace::Open { rate, duration } => {
                let threads = u32::try_from(share.threads).unwrap_or(u32::MAX);
                let index = u32::try_from(share.index).unwrap_or(u32::MAX);
                let gap = Duration::from_secs_f64(f64::from(threads) / rate);
                Self::Fixed {
                    next: start + gap * index / threads,
                    gap,
                    end: start + duration,
                    give_up: start + duration + duration / 4,
                }
            }
        }
    }

    /// When the request to send now was due; none when nothing is to be sent now.
    fn take(&mut self, now: Instant) -> Option<Instant> {
        match self {
            Self::Until(end) => (now < *end).then_some(now),
            Self::Count(left) => {
                *left = left.checked_sub(1)?;
                Some(now)
            }
            Self::Fixed {
                next,
                gap,
                end,
                give_up,
            } => {
                let due = *next;
                (due <= now && due < *end && now < *give_up).then(|| {
                    *next += *gap;
                    due
                })
            }
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        match self {
            Self::Until(end) => now >= *end,
            Self::Count(left) => *left == 0,
            Self::Fixed {
                next, end, give_up, ..
            } => next >= end || now >= *give_up,
        }
    }

    /// Requests that were due and not sent.
    fn left_over(&self) -> u64 {
        match self {
            Self::Fixed { next, gap, end, .. } => {
                let left = end.saturating_duration_since(*next).as_nanos();
                u64::try_from(left.div_ceil(gap.as_nanos().max(1))).unwrap_or(u64::MAX)
            }
            _ => 0,
        }
    }

    /// Whether the loop must not sleep until a socket wakes it. Requests are due every few
    /// microseconds, which is finer than a timer's wake-up, and the core is the generator's own.
    fn is_timed(&self) -> bool {
        matches!(self, Self::Fixed { .. })
    }
}

#[derive(Debug)]
struct Worker<'a, T> {
    load: &'a Load,
    epoll: OwnedFd,
    connections: Vec<Option<Connection>>,
    /// Connections with nothing under way.
    idle: Vec<usize>,
    under_way: usize,
    retry_at: Instant,
    schedule: Schedule,
    traffic: T,
    request: Vec<u8>,
    start: Instant,
    outcome: Outcome,
}

impl<'a, T: Traffic> Worker<'a, T> {
    fn connect(load: &'a Load, share: Share, traffic: T, base: Instant) -> Result<Self> {
        let count = share.of(load.connections).max(1);
        let mut worker = Self {
            load,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            connections: (0..count).map(|_| None).collect(),
            idle: (0..count).collect(),
            under_way: 0,
            retry_at: base,
            schedule: Schedule::Count(0),
            traffic,
            request: Vec::with_capacity(4_096),
            start: base,
            outcome: Outcome::default(),
        };
        for slot in 0..count {
            worker.open(slot)?;
        }
        worker.start = Instant::now();
        worker.schedule = Schedule::new(load.pace, share, worker.start);
        Ok(worker)
    }

    fn run(mut self) -> Result<(Outcome, T)> {
        let mut events = Vec::with_capacity(self.connections.len().max(1));
        let mut over_since = None;
        loop {
            self.send_due()?;
            let now = Instant::now();
            if self.schedule.is_over(now) {
                if self.under_way == 0 {
                    break;
                }
                if now - *over_since.get_or_insert(now) > DRAIN {
                    bail!(
                        "{} requests were never answered within {DRAIN:?}",
                        self.under_way
                    );
                }
            }
            epoll::wait(
                &self.epoll,
                spare_capacity(&mut events),
                Some(&self.patience()),
            )?;
            for event in events.drain(..) {
                self.receive(usize::try_from(event.data.u64())?)?;
            }
        }
        self.outcome.elapsed = self.start.elapsed();
        self.outcome.missed = self.schedule.left_over();
        Ok((self.outcome, self.traffic))
    }

    fn patience(&self) -> Timespec {
        let timed = self.schedule.is_timed() && !self.idle.is_empty();
        let wait = if timed { Duration::ZERO } else { RECONNECT };
        Timespec {
            tv_sec: 0,
            tv_nsec: i64::from(wait.subsec_nanos()),
        }
    }

    /// Sends what is due on the connections that are free.
    fn send_due(&mut self) -> Result<()> {
        while let Some(&slot) = self.idle.last() {
            if self.connections[slot].is_none() && !self.reopen(slot)? {
                return Ok(());
            }
            let Some(due) = self.schedule.take(Instant::now()) else {
                return Ok(());
            };
            self.idle.pop();
            self.send(slot, due)?;
        }
        Ok(())
    }

    fn send(&mut self, slot: usize, due: Instant) -> Result<()> {
        self.request.clear();
        let tag = self.traffic.next(&mut self.request);
        let connection = self.connections[slot]
            .as_mut()
            .context("a closed connection")?;
        self.under_way += 1;
        match connection.send(&self.request, tag, due) {
            Ok(()) => Ok(()),
            Err(error) => self.broke(slot, error),
        }
    }

    fn receive(&mut self, slot: usize) -> Result<()> {
        let Some(connection) = self.connections[slot].as_mut() else {
            return Ok(());
        };
        let status = match connection.receive() {
            Ok(None) => return Ok(()),
            Ok(Some(status)) => status,
            Err(error) => return self.broke(slot, error),
        };
        let (tag, due) = connection
            .waiting
            .take()
            .context("an answer without a request")?;
        let now = Instant::now();
        self.outcome.latency.record(now.duration_since(due));
        self.outcome.by_class[usize::from(status / 100 % 10)] += 1;
        self.traffic.answered(tag, status);
        // In a closed loop the connection goes on at once, so that the server never waits for the
        // rest of the round.
        self.under_way -= 1;
        if let Some(due) = self.schedule.take(now) {
            return self.send(slot, due);
        }
        self.idle.push(slot);
        Ok(())
    }

    fn broke(&mut self, slot: usize, error: anyhow::Error) -> Result<()> {
        if self.load.on_break == OnBreak::Fail {
            return Err(error);
        }
        self.connections[slot] = None;
        // A connection with nothing under way may be closed by the server at any time.
        if !self.idle.contains(&slot) {
            self.under_way -= 1;
            self.outcome.broken += 1;
            self.idle.insert(0, slot);
        }
        Ok(())
    }

    /// Opens a broken connection again; false when the server is away.
    fn reopen(&mut self, slot: usize) -> Result<bool> {
        let now = Instant::now();
        if now < self.retry_at || self.schedule.is_over(now) {
            return Ok(false);
        }
        match self.open(slot) {
            Ok(()) => Ok(true),
            Err(error) if self.load.on_break == OnBreak::Fail => Err(error),
            Err(_) => {
                self.retry_at = now + RECONNECT;
                Ok(false)
            }
        }
    }

    fn open(&mut self, slot: usize) -> Result<()> {
        let connection = Connection::open(self.load.address).context("connecting")?;
        epoll::add(
            &self.epoll,
            &connection.socket,
            epoll::EventData::new_u64(slot as u64),
            epoll::EventFlags::IN,
        )?;
        self.connections[slot] = Some(connection);
        Ok(())
    }
}
