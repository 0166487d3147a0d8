//! Databases to measure on, made and asked by PostgreSQL's own command `psql`: SQL from a program lives in
//! the core alone.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};

/// The server that `TERSE_TEST_POSTGRES_URL` names, when there is one.
pub fn server() -> Option<String> {
    std::env::var("TERSE_TEST_POSTGRES_URL").ok()
}

/// The Redis that `TERSE_TEST_REDIS_URL` names, when there is one.
pub fn redis() -> Option<String> {
    std::env::var("TERSE_TEST_REDIS_URL").ok()
}

/// An empty database of its own on a server, which goes with it.
#[derive(Debug)]
pub struct Database {
    server: String,
    name: String,
}

impl Database {
    /// Makes a database; whoever `server` names may do so.
    pub fn create(server: &str) -> Result<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("terse_bench_{}_{number}", std::process::id());
        ask(server, &format!("CREATE DATABASE {name}"))?;
        Ok(Self {
            server: server.to_owned(),
            name,
        })
    }

    /// Where it is.
    pub fn url(&self) -> String {
        of_name(&self.server, &self.name)
    }

    /// Deadlocks that the server broke in it so far. Backends that still run tell it a second late.
    pub fn deadlocks(&self) -> Result<u64> {
        let name = &self.name;
        let sql = format!("SELECT deadlocks FROM pg_stat_database WHERE datname = '{name}'");
        let said = ask(&self.server, &sql)?;
        said.parse().with_context(|| format!("psql said {said:?}"))
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // What stays behind has a name that says whose it was.
        let _ = ask(
            &self.server,
            &format!("DROP DATABASE {} WITH (FORCE)", self.name),
        );
    }
}

fn of_name(server: &str, name: &str) -> String {
    let (address, options) = server.split_once('?').unwrap_or((server, ""));
    let authority = address.find("://").map_or(0, |at| at + 3);
    let end = address[authority..]
        .find('/')
        .map_or(address.len(), |at| authority + at);
    let question = if options.is_empty() { "" } else { "?" };
    format!("{}/{name}{question}{options}", &address[..end])
}

fn ask(url: &str, sql: &str) -> Result<String> {
    let output = Command::new("psql")
        .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"])
        .args([
            "--set",
            "ON_ERROR_STOP=1",
            "--command",
            sql,
            "--dbname",
            url,
        ])
        .stdin(Stdio::null())
        .output()
        .context("running psql, PostgreSQL's command")?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "psql: {}", complaint.trim());
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_databases_url_keeps_the_servers_address_and_options() {
        let url = |server| of_name(server, "own");
        assert_eq!(
            url("postgres://me@host:5432/any"),
            "postgres://me@host:5432/own"
        );
        assert_eq!(url("postgres://me@host"), "postgres://me@host/own");
        assert_eq!(
            url("postgres://me@host/any?host=/run/pg"),
            "postgres://me@host/own?host=/run/pg"
        );
    }
}
