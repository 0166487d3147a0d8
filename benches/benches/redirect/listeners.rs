//! Latency of redirects while a thousand people listen to clicks as they happen.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use terse_benches::http;
use terse_benches::load::{Load, OnBreak, Outcome, Pace};
use terse_benches::machine;
use terse_benches::server::TerseServer;
use terse_benches::settings;
use terse_benches::stats::{float, grouped, median, range, ratios};
use terse_benches::traffic::Posts;

use crate::stage::{FOLDING, Stage};

const CONNECTIONS: usize = 64;
const RATE: u64 = 5_000;
const LINKS: usize = 1_000;
/// As many as a workspace may have.
const LISTENERS_PER_WORKSPACE: usize = 100;
/// Of which one is clicked.
const WORKSPACES: usize = 10;
const STACK: usize = 64 * 1024;
const MOST_SLOWDOWN: f64 = 1.5;

/// The same load of redirects with and without listeners, in turns.
pub(crate) fn run(stage: &Stage) -> Result<()> {
    let rate = float(settings::rate()?.unwrap_or(RATE));
    println!(
        "{}/s redirects offered, {LINKS} links; {} people listen, {LISTENERS_PER_WORKSPACE} of them each to \
         one of these links",
        grouped(rate),
        grouped(float((WORKSPACES * LISTENERS_PER_WORKSPACE) as u64))
    );
    let terse = stage.terse("process")?;
    let visits = terse.create_links(LINKS)?;
    let subjects = subjects(&terse)?;
    stage.warm_up(terse.address(), &visits)?;
    let pace = Pace::Open {
        rate,
        duration: stage.slot,
    };
    let (mut quiet_us, mut busy_us) = (Vec::new(), Vec::new());
    for _ in 0..stage.rounds {
        terse.wait_until_folded(FOLDING)?;
        let quiet = stage.send(terse.address(), CONNECTIONS, pace, &visits)?;
        print_slot("quiet", &quiet);
        terse.wait_until_folded(FOLDING)?;
        let listeners = Listeners::connect(stage, &terse, &subjects)?;
        let busy = stage.send(terse.address(), CONNECTIONS, pace, &visits)?;
        terse.wait_until_folded(FOLDING)?;
        let told = listeners.disconnect()?;
        print_slot("listeners", &busy);
        println!("      {} clicks told", grouped(float(told)));
        ensure!(told > 0, "nobody heard anything");
        quiet_us.push(p99_micros(&quiet));
        busy_us.push(p99_micros(&busy));
    }
    let slower = ratios(&busy_us, &quiet_us);
    let (least, most) = range(&slower);
    let slowdown = median(&slower);
    println!(
        "  p99 quiet {:.0} us, with listeners {:.0} us; ratio {slowdown:.2} ({least:.2} to {most:.2}), \
         under {MOST_SLOWDOWN}: {}",
        median(&quiet_us),
        median(&busy_us),
        if slowdown < MOST_SLOWDOWN {
            "yes"
        } else {
            "NO"
        }
    );
    terse.stop()
}

fn p99_micros(outcome: &Outcome) -> f64 {
    outcome.latency.permille(990).as_secs_f64() * 1e6
}

fn print_slot(name: &str, outcome: &Outcome) {
    let micros = |permille| outcome.latency.permille(permille).as_secs_f64() * 1e6;
    println!(
        "    {name:<9} {:>9}/s   p50 {:>6.0} us   p99 {:>6.0} us   p99.9 {:>6.0} us",
        grouped(outcome.rate()),
        micros(500),
        micros(990),
        micros(999),
    );
}

