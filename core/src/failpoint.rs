//! What a test does to a running process: it dies at a place, to see what a kill at that very moment leaves
//! behind, and seals soon, to have something to kill. In a release build nothing is left of either.

#[cfg(debug_assertions)]
use std::sync::OnceLock;
#[cfg(debug_assertions)]
use std::sync::atomic::{AtomicU64, Ordering};

use crate::sealer::Sealing;

/// Aborts the process when `TERSE_FAILPOINT` names this place; when it says `place@7`, the seventh time that
/// the process gets there.
#[inline]
pub(crate) fn failpoint(place: &str) {
    #[cfg(debug_assertions)]
    if let Some(armed) = armed()
        && armed.place == place
        && armed.times_left.fetch_sub(1, Ordering::Relaxed) == 1
    {
        std::process::abort();
    }
    #[cfg(not(debug_assertions))]
    let _ = place;
}

#[cfg(debug_assertions)]
struct Armed {
    place: String,
    times_left: AtomicU64,
}

/// Read once: every redirect comes by here.
#[cfg(debug_assertions)]
fn armed() -> Option<&'static Armed> {
    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
    let read = || {
        let named = std::env::var("TERSE_FAILPOINT").ok()?;
        let (place, times) = named.split_once('@').unwrap_or((&named, "1"));
        Some(Armed {
            place: place.to_owned(),
            times_left: AtomicU64::new(times.parse().ok()?),
        })
    };
    ARMED.get_or_init(read).as_ref()
}

/// When clicks are sealed unless somebody says otherwise; soon where `TERSE_TEST_SEALING` is `small`.
pub(crate) fn sealing() -> Sealing {
    #[cfg(debug_assertions)]
    if std::env::var_os("TERSE_TEST_SEALING").is_some_and(|plan| plan == "small") {
        return Sealing {
            ripe_clicks: 50,
            ripe_parcels: 4,
            at_once: 200,
            fewest: 20,
            large_tail: 200,
            largest_chunk: 65_536,
        };
    }
    Sealing::default()
}
