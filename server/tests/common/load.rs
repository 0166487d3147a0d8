//! Browsers that never stop clicking, and remember which clicks were answered.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const CHROME: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36";

#[derive(Default)]
struct Seen {
    sent: Mutex<HashSet<String>>,
    answered: Mutex<HashMap<String, Instant>>,
    waits: Mutex<Vec<Duration>>,
    refused: AtomicU64,
    broken: AtomicU64,
    stop: AtomicBool,
}

/// One of the clients.
struct Clicker {
    port: u16,
    path: String,
    name: String,
    /// From one click to the next, if they are not to follow at once.
    pause: Duration,
}

/// Clients clicking one link, each click with an id of its own in `utm_content`.
pub(crate) struct Load {
    seen: Arc<Seen>,
    clients: Mutex<Vec<JoinHandle<()>>>,
}

impl Load {
    pub(crate) fn start(port: u16, clients: usize, path: &str) -> Self {
        Self::named(port, clients, path, "c")
    }

    pub(crate) fn named(port: u16, clients: usize, path: &str, name: &str) -> Self {
        Self::with_pauses(port, clients, path, name, Duration::ZERO)
    }

    /// All of them together click `per_second` times a second, if they can.
    pub(crate) fn paced(port: u16, clients: u32, path: &str, name: &str, per_second: u32) -> Self {
        let pause = Duration::from_secs(1) * clients / per_second;
        Self::with_pauses(port, clients as usize, path, name, pause)
    }

    fn with_pauses(port: u16, clients: usize, path: &str, name: &str, pause: Duration) -> Self {
        let seen = Arc::new(Seen::default());
        let clients = (0..clients)
            .map(|client| {
                let clicker = Clicker {
                    port,
                    path: path.to_owned(),
                    name: format!("{name}{client}"),
                    pause,
                };
                let seen = Arc::clone(&seen);
                std::thread::spawn(move || clicker.click(&seen))
            })
            .collect();
        Self {
            seen,
            clients: Mutex::new(clients),
        }
    }

    pub(crate) fn stop(&self) {
        self.seen.stop.store(true, Ordering::Relaxed);
        for client in self.clients.lock().unwrap().drain(..) {
            client.join().unwrap();
        }
    }

    /// Answers that were no redirect.
    pub(crate) fn refused(&self) -> u64 {
        self.seen.refused.load(Ordering::Relaxed)
    }

    pub(crate) fn sent(&self) -> HashSet<String> {
        self.seen.sent.lock().unwrap().clone()
    }

    /// Requests that got no answer.
    pub(crate) fn broken(&self) -> u64 {
        self.seen.broken.load(Ordering::Relaxed)
    }

    pub(crate) fn answered(&self) -> HashSet<String> {
        self.seen.answered.lock().unwrap().keys().cloned().collect()
    }

    /// How many clicks were answered so far.
    pub(crate) fn count(&self) -> usize {
        self.seen.answered.lock().unwrap().len()
    }

    /// How long the slowest but one of a hundred waited for a redirect, since this was asked last.
    pub(crate) fn p99(&self) -> Duration {
        self.p50_and_p99().1
    }

    /// How long the one in the middle waited too.
    pub(crate) fn p50_and_p99(&self) -> (Duration, Duration) {
        let mut waits = std::mem::take(&mut *self.seen.waits.lock().unwrap());
        waits.sort_unstable();
        let of_a_hundred = |number| waits.get(waits.len() * number / 100).copied();
        let p50 = of_a_hundred(50).unwrap_or_default();
        (p50, of_a_hundred(99).unwrap_or_default())
    }

    /// Each answered click with the moment when its answer was read.
    pub(crate) fn answered_at(&self) -> HashMap<String, Instant> {
        self.seen.answered.lock().unwrap().clone()
    }
}

impl Clicker {
    fn click(&self, seen: &Seen) {
        let mut connection: Option<BufReader<TcpStream>> = None;
        let mut number = 0;
        let mut due = Instant::now();
        while !seen.stop.load(Ordering::Relaxed) {
            // Who is late does not make up for it.
            due = due.max(Instant::now().checked_sub(self.pause).unwrap_or(due)) + self.pause;
            let open = connection.take().or_else(|| connect(self.port));
            let Some(mut open) = open else {
                std::thread::sleep(Duration::from_millis(10));
                continue;
            };
            let id = format!("{}-{number}", self.name);
            number += 1;
            seen.sent.lock().unwrap().insert(id.clone());
            let begun = Instant::now();
            match visit(&mut open, &self.path, &id) {
                Some(status) if (300..400).contains(&status) => {
                    seen.waits.lock().unwrap().push(begun.elapsed());
                    seen.answered.lock().unwrap().insert(id, Instant::now());
                    connection = Some(open);
                }
                Some(_) => {
                    seen.refused.fetch_add(1, Ordering::Relaxed);
                    connection = Some(open);
                }
                None => {
                    seen.broken.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    }
}

fn connect(port: u16) -> Option<BufReader<TcpStream>> {
    let stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_nodelay(true).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    Some(BufReader::new(stream))
}

/// The status of an answer that was read as a whole.
fn visit(stream: &mut BufReader<TcpStream>, path: &str, id: &str) -> Option<u16> {
    let request = format!(
        "GET {path}?utm_content={id} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: {CHROME}\r\n\r\n"
    );
    stream.get_mut().write_all(request.as_bytes()).ok()?;
    let mut status = None;
    let mut length = 0;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if status.is_none() {
            status = line.split(' ').nth(1)?.parse().ok();
        } else if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    std::io::Read::read_exact(stream, &mut body).ok()?;
    status
}
