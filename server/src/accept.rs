//! Accepting connections: the accept loop, its limits, and a shutdown that lets requests finish.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::connection::{Activity, Watched, serve};
use crate::patrol::{Open, TICK};

/// How long requests under way may take to finish once the server stops.
pub const DRAIN: Duration = Duration::from_secs(5);
/// How long to wait for a place after one connection was told to close.
const CLOSE_ANOTHER_AFTER: Duration = Duration::from_millis(100);
const MAX_BACK_OFF: Duration = Duration::from_secs(1);
const MIN_BACK_OFF: Duration = Duration::from_millis(50);
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Serves connections of `listener` until `stop` is cancelled, then waits up to [`DRAIN`] for requests under way.
///
/// `make` gives each connection its service. At most `max_connections` are held; for a further one the idlest is closed.
pub async fn accept<M, S, B>(
    listener: TcpListener,
    max_connections: usize,
    stop: CancellationToken,
    make: M,
) where
    M: Fn(SocketAddr, Arc<Activity>) -> S,
    S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let protocol = Arc::new(protocol());
    let slots = Arc::new(Semaphore::new(max_connections));
    let open = Arc::new(Open::default());
    let tasks = TaskTracker::new();
    let mut failures = Failures::default();
    let mut id = 0;
    let patrol = AbortOnDropHandle::new(tokio::spawn(patrol(Arc::clone(&open))));
    while let Some(Some(slot)) = unless(&stop, free_slot(&slots, &open)).await {
        let (stream, peer) = match unless(&stop, listener.accept()).await {
            Some(Ok(accepted)) => accepted,
            Some(Err(error)) => {
                let wait = failures.next(&error);
                unless(&stop, tokio::time::sleep(wait)).await;
                continue;
            }
            None => break,
        };
        failures.reset();
        id += 1;
        let activity = Arc::new(Activity::default());
        let service = make(peer, activity.clone());
        let io = prepared(stream, activity.clone());
        let (registered, stopped) = open.add(id, activity);
        let protocol = protocol.clone();
        let task = tasks.spawn(async move {
            let _held = (registered, slot);
            serve(&protocol, io, service, stopped).await;
        });
        open.served_by(id, task.abort_handle());
    }
    drop((listener, patrol));
    open.stop_all();
    tasks.close();
    if tokio::time::timeout(DRAIN, tasks.wait()).await.is_err() {
        tracing::warn!(
            open = tasks.len(),
            "closing connections that did not finish"
        );
    }
}

async fn patrol(open: Arc<Open>) {
    loop {
        tokio::time::sleep(TICK).await;
        open.look();
    }
}

async fn free_slot(slots: &Arc<Semaphore>, open: &Open) -> Option<OwnedSemaphorePermit> {
    loop {
        if let Ok(slot) = slots.clone().try_acquire_owned() {
            return Some(slot);
        }
        open.close_idlest();
        let slot = slots.clone().acquire_owned();
        if let Ok(slot) = tokio::time::timeout(CLOSE_ANOTHER_AFTER, slot).await {
            return slot.ok();
        }
    }
}

async fn unless<F: Future>(stop: &CancellationToken, future: F) -> Option<F::Output> {
    tokio::select! {
        biased;
        () = stop.cancelled() => None,
        output = future => Some(output),
    }
}

fn prepared(stream: TcpStream, activity: Arc<Activity>) -> Watched<TokioIo<TcpStream>> {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection stays without TCP_NODELAY");
    }
    Watched::new(TokioIo::new(stream), activity)
}

fn protocol() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    // Timeouts are kept by `connection`: hyper's own would arm and drop a timer for every request.
    builder
        .http1()
        .half_close(false)
        .pipeline_flush(false)
        .header_read_timeout(None)
        .max_buf_size(64 * 1024);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(250)
        .max_header_list_size(32 * 1024)
        .keep_alive_interval(Some(Duration::from_secs(20)))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

/// How long to leave `accept` alone after it failed, so that a full file table is not a busy loop.
#[derive(Debug, Default)]
struct Failures {
    wait: Duration,
    logged: Option<Instant>,
    unlogged: u64,
}

impl Failures {
    fn next(&mut self, error: &io::Error) -> Duration {
        self.wait = (self.wait * 2).clamp(MIN_BACK_OFF, MAX_BACK_OFF);
        if self.logged.is_none_or(|at| at.elapsed() >= LOG_INTERVAL) {
            tracing::error!(%error, unlogged = self.unlogged, "cannot accept connections; trying again");
            self.logged = Some(Instant::now());
            self.unlogged = 0;
        } else {
            self.unlogged += 1;
        }
        self.wait
    }

    fn reset(&mut self) {
        self.wait = Duration::ZERO;
    }
}
