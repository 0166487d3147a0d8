//! The real `terse-server`, as a process on its own data.

use std::ffi::OsString;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::agents::human_agents;
use crate::load::{Load, OnBreak, Pace};
use crate::traffic::{Posts, Visits};
use crate::{http, machine};

const EMAIL: &str = "bench@example.com";
const PASSWORD: &str = "a-password-for-benches-only";
const START: Duration = Duration::from_mins(1);
const STOP: Duration = Duration::from_secs(30);

/// How the server runs.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `process` when empty.
    pub durability: &'static str,
    /// Cores to stay on; anywhere when empty.
    pub cores: Vec<usize>,
    /// Words before the server's path: an instrument.
    pub instrument: Vec<OsString>,
    /// Settings beside the bench's own, by the names of their variables: another database.
    pub settings: Vec<(&'static str, String)>,
}

/// A running server with its own data directory, which goes with it.
#[derive(Debug)]
pub struct TerseServer {
    options: Options,
    child: Child,
    port: u16,
    home: TempDir,
    program: PathBuf,
    first_answer: Duration,
}

/// The path of `terse-server`: what `SERVER_PROGRAM` names, or else built in release mode where it
/// is missing or older than its source.
pub fn built() -> Result<PathBuf> {
    if let Some(program) = std::env::var_os("SERVER_PROGRAM") {
        return fs::canonicalize(program).context("SERVER_PROGRAM");
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let target = target_dir()?;
    let status = Command::new(cargo)
        .args(["build", "--release", "--package", "terse-server"])
        .arg("--target-dir")
        .arg(&target)
        .status()
        .context("running cargo")?;
    ensure!(status.success(), "terse-server could not be built");
    let program = target.join("release/terse-server");
    ensure!(program.is_file(), "{} is missing", program.display());
    Ok(program)
}

/// The build's own directory: on a disk, unlike perhaps `/tmp`.
pub fn target_dir() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    program
        .ancestors()
        .find(|dir| dir.join("CACHEDIR.TAG").is_file())
        .map(Path::to_path_buf)
        .context("this program does not lie in cargo's target directory")
}

impl TerseServer {
    /// Starts `program` on an empty data directory and waits until it is ready.
    pub fn start(program: &Path, options: Options) -> Result<Self> {
        let home = tempfile::Builder::new()
            .prefix("bench-")
            .tempdir_in(target_dir()?)?;
        let port = free_port()?;
        let (child, first_answer) = launch(program, &options, port, home.path())?;
        Ok(Self {
            options,
            child,
            port,
            home,
            program: program.to_path_buf(),
            first_answer,
        })
    }

    /// From the start of the process to its first answer.
    pub fn first_answer(&self) -> Duration {
        self.first_answer
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Stops the server and starts it again on the same data.
    pub fn restart(&mut self) -> Result<()> {
        let status = self.terminate()?;
        ensure!(status.success(), "the server ended with {status}");
        (self.child, self.first_answer) =
            launch(&self.program, &self.options, self.port, self.home.path())?;
        Ok(())
    }

    /// Creates `count` links through the API; visits of them by people's browsers.
    pub fn create_links(&self, count: usize) -> Result<Visits> {
        const THREADS: usize = 2;
        let token = self.sign_in()?;
        let posts: Vec<Posts> = (0..THREADS)
            .map(|thread| {
                let bodies = (thread..count).step_by(THREADS).map(|number| {
                    format!(
                        r#"{{"target_url":"https://example.com/articles/2026/11/{number}-a-page-that-somebody-shared","slug":"{}"}}"#,
                        slug(number)
                    )
                });
                Posts::new("localhost", "/api/v1/links", &token, bodies)
            })
            .filter(|posts| !posts.is_empty())
            .collect();
        for share in posts {
            let load = Load {
                address: self.address(),
                connections: 16,
                pace: Pace::Requests(share.len() as u64),
                on_break: OnBreak::Fail,
                cores: Vec::new(),
            };
            let wanted = share.len() as u64;
            let (outcome, _) = load.run(vec![share])?;
            ensure!(
                outcome.by_class[2] == wanted,
                "links were refused: answers by class {:?}",
                outcome.by_class
            );
        }
        let paths: Vec<String> = (0..count)
            .map(|number| format!("/{}", slug(number)))
            .collect();
        Ok(Visits::new("localhost", &paths, &human_agents(), 1))
    }

    /// Clicks that the spool has and the database has not.
    pub fn pending(&self) -> Result<u64> {
        let page = http::get(self.address(), "/metrics", "")?;
        let value = page
            .body
            .lines()
            .find_map(|line| line.strip_prefix("terse_spool_pending "))
            .context("/metrics does not show terse_spool_pending")?;
        Ok(value.trim().parse()?)
    }

    /// Waits until every click is in the database; how long that took.
    pub fn wait_until_folded(&self, patience: Duration) -> Result<Duration> {
        // Asking is work for the server too: seldom, where that is counted.
        let every = if self.options.instrument.is_empty() {
            Duration::from_millis(20)
        } else {
            Duration::from_secs(1)
        };
        let start = Instant::now();
        loop {
            let pending = self.pending()?;
            if pending == 0 {
                return Ok(start.elapsed());
            }
            ensure!(
                start.elapsed() < patience,
                "{pending} clicks are not folded after {patience:?}"
            );
            thread::sleep(every);
        }
    }

    /// Clicks of every kind in the database, as the API tells.
    pub fn counted(&self) -> Result<u64> {
        let token = self.sign_in()?;
        let path = "/api/v1/analytics/summary?include=bots,previews";
        let summary = http::get(self.address(), path, &token)?.json()?;
        summary["clicks"].as_u64().context("a summary's clicks")
    }

    /// Asks the server to stop, and waits until it has.
    pub fn stop(mut self) -> Result<()> {
        let status = self.terminate()?;
        ensure!(status.success(), "the server ended with {status}");
        Ok(())
    }

    fn terminate(&mut self) -> Result<ExitStatus> {
        machine::terminate(&self.child)?;
        let start = Instant::now();
        while start.elapsed() < STOP {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(5));
        }
        bail!("the server did not stop within {STOP:?}")
    }

