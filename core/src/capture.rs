//! Recording a click so that it survives what the level in force promises, or saying that it cannot be.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OnceCell, Semaphore};

use crate::click::{ClickHead, RECORD_VERSION};
use crate::complaint::Complaint;
use crate::live::LiveHub;
use crate::model::{Clock, Entropy, Timestamp, WorkspaceId, random_bytes};
use crate::redirect::ResolveError;
use crate::sealer::Tails;
use crate::spool::{AppendError, Durability, Spool};
use crate::store::clicks::NewClicks;
use crate::store::streams::StreamLimit;
use crate::store::{DATABASE_PATIENCE, Store, StoreError, within};

/// What happens to a redirect whose click no store takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnUnrecordable {
    /// It is answered, and the missing click is counted and shown.
    #[default]
    Serve,
    /// It is refused: no redirect without its click.
    Refuse,
}

/// Whether a limited link had a click left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SlotOutcome {
    Taken,
    UsedUp,
}

// Straight writes are a way out of trouble: a few at a time, and not again right after a failure.
const DIRECT_WRITES: usize = 32;
const DIRECT_PATIENCE: Duration = Duration::from_secs(2);
const DIRECT_PAUSE: Duration = Duration::from_millis(200);
// What only memory knows is little, and the rest of a stop needs its time too.
const LAST_PATIENCE: Duration = Duration::from_millis(1_500);

/// Where clicks go.
#[derive(Debug)]
pub(crate) struct Capture {
    spool: Option<Spool>,
    store: Store,
    clock: Arc<dyn Clock>,
    direct: [DirectStream; DIRECT_STREAMS],
    next_direct: AtomicUsize,
    on_unrecordable: OnUnrecordable,
    tails: Arc<Tails>,
    hub: LiveHub,
    permits: Semaphore,
    failed_at: AtomicI64,
    unrecorded: Unrecorded,
    database_away: AtomicBool,
    unconfirmed: AtomicU64,
    failed_limited: Complaint,
}

/// Clicks written straight into the database have an identity too: a stream of this process that
/// has no file. Each waits for the one before, and so there are several.
#[derive(Debug)]
struct DirectStream {
    id: [u8; 16],
    number: OnceCell<i64>,
}

const DIRECT_STREAMS: usize = 8;

/// Answered redirects whose click is lost, since the process began; each waits to be written down.
#[derive(Debug, Default)]
pub(crate) struct Unrecorded {
    total: AtomicU64,
    waiting: AtomicU64,
}

impl Unrecorded {
    pub(crate) fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    fn add(&self) {
        self.total.fetch_add(1, Ordering::Relaxed);
        self.waiting.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes what waits to be written down.
    fn take_waiting(&self) -> Taken<'_> {
        Taken {
            unrecorded: self,
            clicks: self.waiting.swap(0, Ordering::Relaxed),
        }
    }
}

/// Clicks that are being written down: what is left here when the writing fails, or is given up in
/// the middle, waits again.
struct Taken<'a> {
    unrecorded: &'a Unrecorded,
    clicks: u64,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.unrecorded
            .waiting
            .fetch_add(self.clicks, Ordering::Relaxed);
    }
}

impl Capture {
    pub(crate) fn new(
        spool: Option<Spool>,
        store: Store,
        clock: Arc<dyn Clock>,
        entropy: &dyn Entropy,
        on_unrecordable: OnUnrecordable,
        tails: Arc<Tails>,
        hub: LiveHub,
    ) -> Self {
        Self {
            spool,
            store,
            clock,
            direct: std::array::from_fn(|_| DirectStream {
                id: random_bytes(entropy),
                number: OnceCell::new(),
            }),
            next_direct: AtomicUsize::new(0),
            on_unrecordable,
            tails,
            hub,
            permits: Semaphore::new(DIRECT_WRITES),
            failed_at: AtomicI64::new(i64::MIN),
            unrecorded: Unrecorded::default(),
            database_away: AtomicBool::new(false),
            unconfirmed: AtomicU64::new(0),
            failed_limited: Complaint::default(),
        }
    }

