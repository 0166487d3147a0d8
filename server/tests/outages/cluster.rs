//! A PostgreSQL of a test's own: killed, stopped, and put back as it was.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

pub(crate) struct Cluster {
    dir: TempDir,
    port: u16,
    programs: PathBuf,
    /// PostgreSQL refuses to run as root: another user owns its data then.
    owner: Option<(u32, u32)>,
    addresses: String,
    postmaster: Option<Child>,
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Waits until something is so, for a minute at most.
pub(crate) fn until(what: &str, done: impl FnMut() -> bool) {
    assert!(comes_true(Duration::from_mins(1), done), "{what}");
}

/// Whether something is so within this time.
pub(crate) fn comes_true(patience: Duration, mut done: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    while !done() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}

/// Where the newest PostgreSQL has its programs.
fn programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter();
    let versions = versions.flatten().flatten().map(|version| version.path());
    let dirs = versions.map(|version| version.join("bin"));
    let installed = dirs.filter(|dir| dir.join("initdb").exists());
    let number = |dir: &PathBuf| {
        let version = dir.parent()?.file_name()?.to_str()?;
        version.parse::<u32>().ok()
    };
    let newest = installed.max_by_key(number);
    newest.unwrap_or_else(|| {
        let path = std::env::var_os("PATH").unwrap();
        let mut dirs = std::env::split_paths(&path);
        let found = dirs.find(|dir| dir.join("initdb").exists());
        found.expect("PostgreSQL is not installed: run the tests by scripts/test")
    })
}

fn id(kind: &str, user: &str) -> Option<u32> {
    let output = Command::new("id").args([kind, user]).output().unwrap();
    String::from_utf8(output.stdout)
        .unwrap()
        .trim()
        .parse()
        .ok()
}

fn unprivileged() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = ["postgres", "nobody"].into_iter();
    let mut ids = users.filter_map(|user| Some((id("-u", user)?, id("-g", user)?)));
    Some(ids.next().unwrap())
}

impl Cluster {
    /// `None` only when this run was told to do without PostgreSQL.
    pub(crate) fn start() -> Option<Self> {
        Self::start_for(None)
    }

    /// It also listens at the first address, to the second.
    pub(crate) fn start_for(neighbour: Option<(Ipv4Addr, Ipv4Addr)>) -> Option<Self> {
        if std::env::var_os("TERSE_TEST_SQLITE_ONLY").is_some() {
            return None;
        }
        // Not below the target directory: its owner may be the only one who can look into that.
        let dir = tempfile::tempdir().unwrap();
        let mut cluster = Self {
            dir,
            port: free_port(),
            programs: programs(),
            owner: unprivileged(),
            addresses: "127.0.0.1".to_owned(),
            postmaster: None,
        };
        if let Some((user, group)) = cluster.owner {
            std::os::unix::fs::chown(cluster.dir.path(), Some(user), Some(group)).unwrap();
        }
        let data = cluster.data().display().to_string();
        let rest = ["-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"];
        cluster.run(
            "initdb",
            &[&["-D", &data, "-U", "terse"][..], &rest].concat(),
        );
        if let Some((here, neighbour)) = neighbour {
            cluster.addresses = format!("127.0.0.1,{here}");
            let trusted = format!("host all all {neighbour}/32 trust\n");
            let rules = File::options()
                .append(true)
                .open(cluster.data().join("pg_hba.conf"));
            rules.unwrap().write_all(trusted.as_bytes()).unwrap();
        }
        cluster.restart();
        Some(cluster)
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        if let Some((user, group)) = self.owner {
            command.uid(user).gid(group);
        }
        command.current_dir(self.dir.path()).stdin(Stdio::null());
        command
    }

