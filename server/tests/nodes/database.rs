//! A PostgreSQL database of a test's own, on the server that the tests were given.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};

use terse_core::model::{OsEntropy, random_bytes};

use crate::common::Node;

pub(crate) const SECRET: &str = "a secret of more than thirty-two bytes for tests alone";

/// `None` only when this run was told to do without PostgreSQL.
pub(crate) fn server() -> Option<String> {
    let server = std::env::var("TERSE_TEST_POSTGRES_URL").ok();
    assert!(
        server.is_some() || std::env::var_os("TERSE_TEST_SQLITE_ONLY").is_some(),
        "TERSE_TEST_POSTGRES_URL is not set: run the tests by scripts/test"
    );
    server
}

pub(crate) struct Database {
    server: String,
    pub(crate) name: String,
}

impl Database {
    pub(crate) fn new() -> Option<Self> {
        let server = server()?;
        let random: [u8; 16] = random_bytes(&OsEntropy);
        let database = Self {
            server,
            name: format!("terse_{:032x}", u128::from_le_bytes(random)),
        };
        database.administer(&[format!("CREATE DATABASE {}", database.name)]);
        Some(database)
    }

    pub(crate) fn url(&self) -> String {
        self.url_of(&self.name)
    }

    fn url_of(&self, name: &str) -> String {
        let (base, _) = self.server.rsplit_once('/').unwrap();
        format!("{base}/{name}")
    }

    /// A node that uses it.
    pub(crate) fn node(&self, settings: &[(&str, &str)]) -> Node {
        let mut node = Node::new(settings);
        node.set("TERSE_DATABASE_URL", &self.url());
        node.set("TERSE_JWT_SECRET", SECRET);
        node
    }

    /// Runs statements in the server's own database, one after the other.
    pub(crate) fn administer(&self, statements: &[String]) {
        for statement in statements {
            run(&self.server, statement);
        }
    }

    /// What this database answers.
    pub(crate) fn ask(&self, question: &str) -> String {
        run(&self.url(), question).trim().to_owned()
    }

    /// Every column and index of its tables.
    pub(crate) fn schema(&self) -> String {
        let mut psql = psql(&self.url());
        let output = psql.args([
            "-c",
            "SELECT table_name, column_name, data_type, is_nullable, column_default \
             FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2",
            "-c",
            "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
        ]);
        let output = output.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Puts `older` in the place of this database, while servers use it.
    pub(crate) fn replace_by(&self, older: &str) {
        let name = &self.name;
        self.administer(&[
            format!("ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false"),
            format!(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{name}'"
            ),
            format!("ALTER DATABASE {name} RENAME TO {name}_lost"),
            format!("ALTER DATABASE {older} RENAME TO {name}"),
        ]);
    }

    /// Holds every statement up that touches the tail, until this is dropped.
    pub(crate) fn hold(&self) -> Hold {
        let mut psql = psql(&self.url())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = psql.stdin.take().unwrap();
        input
            .write_all(b"BEGIN; LOCK TABLE tail IN ACCESS EXCLUSIVE MODE; SELECT 'held';\n")
            .unwrap();
        let mut lines = BufReader::new(psql.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("held")));
        Hold {
            psql,
            _input: input,
        }
    }
}

fn run(url: &str, statement: &str) -> String {
    let output = psql(url).args(["-c", statement]).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{statement}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn psql(url: &str) -> Command {
    let mut psql = Command::new("psql");
    psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", url]);
    psql
}

pub(crate) struct Hold {
    psql: Child,
    _input: ChildStdin,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let _ = self.psql.kill();
        let _ = self.psql.wait();
    }
}
