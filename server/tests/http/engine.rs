//! What the servers under test stand on: `TERSE_TEST_ENGINE` is `sqlite` (also when it is not set),
//! `postgres`, or `cluster` for two nodes on one PostgreSQL and one Redis.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// All nodes read each other's tokens.
const JWT_SECRET: &str = "0123456789abcdef0123456789abcdef-of-all-nodes";

/// A tenth of the time within which a change on one node is in force on the other.
const HEARD: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    Sqlite,
    Postgres,
    Cluster,
}

impl Engine {
    pub(crate) fn asked_for() -> Self {
        match std::env::var("TERSE_TEST_ENGINE").as_deref() {
            Err(_) | Ok("sqlite") => Self::Sqlite,
            Ok("postgres") => Self::Postgres,
            Ok("cluster") => Self::Cluster,
            Ok(other) => panic!("TERSE_TEST_ENGINE is {other}"),
        }
    }

    /// After a change: the next request may go to the other node.
    pub(crate) fn let_changes_be_heard(self) {
        if self == Self::Cluster {
            std::thread::sleep(HEARD);
        }
    }

    /// The settings of a server whose files are in this directory; its database is made when it has none.
    pub(crate) fn settings(self, dir: &Path) -> Vec<(&'static str, String)> {
        if self == Self::Sqlite {
            return Vec::new();
        }
        let mut settings = vec![
            ("TERSE_DATABASE_URL", database_of(dir)),
            ("TERSE_JWT_SECRET", JWT_SECRET.to_owned()),
        ];
        if self == Self::Cluster {
            settings.push(("TERSE_REDIS_URL", service("TERSE_TEST_REDIS_URL")));
        }
        settings
    }
}

fn service(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: run the tests by scripts/test"))
}

/// A database of PostgreSQL that goes by the directory's name.
fn database_of(dir: &Path) -> String {
    let server = service("TERSE_TEST_POSTGRES_URL");
    let name = dir.file_name().unwrap().to_string_lossy();
    let name = format!("http_{}", name.trim_start_matches('.').to_lowercase());
    let made = dir.join("database-is-made");
    if !made.exists() {
        let statement = format!("CREATE DATABASE \"{name}\"");
        let status = Command::new("psql")
            .args([&server, "-qc", &statement])
            .status();
        assert!(status.unwrap().success(), "{statement}");
        std::fs::write(made, "").unwrap();
    }
    let (base, _) = server.rsplit_once('/').unwrap();
    format!("{base}/{name}")
}
