//! What is wrong for a while is said now and then, not with every request that meets it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

/// When something was complained about last.
#[derive(Debug, Default)]
pub struct Complaint {
    last: Mutex<Option<Instant>>,
}

impl Complaint {
    pub const fn new() -> Self {
        Self {
            last: Mutex::new(None),
        }
    }

    /// Whether it is time to complain; then it is not for the next ten seconds.
    pub fn is_due(&self) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let due = last.is_none_or(|last| last.elapsed() >= COMPLAIN_EVERY);
        if due {
            *last = Some(Instant::now());
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_is_due_once_and_then_not_for_a_while() {
        let complaint = Complaint::new();
        assert!(complaint.is_due());
        assert!(!complaint.is_due());
        let earlier = Instant::now().checked_sub(COMPLAIN_EVERY);
        *complaint.last.lock().unwrap() = earlier;
        assert!(complaint.is_due());
    }
}