/// What each listener asks for.
fn subjects(terse: &TerseServer) -> Result<Vec<String>> {
    let token = terse.sign_in()?;
    let address = terse.address();
    let bodies = (1..WORKSPACES).map(|number| format!(r#"{{"name":"Team {number}"}}"#));
    let posts = Posts::new("localhost", "/api/v1/workspaces", &token, bodies);
    let load = Load {
        address,
        connections: 1,
        pace: Pace::Requests(posts.len() as u64),
        on_break: OnBreak::Fail,
        cores: Vec::new(),
    };
    let wanted = posts.len() as u64;
    ensure!(
        load.run(vec![posts])?.0.by_class[2] == wanted,
        "workspaces were refused"
    );
    let page = format!("/api/v1/links?limit={LISTENERS_PER_WORKSPACE}");
    let links = ids(address, &page, &token)?;
    let workspaces = ids(address, "/api/v1/workspaces", &token)?;
    let mut subjects: Vec<String> = links.iter().map(|id| format!("link_id={id}")).collect();
    for workspace in workspaces {
        let subject = format!("workspace={workspace}");
        // The first one has as many listeners as it may already.
        let links = http::get(address, &format!("/api/v1/links?limit=1&{subject}"), &token)?;
        if links.json()?["items"].as_array().is_none_or(Vec::is_empty) {
            subjects.extend(vec![subject; LISTENERS_PER_WORKSPACE]);
        }
    }
    ensure!(
        subjects.len() == WORKSPACES * LISTENERS_PER_WORKSPACE,
        "there are {} listeners",
        subjects.len()
    );
    Ok(subjects)
}

fn ids(address: SocketAddr, path: &str, token: &str) -> Result<Vec<String>> {
    let page = http::get(address, path, token)?.json()?;
    let items = page["items"].as_array().context("no items")?;
    let ids = items
        .iter()
        .map(|item| item["id"].as_str().map(str::to_owned));
    ids.collect::<Option<_>>().context("no id")
}

/// Connections that clicks are told on, each with a thread that reads them.
struct Listeners {
    streams: Vec<TcpStream>,
    readers: Vec<thread::JoinHandle<()>>,
    told: Arc<AtomicU64>,
}

impl Listeners {
    fn connect(stage: &Stage, terse: &TerseServer, subjects: &[String]) -> Result<Self> {
        let token = terse.sign_in()?;
        let mut listeners = Self {
            streams: Vec::new(),
            readers: Vec::new(),
            told: Arc::default(),
        };
        for subject in subjects {
            let mut stream = TcpStream::connect(terse.address())?;
            stream.set_read_timeout(Some(Duration::from_mins(1)))?;
            let request = format!(
                "GET /api/v1/analytics/live?{subject} HTTP/1.1\r\nHost: localhost\r\n\
                 Authorization: Bearer {token}\r\n\r\n"
            );
            stream.write_all(request.as_bytes())?;
            let mut head = [0; 12];
            stream.read_exact(&mut head)?;
            ensure!(&head == b"HTTP/1.1 200", "a listener was refused");
            listeners.streams.push(stream.try_clone()?);
            let (told, cores) = (Arc::clone(&listeners.told), stage.cores.load.clone());
            let reader = thread::Builder::new().stack_size(STACK);
            listeners.readers.push(reader.spawn(move || {
                // Where it cannot be pinned it still reads.
                let _ = machine::pin_this_thread(&cores);
                read(stream, &told);
            })?);
        }
        Ok(listeners)
    }

    /// Clicks that were told to all of them.
    fn disconnect(self) -> Result<u64> {
        for stream in &self.streams {
            stream.shutdown(Shutdown::Both)?;
        }
        for reader in self.readers {
            reader.join().map_err(|_| anyhow!("a thread panicked"))?;
        }
        Ok(self.told.load(Ordering::Relaxed))
    }
}

/// Counts events by what no value holds.
fn read(mut stream: TcpStream, told: &AtomicU64) {
    const EVENT: &[u8] = b"event: click\n";
    let mut buffer = [0; 8 * 1024];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        let events = buffer[..length]
            .windows(EVENT.len())
            .filter(|bytes| *bytes == EVENT)
            .count();
        told.fetch_add(events as u64, Ordering::Relaxed);
    }
}