    pub(crate) fn unrecorded(&self) -> &Unrecorded {
        &self.unrecorded
    }

    pub(crate) fn spool(&self) -> Option<&Spool> {
        self.spool.as_ref()
    }

    /// Returns once the click survives what the level in force promises.
    pub(crate) async fn record(&self, payload: &[u8]) -> Result<(), ResolveError> {
        let Some(spool) = &self.spool else {
            return self.record_directly(payload, &AppendError::Closed).await;
        };
        if spool.durability() == Durability::Node {
            return self.record_in_database(spool, payload).await;
        }
        match spool.append_locally(payload).await {
            Ok(_) => Ok(()),
            Err(error) => self.record_directly(payload, &error).await,
        }
    }

    /// Answers once the database has the click. While it is away, nobody waits for it a second time:
    /// clicks are refused, or answered at level `power` and counted as unconfirmed.
    async fn record_in_database(&self, spool: &Spool, payload: &[u8]) -> Result<(), ResolveError> {
        let refuses = self.on_unrecordable == OnUnrecordable::Refuse;
        let away = self.database_away.load(Ordering::Relaxed);
        if away && refuses {
            return Err(ResolveError::Unrecordable);
        }
        let appended = match spool.append_locally(payload).await {
            Ok(appended) => appended,
            Err(error) => return self.record_directly(payload, &error).await,
        };
        let counted = spool.in_database(&appended);
        if !away
            && tokio::time::timeout(DATABASE_PATIENCE, counted)
                .await
                .is_ok()
        {
            return Ok(());
        }
        self.database_is_away(true);
        if refuses {
            appended.withdraw();
            return Err(ResolveError::Unrecordable);
        }
        self.unconfirmed.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Tells whether the database takes clicks at the moment.
    pub(crate) fn database_is_away(&self, away: bool) {
        self.database_away.store(away, Ordering::Relaxed);
    }

    /// Clicks that were answered at level `node` before the database had them.
    pub(crate) fn unconfirmed(&self) -> u64 {
        self.unconfirmed.load(Ordering::Relaxed)
    }

    #[cold]
    async fn record_directly(
        &self,
        payload: &[u8],
        cause: &AppendError,
    ) -> Result<(), ResolveError> {
        if self.try_direct(payload, cause).await {
            return Ok(());
        }
        match self.on_unrecordable {
            OnUnrecordable::Refuse => Err(ResolveError::Unrecordable),
            OnUnrecordable::Serve => {
                self.unrecorded.add();
                tracing::debug!(%cause, "a click could not be recorded");
                Ok(())
            }
        }
    }

    async fn try_direct(&self, payload: &[u8], cause: &AppendError) -> bool {
        let limit = match cause {
            AppendError::SyncFailed { stream, limit } => match StreamLimit::new(*stream, *limit) {
                Some(limit) => Some(limit),
                // The spool would deliver the click a second time.
                None => return false,
            },
            _ => None,
        };
        let now = self.clock.now();
        if self.failed_lately(now) {
            return false;
        }
        let Ok(_permit) = self.permits.try_acquire() else {
            return false;
        };
        let write = async {
            let (workspace, click) = new_click(payload)?;
            let stream = self.direct_number().await.ok()?;
            self.store
                .insert_click(click, stream, limit, now)
                .await
                .ok()?;
            self.inserted(workspace, stream);
            Some(())
        };
        let written = tokio::time::timeout(DIRECT_PATIENCE, write).await;
        if matches!(written, Ok(Some(()))) {
            return true;
        }
        self.failed_at
            .store(self.clock.now().as_millis(), Ordering::Relaxed);
        false
    }

    fn failed_lately(&self, now: Timestamp) -> bool {
        let now = now.as_millis();
        let failed_at = self.failed_at.load(Ordering::Relaxed);
        let pause = i64::try_from(DIRECT_PAUSE.as_millis()).unwrap_or(i64::MAX);
        now.saturating_sub(failed_at) < pause && now >= failed_at
    }

    /// Takes one of the link's clicks and stores it, in one transaction.
    pub(crate) async fn record_limited(&self, payload: &[u8]) -> Result<SlotOutcome, ResolveError> {
        let (workspace, click) = new_click(payload).ok_or(ResolveError::Unavailable)?;
        let taken = async {
            let stream = self.direct_number().await?;
            let now = self.clock.now();
            let taken = self.store.insert_limited_click(click, stream, now).await?;
            Ok(taken.then_some(stream))
        };
        match within(DATABASE_PATIENCE, taken).await {
            Ok(Some(stream)) => {
                self.inserted(workspace, stream);
                Ok(SlotOutcome::Taken)
            }
            Ok(None) => Ok(SlotOutcome::UsedUp),
            Err(error) => {
                if self.failed_limited.is_due() {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "a limited link could not be followed"
                    );
                }
                Err(ResolveError::Unavailable)
            }
        }
    }

