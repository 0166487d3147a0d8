//! A database that takes a statement and does not come back with its result. Only PostgreSQL can be
//! held up table by table.

use std::time::{Duration, Instant};

use secrecy::ExposeSecret as _;
use sqlx::{Connection as _, Executor as _, PgConnection};
use terse_core::model::NewLink;
use terse_core::{DatabaseUrl, Resolution, ResolveError, Terse};

use crate::fixture::{HOST, Installation, builder, person};

/// Holds every statement up that touches this table, until the connection is dropped.
async fn hold(t: &Installation, table: &'static str) -> PgConnection {
    let DatabaseUrl::Postgres(url) = &t.database else {
        panic!("not on PostgreSQL");
    };
    let mut connection = PgConnection::connect(url.expose_secret()).await.unwrap();
    connection.execute("BEGIN").await.unwrap();
    let lock = format!("LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE");
    connection.execute(sqlx::AssertSqlSafe(lock)).await.unwrap();
    connection
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graceful_stop_writes_unrecorded_clicks_down_although_the_rest_cannot_be_folded() {
    let Some(mut t) = Installation::on_postgres().await else {
        return;
    };
    t.link("launch").await;
    t.terse.close().await;
    // One click fills it.
    let tiny = builder(&t.dir, &t.database, &t.clock).spool_max_bytes(1);
    t.terse = tiny.open().await.unwrap();
    let clicks = hold(&t, "tail").await;
    let visit = async || t.terse.resolve(HOST, "/launch", &person()).await.unwrap();
    while t.terse.status().unrecorded == 0 {
        assert!(matches!(visit().await, Resolution::Redirect(_)));
    }
    let unrecorded = i64::try_from(t.terse.status().unrecorded).unwrap();
    t.terse.close().await;
    clicks.close().await.unwrap();
    let tools = Terse::builder().database(t.database.clone());
    let report = tools.tools().await.unwrap().verify().await.unwrap();
    assert_eq!(report.unrecorded, unrecorded);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_waits_for_a_silent_database_for_three_seconds_and_not_for_its_own_limits() {
    let Some(t) = Installation::on_postgres().await else {
        return;
    };
    let few = NewLink {
        max_clicks: Some(5),
        ..NewLink::to("https://example.com/").alias("few")
    };
    t.create(few).await;
    for (table, path) in [("tail", "/few"), ("links", "/unknown")] {
        let held = hold(&t, table).await;
        let begun = Instant::now();
        let answer = t.terse.resolve(HOST, path, &person()).await;
        let waited = begun.elapsed();
        assert_eq!(answer, Err(ResolveError::Unavailable), "{path}");
        assert!(waited < Duration::from_millis(4_500), "{path}: {waited:?}");
        held.close().await.unwrap();
    }
}
