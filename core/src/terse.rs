//! The parts put together.

mod builder;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::accounts::Accounts;
use crate::analytics::Analytics;
use crate::audit::AuditLog;
use crate::capture::Capture;
use crate::classify::RequestFacts;
use crate::folder::FolderHandle;
use crate::jobs::{Jobs, Worker};
use crate::links::Links;
use crate::model::Clock;
use crate::neighbours::Neighbours;
use crate::place::PlaceFileStatus;
use crate::redirect::{Preview, Redirector, Resolution, ResolveError};
use crate::resolver::Resolver;
use crate::sealer::{Errands, MergerHandle, RetentionReport, Tails};
use crate::shared::{Background, Shared, SharedLimits, SharedStatus};
use crate::site::PublicUrlError;
use crate::spool::{Spool, SpoolError, SpoolStatus};
use crate::store::{Store, StoreError};
use crate::verify::{VerifyReport, verify};
use crate::workspaces::Workspaces;

/// Less than the second that most balancers wait for the answer of a check.
const PING_PATIENCE: Duration = Duration::from_millis(500);
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

pub use builder::TerseBuilder;

/// An open installation: links, accounts, redirects and figures. Cloning it is cheap.
#[derive(Clone, Debug)]
pub struct Terse {
    inner: Arc<Inner>,
}

type Sharing = Option<(Arc<Shared>, Background)>;

#[derive(Debug)]
struct Inner {
    store: Store,
    links: Links,
    accounts: Accounts,
    audit: AuditLog,
    workspaces: Workspaces,
    analytics: Analytics,
    jobs: Jobs,
    /// `None` where nobody sends mails.
    worker: Option<Worker>,
    redirector: Redirector,
    resolver: Arc<Resolver>,
    /// `None` where there is no Redis.
    shared: Sharing,
    capture: Arc<Capture>,
    spool: Spool,
    folder: FolderHandle,
    merger: MergerHandle,
    tails: Arc<Tails>,
    errands: Errands,
    clock: Arc<dyn Clock>,
    /// `None` where no other node can be.
    _neighbours: Option<Neighbours>,
}

/// Why an installation could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("no database was named")]
    NoDatabase,
    #[error(transparent)]
    PublicUrl(#[from] PublicUrlError),
    /// Short links that people have would stop working.
    #[error("this database belongs to {stored}; the public URL is not the same")]
    PublicUrlDiffers { stored: String },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error("a directory or thread could not be made")]
    Io(#[from] std::io::Error),
}

/// What is missing for requests to be answered as promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// Known links redirect and their clicks are recorded. All nodes of one database say so at once: sent
    /// elsewhere for this, requests would have nowhere to go.
    #[error("the database does not answer")]
    Database,
    /// Requests should go elsewhere.
    #[error("the spool takes no clicks")]
    Spool,
}

/// What goes on inside, at one moment.
#[derive(Clone, Debug)]
pub struct Status {
    pub spool: SpoolStatus,
    /// Answered redirects that no store took, since the process began.
    pub unrecorded: u64,
    /// Redirects answered at level `node` before the database had their click, since the process began.
    pub unconfirmed: u64,
    pub folded: u64,
    pub fold_batches: u64,
    /// Batches that turned out to be in the database already.
    pub fold_repeated: u64,
    pub fold_failures: u64,
    pub dead_records: u64,
    pub skewed_clicks: u64,
    /// Streams that wait for a gap to be accepted.
    pub stopped_streams: u64,
    pub cached_links: u64,
    /// Clicks that wait in tails to be sealed, as far as this node knows.
    pub tail_clicks: u64,
    /// Clicks that went from tails into chunks.
    pub sealed: u64,
    /// Chunks that became part of larger ones.
    pub merged_chunks: u64,
    /// `None` where no place file is configured.
    pub place_file: Option<PlaceFileStatus>,
    /// `None` where no Redis is configured.
    pub shared: Option<SharedStatus>,
}

impl Terse {
    /// Begins to describe an installation.
    pub fn builder() -> TerseBuilder {
        TerseBuilder::default()
    }

    pub fn links(&self) -> &Links {
        &self.inner.links
    }

    pub fn accounts(&self) -> &Accounts {
        &self.inner.accounts
    }

    pub fn audit(&self) -> &AuditLog {
        &self.inner.audit
    }

    pub fn workspaces(&self) -> &Workspaces {
        &self.inner.workspaces
    }

    pub fn analytics(&self) -> &Analytics {
        &self.inner.analytics
    }