    /// Tells those who follow what is counted.
    fn inserted(&self, workspace: WorkspaceId, stream: i64) {
        self.tails.add(workspace, 1);
        self.hub.written(workspace, stream);
    }

    async fn direct_number(&self) -> Result<i64, StoreError> {
        let next = self.next_direct.fetch_add(1, Ordering::Relaxed);
        let direct = &self.direct[next % DIRECT_STREAMS];
        direct
            .number
            .get_or_try_init(|| self.store.register_stream(&direct.id, self.clock.now()))
            .await
            .copied()
    }

    /// Writes down what only memory knows: how many clicks were answered without a record, and where
    /// streams were cut short.
    pub(crate) async fn persist(&self, store: &Store, now: Timestamp) -> Result<(), StoreError> {
        let unrecorded = self.persist_unrecorded(store, now).await;
        unrecorded.and(self.persist_limits(store, now).await)
    }

    /// As [`Capture::persist`], before the process ends: what cannot be written down is told.
    pub(crate) async fn persist_last(&self) {
        let persisted = self.persist(&self.store, self.clock.now());
        if let Err(error) = within(LAST_PATIENCE, persisted).await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                unrecorded = self.unrecorded.waiting.load(Ordering::Relaxed),
                "the database does not learn of clicks that were answered without a record"
            );
        }
    }

    async fn persist_unrecorded(&self, store: &Store, now: Timestamp) -> Result<(), StoreError> {
        let mut taken = self.unrecorded.take_waiting();
        if taken.clicks == 0 {
            return Ok(());
        }
        let day = now.as_millis() / 86_400_000;
        let clicks = i64::try_from(taken.clicks).unwrap_or(i64::MAX);
        store.add_unrecorded(day, "spool", clicks).await?;
        taken.clicks = 0;
        Ok(())
    }

    /// A stream cut short by a failed sync stays cut short, whatever its file says after a crash.
    async fn persist_limits(&self, store: &Store, now: Timestamp) -> Result<(), StoreError> {
        let streams = self.spool.as_ref().map(Spool::streams).unwrap_or_default();
        for view in streams {
            let limit = view
                .limit
                .and_then(|limit| StreamLimit::new(view.id, limit));
            if let Some(limit) = limit {
                store.limit_stream(limit, now).await?;
            }
        }
        Ok(())
    }
}

/// The click of a record, which gets its number when it is written.
fn new_click(payload: &[u8]) -> Option<(WorkspaceId, NewClicks)> {
    let (head, facts) = ClickHead::decode(RECORD_VERSION, payload).ok()?;
    let mut click = NewClicks::default();
    click.push(0, head, facts);
    Some((head.workspace, click))
}
