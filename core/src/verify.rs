//! The proof that rows and counters agree.

use crate::store::click_reports::Difference;
use crate::store::{Store, StoreError};

/// What a comparison of every link's clicks with its counters found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyReport {
    pub links: u64,
    pub clicks: i64,
    pub differences: Vec<Difference>,
    /// Places in the spool where records are missing and nobody accepted that yet.
    pub open_gaps: u64,
    pub accepted_gaps: u64,
    /// Records that no longer decode; they are kept.
    pub dead_records: i64,
    /// Answered redirects that no store took.
    pub unrecorded: i64,
}

impl VerifyReport {
    /// Whether every link's rows and counters agree.
    pub fn is_consistent(&self) -> bool {
        self.differences.is_empty()
    }
}

pub(crate) async fn verify(store: &Store) -> Result<VerifyReport, StoreError> {
    let (links, clicks, differences) = store.compare_counters().await?;
    let gaps = store.gaps().await?;
    let accepted = gaps.iter().filter(|gap| gap.accepted_at.is_some()).count() as u64;
    Ok(VerifyReport {
        links,
        clicks,
        differences,
        open_gaps: gaps.len() as u64 - accepted,
        accepted_gaps: accepted,
        dead_records: store.dead_records().await?,
        unrecorded: store.unrecorded_clicks().await?,
    })
}
