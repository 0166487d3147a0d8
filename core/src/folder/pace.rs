//! How the folder shares the processor with redirects.

use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

use crate::spool::SpoolStatus;
use crate::store::DatabaseUrl;

/// With less than this share of the quota unfolded, the folder gives way to redirects.
const PRESSING_SHARE: u64 = 4;
/// With less than this share it gives way again.
const YIELDING_SHARE: u64 = 16;

/// The priority of the folder's thread. A thread cannot raise its own again, so a change of pace is
/// a change of thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// It runs when a core has nothing else to do, and makes way at once.
    Yielding,
    /// It takes its share, so that the spool does not fill up while every core is busy redirecting.
    Pressing,
}

impl Pace {
    /// The pace for this backlog, coming from `self`.
    pub(super) fn next(self, spool: &SpoolStatus, max_bytes: u64) -> Self {
        let share = match self {
            Self::Yielding => PRESSING_SHARE,
            Self::Pressing => YIELDING_SHARE,
        };
        if spool.unfolded_bytes > max_bytes / share {
            Self::Pressing
        } else {
            Self::Yielding
        }
    }

    /// Clicks per transaction: enough that its fixed costs vanish, little enough to stay in memory.
    /// Yielding, fewer where the database has one write lock: other threads may keep the folder from
    /// running while its transaction holds it. Where rows are locked, many clicks at once touch each counter
    /// less often: two nodes with clicks of the same thousand links fold three times as fast.
    pub(super) const fn max_records(self, database: &DatabaseUrl) -> usize {
        match (self, database) {
            (Self::Yielding, DatabaseUrl::Sqlite(_)) => 2_000,
            (Self::Yielding, DatabaseUrl::Postgres(_)) | (Self::Pressing, _) => 10_000,
        }
    }

    /// Sets the current thread's scheduling policy. Threads that it makes inherit it.
    pub(super) fn apply(self) {
        if self == Self::Pressing {
            return;
        }
        give_way();
    }
}

/// Runs the current thread only when a core has nothing else to do. Threads that it makes inherit that.
pub(crate) fn give_way() {
    let policy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    if let Err(error) =
        set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, policy)
    {
        tracing::debug!(?error, "a thread in the background runs at normal priority");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backlog(unfolded_bytes: u64) -> SpoolStatus {
        SpoolStatus {
            unfolded_bytes,
            ..SpoolStatus::default()
        }
    }

    #[test]
    fn a_growing_backlog_makes_the_folder_press_until_little_of_it_is_left() {
        let yielding = Pace::Yielding;
        assert_eq!(yielding.next(&backlog(400), 1_600), Pace::Yielding);
        assert_eq!(yielding.next(&backlog(401), 1_600), Pace::Pressing);
        let pressing = Pace::Pressing;
        assert_eq!(pressing.next(&backlog(101), 1_600), Pace::Pressing);
        assert_eq!(pressing.next(&backlog(100), 1_600), Pace::Yielding);
    }
}
