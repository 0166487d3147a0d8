//! The parts put together.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::accounts::Accounts;
use crate::analytics::Analytics;
use crate::audit::AuditLog;
use crate::capture::{Capture, OnUnrecordable};
use crate::classify::{Agents, RequestFacts};
use crate::folder::{FolderHandle, FolderParts};
use crate::jobs::{Jobs, Worker};
use crate::links::{ClickEraser, Links};
use crate::live::LiveHub;
use crate::mail::{Mailer, Postman};
use crate::model::{Clock, DomainId, Entropy, OsEntropy, SystemClock, VisitorEpoch};
use crate::neighbours::Neighbours;
use crate::place::{PlaceFileStatus, PlaceFinder};
use crate::redirect::{Preview, Redirector, Resolution, ResolveError};
use crate::resolver::Resolver;
use crate::sealer::{
    Errands, MergeBell, MergerHandle, MergerParts, RetentionReport, Sealing, Tails,
};
use crate::shared::{Background, RedisUrl, Shared, SharedLimits, SharedStatus};
use crate::site::{PublicUrlError, Site};
use crate::spool::{Durability, Spool, SpoolError, SpoolOptions, SpoolStatus};
use crate::store::{DatabaseUrl, PoolPurpose, Store, StoreError};
use crate::tools::Tools;
use crate::verify::{VerifyReport, verify};
use crate::visitor_salts::VisitorSalts;
use crate::workspaces::Workspaces;

const CACHED_AGENTS: u64 = 4_096;
/// Less than the second that most balancers wait for the answer of a check.
const PING_PATIENCE: Duration = Duration::from_millis(500);
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// An open installation: links, accounts, redirects and figures. Cloning it is cheap.
#[derive(Clone, Debug)]
pub struct Terse {
    inner: Arc<Inner>,
}

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

/// A description of an installation.
#[derive(Clone, Debug)]
pub struct TerseBuilder {
    database: Option<DatabaseUrl>,
    redis: Option<RedisUrl>,
    public_url: String,
    spool_dir: Option<PathBuf>,
    spool: SpoolOptions,
    on_unrecordable: OnUnrecordable,
    visitor_epoch: VisitorEpoch,
    slug_length: u8,
    sealing: Sealing,
    geoip_db: Option<PathBuf>,
    mailer: Option<Arc<dyn Mailer>>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Default for TerseBuilder {
    fn default() -> Self {
        Self {
            database: None,
            redis: None,
            public_url: "http://localhost:8080".to_owned(),
            spool_dir: None,
            spool: SpoolOptions::at(PathBuf::new()),
            on_unrecordable: OnUnrecordable::default(),
            visitor_epoch: VisitorEpoch::default(),
            slug_length: 7,
            sealing: crate::failpoint::sealing(),
            geoip_db: None,
            mailer: None,
            clock: Arc::new(SystemClock),
            entropy: Arc::new(OsEntropy),
        }
    }
}

impl TerseBuilder {
    /// Keeps everything in this SQLite file, made when it does not exist.
    #[must_use]
    pub fn sqlite(self, path: impl Into<PathBuf>) -> Self {
        self.database(DatabaseUrl::Sqlite(path.into()))
    }

    /// Keeps everything in this database.
    #[must_use]
    pub fn database(mut self, url: DatabaseUrl) -> Self {
        self.database = Some(url);
        self
    }

    /// Shares links, news of changes and allowances with the other nodes by this Redis. It may be away at
    /// any time, from the start on.
    #[must_use]
    pub fn redis(mut self, url: RedisUrl) -> Self {
        self.redis = Some(url);
        self
    }

    /// Where short URLs begin, as in `https://go.example`; `http://localhost:8080` by default.
    #[must_use]
    pub fn public_url(mut self, url: impl Into<String>) -> Self {
        self.public_url = url.into();
        self
    }

    /// The directory of the spool; beside the SQLite file by default. One process at a time.
    #[must_use]
    pub fn spool_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.spool_dir = Some(dir.into());
        self
    }

