//! A real server in a directory of its own.

use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::{Duration, Instant};

use reqwest::blocking::{Client, RequestBuilder};
use reqwest::{Method, redirect};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::answer::Answer;
use crate::engine::Engine;

pub(crate) const EMAIL: &str = "admin@example.com";
pub(crate) const PASSWORD: &str = "correct horse battery";
pub(crate) const BROWSER: &str =
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

/// Far more than any of this takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// In place of a value: this setting of all tests does not apply.
pub(crate) const UNSET: &str = "(unset)";

/// In place of a setting: this test is about files that a server on SQLite alone has.
pub(crate) const ON_SQLITE: (&str, &str) = (ENGINE, "sqlite");

/// In place of a setting: this test is about what each node has for itself.
pub(crate) const ON_ONE_NODE: (&str, &str) = (ENGINE, "one node");

const ENGINE: &str = "(engine)";

/// In place of a setting's name: how many files the process may open.
pub(crate) const OPEN_FILES: &str = "(open files)";

pub(crate) struct Server {
    dir: Arc<TempDir>,
    settings: Vec<(String, String)>,
    process: Child,
    pub(crate) address: SocketAddr,
    /// The other node of a cluster.
    other: Option<Node>,
    token: OnceLock<String>,
}

/// Another process on the same database, with files of its own.
struct Node {
    process: Child,
    address: SocketAddr,
}

/// Where the other node of a cluster has its files.
const OTHER_DATA: &str = "data-of-the-other-node";
const OTHER_LOG: &str = "log-of-the-other-node";

fn engine(settings: &[(String, String)]) -> Engine {
    let told = settings.iter().find(|(name, _)| name == ENGINE);
    match (told.map(|(_, engine)| engine.as_str()), Engine::asked_for()) {
        (Some("sqlite"), _) => Engine::Sqlite,
        (Some(_), Engine::Cluster) => Engine::Postgres,
        (_, asked_for) => asked_for,
    }
}

/// A command of the server in `dir`, free of this process's own settings.
fn command(dir: &TempDir, settings: &[(String, String)]) -> Command {
    let server = env!("CARGO_BIN_EXE_terse-server");
    let open_files = settings.iter().find(|(name, _)| name == OPEN_FILES);
    let mut command = if let Some((_, limit)) = open_files {
        let mut shell = Command::new("sh");
        let script = format!("ulimit -n {limit} && exec \"$0\" \"$@\"");
        shell.args(["-c", &script, server]);
        shell
    } else {
        Command::new(server)
    };
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TERSE_") {
            command.env_remove(name);
        }
    }
    command
        .current_dir(dir.path())
        .env("TERSE_DATA_DIR", dir.path().join("data"))
        .env("TERSE_LISTEN", "127.0.0.1:0")
        .env("TERSE_PUBLIC_URL", "http://localhost")
        .env("TERSE_ADMIN_EMAIL", EMAIL)
        .env("TERSE_ADMIN_PASSWORD", PASSWORD)
        .envs(engine(settings).settings(dir.path()))
        .stdin(Stdio::null());
    for (name, value) in settings {
        if name == OPEN_FILES || name == ENGINE {
            continue;
        }
        if value == UNSET {
            command.env_remove(name);
        } else {
            command.env(name, value);
        }
    }
    command
}

fn owned(settings: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    settings.iter().map(owned).collect()
}

/// Runs a command of the server in an empty directory to its end.
pub(crate) fn run(arguments: &[&str], settings: &[(&str, &str)]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let mut command = command(&dir, &owned(settings));
    command.args(arguments).output().unwrap()
}

