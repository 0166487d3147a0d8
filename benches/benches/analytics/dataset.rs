//! A year of clicks of one workspace, loaded once and kept.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use terse_benches::server::target_dir;
use terse_benches::stats::{float, grouped};
use terse_core::links::LinkError;
use terse_core::model::{LinkId, ManualClock, NewLink, Origin, Timestamp, WorkspaceId};
use terse_core::{DatabaseUrl, Terse};

use crate::crowd::{self, Crowd, LINKS};
use crate::loading;
use crate::storage;

/// Whoever changes what is loaded counts on: older data sets are not used again.
const VERSION: u32 = 1;
const EMAIL: &str = "bench@example.com";
const PASSWORD: &str = "a-password-for-benches-only";
const FIRST_DAY: &str = "2025-01-01T00:00:00Z";
pub(crate) const DAYS: u32 = 365;
pub(crate) const DAY: Duration = Duration::from_hours(24);
const MERGING_PATIENCE: Duration = Duration::from_mins(30);

/// An open installation that holds the clicks.
#[derive(Clone)]
pub(crate) struct Dataset {
    pub(crate) terse: Terse,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) crowd: Arc<Crowd>,
    pub(crate) workspace: WorkspaceId,
    /// The link with most clicks.
    pub(crate) hot: LinkId,
    pub(crate) clicks: u64,
    pub(crate) database: DatabaseUrl,
}

/// Where data sets are kept.
fn home() -> Result<PathBuf> {
    Ok(target_dir()?.join("bench-analytics"))
}

/// The SQLite file of a data set of so many clicks.
pub(crate) fn sqlite(clicks: u64) -> Result<DatabaseUrl> {
    let file = home()?.join(format!("sqlite-{clicks}/terse.db"));
    Ok(DatabaseUrl::Sqlite(file))
}

/// Whether a data set of so many clicks is kept in SQLite.
pub(crate) fn is_kept(clicks: u64) -> Result<bool> {
    Ok(is_complete(
        &home()?.join(format!("sqlite-{clicks}")),
        clicks,
    ))
}

fn is_complete(dir: &Path, clicks: u64) -> bool {
    fs::read_to_string(dir.join("complete")).is_ok_and(|text| text == parameters(clicks))
}

fn parameters(clicks: u64) -> String {
    format!("version {VERSION}, {clicks} clicks, {LINKS} links, {DAYS} days from {FIRST_DAY}\n")
}

/// When the first day begins.
pub(crate) fn start() -> Result<Timestamp> {
    Timestamp::parse("start", FIRST_DAY).map_err(|error| anyhow::anyhow!("{error:?}"))
}

/// When the last day is over.
pub(crate) fn end() -> Result<Timestamp> {
    Ok(start()?.plus(DAY * DAYS))
}

impl Dataset {
    /// Opens the data set that is kept, or loads it.
    pub(crate) async fn open(database: DatabaseUrl, clicks: u64) -> Result<Self> {
        let dir = match &database {
            DatabaseUrl::Sqlite(file) => file.parent().context("no directory")?.to_path_buf(),
            DatabaseUrl::Postgres(_) => home()?.join(format!("postgres-{clicks}")),
        };
        if is_complete(&dir, clicks) {
            println!(
                "  data set of {} clicks kept in {}",
                grouped(float(clicks)),
                dir.display()
            );
            let clock = Arc::new(ManualClock::at(end()?.plus(DAY)));
            let data = Box::pin(Self::prepare(database, &dir, clock, clicks)).await?;
            let stored = storage::clicks(&data).await?;
            ensure!(stored >= clicks, "it holds {stored} clicks: delete it");
            return Ok(data);
        }
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        fs::create_dir_all(&dir)?;
        let clock = Arc::new(ManualClock::at(start()?));
        let data = Box::pin(Self::prepare(database, &dir, clock, clicks)).await?;
        loading::load(&data).await?;
        let data = Box::pin(data.settle(&dir)).await?;
        fs::write(dir.join("complete"), parameters(clicks))?;
        Ok(data)
    }

    async fn prepare(
        database: DatabaseUrl,
        dir: &Path,
        clock: Arc<ManualClock>,
        clicks: u64,
    ) -> Result<Self> {
        let terse = Terse::builder()
            .database(database.clone())
            .spool_dir(dir.join("spool"))
            .spool_retain(Duration::ZERO)
            .clock(Arc::<ManualClock>::clone(&clock))
            .open()
            .await?;
        let workspace = sign_in(&terse).await?;
        let hot = hot_link(&terse, workspace).await?;
        Ok(Self {
            terse,
            clock,
            crowd: Arc::new(Crowd::new()),
            workspace,
            hot,
            clicks,
            database,
        })
    }

    /// Waits until every day has as few chunks as fit, and until those that they replaced are gone.
    async fn settle(self, dir: &Path) -> Result<Self> {
        let start = Instant::now();
        let mut data = self;
        // The merger looks at everything when it starts: first for what is to be merged, then for what
        // nobody reads any more.
        for hours in [1, 24] {
            data.close().await;
            data.clock.set(end()?.plus(Duration::from_hours(hours)));
            data = Self::prepare(data.database, dir, data.clock, data.clicks).await?;
            let is_first = hours == 1;
            while storage::is_unsettled(&data, is_first).await? {
                ensure!(start.elapsed() < MERGING_PATIENCE, "merging takes too long");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
        println!(
            "  everything merged {:.1} s later",
            start.elapsed().as_secs_f64()
        );
        Ok(data)
    }

    pub(crate) async fn close(&self) {
        self.terse.close().await;
    }
}

/// The link with most clicks; makes all links when it is not there.
async fn hot_link(terse: &Terse, workspace: WorkspaceId) -> Result<LinkId> {
    let url = format!("http://localhost:8080/{}", crowd::slug(0));
    match terse.links().lookup(&workspace, &url).await {
        Ok(link) => return Ok(link.id),
        Err(LinkError::NotFound) => {}
        Err(error) => return Err(error.into()),
    }
    for number in 0..LINKS {
        let new = NewLink {
            tags: crowd::tags(number),
            ..NewLink::to(format!("https://example.com/articles/{number}"))
                .alias(crowd::slug(number))
        };
        terse.links().create(&workspace, new).await?;
    }
    Ok(terse.links().lookup(&workspace, &url).await?.id)
}

pub(crate) async fn sign_in(terse: &Terse) -> Result<WorkspaceId> {
    let accounts = terse.accounts();
    let password = PASSWORD.to_owned().into();
    accounts
        .first_admin(Some(EMAIL.to_owned()), Some(PASSWORD.to_owned().into()))
        .await?;
    let grant = accounts
        .sign_in(EMAIL, &password, &Origin::default())
        .await?;
    let principal = accounts
        .authenticate(grant.session, grant.user, None)
        .await?;
    Ok(principal.workspace)
}
