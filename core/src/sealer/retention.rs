//! Past a workspace's retention a day keeps its counts per link and dimension, and no single click.

use std::time::Duration;

use crate::model::{Timestamp, WorkspaceId};
use crate::sealer::merger::step;
use crate::sealer::{Sealing, Tails};
use crate::store::chunks::DAY_MILLIS;
use crate::store::{Store, StoreError};

/// Whoever else seals a workspace is done with it in a moment, and is waited for so often.
const WAITS: u32 = 50;
const WAIT: Duration = Duration::from_millis(100);

/// What giving up old clicks came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetentionReport {
    /// Clicks of days past their retention that were still in the tail.
    pub sealed_clicks: usize,
    /// Chunks that have only counts now.
    pub shrunk_chunks: u64,
}

/// Shrinks every day that is past its workspace's retention, in transactions that are short.
pub(super) async fn keep_retention(
    store: &Store,
    plan: &Sealing,
    tails: &Tails,
    now: Timestamp,
) -> Result<RetentionReport, StoreError> {
    let mut report = RetentionReport::default();
    for (workspace, days) in step(store.retentions()).await? {
        let today = now.as_millis().div_euclid(DAY_MILLIS);
        let first_kept = today.saturating_sub(days);
        let sealed = seal_before(store, plan, tails, workspace, first_kept, now).await;
        match sealed {
            Ok(clicks) => report.sealed_clicks += clicks,
            // The other days can shrink; `verify` names the damage.
            Err(StoreError::Unreadable(cause)) => {
                tracing::error!(%workspace, cause, "the tail of a workspace cannot be sealed");
            }
            Err(error) => return Err(error),
        }
        loop {
            let (shrunk, more) = step(store.shrink_chunks(workspace, first_kept)).await?;
            report.shrunk_chunks += shrunk;
            if !more {
                break;
            }
        }
    }
    Ok(report)
}

/// Seals the tail's clicks of days before `first_kept`, however few. Returns how many. Those of a tail that
/// others do not leave alone wait for the next time.
async fn seal_before(
    store: &Store,
    plan: &Sealing,
    tails: &Tails,
    workspace: WorkspaceId,
    first_kept: i64,
    now: Timestamp,
) -> Result<usize, StoreError> {
    let most = i64::try_from(plan.at_once).unwrap_or(i64::MAX);
    let before = first_kept.saturating_mul(DAY_MILLIS);
    let (mut clicks, mut waits) = (0, 0);
    loop {
        let seal = store.seal(workspace, most, before, |day, _| day < first_kept, now);
        let sealed = step(Box::pin(seal)).await?;
        let Some(sealed) = sealed else {
            waits += 1;
            if waits > WAITS {
                return Ok(clicks);
            }
            tokio::time::sleep(WAIT).await;
            continue;
        };
        if sealed.clicks == 0 {
            return Ok(clicks);
        }
        tails.taken(workspace, sealed.clicks);
        clicks += sealed.clicks;
    }
}
