//! Finds places by address, in a file that is looked at every few seconds and read again when it changed.
//! Whatever is wrong with the file, redirects go on: by the last one that was right, or without places.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::model::Timestamp;
use crate::place::Place;
use crate::place::file::{PlaceFile, Stamp};

const LOOK_EVERY: Duration = Duration::from_secs(3);

/// What became of the place file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlaceFileStatus {
    /// When the file in use was made, as it says itself; `None` while none is in use.
    pub built_at: Option<Timestamp>,
    /// The file at the configured path is missing or cannot be used: an older one is, or none.
    pub failing: bool,
}

/// Says where addresses are. Dropping it ends the watch over its file.
#[derive(Debug)]
pub(crate) struct PlaceFinder {
    watched: Option<Arc<Watched>>,
    _stop: Option<DropGuard>,
}

impl PlaceFinder {
    /// Finds places in the file at `path`, if any is named. Needs a tokio runtime.
    pub(crate) async fn open(path: Option<PathBuf>) -> Self {
        let Some(path) = path else {
            return Self {
                watched: None,
                _stop: None,
            };
        };
        let watched = Arc::new(Watched::at(path));
        watched.look_in_background().await;
        let stop = CancellationToken::new();
        let watch = Arc::clone(&watched).watch();
        tokio::spawn(stop.clone().run_until_cancelled_owned(watch));
        Self {
            watched: Some(watched),
            _stop: Some(stop.drop_guard()),
        }
    }

    /// Hands over the place of a visitor: what was `told` of it, and what the file adds.
    pub(crate) fn with<T>(
        &self,
        client: IpAddr,
        told: Place<'_>,
        take: impl FnOnce(&Place<'_>) -> T,
    ) -> T {
        let client = client.to_canonical();
        let file = match &self.watched {
            Some(watched) if !told.is_complete() && is_public(client) => watched.file.load(),
            _ => return take(&told),
        };
        let found = file
            .as_ref()
            .map_or(Place::UNKNOWN, |file| file.find(client));
        take(&told.or(found))
    }

    /// What became of the file; `None` where none is configured.
    pub(crate) fn status(&self) -> Option<PlaceFileStatus> {
        self.watched.as_ref().map(|watched| watched.status())
    }
}

/// Whether an address is anywhere at all: not one of a private network, and not a machine's own.
fn is_public(client: IpAddr) -> bool {
    match client {
        IpAddr::V4(address) => {
            let shared = address.octets()[0] == 100 && address.octets()[1] & 0xc0 == 64;
            let own = address.is_loopback() || address.is_private() || address.is_link_local();
            let nobody = address.octets()[0] == 0 || address >= Ipv4Addr::new(224, 0, 0, 0);
            !(shared || own || nobody)
        }
        IpAddr::V6(address) => {
            let own = address.is_loopback()
                || address.is_unique_local()
                || address.is_unicast_link_local();
            !(own || address == Ipv6Addr::UNSPECIFIED || address.is_multicast())
        }
    }
}

/// A file, and what was last seen of it.
#[derive(Debug)]
struct Watched {
    path: PathBuf,
    file: ArcSwapOption<PlaceFile>,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// The state of the file that was dealt with.
    stamp: Option<Stamp>,
    problem: Option<String>,
}

impl Watched {
    fn at(path: PathBuf) -> Self {
        Self {
            path,
            file: ArcSwapOption::empty(),
            seen: Mutex::default(),
        }
    }

    async fn watch(self: Arc<Self>) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            self.look_in_background().await;
        }
    }

    async fn look_in_background(self: &Arc<Self>) {
        let watched = Arc::clone(self);
        if let Err(error) = tokio::task::spawn_blocking(move || watched.look()).await {
            tracing::error!(%error, "looking at the place file failed");
        }
    }

    /// Reads the file if it isn't what it was. What is wrong with it is logged once.
    fn look(&self) {
        let now = Stamp::of(&self.path).ok();
        if now.is_some() && now == self.seen().stamp {
            return;
        }
        // Not while `seen` is held: it takes a moment, and the status is asked for meanwhile.
        let read = PlaceFile::read(&self.path);
        let path = self.path.display();
        let mut seen = self.seen();
        match read {
            Ok(file) => {
                *seen = Seen {
                    stamp: Some(file.stamp),
                    problem: None,
                };
                tracing::info!(%path, "places are found in this file");
                self.file.store(Some(Arc::new(file)));
            }
            Err(unusable) => {
                seen.stamp = unusable.stamp();
                let problem = Some(unusable.to_string());
                if seen.problem != problem {
                    let kept = self.file.load().is_some();
                    tracing::warn!(%path, %unusable, kept, "the place file cannot be used");
                    seen.problem = problem;
                }
            }
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn status(&self) -> PlaceFileStatus {
        PlaceFileStatus {
            built_at: self.file.load().as_ref().map(|file| file.built_at()),
            failing: self.seen().problem.is_some(),
        }
    }
}
