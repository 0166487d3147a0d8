//! Places where a test makes the process die, to see what a kill at that very moment leaves behind.

/// Aborts the process when `TERSE_FAILPOINT` names this place. In a release build nothing is left of it.
#[inline]
pub(crate) fn failpoint(place: &str) {
    #[cfg(debug_assertions)]
    if std::env::var_os("TERSE_FAILPOINT").is_some_and(|named| named == place) {
        std::process::abort();
    }
    #[cfg(not(debug_assertions))]
    let _ = place;
}
