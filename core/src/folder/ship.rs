//! Taking over the spool of a node that is gone.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::folder::delivery::{Delivery, Step};
use crate::model::{Clock, Entropy};
use crate::spool::{Spool, SpoolError, SpoolOptions, StreamId};
use crate::store::{Store, StoreError};

const AT_ONCE: usize = 10_000;
const PATIENCE: Duration = Duration::from_secs(30);
/// A database that restarts is waited for.
const ATTEMPTS: u32 = 5;

/// What became of one stream of a shipped spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShippedStream {
    pub stream: StreamId,
    /// Clicks that the database did not have, and has now.
    pub shipped: u64,
    /// Records that do not decode: the database keeps them apart.
    pub dead: u64,
    /// The last record that the database has.
    pub up_to: u64,
    /// Records are missing after this one: the stream waits for the gap to be accepted.
    pub stopped_after: Option<u64>,
}

/// Why a spool was not shipped, or not to its end. What was shipped stays so: it can be tried again.
#[derive(Debug, thiserror::Error)]
pub enum ShipError {
    #[error("{0} is no spool directory")]
    NoSpool(std::path::PathBuf),
    /// Some records may be left in files that cannot be read; the log names them.
    #[error("not all of the spool could be read: keep the directory")]
    Unreadable,
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Folds what the spool in `dir` holds and the database does not have.
pub(crate) async fn ship(
    store: &Store,
    dir: &Path,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
) -> Result<Vec<ShippedStream>, ShipError> {
    if !dir.is_dir() {
        return Err(ShipError::NoSpool(dir.to_owned()));
    }
    let options = SpoolOptions::at(dir);
    let (clock_of_spool, entropy) = (Arc::clone(clock), Arc::clone(entropy));
    let spool = tokio::task::spawn_blocking(move || Spool::open(options, clock_of_spool, entropy))
        .await
        .map_err(|error| SpoolError::Io(std::io::Error::other(error)))??;
    let shipped = Box::pin(deliver(&spool, store, &**clock)).await;
    // Its lock is given up here, whatever came of it.
    let _ = tokio::task::spawn_blocking(move || spool.close()).await;
    shipped
}

async fn deliver(
    spool: &Spool,
    store: &Store,
    clock: &dyn Clock,
) -> Result<Vec<ShippedStream>, ShipError> {
    let mut delivery = Delivery::new(spool.clone(), store.clone(), AT_ONCE);
    let mut counts: BTreeMap<StreamId, (u64, u64)> = BTreeMap::new();
    let mut failures = 0;
    loop {
        let (step, more) = match Box::pin(delivery.step(clock, PATIENCE)).await {
            Ok(done) => done,
            Err(error) if error.is_unavailable() && failures < ATTEMPTS => {
                failures += 1;
                delivery.forget_cursors();
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        failures = 0;
        if let Step::Applied(_) = step {
            for part in delivery.parts() {
                let count = counts.entry(StreamId::from_bytes(part.stream)).or_default();
                count.0 += part.clicks.len() as u64;
                count.1 += part.dead.len() as u64;
            }
            delivery.let_go();
        } else if !more {
            if delivery.reader().has_failed() || spool.status().unreadable_files > 0 {
                return Err(ShipError::Unreadable);
            }
            return Ok(told(&delivery, &counts));
        }
    }
}

/// What is told of each stream, in the order of their names.
fn told(delivery: &Delivery, counts: &BTreeMap<StreamId, (u64, u64)>) -> Vec<ShippedStream> {
    let mut streams: Vec<ShippedStream> = delivery
        .cursors()
        .map(|(stream, up_to, gap)| {
            let (shipped, dead) = counts.get(&stream).copied().unwrap_or_default();
            ShippedStream {
                stream,
                shipped,
                dead,
                up_to,
                stopped_after: gap.map(|gap| gap.after),
            }
        })
        .collect();
    streams.sort_by_key(|stream| stream.stream);
    streams
}
