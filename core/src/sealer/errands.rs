//! What others ask the merger's thread to do: one thing at a time, at low priority, and to its end
//! even when nobody waits for the answer any more.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::sealer::RetentionReport;
use crate::store::StoreError;
use crate::store::erasure::Erasure;

/// Errands that wait for their turn.
const WAITING: usize = 64;
/// Whoever cannot even hand an errand in, hears that the database is busy.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where whoever asked hears what came of it.
pub(super) type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

#[derive(Debug)]
pub(crate) enum Errand {
    KeepRetention(Answer<RetentionReport>),
    Erase(Erasure, Answer<()>),
}

/// The way to the merger's thread.
#[derive(Clone, Debug)]
pub(crate) struct Errands(mpsc::Sender<Errand>);

impl Errands {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Errand>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self(sender), receiver)
    }

    /// Lets days shrink that a changed setting calls old; the hour does it in any case.
    pub(crate) fn retention_changed(&self) {
        let (answer, _) = oneshot::channel();
        if self.0.try_send(Errand::KeepRetention(answer)).is_err() {
            tracing::debug!("a changed retention waits for the next hour");
        }
    }

    pub(crate) async fn keep_retention(&self) -> Result<RetentionReport, StoreError> {
        self.run(Errand::KeepRetention).await
    }

    /// Deletes clicks.
    pub(crate) async fn erase(&self, erasure: Erasure) -> Result<(), StoreError> {
        self.run(|answer| Errand::Erase(erasure, answer)).await
    }

    async fn run<T>(&self, errand: impl FnOnce(Answer<T>) -> Errand) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let gone = || StoreError::from(sqlx::Error::WorkerCrashed);
        self.0
            .send_timeout(errand(answer), PATIENCE)
            .await
            .map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}