impl Server {
    /// A server that many tests share: no limits but that of unknown slugs, and it believes
    /// `X-Forwarded-For`, so that every [`Visitor`] has an address of its own.
    pub(crate) fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap();
        if let Some(server) = shared.upgrade() {
            return server;
        }
        let server = Arc::new(Self::start(&[("TERSE_TRUSTED_PROXIES", "127.0.0.0/8")]));
        *shared = Arc::downgrade(&server);
        server
    }

    /// A server with these settings beside those of all tests; without limits unless they say so.
    pub(crate) fn start(settings: &[(&str, &str)]) -> Self {
        let mut all = owned(&[
            ("TERSE_RATE_LIMIT_REDIRECT", "off"),
            ("TERSE_RATE_LIMIT_API", "off"),
            ("TERSE_RATE_LIMIT_AUTH", "off"),
        ]);
        all.extend(owned(settings));
        Self::start_in(Arc::new(tempfile::tempdir().unwrap()), all)
    }

    fn start_in(dir: Arc<TempDir>, settings: Vec<(String, String)>) -> Self {
        let node = Node::start(&dir, "log", &mut command(&dir, &settings));
        let other = (engine(&settings) == Engine::Cluster).then(|| {
            let mut command = command(&dir, &settings);
            command.env("TERSE_DATA_DIR", dir.path().join(OTHER_DATA));
            Node::start(&dir, OTHER_LOG, &mut command)
        });
        Self {
            dir,
            settings,
            process: node.process,
            address: node.address,
            other,
            token: OnceLock::new(),
        }
    }

    /// Starts again on the same data, once stopped.
    pub(crate) fn restarted(&self) -> Self {
        Self::start_in(Arc::clone(&self.dir), self.settings.clone())
    }

    pub(crate) fn log(&self) -> String {
        let bytes = std::fs::read(self.dir.path().join("log")).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The directory of each node.
    pub(crate) fn data_of_nodes(&self) -> Vec<PathBuf> {
        vec![self.data(), self.dir.path().join(OTHER_DATA)]
    }

    /// Files that the process has open.
    pub(crate) fn open_files(&self) -> usize {
        let path = format!("/proc/{}/fd", self.process.id());
        std::fs::read_dir(path).unwrap().count()
    }

    /// SIGTERM, once the server answers.
    pub(crate) fn terminate(&self) {
        self.visitor().get("/health/live").expect(200);
        self.terminate_at_once();
    }

    pub(crate) fn terminate_at_once(&self) {
        for process in self.processes() {
            kill_process(Pid::from_child(process), Signal::TERM).unwrap();
        }
    }

    fn processes(&self) -> impl Iterator<Item = &Child> {
        let other = self.other.iter().map(|other| &other.process);
        std::iter::once(&self.process).chain(other)
    }

    /// The exit code, once the process has ended by itself.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        if let Some(other) = &mut self.other {
            until("the other node ends", || other.process.try_wait().unwrap());
        }
        until("the server ends", || self.process.try_wait().unwrap()).code()
    }

    /// Runs another command on this server's data.
    pub(crate) fn beside(&self, arguments: &[&str]) -> Output {
        let mut command = command(&self.dir, &self.settings);
        command.args(arguments).output().unwrap()
    }

    /// Somebody with an address of their own; in a cluster, in turn at the one node and at the other.
    pub(crate) fn visitor(&self) -> Visitor {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let [_, _, high, low] = number.to_be_bytes();
        let other = self.other.as_ref().filter(|_| number.is_multiple_of(2));
        Visitor {
            client: client(),
            server: other.map_or(self.address, |other| other.address),
            address: format!("198.18.{high}.{low}"),
        }
    }

    pub(crate) fn sign_in(&self) -> Value {
        self.sign_in_as(EMAIL, PASSWORD)
    }

    pub(crate) fn sign_in_as(&self, username: &str, password: &str) -> Value {
        let form = [
            ("grant_type", "password"),
            ("username", username),
            ("password", password),
        ];
        self.token_request(&form).expect(200).json()
    }

    pub(crate) fn token_request(&self, form: &[(&str, &str)]) -> Answer {
        let request = self.visitor().request(Method::POST, "/api/v1/auth/token");
        request.form(form).send().unwrap().into()
    }

    pub(crate) fn token(&self) -> &str {
        self.token.get_or_init(|| {
            let granted = self.sign_in();
            granted["access_token"].as_str().unwrap().to_owned()
        })
    }

    /// A request to the API, as the administrator.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let path = format!("/api/v1{path}");
        let request = self.visitor().request(method, &path);
        request.bearer_auth(self.token())
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.request(Method::GET, path).send().unwrap().into()
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        let request = self.request(Method::POST, path).json(body);
        changed(request)
    }

    pub(crate) fn patch(&self, path: &str, body: &Value) -> Answer {
        let request = self.request(Method::PATCH, path).json(body);
        changed(request)
    }

    pub(crate) fn delete(&self, path: &str) -> Answer {
        changed(self.request(Method::DELETE, path))
    }

    /// Makes a link to `https://example.com/` with these members; returns it.
    #[track_caller]
    pub(crate) fn link(&self, slug: &str, members: &Value) -> Value {
        let mut body = json!({"target_url": "https://example.com/", "slug": slug});
        for (name, value) in members.as_object().unwrap() {
            body[name] = value.clone();
        }
        self.post("/links", &body).expect(201).json()
    }

    /// Changes a link.
    #[track_caller]
    pub(crate) fn change(&self, link: &Value, changes: &Value) -> Value {
        self.patch(&path_of(link), changes).expect(200).json()
    }

    /// The totals of one link, once every click is counted.
    pub(crate) fn totals(&self, link: &Value) -> [i64; 3] {
        let id = link["id"].as_str().unwrap();
        let path = format!("/analytics/summary?link_id={id}");
        // Each node knows of its own clicks what waits.
        let others = self.other.iter().map(|other| other.address);
        for node in others.chain([self.address]) {
            until("all clicks are counted", || {
                let url = format!("http://{node}/api/v1{path}");
                let summary = client().get(url).bearer_auth(self.token()).send();
                let summary = Answer::from(summary.unwrap()).expect(200).json();
                (summary["pending"] == 0).then_some(())
            });
        }
        let settled = self.get(&path).expect(200).json();
        ["clicks", "bots", "previews"].map(|kind| settled[kind].as_i64().unwrap())
    }
}

