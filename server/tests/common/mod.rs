//! A real server in a directory of its own, started and ended as operators and accidents do.

mod counted;
mod process;

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use reqwest::blocking::Client;
use tempfile::TempDir;

pub(crate) const EMAIL: &str = "admin@example.com";
pub(crate) const PASSWORD: &str = "correct horse battery";

const SERVER: &str = env!("CARGO_BIN_EXE_terse-server");

pub(crate) struct Node {
    dir: TempDir,
    port: u16,
    settings: Vec<(String, String)>,
    /// The command line that serves.
    launch: Vec<String>,
    process: Option<Child>,
}

/// A port that stays a server's own while that is dead: no other node of this process gets it, and no
/// outgoing connection, as the system gives those higher ones.
fn unused_port() -> u16 {
    static NODES: AtomicU32 = AtomicU32::new(0);
    // Apart from those of other test binaries that run.
    let first = std::process::id().wrapping_mul(101) % 20_000;
    loop {
        let next = first + NODES.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(10_000 + next % 20_000).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

impl Node {
    pub(crate) fn new(settings: &[(&str, &str)]) -> Self {
        Self {
            // Under the target directory: level `power` refuses a directory in memory.
            dir: tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap(),
            port: unused_port(),
            settings: settings
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            launch: vec![SERVER.to_owned()],
            process: None,
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Has another program start the server: `program`, then the server's own path.
    pub(crate) fn launch_through(&mut self, program: &[&str]) {
        self.launch = program.iter().map(|&word| word.to_owned()).collect();
        self.launch.push(SERVER.to_owned());
    }

    /// Has another program be the server.
    pub(crate) fn launch(&mut self, program: Vec<String>) {
        self.launch = program;
    }

    fn command(&self) -> Command {
        self.prepared(Command::new(SERVER))
    }

    fn prepared(&self, mut command: Command) -> Command {
        // Nothing of whoever runs the tests reaches the server.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("TERSE_") {
                command.env_remove(name);
            }
        }
        command
            .current_dir(self.dir.path())
            .env("TERSE_DATA_DIR", self.data())
            .env("TERSE_LISTEN", format!("127.0.0.1:{}", self.port))
            .env("TERSE_PUBLIC_URL", "http://localhost")
            .env("TERSE_ADMIN_EMAIL", EMAIL)
            .env("TERSE_ADMIN_PASSWORD", PASSWORD)
            .env("TERSE_RATE_LIMIT_REDIRECT", "off")
            .env("TERSE_RATE_LIMIT_API", "off")
            .env("TERSE_LOG", "warn")
            .envs(self.settings.iter().cloned())
            .stdin(Stdio::null());
        command
    }

    /// Starts the process without waiting for it.
    pub(crate) fn spawn(&mut self) {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.dir.path().join("log"))
            .unwrap();
        let mut command = Command::new(&self.launch[0]);
        command.args(&self.launch[1..]);
        self.process = Some(
            self.prepared(command)
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()
                .unwrap(),
        );
    }

    pub(crate) fn start(&mut self) {
        self.spawn();
        self.until("the server is ready", |node| {
            node.get("/health/ready") == 200
        });
    }

    fn until(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_mins(1);
        while !done(self) {
            assert!(Instant::now() < deadline, "{what}: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// The status of a request; 0 when there is no answer.
    pub(crate) fn get(&self, path: &str) -> u16 {
        if TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            return 0;
        }
        let request = client()
            .get(format!("http://127.0.0.1:{}{path}", self.port))
            .header("Host", "localhost");
        request.send().map_or(0, |answer| answer.status().as_u16())
    }

    /// Whether it was started, and neither stopped nor killed since.
    pub(crate) fn is_started(&self) -> bool {
        self.process.is_some()
    }

    pub(crate) fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// SIGTERM; returns the exit code.
    pub(crate) fn stop(&mut self) -> Option<i32> {
        let mut process = self.process.take().unwrap();
        let pid = rustix::process::Pid::from_child(&process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        process.wait().unwrap().code()
    }

    /// The log so far.
    pub(crate) fn logged(&self) -> String {
        self.log()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Runs another command of the binary with the same settings.
    pub(crate) fn run(
        &self,
        arguments: &[&str],
        settings: &[(&str, &str)],
    ) -> (Option<i32>, String) {
        let mut command = self.command();
        command.args(arguments).envs(settings.iter().copied());
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (
            output.status.code(),
            text + &String::from_utf8_lossy(&output.stderr),
        )
    }

    /// The same, with its standard streams at hand.
    pub(crate) fn piped(&self, arguments: &[&str]) -> Child {
        let mut command = self.command();
        command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        command.spawn().unwrap()
    }

    pub(crate) fn token(&self) -> String {
        let answer: serde_json::Value = client()
            .post(format!("http://127.0.0.1:{}/api/v1/auth/token", self.port))
            .form(&[
                ("grant_type", "password"),
                ("username", EMAIL),
                ("password", PASSWORD),
            ])
            .send()
            .unwrap()
            .json()
            .unwrap();
        answer["access_token"].as_str().unwrap().to_owned()
    }

    pub(crate) fn create_link(&self, slug: &str) {
        assert_eq!(self.try_create_link(slug), 201);
    }

    /// Waits until a link can be made: on a busy machine the folder may hold the database for longer than a
    /// request waits.
    pub(crate) fn can_create_link(&self, slug: &str) {
        self.until("a link can be made", |node| {
            matches!(node.try_create_link(slug), 201 | 409)
        });
    }

    pub(crate) fn try_create_link(&self, slug: &str) -> u16 {
        // A token from before keeps working while the database takes no writes.
        let token_file = self.dir.path().join("token");
        let token = std::fs::read_to_string(&token_file).unwrap_or_else(|_| {
            let token = self.token();
            std::fs::write(&token_file, &token).unwrap();
            token
        });
        let answer = client()
            .post(format!("http://127.0.0.1:{}/api/v1/links", self.port))
            .bearer_auth(token)
            .json(&serde_json::json!({"target_url": "https://example.com/", "slug": slug}))
            .send()
            .unwrap();
        answer.status().as_u16()
    }

    /// Deletes the clicks of the only link. `None` when no answer came.
    pub(crate) fn delete_clicks(&self) -> Option<u16> {
        let token = self.token();
        let request = client().get(self.url("/api/v1/links")).bearer_auth(&token);
        let links: serde_json::Value = request.send().unwrap().json().unwrap();
        let id = links["items"][0]["id"].as_str().unwrap();
        let url = self.url(&format!("/api/v1/links/{id}/clicks"));
        let answer = client().delete(url).bearer_auth(&token).send();
        answer.ok().map(|answer| answer.status().as_u16())
    }

    /// The status of a question that the database must answer.
    pub(crate) fn list_links(&self) -> u16 {
        let token = std::fs::read_to_string(self.dir.path().join("token")).unwrap();
        let request = client().get(self.url("/api/v1/links")).bearer_auth(token);
        request.send().unwrap().status().as_u16()
    }

    pub(crate) fn wait_until_folded(&self) {
        self.until("all clicks are folded", |node| {
            let page = client()
                .get(format!("http://127.0.0.1:{}/metrics", node.port))
                .send()
                .and_then(reqwest::blocking::Response::text)
                .unwrap_or_default();
            page.lines().any(|line| line == "terse_spool_pending 0")
        });
    }

    /// A counter or gauge of `/metrics`.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let page = client().get(self.url("/metrics")).send();
        let page = page.and_then(reqwest::blocking::Response::text).unwrap();
        let value = page
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value
            .unwrap_or_else(|| panic!("{name} in {page}"))
            .parse()
            .unwrap()
    }

    /// Waits until something is so, for a minute at most.
    pub(crate) fn wait_until(&self, what: &str, done: impl Fn(&Self) -> bool) {
        self.until(what, done);
    }

    /// The exit code of a server that ends by itself within this time.
    pub(crate) fn wait_for_end(&mut self, patience: Duration) -> Option<i32> {
        let mut process = self.process.take().unwrap();
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = process.try_wait().unwrap() {
                return status.code();
            }
            if Instant::now() > deadline {
                let _ = process.kill();
                let _ = process.wait();
                panic!("the server has not ended: {}", self.log());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// How many files the spool has.
    pub(crate) fn spool_files(&self) -> usize {
        std::fs::read_dir(self.data().join("spool"))
            .unwrap()
            .count()
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.settings.push((name.to_owned(), value.to_owned()));
    }

    pub(crate) fn verify(&self) -> (Option<i32>, String) {
        self.run(&["verify"], &[])
    }

    pub(crate) fn second_server_refusal(&self) -> String {
        let output = self
            .command()
            .env("TERSE_LISTEN", "127.0.0.1:0")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    pub(crate) fn backup(&self) -> PathBuf {
        let backup = self.dir.path().join("backup.db");
        std::fs::copy(self.data().join("terse.db"), &backup).unwrap();
        assert!(
            !exists_with_content(&self.data().join("terse.db-wal")),
            "a clean stop leaves no log"
        );
        backup
    }

    pub(crate) fn restore(&self, backup: &Path) {
        for name in ["terse.db-wal", "terse.db-shm"] {
            let _ = std::fs::remove_file(self.data().join(name));
        }
        std::fs::copy(backup, self.data().join("terse.db")).unwrap();
    }
}

fn exists_with_content(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.len() > 0)
}

pub(crate) fn client() -> Client {
    Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(10))
        .build()
        .unwrap()
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