    /// Signs the administrator in: an access token.
    pub fn sign_in(&self) -> Result<String> {
        let form = format!("grant_type=password&username={EMAIL}&password={PASSWORD}");
        let answer = http::post_form(self.address(), "/api/v1/auth/token", &form)?.json()?;
        let token = answer["access_token"].as_str().context("no access token")?;
        Ok(token.to_owned())
    }
}

impl Drop for TerseServer {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn slug(number: usize) -> String {
    format!("page-{number:05}")
}

/// A port that was free a moment ago.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn launch(program: &Path, options: &Options, port: u16, home: &Path) -> Result<(Child, Duration)> {
    let mut command = command(program, options);
    let log = home.join("server.log");
    let output = fs::File::options().create(true).append(true).open(&log)?;
    command
        .current_dir(home)
        .env("TERSE_LISTEN", format!("127.0.0.1:{port}"))
        .env("TERSE_PUBLIC_URL", format!("http://localhost:{port}"))
        .env("TERSE_DATA_DIR", home.join("data"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(output);
    let start = Instant::now();
    let mut child =
        machine::on_cores(&options.cores, || command.spawn())?.context("starting terse-server")?;
    let slow = !options.instrument.is_empty();
    let patience = if slow { START * 5 } else { START };
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    while start.elapsed() < patience {
        if http::get(address, "/health/ready", "").is_ok_and(|answer| answer.status == 200) {
            return Ok((child, start.elapsed()));
        }
        if let Some(status) = child.try_wait()? {
            let said = fs::read_to_string(&log)?;
            bail!("terse-server ended with {status}: {said}");
        }
        thread::sleep(Duration::from_millis(1));
    }
    child.kill()?;
    bail!("terse-server was not ready within {patience:?}")
}

fn command(program: &Path, options: &Options) -> Command {
    let mut words = options.instrument.iter();
    let mut command = match words.next() {
        None => Command::new(program),
        Some(first) => {
            let mut command = Command::new(first);
            command.args(words).arg(program);
            command
        }
    };
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TERSE_") {
            command.env_remove(name);
        }
    }
    let durability = if options.durability.is_empty() {
        "process"
    } else {
        options.durability
    };
    command
        .env("TERSE_ADMIN_EMAIL", EMAIL)
        .env("TERSE_ADMIN_PASSWORD", PASSWORD)
        .env("TERSE_CLICK_DURABILITY", durability)
        // The limiter is part of what is measured; its limit is out of reach.
        .env("TERSE_RATE_LIMIT_REDIRECT", "10000000/s")
        .env("TERSE_RATE_LIMIT_API", "off")
        .env("TERSE_RATE_LIMIT_AUTH", "off")
        .env("TERSE_LOG", "warn")
        .envs(options.settings.iter().cloned());
    command
}
