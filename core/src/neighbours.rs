//! Noticing that other nodes counted clicks, for those who listen on this one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::AbortOnDropHandle;

use crate::live::{LATEST, LiveHub};
use crate::model::Clock;
use crate::store::{DATABASE_PATIENCE, Store, StoreError, within};

const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Looks for clicks of other nodes while somebody listens; ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Neighbours {
    _looking: AbortOnDropHandle<()>,
}

impl Neighbours {
    pub(crate) fn watch(store: Store, hub: LiveHub, clock: Arc<dyn Clock>) -> Self {
        let looking = tokio::spawn(async move {
            loop {
                hub.listeners().await;
                look_while_listened(&store, &hub, &*clock).await;
            }
        });
        Self {
            _looking: AbortOnDropHandle::new(looking),
        }
    }
}

/// The first look tells of every stream: what was counted while nobody looked is not known.
async fn look_while_listened(store: &Store, hub: &LiveHub, clock: &dyn Clock) {
    let mut known = HashMap::new();
    while hub.has_listeners() {
        let since = clock.now().minus(LATEST);
        let looked: Result<_, StoreError> =
            within(DATABASE_PATIENCE, store.streams_moved_since(since)).await;
        match looked {
            Ok(streams) => {
                let streams: HashMap<i64, i64> = streams.into_iter().collect();
                let moved = streams
                    .iter()
                    .filter(|(number, seq)| known.get(*number) != Some(*seq));
                hub.moved(moved.map(|(number, _)| *number));
                known = streams;
            }
            Err(error) => tracing::debug!(
                error = &error as &dyn std::error::Error,
                "clicks of other nodes are told later"
            ),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
