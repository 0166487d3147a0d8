//! A network that goes silent: connections to PostgreSQL stay open, and nothing comes through them any more.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use secrecy::ExposeSecret as _;
use terse_core::model::NewLink;
use terse_core::{DatabaseUrl, Resolution};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::fixture::{HOST, Installation, builder, person};

/// What passes on connections; those of an earlier age pass nothing any more.
struct Network {
    address: SocketAddr,
    age: Arc<AtomicU64>,
}

impl Network {
    async fn to(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let age = Arc::new(AtomicU64::new(0));
        let of_network = Arc::clone(&age);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.unwrap();
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                tokio::spawn(pass(from_client, to_server, Arc::clone(&of_network)));
                tokio::spawn(pass(from_server, to_client, Arc::clone(&of_network)));
            }
        });
        Self { address, age }
    }

    /// Every connection that there is goes silent.
    fn go_silent(&self) {
        self.age.fetch_add(1, Ordering::SeqCst);
    }
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    age: Arc<AtomicU64>,
) {
    let born = age.load(Ordering::SeqCst);
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        let silent = age.load(Ordering::SeqCst) != born;
        if !silent && to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
    if age.load(Ordering::SeqCst) != born {
        // The other side hears nothing of the end either.
        tokio::time::sleep(Duration::from_mins(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_went_silent_are_given_up_within_fifteen_seconds() {
    let Some(mut t) = Installation::on_postgres().await else {
        return;
    };
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
