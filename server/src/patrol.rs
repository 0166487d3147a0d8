//! Which connections are open, and which of them have had their time: one look at all of them every
//! few seconds, so that a request pays for no timer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use crate::connection::Activity;

/// A request's head must be complete this long after it was first seen unfinished.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection on which nothing moves is closed after this time.
const IDLE_TIMEOUT: Duration = Duration::from_mins(1);
/// How often connections are looked at; both timeouts are late by at most this.
pub(crate) const TICK: Duration = Duration::from_millis(2_500);

/// The connections that are open.
#[derive(Debug, Default)]
pub(crate) struct Open {
    held: Mutex<HashMap<u64, Held>>,
}

#[derive(Debug)]
struct Held {
    activity: Arc<Activity>,
    watch: Watch,
    stop: Option<oneshot::Sender<()>>,
    abort: Option<AbortHandle>,
}

impl Held {
    /// Lets a request finish that begins right now; what still hangs on at the next look is cut off.
    fn close(&mut self) {
        match (self.stop.take(), &self.abort) {
            (Some(stop), _) if !self.activity.is_in_head() => {
                let _ = stop.send(());
            }
            (_, Some(abort)) => abort.abort(),
            (_, None) => {}
        }
    }
}

/// Takes a connection off the list when it ends, however it ends.
#[derive(Debug)]
pub(crate) struct Registered {
    open: Arc<Open>,
    id: u64,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.open.lock().remove(&self.id);
    }
}

impl Open {
    /// Adds a connection. The receiver resolves when it is to take no more requests.
    pub(crate) fn add(
        self: &Arc<Self>,
        id: u64,
        activity: Arc<Activity>,
    ) -> (Registered, oneshot::Receiver<()>) {
        let (stop, stopped) = oneshot::channel();
        let held = Held {
            activity,
            watch: Watch::default(),
            stop: Some(stop),
            abort: None,
        };
        self.lock().insert(id, held);
        let registered = Registered {
            open: Arc::clone(self),
            id,
        };
        (registered, stopped)
    }

    /// Names the task that serves a connection.
    pub(crate) fn served_by(&self, id: u64, abort: AbortHandle) {
        if let Some(held) = self.lock().get_mut(&id) {
            held.abort = Some(abort);
        }
    }

    /// Looks at every connection, and closes those that used up their time.
    pub(crate) fn look(&self) {
        for held in self.lock().values_mut() {
            held.watch.look(&held.activity);
            if held.watch.is_over() {
                held.close();
            }
        }
    }

    /// Makes room for a new connection: closes the one that dawdles or was silent longest, if any
    /// was through a whole look. Never one with a request under way.
    pub(crate) fn close_idlest(&self) {
        let mut held = self.lock();
        let idlest = held
            .iter_mut()
            .filter(|(_, held)| !held.activity.is_busy() && held.watch.waste() >= TICK)
            .max_by_key(|(id, held)| (held.watch.waste(), std::cmp::Reverse(**id)));
        if let Some((_, held)) = idlest {
            held.close();
        }
    }

    /// Tells every connection to take no more requests.
    pub(crate) fn stop_all(&self) {
        for held in self.lock().values_mut() {
            held.stop = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long a connection has wasted its place.
#[derive(Debug, Default)]
struct Watch {
    moves: u64,
    progress: u64,
    silent: Duration,
    head: Duration,
    answered_any: bool,
}

impl Watch {
    fn look(&mut self, activity: &Activity) {
        let moves = activity.moves();
        let busy = activity.is_busy();
        let moved = std::mem::replace(&mut self.moves, moves) != moves;
        let progress = activity.progress();
        let progressed = std::mem::replace(&mut self.progress, progress) != progress;
        // Pings keep a multiplexed connection moving for ever, whoever sends them.
        let alive = if activity.is_multiplexed() {
            progressed
        } else {
            moved
        };
        self.silent = if busy || alive {
            Duration::ZERO
        } else {
            self.silent + TICK
        };
        let unfinished = activity.is_in_head();
        self.answered_any |= busy || (moves > 0 && !unfinished);
        let nothing_yet = !self.answered_any && !activity.is_multiplexed();
        self.head = if !busy && (unfinished || nothing_yet) {
            self.head + TICK
        } else {
            Duration::ZERO
        };
    }

    fn is_over(&self) -> bool {
        self.head > HEAD_TIMEOUT || self.silent > IDLE_TIMEOUT
    }

    fn waste(&self) -> Duration {
        self.head.max(self.silent)
    }
}

#[cfg(test)]
mod tests {
    use hyper::rt::{Read as _, ReadBuf, Write as _};
    use std::pin::Pin;
    use std::task::{Context, Waker};
    use tokio::io::duplex;

    use super::*;
    use crate::connection::Watched;
    use hyper_util::rt::TokioIo;

    /// An HTTP/2 connection that has answered one request, and how long it lasts when the other end
    /// makes it write so many bytes and read eight before each look; at most five minutes.
    fn lifetime(written_each_time: usize) -> Option<Duration> {
        let activity = Arc::new(Activity::default());
        let (near, mut far) = duplex(1 << 20);
        let mut near = Watched::new(TokioIo::new(near), Arc::clone(&activity));
        drop(activity.request(true));
        let mut cx = Context::from_waker(Waker::noop());
        let mut watch = Watch::default();
        (1..=120).map(|look| TICK * look).find(|_| {
            let _ = tokio::io::AsyncWrite::poll_write(Pin::new(&mut far), &mut cx, &[0; 8]);
            let mut buffer = [0; 64];
            let mut buffer = ReadBuf::new(&mut buffer);
            assert!(
                Pin::new(&mut near)
                    .poll_read(&mut cx, buffer.unfilled())
                    .is_ready()
            );
            let bytes = vec![0; written_each_time];
            assert!(Pin::new(&mut near).poll_write(&mut cx, &bytes).is_ready());
            watch.look(&activity);
            watch.is_over()
        })
    }

    #[test]
    fn a_multiplexed_connection_on_which_only_pings_move_is_closed_after_a_minute() {
        let lived = lifetime(17).expect("it is closed");
        assert!(
            lived > IDLE_TIMEOUT && lived <= IDLE_TIMEOUT + 3 * TICK,
            "{lived:?}"
        );
    }

    #[test]
    fn a_multiplexed_connection_that_is_sent_an_answer_stays() {
        assert_eq!(lifetime(2_000), None);
    }
}
