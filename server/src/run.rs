//! The server's life: open, serve, stop.

use std::io::{self, IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use hyper::service::service_fn;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use secrecy::ExposeSecret as _;
use terse_core::accounts::RegistrationPolicy;
use terse_core::model::{Entropy, FirstAdmin, OsEntropy};
use terse_core::spool::Durability;
use terse_core::{DatabaseUrl, Terse, TerseBuilder};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::accept::accept;
use crate::api;
use crate::app::{App, Limits, Policy};
use crate::config::{ClickDurability, Config, OnUnrecordable, Registration, VisitorEpoch};
use crate::edge::Edge;
use crate::mailer;
use crate::secrets::{data_dir, jwt_secret};
use crate::tokens::Tokens;

/// However things stand, the process ends this long after it was asked to.
const LAST_MOMENT: Duration = Duration::from_secs(9);
/// Files of the database and of whatever else is open beside connections and the spool, with much to
/// spare.
const OWN_FILES: u64 = 96;
const FORGET_EVERY: Duration = Duration::from_mins(1);

/// The domain as these settings describe it.
pub fn builder(config: &Config) -> anyhow::Result<TerseBuilder> {
    let database = match &config.database_url {
        None => DatabaseUrl::Sqlite(config.data_dir.join("terse.db")),
        Some(url) => url.expose_secret().parse().context("database_url")?,
    };
    let builder = Terse::builder()
        .database(database)
        .public_url(&config.public_url)
        .spool_dir(config.data_dir.join("spool"))
        .spool_retain(config.spool_retain)
        .spool_max_bytes(config.spool_max_bytes)
        .slug_length(config.slug_length)
        .durability(match config.click_durability {
            ClickDurability::Process => Durability::Process,
            ClickDurability::Power => Durability::Power,
            ClickDurability::Node => Durability::Node,
        })
        .on_unrecordable(match config.on_unrecordable {
            OnUnrecordable::Serve => terse_core::OnUnrecordable::Serve,
            OnUnrecordable::Refuse => terse_core::OnUnrecordable::Refuse,
        })
        .visitor_epoch(match config.visitor_epoch {
            VisitorEpoch::Month => terse_core::VisitorEpoch::Month,
            VisitorEpoch::Day => terse_core::VisitorEpoch::Day,
        });
    let builder = match &config.redis_url {
        Some(url) => builder.redis(url.clone()),
        None => builder,
    };
    Ok(match &config.geoip_db {
        Some(path) => builder.geoip_db(path),
        None => builder,
    })
}

/// Serves the installation that `config` describes and `adapt` may change, until a signal ends it.
/// `Ok(false)` when a part that clicks depend on died.
pub async fn serve(
    config: Config,
    adapt: impl FnOnce(TerseBuilder) -> TerseBuilder,
) -> anyhow::Result<bool> {
    // Whatever this process makes is its owner's alone.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    // Before anything is made: the password of the first administrator is shown once, so nothing
    // foreseeable may fail between its making and its showing.
    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("listen: cannot bind {}", config.listen))?;
    let signals = StopSignals::listen().context("cannot receive signals")?;
    let builder = adapt(builder(&config)?);
    let own_files = builder.spool_files().saturating_add(OWN_FILES);
    let max_connections = connections_that_fit(config.max_connections, own_files);
    data_dir(&config.data_dir)?;
    let entropy: Arc<dyn Entropy> = Arc::new(OsEntropy);
    let secret = jwt_secret(&config, &*entropy)?;
    let mailer = mailer::of(&config, Arc::clone(&entropy))?;
    let terse = builder.mailer(mailer);
    let terse = terse.open().await.context("cannot open the data")?;
    let clock = Arc::clone(terse.clock());
    let tokens = Tokens::new(&config.public_url, &secret, clock, Arc::clone(&entropy))
        .context("jwt_secret")?;
    let admin = terse
        .accounts()
        .first_admin(config.admin_email.clone(), config.admin_password.clone())
        .await
        .context("cannot make the first administrator")?;
    let app = App::new(
        terse.clone(),
        tokens,
        Limits::new(
            config.rate_limit_redirect,
            config.rate_limit_api,
            config.rate_limit_auth,
        )
        .shared(terse.shared_limits().as_ref()),
        Policy {
            proxies: config.trusted_proxies.clone(),
            registration: match config.registration {
                Registration::Open => RegistrationPolicy::Open,
                Registration::Invite => RegistrationPolicy::Invite,
                Registration::Closed => RegistrationPolicy::Closed,
            },
            origins: config.cors_origins.clone(),
        },
        config.public_url.clone(),
        &*entropy,
    );
    greet(&config, listener.local_addr()?, admin.as_ref());
    let healthy = serve_until_stopped(listener, max_connections, app, signals).await;
    terse.close().await;
    tracing::info!("stopped");
    Ok(healthy)
}

