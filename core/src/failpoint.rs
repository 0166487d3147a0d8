//! What a test does to a running process: it dies at a place, to see what a kill at that very moment leaves
//! behind, and seals soon, to have something to kill. In a release build nothing is left of either.

use crate::sealer::Sealing;

/// Aborts the process when `TERSE_FAILPOINT` names this place.
#[inline]
pub(crate) fn failpoint(place: &str) {
    #[cfg(debug_assertions)]
    if std::env::var_os("TERSE_FAILPOINT").is_some_and(|named| named == place) {
        std::process::abort();
    }
    #[cfg(not(debug_assertions))]
    let _ = place;
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
