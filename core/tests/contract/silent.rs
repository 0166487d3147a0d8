//! A network that goes silent: connections to PostgreSQL stay open, and nothing comes through them any more.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use secrecy::ExposeSecret as _;
use terse_core::model::NewLink;
use terse_core::{DatabaseUrl, Resolution};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::fixture::{HOST, Installation, all, builder, person, person_at};

/// What passes on connections; those of an earlier age pass nothing any more.
struct Network {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    age: AtomicU64,
    silent_after_commit: AtomicBool,
}

impl Network {
    async fn to(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let of_network = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.unwrap();
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                tokio::spawn(pass(from_client, to_server, Arc::clone(&of_network)));
                tokio::spawn(pass(from_server, to_client, Arc::clone(&of_network)));
            }
        });
        Self { address, state }
    }

    /// Every connection that there is goes silent.
    fn go_silent(&self) {
        self.state.age.fetch_add(1, Ordering::SeqCst);
    }

    /// Every connection that there is goes silent once a COMMIT of the folder got through.
    fn go_silent_after_commit(&self) {
        self.state.silent_after_commit.store(true, Ordering::SeqCst);
    }
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    state: Arc<State>,
) {
    let age = &state.age;
    let born = age.load(Ordering::SeqCst);
    let mut folds = false;
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        let silent = age.load(Ordering::SeqCst) != born;
        let says = |word: &[u8]| bytes[..read].windows(word.len()).any(|bytes| bytes == word);
        folds |= says(b"INSERT INTO link_counters");
        if folds && says(b"COMMIT") && state.silent_after_commit.swap(false, Ordering::SeqCst) {
            age.fetch_add(1, Ordering::SeqCst);
        }
        if !silent && to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
    if age.load(Ordering::SeqCst) != born {
        // The other side hears nothing of the end either.
        tokio::time::sleep(Duration::from_mins(5)).await;
    }
}

/// An installation with a link, and the network between it and its database.
async fn through_a_network() -> Option<(Installation, Network)> {
    let mut t = Installation::on_postgres().await?;
    t.link("launch").await;
    t.terse.close().await;
    let DatabaseUrl::Postgres(url) = &t.database else {
        panic!("not on PostgreSQL");
    };
    let url = url.expose_secret();
    let (credentials, rest) = url.rsplit_once('@').unwrap();
    let (server, name) = rest.split_once('/').unwrap();
    let network = Network::to(server.to_owned()).await;
    let through: DatabaseUrl = format!("{credentials}@{}/{name}", network.address)
        .parse()
        .unwrap();
    t.terse = builder(&t.dir, &through, &t.clock).open().await.unwrap();
    Some((t, network))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_click_whose_commit_was_never_answered_is_told_to_a_listener_once() {
    let Some((t, network)) = through_a_network().await else {
        return;
    };
    let visit = async |visitor| {
        let answer = t.terse.resolve(HOST, "/launch", &person_at(visitor)).await;
        assert!(matches!(answer, Ok(Resolution::Redirect(_))));
    };
    let analytics = t.terse.analytics();
    let mut live = analytics.live(&t.workspace, all(), None).await.unwrap();
    let mut told = std::collections::HashSet::new();
    for visitor in 1..5 {
        if visitor == 2 {
            network.go_silent_after_commit();
        }
        visit(visitor).await;
        let click = tokio::time::timeout(Duration::from_secs(30), live.next()).await;
        let click = click.expect("the click is told").unwrap().click;
        assert!(told.insert(click.position), "{click:?} is told twice");
    }
    let more = tokio::time::timeout(Duration::from_secs(1), live.next()).await;
    assert!(more.is_err(), "{more:?}");
    assert!(t.terse.status().fold_failures > 0, "every answer came");
    t.terse.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_went_silent_are_given_up_within_fifteen_seconds() {
    let Some((t, network)) = through_a_network().await else {
        return;
    };
    let visit = async || t.terse.resolve(HOST, "/launch", &person()).await;
    assert!(matches!(visit().await, Ok(Resolution::Redirect(_))));
    t.folded().await;

    network.go_silent();
    let begun = Instant::now();
    assert!(matches!(visit().await, Ok(Resolution::Redirect(_))));
    assert!(begun.elapsed() < Duration::from_secs(1));
    let new = || NewLink::to("https://example.com/");
    while t.terse.links().create(&t.workspace, new()).await.is_err() {
        assert!(
            begun.elapsed() < Duration::from_secs(15),
            "links cannot be made"
        );
    }
    let made = begun.elapsed();
    t.folded().await;
    let folded = begun.elapsed();
    assert!(folded < Duration::from_secs(19), "{made:?}, {folded:?}");
    assert!(t.terse.verify().await.unwrap().is_consistent());
    t.terse.close().await;
}
