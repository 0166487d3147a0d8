//! One connection: served until it ends, with what happens on it counted.

use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::service::Service;
use hyper_util::rt::TokioExecutor;
use hyper_util::server::conn::auto::Builder;
use tokio::sync::oneshot;

/// What HTTP/2 writes at once without sending anything of an answer: a ping and a few settings.
pub(crate) const CONTROL_BYTES: usize = 64;

/// What happens on one connection, in counters that cost a request next to nothing.
#[derive(Debug, Default)]
pub struct Activity {
    moves: AtomicU64,
    progress: AtomicU64,
    read_since_request: AtomicBool,
    in_flight: AtomicU32,
    multiplexed: AtomicBool,
}

impl Activity {
    /// Notes that a request's head is complete; it is under way until the guard is dropped.
    pub fn request(self: &Arc<Self>, multiplexed: bool) -> InFlight {
        self.read_since_request.store(false, Relaxed);
        if multiplexed {
            self.multiplexed.store(true, Relaxed);
        }
        up(&self.progress);
        self.in_flight.fetch_add(1, Relaxed);
        InFlight(self.clone())
    }

    /// Reads and writes so far, wrapping.
    pub(crate) fn moves(&self) -> u64 {
        self.moves.load(Relaxed)
    }

    /// Requests, and writes that are more than control frames, so far, wrapping: what tells a client
    /// from one that keeps an HTTP/2 connection open with pings alone.
    pub(crate) fn progress(&self) -> u64 {
        self.progress.load(Relaxed)
    }

    /// Whether a request is being answered.
    pub(crate) fn is_busy(&self) -> bool {
        self.in_flight.load(Relaxed) > 0
    }

    /// Whether something was read that is no complete request yet. Unknown with HTTP/2, which
    /// frames heads itself.
    pub(crate) fn is_in_head(&self) -> bool {
        self.read_since_request.load(Relaxed) && !self.multiplexed.load(Relaxed)
    }

    /// Whether it speaks HTTP/2.
    pub(crate) fn is_multiplexed(&self) -> bool {
        self.multiplexed.load(Relaxed)
    }
}

/// One task owns the connection, so a plain load and store count right.
fn up(counter: &AtomicU64) {
    counter.store(counter.load(Relaxed).wrapping_add(1), Relaxed);
}

/// A request under way.
#[derive(Debug)]
pub struct InFlight(Arc<Activity>);

impl Drop for InFlight {
    fn drop(&mut self) {
        // What was read meanwhile was the body; a head that follows shows itself by its next bytes.
        self.0.read_since_request.store(false, Relaxed);
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

/// Serves one connection until it ends; `stopped` resolving lets requests under way finish and takes no more.
pub(crate) async fn serve<I, S, B>(
    protocol: &Builder<TokioExecutor>,
    io: I,
    service: S,
    stopped: oneshot::Receiver<()>,
) where
    I: Read + Write + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut connection = pin!(protocol.serve_connection(io, service));
    let mut stopped = pin!(stopped);
    let mut stopping = false;
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(result) = connection.as_mut().poll(cx) {
                if let Err(error) = result {
                    tracing::debug!(error = %error, "a connection ended early");
                }
                return Poll::Ready(());
            }
            if stopping || stopped.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            stopping = true;
            connection.as_mut().graceful_shutdown();
        }
    })
    .await;
}

/// An I/O object whose traffic is counted.
#[derive(Debug)]
pub(crate) struct Watched<T> {
    inner: T,
    activity: Arc<Activity>,
}

impl<T> Watched<T> {
    pub(crate) fn new(inner: T, activity: Arc<Activity>) -> Self {
        Self { inner, activity }
    }

    fn wrote(&self, poll: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = poll {
            if *bytes > 0 {
                up(&self.activity.moves);
            }
            if *bytes > CONTROL_BYTES {
                up(&self.activity.progress);
            }
        }
    }
}

impl<T: Read + Unpin> Read for Watched<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.inner).poll_read(cx, buf);
        // The end of the stream counts as well; the connection ends right after it.
        if matches!(poll, Poll::Ready(Ok(()))) {
            up(&self.activity.moves);
            self.activity.read_since_request.store(true, Relaxed);
        }
        poll
    }
}

impl<T: Write + Unpin> Write for Watched<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.wrote(&poll);
        poll
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.wrote(&poll);
        poll
    }
}