    fn run(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.command(program).args(arguments).output().unwrap();
        assert!(output.status.success(), "{program}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Its database, as it is reached by this port: its own, or that of a proxy.
    pub(crate) fn url_by(port: u16) -> String {
        format!("postgres://terse@127.0.0.1:{port}/postgres")
    }

    /// Starts it, again if need be, and waits until it answers.
    pub(crate) fn restart(&mut self) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.dir.path().join("log"))
            .unwrap();
        let port = self.port.to_string();
        let mut command = self.command("postgres");
        command
            .arg("-D")
            .arg(self.data())
            .args(["-p", &port, "-k", self.dir.path().to_str().unwrap()])
            .args(["-c", &format!("listen_addresses={}", self.addresses)])
            .args(["-c", "max_connections=200", "-c", "shared_buffers=32MB"])
            .stdout(Stdio::null())
            .stderr(log);
        self.postmaster = Some(command.spawn().unwrap());
        until("PostgreSQL answers", || {
            let mut psql = self.psql("SELECT 1");
            psql.output().unwrap().status.success()
        });
    }

    fn psql(&self, statement: &str) -> Command {
        let mut psql = self.command("psql");
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]);
        psql.args(["-c", statement, &Self::url_by(self.port)]);
        psql
    }

    /// What a statement answers.
    pub(crate) fn ask(&self, statement: &str) -> String {
        let output = self.psql(statement).output().unwrap();
        assert!(output.status.success(), "{statement}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Holds every statement up that touches a table, until this is dropped.
    pub(crate) fn hold(&self, table: &str) -> Hold {
        let lock = format!("BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE; SELECT 'held';\n");
        let mut psql = self.command("psql");
        psql.args(["-X", "-q", "-A", "-t", &Self::url_by(self.port)]);
        psql.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut psql = psql.spawn().unwrap();
        psql.stdin
            .as_mut()
            .unwrap()
            .write_all(lock.as_bytes())
            .unwrap();
        let mut lines = BufReader::new(psql.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("held")));
        Hold { psql }
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    /// Each connection has a process of its own.
    fn backends(&self) -> Vec<Pid> {
        let postmaster = self.postmaster.as_ref().unwrap().id();
        let path = format!("/proc/{postmaster}/task/{postmaster}/children");
        let children = std::fs::read_to_string(path).unwrap();
        let children = children.split_whitespace();
        let children = children.map(|pid| pid.parse().unwrap());
        children.map(|pid| Pid::from_raw(pid).unwrap()).collect()
    }

    /// Whoever ended meanwhile needs no signal.
    fn signal(&self, signal: Signal) -> Vec<Pid> {
        let postmaster = Pid::from_child(self.postmaster.as_ref().unwrap());
        let before = self.backends();
        kill_process(postmaster, signal).unwrap();
        let since = if signal == Signal::KILL {
            Vec::new()
        } else {
            self.backends()
        };
        let all: Vec<Pid> = before.into_iter().chain(since).collect();
        for pid in &all {
            let _ = kill_process(*pid, signal);
        }
        all
    }

    /// `kill -9` of all its processes.
    pub(crate) fn kill(&mut self) {
        let backends = self.signal(Signal::KILL);
        self.postmaster.take().unwrap().wait().unwrap();
        until("all of it is gone", || {
            backends.iter().all(|pid| is_gone(*pid))
        });
    }

    /// It keeps its connections, and says nothing any more.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// A copy of all its data, as it is now.
    pub(crate) fn copy(&self) -> PathBuf {
        let copy = self.dir.path().join("copy");
        let text = copy.display().to_string();
        let url = Self::url_by(self.port);
        self.run(
            "pg_basebackup",
            &["-D", &text, "-d", &url, "-c", "fast", "--no-sync"],
        );
        copy
    }

    /// Goes on with the data that such a copy holds. It must not run.
    pub(crate) fn replace_by(&mut self, copy: &Path) {
        std::fs::remove_dir_all(self.data()).unwrap();
        std::fs::rename(copy, self.data()).unwrap();
        self.restart();
    }
}

pub(crate) struct Hold {
    psql: Child,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let _ = self.psql.kill();
        let _ = self.psql.wait();
    }
}

fn is_gone(pid: Pid) -> bool {
    let path = format!("/proc/{}/stat", pid.as_raw_nonzero());
    // Nobody may collect the dead in a container.
    std::fs::read_to_string(path).map_or(true, |stat| stat.contains(") Z "))
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.postmaster.is_some() {
            self.kill();
        }
    }
}