    /// What an answered click survives; `Process` by default.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.spool.durability = durability;
        self
    }

    /// Bytes of unfolded clicks that the spool may hold; 2 GiB by default.
    #[must_use]
    pub fn spool_max_bytes(mut self, bytes: u64) -> Self {
        self.spool.max_bytes = bytes;
        self
    }

    /// Files that the spool has open when it is full.
    pub fn spool_files(&self) -> u64 {
        self.spool.most_files()
    }

    /// How long folded clicks stay in the spool, for a database restored from a backup; 1 h by default.
    #[must_use]
    pub fn spool_retain(mut self, retain: Duration) -> Self {
        self.spool.retain = retain;
        self
    }

    /// Allows a spool in memory even where clicks are promised to survive a power cut.
    #[must_use]
    pub fn allow_volatile_spool(mut self, allow: bool) -> Self {
        self.spool.allow_volatile = allow;
        self
    }

    /// What happens to a redirect whose click no store takes.
    #[must_use]
    pub fn on_unrecordable(mut self, policy: OnUnrecordable) -> Self {
        self.on_unrecordable = policy;
        self
    }

    /// How long one visitor keeps one hash, in workspaces that do not choose themselves.
    #[must_use]
    pub fn visitor_epoch(mut self, epoch: VisitorEpoch) -> Self {
        self.visitor_epoch = epoch;
        self
    }

    /// Symbols of a generated slug, 4 to 64; 7 by default.
    #[must_use]
    pub fn slug_length(mut self, symbols: u8) -> Self {
        self.slug_length = symbols.clamp(4, 64);
        self
    }

    /// The file in MaxMind's format by which visitors' addresses become places. It is read again whenever
    /// it changes; while it is missing or damaged, clicks are counted by the last one or without a place.
    #[must_use]
    pub fn geoip_db(mut self, path: impl Into<PathBuf>) -> Self {
        self.geoip_db = Some(path.into());
        self
    }

    /// When clicks are sealed into chunks; leave it alone, except in tests.
    #[must_use]
    pub fn sealing(mut self, sealing: Sealing) -> Self {
        self.sealing = sealing;
        self
    }

    /// Who sends mails. Without one they wait in the queue, for another node to send them.
    #[must_use]
    pub fn mailer(mut self, mailer: Arc<dyn Mailer>) -> Self {
        self.mailer = Some(mailer);
        self
    }

    /// Where the time comes from.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Where randomness comes from.
    #[must_use]
    pub fn entropy(mut self, entropy: Arc<dyn Entropy>) -> Self {
        self.entropy = entropy;
        self
    }

    /// Opens the installation: migrates an empty or older database, locks and recovers the spool,
    /// starts the folder. Needs a tokio runtime with time and I/O.
    pub async fn open(self) -> Result<Terse, OpenError> {
        let database = self.database.clone().ok_or(OpenError::NoDatabase)?;
        let site = Site::parse(&self.public_url)?;
        let store = open_store(&database).await?;
        store.migrate_up().await?;
        let site = Arc::new(self.settle(&store, site).await?);
        let (clock, entropy) = (Arc::clone(&self.clock), Arc::clone(&self.entropy));
        let way = self.open_way(database, &store).await?;
        let (resolver, shared) =
            open_resolver(self.redis.as_ref(), &store, &clock, &entropy).await?;
        let jobs = Jobs::new(store.clone(), Arc::clone(&clock), Arc::clone(&entropy));
        // SQLite has one node.
        let has_neighbours = matches!(self.database, Some(DatabaseUrl::Postgres(_)));
        let neighbours = has_neighbours
            .then(|| Neighbours::watch(store.clone(), way.hub.clone(), Arc::clone(&clock)));
        let inner = Inner {
            _neighbours: neighbours,
            worker: self.mailer.map(|mailer| {
                let postman = Postman {
                    store: store.clone(),
                    mailer,
                    site: Arc::clone(&site),
                    clock: Arc::clone(&clock),
                    entropy: Arc::clone(&entropy),
                };
                Worker::start(&jobs, &postman)
            }),
            jobs,
            links: Links::new(
                store.clone(),
                Arc::clone(&site),
                Arc::clone(&resolver),
                Arc::clone(&clock),
                Arc::clone(&entropy),
                self.slug_length,
                ClickEraser {
                    capture: Arc::clone(&way.capture),
                    errands: way.errands.clone(),
                },
            ),
            workspaces: Workspaces::new(
                store.clone(),
                Arc::clone(&resolver),
                way.errands.clone(),
                Arc::clone(&clock),
                Arc::clone(&entropy),
            ),
            accounts: Accounts::new(store.clone(), Arc::clone(&clock), entropy),
            audit: AuditLog::new(store.clone()),
            analytics: Analytics::new(
                store.clone(),
                way.scanning,
                Arc::clone(&way.capture),
                way.hub,
                Arc::clone(&clock),
            ),
            redirector: Redirector {
                site,
                resolver: Arc::clone(&resolver),
                agents: Agents::new(CACHED_AGENTS),
                places: PlaceFinder::open(self.geoip_db).await,
                salts: way.salts,
                capture: Arc::clone(&way.capture),
                clock: Arc::clone(&clock),
            },
            resolver,
            shared,
            capture: way.capture,
            spool: way.spool,
            folder: way.folder,
            merger: way.merger,
            tails: way.tails,
            errands: way.errands,
            store,
            clock,
        };
        Ok(Terse {
            inner: Arc::new(inner),
        })
    }

    /// Opens what a click meets on its way: spool, folder, sealer, and those who listen.
    async fn open_way(&self, database: DatabaseUrl, store: &Store) -> Result<ClicksWay, OpenError> {
        let (clock, entropy) = (&self.clock, &self.entropy);
        let salts = VisitorSalts::open(store, self.visitor_epoch, Arc::clone(entropy), clock.now());
        let salts = Arc::new(salts.await?);
        let mut options = self.spool.clone();
        options.dir = self.spool_path(&database);
        let spool = open_spool(options, clock, entropy).await?;
        let scanning = Store::connect(&database, PoolPurpose::Scanning).await?;
        let tails = Arc::new(Tails::default());
        let (bell, hub) = (MergeBell::default(), LiveHub::default());
        let capture = Arc::new(Capture::new(
            Some(spool.clone()),
            store.clone(),
            Arc::clone(clock),
            &**entropy,
            self.on_unrecordable,
            Arc::clone(&tails),
            hub.clone(),
        ));
        let folder = FolderHandle::start(FolderParts {
            spool: spool.clone(),
            database: database.clone(),
            capture: Arc::clone(&capture),
            salts: Arc::clone(&salts),
            tails: Arc::clone(&tails),
            sealing: self.sealing,
            bell: bell.clone(),
            hub: hub.clone(),
            clock: Arc::clone(clock),
        })?;
        let (errands, errands_asked) = Errands::new();
        let merger = MergerHandle::start(MergerParts {
            database,
            plan: self.sealing,
            bell,
            tails: Arc::clone(&tails),
            errands: errands_asked,
            clock: Arc::clone(clock),
        })?;
        Ok(ClicksWay {
            spool,
            salts,
            capture,
            folder,
            merger,
            tails,
            errands,
            hub,
            scanning,
        })
    }

    /// Opens only the database, for work beside a running server; locks nothing.
    pub async fn tools(self) -> Result<Tools, OpenError> {
        let database = self.database.clone().ok_or(OpenError::NoDatabase)?;
        let store = open_store(&database).await?;
        Ok(Tools::new(store, self.clock, self.entropy))
    }

    fn spool_path(&self, database: &DatabaseUrl) -> PathBuf {
        self.spool_dir.clone().unwrap_or_else(|| match database {
            DatabaseUrl::Sqlite(path) => {
                let mut name = path.file_name().unwrap_or_default().to_os_string();
                name.push("-spool");
                path.with_file_name(name)
            }
            DatabaseUrl::Postgres(_) => PathBuf::from("terse-spool"),
        })
    }

    /// Binds the database to its public URL, once.
    async fn settle(&self, store: &Store, mut site: Site) -> Result<Site, OpenError> {
        let stored = store.setting_or("public_url", site.origin()).await?;
        if stored != site.origin() {
            return Err(OpenError::PublicUrlDiffers { stored });
        }
        site.domain = store
            .ensure_domain(
                &site.host,
                DomainId::random(&*self.entropy),
                self.clock.now(),
            )
            .await?;
        Ok(site)
    }
}

