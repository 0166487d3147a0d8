//! What every section needs: cores, the server's program, how long a slot is.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use terse_benches::baseline::Baseline;
use terse_benches::load::{Load, OnBreak, Outcome, Pace};
use terse_benches::machine::Cores;
use terse_benches::server::{self, Options, TerseServer};
use terse_benches::settings;
use terse_benches::traffic::Visits;

/// Links of the wide load.
pub(crate) const MANY: usize = 10_000;
/// Folding catches up after a slot within this.
pub(crate) const FOLDING: Duration = Duration::from_mins(2);

/// The set-up of a run.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) cores: Cores,
    pub(crate) program: PathBuf,
    pub(crate) slot: Duration,
    pub(crate) rounds: usize,
    pub(crate) quick: bool,
}

impl Stage {
    /// Reads the environment and builds the server.
    pub(crate) fn prepare() -> Result<Self> {
        Ok(Self {
            cores: Cores::divided()?,
            program: server::built()?,
            slot: Duration::from_secs(settings::slot_seconds()?),
            rounds: settings::rounds()?,
            quick: settings::is_quick(),
        })
    }

    pub(crate) fn describe(&self) {
        println!(
            "server on cores {:?}, load on cores {:?}; slots of {} s, {} alternations",
            self.cores.server,
            self.cores.load,
            self.slot.as_secs(),
            self.rounds
        );
    }

    pub(crate) fn baseline(&self) -> Result<Baseline> {
        Baseline::start(&self.cores.server)
    }

    /// The real server at a durability level, with no links.
    pub(crate) fn terse(&self, durability: &'static str) -> Result<TerseServer> {
        let options = Options {
            durability,
            cores: self.cores.server.clone(),
            ..Options::default()
        };
        TerseServer::start(&self.program, options)
    }

    /// Sends visits from the load's cores; an error when anything but a redirect comes back.
    pub(crate) fn send(
        &self,
        address: SocketAddr,
        connections: usize,
        pace: Pace,
        visits: &Visits,
    ) -> Result<Outcome> {
        let load = Load {
            address,
            connections,
            pace,
            on_break: OnBreak::Fail,
            cores: self.cores.load.clone(),
        };
        let traffic = (0..self.cores.load.len() as u64)
            .map(|thread| visits.reseeded(thread))
            .collect();
        let (outcome, _) = load.run(traffic)?;
        outcome.only_redirects()?;
        Ok(outcome)
    }

    /// A short load that is not measured, so that caches and branch predictors are warm.
    pub(crate) fn warm_up(&self, address: SocketAddr, visits: &Visits) -> Result<u64> {
        let pace = Pace::Closed(self.slot.min(Duration::from_secs(1)));
        Ok(self.send(address, 64, pace, visits)?.redirects())
    }
}