/// Raises the limit of open files as far as `wanted` connections need and the system allows; returns
/// how many leave `own_files` for the database and the spool, which must never lack one.
fn connections_that_fit(wanted: usize, own_files: u64) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let needed = u64::try_from(wanted).map_or(u64::MAX, |wanted| wanted.saturating_add(own_files));
    let allowed = limit.maximum.map_or(needed, |maximum| maximum.min(needed));
    let mut open_files = limit.current.unwrap_or(u64::MAX);
    if open_files < allowed {
        let raised = Rlimit {
            current: Some(allowed),
            maximum: limit.maximum,
        };
        match setrlimit(Resource::Nofile, raised) {
            Ok(()) => open_files = allowed,
            Err(error) => tracing::debug!(%error, "the limit of open files stays as it is"),
        }
    }
    if own_files > open_files / 2 {
        tracing::warn!(
            open_files,
            own_files,
            "the limit of open files is low: a spool that fills up may lack files before its quota is used up"
        );
    }
    let room = open_files - own_files.min(open_files / 2);
    let fitting = wanted.min(usize::try_from(room).unwrap_or(usize::MAX));
    if fitting < wanted {
        tracing::warn!(
            open_files,
            max_connections = fitting,
            "fewer connections than configured: the limit of open files is low"
        );
    }
    fitting
}

async fn serve_until_stopped(
    listener: TcpListener,
    max_connections: usize,
    app: Arc<App>,
    mut signals: StopSignals,
) -> bool {
    let stop = app.stopping.clone();
    let edge = Arc::new(Edge {
        api: api::routes(&app),
        app: Arc::clone(&app),
    });
    let serving = accept(
        listener,
        max_connections,
        stop.clone(),
        move |peer, activity| {
            let edge = Arc::clone(&edge);
            service_fn(move |request| {
                let (edge, activity) = (Arc::clone(&edge), Arc::clone(&activity));
                async move { edge.answer(peer, &activity, request).await }
            })
        },
    );
    let mut serving = tokio::spawn(serving);
    let healthy = tokio::select! {
        () = signals.received() => true,
        () = app.terse.failed() => {
            tracing::error!("a thread that clicks depend on has died: stopping, so that they are not merely piled up");
            false
        }
        _ = &mut serving => {
            tracing::error!("connections are no longer accepted: stopping");
            false
        }
        () = forget_idle(&app) => true,
    };
    tracing::info!("stopping: finishing requests, then the spool");
    end_hard_after(LAST_MOMENT, signals, healthy);
    stop.cancel();
    if !serving.is_finished() {
        let _ = serving.await;
    }
    healthy
}

async fn forget_idle(app: &App) {
    let mut minutes = tokio::time::interval(FORGET_EVERY);
    loop {
        minutes.tick().await;
        app.limits.forget_idle();
    }
}

/// What asks the process to stop; from its making on, those signals no longer end the process by themselves.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn received(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Ends the process when stopping takes too long, or at a second signal. Recorded clicks are safe either way.
/// What supervises it learns by the exit code whether it was `healthy` until then.
fn end_hard_after(patience: Duration, mut signals: StopSignals, healthy: bool) {
    std::thread::spawn(move || {
        std::thread::sleep(patience);
        tracing::error!("stopping took too long; clicks that wait are in the spool");
        std::process::exit(i32::from(!healthy));
    });
    tokio::spawn(async move {
        signals.received().await;
        std::process::exit(1);
    });
}

/// Tells whoever started the server what to do next.
fn greet(config: &Config, address: SocketAddr, admin: Option<&FirstAdmin>) {
    tracing::info!(%address, public_url = config.public_url, "serving");
    let url = &config.public_url;
    let mut text = String::new();
    if let Some(admin) = admin {
        let password = admin
            .generated_password
            .as_ref()
            .map_or("the one you configured", |password| {
                password.expose_secret()
            });
        text = format!(
            "\nTerse is ready at {url}\n\n  \
             Sign in with   {}\n  \
             password       {password}\n{}\n  \
             1. Open {url}/docs, press Authorize, and sign in.\n  \
             2. POST /links with {{\"target_url\": \"https://example.com\", \"slug\": \"hello\"}}.\n  \
             3. Open {url}/hello in a browser (curl would be counted as a bot).\n  \
             4. GET /analytics/summary shows the click.\n\n",
            admin.email,
            if admin.generated_password.is_some() {
                "                 (shown only this once)\n"
            } else {
                ""
            },
        );
    } else if io::stderr().is_terminal() {
        text = format!("\nTerse is ready at {url}\n\n");
    }
    // Not through the log: a password belongs on the terminal and nowhere else.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}