/// What a click meets on its way, opened.
struct ClicksWay {
    spool: Spool,
    salts: Arc<VisitorSalts>,
    capture: Arc<Capture>,
    folder: FolderHandle,
    merger: MergerHandle,
    tails: Arc<Tails>,
    errands: Errands,
    hub: LiveHub,
    scanning: Store,
}

type Sharing = Option<(Arc<Shared>, Background)>;

async fn open_resolver(
    redis: Option<&RedisUrl>,
    store: &Store,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
) -> Result<(Arc<Resolver>, Sharing), OpenError> {
    let resolver = |shared| Arc::new(Resolver::new(store.clone(), Arc::clone(clock), shared));
    let Some(url) = redis else {
        return Ok((resolver(None), None));
    };
    let (shared, announcer) = Shared::prepare(url, store, Arc::clone(entropy)).await?;
    let resolver = resolver(Some(Arc::clone(&shared)));
    let hearing = Arc::clone(&resolver);
    let authorization = Arc::clone(&store.authorization);
    let background = shared
        .start(announcer, authorization, move |news| hearing.hear(news))
        .await;
    Ok((resolver, Some((shared, background))))
}

async fn open_store(database: &DatabaseUrl) -> Result<Store, OpenError> {
    if let DatabaseUrl::Sqlite(path) = database
        && let Some(parent) = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
    {
        std::fs::create_dir_all(parent)?;
    }
    Ok(Store::connect(database, PoolPurpose::Requests).await?)
}

async fn open_spool(
    options: SpoolOptions,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
) -> Result<Spool, OpenError> {
    let (clock, entropy) = (Arc::clone(clock), Arc::clone(entropy));
    tokio::task::spawn_blocking(move || Spool::open(options, clock, entropy))
        .await
        .map_err(std::io::Error::other)?
        .map_err(OpenError::from)
}
