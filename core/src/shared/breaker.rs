//! Whether Redis is asked at all.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use tokio::sync::Notify;

/// Failures in a row after which nobody asks any more.
const ENOUGH: u32 = 3;

/// Closed while Redis answers. Open, nobody waits for it; who looks after it tries it in the
/// background, and closes the breaker when it answers again.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    closed: AtomicBool,
    failures: AtomicU32,
    opened: Notify,
}

impl Breaker {
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(super) fn succeeded(&self) {
        self.failures.store(0, Ordering::Relaxed);
    }

    /// Notes a failure. Returns whether it was the one that opened the breaker.
    pub(super) fn failed(&self) -> bool {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        let opens = failures >= ENOUGH && self.closed.swap(false, Ordering::AcqRel);
        if opens {
            self.opened.notify_one();
        }
        opens
    }

    pub(super) fn close(&self) {
        self.failures.store(0, Ordering::Relaxed);
        self.closed.store(true, Ordering::Release);
    }

    /// Completes once it is open.
    pub(super) async fn opened(&self) {
        while self.is_closed() {
            self.opened.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_opens_once_after_failures_in_a_row_and_closes_when_told() {
        let breaker = Breaker::default();
        assert!(!breaker.is_closed(), "until Redis has answered");
        breaker.close();
        assert!(!breaker.failed());
        assert!(!breaker.failed());
        breaker.succeeded();
        assert!(!breaker.failed());
        assert!(!breaker.failed());
        assert!(breaker.is_closed());
        assert!(breaker.failed());
        assert!(!breaker.failed(), "it is open already");
        breaker.opened().await;
        breaker.close();
        assert!(breaker.is_closed());
    }
}
