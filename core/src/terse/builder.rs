//! Describing an installation, and opening it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{Inner, OpenError, Sharing, Terse};
use crate::accounts::Accounts;
use crate::analytics::Analytics;
use crate::audit::AuditLog;
use crate::capture::{Capture, OnUnrecordable};
use crate::classify::Agents;
use crate::folder::{FolderHandle, FolderParts};
use crate::jobs::{Jobs, Worker};
use crate::links::{ClickEraser, Links};
use crate::live::LiveHub;
use crate::mail::{Mailer, Postman};
use crate::model::{Clock, DomainId, Entropy, OsEntropy, SystemClock, VisitorEpoch};
use crate::neighbours::Neighbours;
use crate::place::PlaceFinder;
use crate::redirect::Redirector;
use crate::resolver::Resolver;
use crate::sealer::{Errands, MergeBell, MergerHandle, MergerParts, Sealing, Tails};
use crate::shared::{RedisUrl, Shared};
use crate::site::Site;
use crate::spool::{Durability, Spool, SpoolOptions};
use crate::store::{DatabaseUrl, PoolPurpose, Store};
use crate::tools::Tools;
use crate::visitor_salts::VisitorSalts;
use crate::workspaces::Workspaces;

const CACHED_AGENTS: u64 = 4_096;

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
