//! Several nodes on one PostgreSQL and one Redis: what one changes is in force on the others, whatever
//! becomes of Redis (`TERSE_TEST_REDIS_URL`; `scripts/test` starts one).

mod changes;
mod outages;
mod workspaces;

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use deadpool_redis::redis;
use tempfile::TempDir;
use terse_core::model::{Link, LinkChanges};
use terse_core::shared::SharedStatus;
use terse_core::{Resolution, ResolveError, Terse};

use crate::fixture::{HOST, Installation, builder, person};

/// Within this, what happened on one node is in force on the other.
const SOON: Duration = Duration::from_secs(1);
/// And on whatever, when nobody heard of it.
const LIFETIME: Duration = Duration::from_secs(31);

/// The Redis of all tests; `None` only when this run was told to do without.
fn redis_of_all() -> Option<String> {
    let url = std::env::var("TERSE_TEST_REDIS_URL").ok();
    assert!(
        url.is_some() || std::env::var_os("TERSE_TEST_SQLITE_ONLY").is_some(),
        "TERSE_TEST_REDIS_URL is not set: run the tests by scripts/test"
    );
    url
}

/// A Redis that a test may stop and empty.
struct OwnRedis {
    dir: TempDir,
    port: u16,
    process: Child,
}

impl OwnRedis {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let dir = tempfile::tempdir().unwrap();
        let process = run_redis(&dir, port);
        let redis = Self { dir, port, process };
        redis.wait();
        redis
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    fn wait(&self) {
        let begun = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(10), "Redis starts");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn signal(&self, name: &str) {
        let pid = self.process.id().to_string();
        let sent = Command::new("kill").args([name, &pid]).status().unwrap();
        assert!(sent.success());
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    fn restart(&mut self) {
        self.process = run_redis(&self.dir, self.port);
        self.wait();
    }
}

impl Drop for OwnRedis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn run_redis(dir: &TempDir, port: u16) -> Child {
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--save", "", "--appendonly", "no", "--dir"])
        .arg(dir.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Two nodes.
struct Nodes {
    first: Installation,
    second: Terse,
    _dir: TempDir,
}

impl Nodes {
    async fn open(redis: &str) -> Option<Self> {
        let mut first = Installation::on_postgres().await?;
        first.terse.close().await;
        let redis: terse_core::shared::RedisUrl = redis.parse().unwrap();
        let own = builder(&first.dir, &first.database, &first.clock);
        first.terse = own.redis(redis.clone()).open().await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let other = builder(&dir, &first.database, &first.clock);
        let second = other.redis(redis).open().await.unwrap();
        let nodes = Self {
            first,
            second,
            _dir: dir,
        };
        for node in [&nodes.first.terse, &nodes.second] {
            soon("it listens", || async { status(node).listening }).await;
        }
        Some(nodes)
    }

    /// One node whose Redis is nowhere.
    async fn open_without_redis() -> Option<Installation> {
        let mut alone = Installation::on_postgres().await?;
        alone.terse.close().await;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let builder = builder(&alone.dir, &alone.database, &alone.clock);
        let redis = format!("redis://127.0.0.1:{port}").parse().unwrap();
        alone.terse = builder.redis(redis).open().await.unwrap();
        Some(alone)
    }

    async fn edit(&self, link: &Link, target: &str) {
        let changes = LinkChanges {
            target_url: Some(target.to_owned()),
            ..LinkChanges::default()
        };
        let links = self.first.terse.links();
        let workspace = &self.first.workspace;
        links.update(workspace, link.id, changes).await.unwrap();
    }

    async fn delete(&self, link: &Link) {
        let links = self.first.terse.links();
        links.delete(&self.first.workspace, link.id).await.unwrap();
    }

    /// A link that both nodes have in memory.
    async fn known_link(&self, slug: &str) -> Link {
        let link = self.first.link(slug).await;
        for node in [&self.first.terse, &self.second] {
            // What is loaded while news of it arrive is not kept.
            soon("it is in memory", || async {
                let asked = status(node);
                assert_eq!(target(node, slug).await, "https://example.com/target");
                status(node) == asked
            })
            .await;
        }
        link
    }
}

fn status(node: &Terse) -> SharedStatus {
    node.status().shared.unwrap()
}

async fn resolve(node: &Terse, slug: &str) -> Result<Resolution, ResolveError> {
    node.resolve(HOST, &format!("/{slug}"), &person()).await
}

async fn target(node: &Terse, slug: &str) -> String {
    match resolve(node, slug).await {
        Ok(Resolution::Redirect(redirect)) => {
            String::from_utf8(redirect.location.to_vec()).unwrap()
        }
        other => format!("{other:?}"),
    }
}

/// Waits until it is so, for a second at most.
async fn soon<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    within(SOON, what, &mut is_so).await;
}

async fn within<F: Future<Output = bool>>(
    time: Duration,
    what: &str,
    mut is_so: impl FnMut() -> F,
) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < time, "{what} within {time:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn command(redis: &OwnRedis, words: &[&str]) -> redis::Value {
    let client = redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    command.query_async(&mut connection).await.unwrap()
}
