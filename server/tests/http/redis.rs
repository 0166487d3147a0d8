//! Several servers with one PostgreSQL and one Redis.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::json;
use tempfile::TempDir;

use crate::server::{ON_ONE_NODE, Server, until};

/// Whether this run was told to do without PostgreSQL and Redis.
fn is_alone() -> bool {
    let alone = std::env::var_os("TERSE_TEST_SQLITE_ONLY").is_some();
    let told = std::env::var_os("TERSE_TEST_REDIS_URL").is_some();
    assert!(
        alone || told,
        "TERSE_TEST_REDIS_URL is not set: run the tests by scripts/test"
    );
    alone
}

/// A database of one test.
fn database() -> String {
    let server = std::env::var("TERSE_TEST_POSTGRES_URL")
        .expect("TERSE_TEST_POSTGRES_URL is not set: run the tests by scripts/test");
    let dir = tempfile::tempdir().unwrap();
    let name = dir.path().file_name().unwrap().to_string_lossy();
    let name = format!("redis_{}", name.trim_start_matches('.').to_lowercase());
    let statement = format!("CREATE DATABASE \"{name}\"");
    let made = Command::new("psql")
        .args([&server, "-qc", &statement])
        .status();
    assert!(made.unwrap().success());
    let (base, _) = server.rsplit_once('/').unwrap();
    format!("{base}/{name}")
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A Redis that a test may stop.
struct OwnRedis {
    process: Child,
    port: u16,
    dir: TempDir,
}

impl OwnRedis {
    /// On a port that is given by one of these options.
    fn start(dir: TempDir, port: u16, options: &[&str]) -> Self {
        let process = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(options)
            .arg("--dir")
            .arg(dir.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        until("Redis listens", || {
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
        Self { process, port, dir }
    }

    fn plain() -> Self {
        let port = free_port();
        let dir = tempfile::tempdir().unwrap();
        Self::start(dir, port, &["--port", &port.to_string()])
    }

    /// One that speaks TLS only, with a certificate of its own making.
    fn with_tls() -> Self {
        let port = free_port();
        let dir = tempfile::tempdir().unwrap();
        make_certificate(dir.path());
        let of = |name: &str| dir.path().join(name).display().to_string();
        let (certificate, key) = (of("certificate.pem"), of("key.pem"));
        let text = port.to_string();
        let options = [
            "--port",
            "0",
            "--tls-port",
            &text,
            "--tls-auth-clients",
            "no",
            "--tls-cert-file",
            &certificate,
            "--tls-key-file",
            &key,
            "--requirepass",
            "open sesame",
        ];
        Self::start(dir, port, &options)
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for OwnRedis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn make_certificate(dir: &Path) {
    let made = Command::new("openssl")
        .args([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
        ])
        .args(["-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", "key.pem", "-out", "certificate.pem"])
        .current_dir(dir)
        .stderr(Stdio::null())
        .status();
    assert!(made.unwrap().success());
}

fn node(database: &str, redis: &str, settings: &[(&str, &str)]) -> Server {
    let mut all = vec![
        ("TERSE_DATABASE_URL", database),
        ("TERSE_REDIS_URL", redis),
        (
            "TERSE_JWT_SECRET",
            "one that all of these servers know well",
        ),
    ];
    all.push(ON_ONE_NODE);
    all.extend(settings);
    Server::start(&all)
}

fn metric(server: &Server, name: &str) -> String {
    let page = server.visitor().get("/metrics").expect(200).text();
    let line = page.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.split_whitespace().nth(1))
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn two_servers_share_an_allowance_and_each_has_its_own_while_redis_is_away() {
    if is_alone() {
        return;
    }
    let (mut redis, database) = (OwnRedis::plain(), database());
    let url = format!("redis://127.0.0.1:{}", redis.port);
    let limited = [("TERSE_RATE_LIMIT_AUTH", "10/h")];
    let servers = [
        node(&database, &url, &limited),
        node(&database, &url, &limited),
    ];
    let wrong = [
        ("grant_type", "password"),
        ("username", "nobody@example.com"),
        ("password", "wrong horse battery"),
    ];
    for number in 0..10 {
        servers[number % 2].token_request(&wrong).problem(400);
    }
    for server in &servers {
        let limited = server.token_request(&wrong);
        limited.problem_code(429, "rate_limited");
        let wait: u64 = limited.header("retry-after").parse().unwrap();
        assert!((1..=360).contains(&wait), "{wait}");
    }
    redis.kill();
    for server in &servers {
        let answers = (0..12).map(|_| server.token_request(&wrong).status);
        let answers: Vec<u16> = answers.collect();
        assert_eq!((answers[0], answers[11]), (400, 429), "{answers:?}");
        assert_eq!(metric(server, "terse_redis_up "), "0");
        assert_eq!(metric(server, "terse_redis_breaker_open "), "1");
        let told = server.log().matches("Redis does not answer").count();
        assert_eq!(told, 1);
    }
}

#[test]
fn a_link_changes_on_all_servers_at_once() {
    if is_alone() {
        return;
    }
    let (redis, database) = (OwnRedis::plain(), database());
    let url = format!("redis://127.0.0.1:{}", redis.port);
    let (first, second) = (node(&database, &url, &[]), node(&database, &url, &[]));
    let link = first.link("shared", &json!({}));
    for server in [&first, &second] {
        until("it listens", || {
            (metric(server, "terse_redis_listening ") == "1").then_some(())
        });
        server.visitor().get("/shared").expect(302);
    }
    let mut waits = Vec::new();
    for (status, seen) in [("blocked", 451), ("active", 302), ("blocked", 451)] {
        first.change(&link, &json!({"status": status}));
        let begun = std::time::Instant::now();
        until("it is so there too", || {
            (second.visitor().get("/shared").status == seen).then_some(())
        });
        waits.push(begun.elapsed());
    }
    // Other tests run on the same cores: that makes some wait longer, and none shorter.
    let shortest = waits.iter().min().unwrap();
    assert!(shortest.as_millis() < 1_000, "{waits:?}");
}

#[test]
fn redis_is_spoken_to_over_tls_and_by_password_and_neither_is_shown() {
    if is_alone() {
        return;
    }
    let redis = OwnRedis::with_tls();
    let certificate = redis.dir.path().join("certificate.pem");
    let certificate = certificate.display().to_string();
    let url = format!("rediss://:open%20sesame@localhost:{}", redis.port);
    let settings = [
        ON_ONE_NODE,
        ("TERSE_REDIS_URL", &*url),
        ("SSL_CERT_FILE", &*certificate),
    ];
    let server = Server::start(&settings);
    assert_eq!(metric(&server, "terse_redis_up "), "1", "{}", server.log());
    let shown = server.beside(&["config"]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(
        shown.contains("redis_url") && !shown.contains("sesame"),
        "{shown}"
    );
    // Who does not know the certificate does without Redis.
    let server = Server::start(&[ON_ONE_NODE, ("TERSE_REDIS_URL", &url)]);
    assert_eq!(metric(&server, "terse_redis_up "), "0");
    assert!(!server.log().contains("sesame"), "{}", server.log());
}

#[test]
fn a_url_that_names_no_redis_refuses_to_start_and_is_not_repeated() {
    let refused = crate::server::run(&[], &[("TERSE_REDIS_URL", "http://:sesame@host")]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success());
    assert!(
        told.contains("TERSE_REDIS_URL") && told.contains("rediss://"),
        "{told}"
    );
    assert!(!told.contains("sesame"), "{told}");
}