impl Node {
    /// Waits until it has said where it listens.
    fn start(dir: &TempDir, log: &str, command: &mut Command) -> Self {
        let log = dir.path().join(log);
        let told_before = std::fs::read_to_string(&log).unwrap_or_default().len();
        let file = File::options().create(true).append(true).open(&log);
        let mut process = command.stderr(file.unwrap()).spawn().unwrap();
        let address = until("the server tells its address", || {
            let said = std::fs::read_to_string(&log).unwrap();
            let has_ended = process.try_wait().unwrap().is_some();
            let found = address(&said[told_before..]);
            assert!(found.is_some() || !has_ended, "it ended: {said}");
            found
        });
        Self { process, address }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let other = self.other.iter_mut().map(|other| &mut other.process);
        for process in [&mut self.process].into_iter().chain(other) {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Sends what changes something.
pub(crate) fn changed(request: RequestBuilder) -> Answer {
    let answer = request.send().unwrap().into();
    Engine::asked_for().let_changes_be_heard();
    answer
}

/// Where the API has a link.
pub(crate) fn path_of(link: &Value) -> String {
    format!("/links/{}", link["id"].as_str().unwrap())
}

/// A visitor of short URLs, or a client that is not signed in.
pub(crate) struct Visitor {
    client: Client,
    server: SocketAddr,
    pub(crate) address: String,
}

impl Visitor {
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("http://{}{path}", self.server);
        let request = self.client.request(method, url);
        request
            .header("Host", "localhost")
            .header("User-Agent", BROWSER)
            .header("X-Forwarded-For", &self.address)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.request(Method::GET, path).send().unwrap().into()
    }

    pub(crate) fn get_with(&self, path: &str, name: &str, value: &str) -> Answer {
        let request = self.request(Method::GET, path);
        // Replaces what every visitor sends.
        let mut request = request.build().unwrap();
        let name: reqwest::header::HeaderName = name.parse().unwrap();
        request.headers_mut().insert(name, value.parse().unwrap());
        self.client.execute(request).unwrap().into()
    }
}

fn client() -> Client {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    let build = || {
        let builder = Client::builder().redirect(redirect::Policy::none());
        builder.no_proxy().timeout(PATIENCE).build().unwrap()
    };
    CLIENT.get_or_init(build).clone()
}

/// Where a log says that its server listens.
fn address(log: &str) -> Option<SocketAddr> {
    let line = log.lines().find(|line| line.contains("serving"))?;
    let rest = &line[line.find("127.0.0.1:")?..];
    let end = rest.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | ':'));
    rest[..end.unwrap_or(rest.len())].parse().ok()
}

/// Asks again and again until there is an answer.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
