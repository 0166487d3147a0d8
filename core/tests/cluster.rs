//! The example of two nodes runs, shares what it should, and counts.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::Command;

use sqlx::{Connection as _, Executor as _};
use terse_core::model::{OsEntropy, random_bytes};

async fn fresh_database() -> Option<String> {
    let Ok(server) = std::env::var("TERSE_TEST_POSTGRES_URL") else {
        assert!(
            std::env::var_os("TERSE_TEST_SQLITE_ONLY").is_some(),
            "TERSE_TEST_POSTGRES_URL is not set: run the tests by scripts/test"
        );
        return None;
    };
    let random: [u8; 16] = random_bytes(&OsEntropy);
    let name = format!("terse_{:032x}", u128::from_le_bytes(random));
    let mut connection = sqlx::PgConnection::connect(&server).await.unwrap();
    let create = format!("CREATE DATABASE {name}");
    connection
        .execute(sqlx::AssertSqlSafe(create))
        .await
        .unwrap();
    connection.close().await.unwrap();
    let (base, _) = server.rsplit_once('/').unwrap();
    Some(format!("{base}/{name}"))
}

#[tokio::test]
async fn the_example_of_two_nodes_shares_links_limits_and_figures() {
    let Some(url) = fresh_database().await else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let example = Command::new(cargo)
        .args([
            "run",
            "-q",
            "-p",
            "terse-core",
            "--example",
            "cluster",
            "--",
        ])
        .arg(dir.path())
        .env("DATABASE_URL", url)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&example.stderr);
    assert!(example.status.success(), "{errors}");
    assert_eq!(
        String::from_utf8_lossy(&example.stdout),
        "the limited link was followed 3 times\nnode two knows of 5 clicks\nconsistent: true\n"
    );
}
