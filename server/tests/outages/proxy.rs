//! What stands between a server and its database, and does there what networks do.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// How the driver ends a transaction.
const COMMIT: &[u8] = b"COMMIT";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Pass,
    /// Connections are reset, new ones too.
    Down,
    /// Connections stay, and nothing arrives any more.
    Blackhole,
    /// What is answered arrives at so many bytes per second.
    Slow(u32),
    /// Every second COMMIT reaches the database, and its answer nobody.
    LoseAnswers,
    /// Every second COMMIT is cut off on its way to the database.
    CutRequests,
}

struct Line {
    upstream: SocketAddr,
    mode: watch::Sender<Mode>,
    commits: AtomicUsize,
    spoiled: AtomicUsize,
}

pub(crate) struct Proxy {
    port: u16,
    line: Arc<Line>,
    /// Its connections end with it.
    _runtime: Runtime,
}

impl Proxy {
    /// On any port, to this one.
    pub(crate) fn to(upstream: u16) -> Self {
        let here = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self::between(here(0), here(upstream))
    }

    pub(crate) fn between(listen: SocketAddr, upstream: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = TcpListener::bind(listen);
        let listener = runtime.block_on(listener).unwrap();
        let line = Arc::new(Line {
            upstream,
            mode: watch::Sender::new(Mode::Pass),
            commits: AtomicUsize::new(0),
            spoiled: AtomicUsize::new(0),
        });
        let port = listener.local_addr().unwrap().port();
        let accepting = Arc::clone(&line);
        runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, Arc::clone(&accepting)));
            }
        });
        Self {
            port,
            line,
            _runtime: runtime,
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.line.mode.send_replace(mode);
    }

    /// How many COMMITs were cut off or left without an answer.
    pub(crate) fn spoiled(&self) -> usize {
        self.line.spoiled.load(Ordering::SeqCst)
    }
}

/// One connection, until either end or the mode ends it. Always by a reset, as far as the client sees.
async fn carry(mut client: TcpStream, line: Arc<Line>) {
    let mut mode = line.mode.subscribe();
    let is_down = *mode.borrow() == Mode::Down;
    if !is_down && let Ok(mut server) = TcpStream::connect(line.upstream).await {
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        // Whether the next answer is one to be lost.
        let lost = AtomicBool::new(false);
        let (asked, answers) = client.split();
        let (answered, requests) = server.split();
        tokio::select! {
            () = forward(asked, requests, &line, &lost) => {}
            () = back(answered, answers, &line, &lost) => {}
            _ = mode.wait_for(|mode| *mode == Mode::Down) => {}
        }
    }
    let _ = client.set_zero_linger();
}

/// Requests, on their way to the database.
async fn forward(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, line: &Line, lost: &AtomicBool) {
    let mut buffer = vec![0; 65_536];
    while let Some(bytes) = receive(&mut from, &mut buffer, line).await {
        let mode = *line.mode.borrow();
        let commits = bytes.windows(COMMIT.len()).any(|bytes| bytes == COMMIT);
        let spoil = commits
            && matches!(mode, Mode::LoseAnswers | Mode::CutRequests)
            && line
                .commits
                .fetch_add(1, Ordering::SeqCst)
                .is_multiple_of(2);
        if spoil {
            line.spoiled.fetch_add(1, Ordering::SeqCst);
            if mode == Mode::CutRequests {
                return;
            }
            lost.store(true, Ordering::SeqCst);
        }
        if to.write_all(bytes).await.is_err() {
            return;
        }
    }
}

/// Answers, on their way to the server.
async fn back(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, line: &Line, lost: &AtomicBool) {
    let mut buffer = vec![0; 65_536];
    while let Some(bytes) = receive(&mut from, &mut buffer, line).await {
        if lost.load(Ordering::SeqCst) {
            return;
        }
        let mode = *line.mode.borrow();
        if let Mode::Slow(per_second) = mode {
            let bytes = u32::try_from(bytes.len()).unwrap();
            tokio::time::sleep(Duration::from_secs(1) * bytes / per_second).await;
        }
        if to.write_all(bytes).await.is_err() {
            return;
        }
    }
}

/// What arrives next, once it may pass.
async fn receive<'b>(
    from: &mut ReadHalf<'_>,
    buffer: &'b mut [u8],
    line: &Line,
) -> Option<&'b [u8]> {
    let read = from.read(buffer).await.ok().filter(|read| *read > 0)?;
    let mut mode = line.mode.subscribe();
    let _ = mode.wait_for(|mode| *mode != Mode::Blackhole).await;
    Some(&buffer[..read])
}