    pub fn jobs(&self) -> &Jobs {
        &self.inner.jobs
    }

    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.clock
    }

    /// Allowances that all nodes share; `None` where no Redis is configured.
    pub fn shared_limits(&self) -> Option<SharedLimits> {
        let (shared, _) = self.inner.shared.as_ref()?;
        Some(SharedLimits::new(Arc::clone(shared)))
    }

    /// What a request for a short URL gets. When it is a redirect, its click is recorded at the
    /// level in force by the time this returns. `path` is as it came, percent-encoded.
    pub async fn resolve(
        &self,
        host: &str,
        path: &str,
        facts: &RequestFacts<'_>,
    ) -> Result<Resolution, ResolveError> {
        self.inner.redirector.resolve(host, path, facts).await
    }

    /// Where an open link leads, without following or counting.
    pub async fn preview(&self, host: &str, path: &str) -> Result<Preview, ResolveError> {
        self.inner.redirector.preview(host, path).await
    }

    /// Compares every link's clicks with its counters, beside whatever else goes on.
    pub async fn verify(&self) -> Result<VerifyReport, StoreError> {
        verify(&self.inner.store).await
    }

    /// Shrinks every day that is past its workspace's retention to its counts, as is done every hour
    /// and whenever a retention is changed.
    pub async fn apply_retention(&self) -> Result<RetentionReport, StoreError> {
        self.inner.errands.keep_retention().await
    }

    /// What goes on inside; cheap.
    pub fn status(&self) -> Status {
        let progress = &self.inner.folder.progress;
        Status {
            spool: self.inner.spool.status(),
            unrecorded: self.inner.capture.unrecorded().total(),
            unconfirmed: self.inner.capture.unconfirmed(),
            folded: progress.folded.load(Ordering::Relaxed),
            fold_batches: progress.batches.load(Ordering::Relaxed),
            fold_repeated: progress.repeated.load(Ordering::Relaxed),
            fold_failures: progress.failures.load(Ordering::Relaxed),
            dead_records: progress.dead.load(Ordering::Relaxed),
            skewed_clicks: progress.skewed.load(Ordering::Relaxed),
            stopped_streams: progress.stopped_streams.load(Ordering::Relaxed),
            cached_links: self.inner.resolver.cached_links(),
            tail_clicks: self.inner.tails.clicks(),
            sealed: self.inner.tails.progress.sealed.load(Ordering::Relaxed),
            merged_chunks: self.inner.tails.progress.merged.load(Ordering::Relaxed),
            place_file: self.inner.redirector.places.status(),
            shared: self
                .inner
                .shared
                .as_ref()
                .map(|(shared, _)| shared.status()),
        }
    }

    /// Whether requests can be answered as promised.
    pub async fn ready(&self) -> Result<(), NotReady> {
        if !self.inner.spool.status().writable {
            return Err(NotReady::Spool);
        }
        match tokio::time::timeout(PING_PATIENCE, self.inner.store.ping()).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(NotReady::Database),
        }
    }

    /// Completes when a thread that clicks depend on has died: the process should end.
    pub async fn failed(&self) {
        tokio::select! {
            () = self.inner.folder.failed() => {}
            () = self.inner.spool.failed() => {}
        }
    }

    /// Syncs the spool, writes down what only memory knows, folds for two seconds at most, and closes
    /// the database; meanwhile the jobs under way are finished, in two seconds too. Redirects must
    /// have stopped. Calling it again does nothing.
    pub async fn close(&self) {
        tokio::join!(
            self.finish_clicks(),
            self.finish_jobs(),
            self.finish_telling()
        );
        let close = async {
            tokio::join!(self.inner.analytics.close(), self.inner.store.close());
        };
        let _ = tokio::time::timeout(CLOSE_PATIENCE, close).await;
    }

    async fn finish_telling(&self) {
        if let Some((shared, _)) = &self.inner.shared {
            shared.finish().await;
        }
    }

    async fn finish_jobs(&self) {
        if let Some(worker) = &self.inner.worker {
            worker.stop().await;
        }
    }

    async fn finish_clicks(&self) {
        let spool = self.inner.spool.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || spool.sync()).await {
            tracing::error!(%error, "the spool could not be synced");
        }
        // Clicks that wait in the spool are safe; these counts are not, and so they come first.
        self.inner.capture.persist_last().await;
        tokio::join!(self.inner.folder.stop(), self.inner.merger.stop());
        let spool = self.inner.spool.clone();
        let _ = tokio::task::spawn_blocking(move || spool.close()).await;
    }
}
