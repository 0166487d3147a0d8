use std::time::Duration;

use terse_core::analytics::{AnalyticsQuery, Filter, RecordedClick};
use terse_core::classify::RequestFacts;
use terse_core::model::{Dimension, Fact, LinkId, Timestamp};
use terse_core::{Sealing, Terse, Tools, VerifyReport};

use crate::fixture::{HOST, Installation, SMALL, all, builder, on_both_databases, person_at};

on_both_databases![
    a_changed_byte_of_any_column_is_found_where_it_is,
    a_column_that_is_missing_is_found,
    whatever_else_is_changed_about_chunks_is_found,
    a_chunk_that_is_missing_is_found_by_the_counters,
    damage_of_the_tail_is_found,
    counters_that_are_off_and_a_tail_that_is_missing_are_found,
    clicks_go_down_into_rows_and_up_again_with_the_same_figures,
    chunks_of_a_release_that_kept_fewer_columns_answer_everything,
];

/// Clicks of two days in chunks, and some in the tail.
async fn with_chunks_and_tail(t: Installation) -> (Installation, LinkId) {
    let t = t.sealing(SMALL).await;
    let link = t.link("launch").await;
    t.link("other").await;
    for day in 0..3 {
        for visitor in 0..25 {
            let query = format!("utm_content={day}-{visitor}");
            let facts = RequestFacts {
                query: Some(&query),
                user_agent: if visitor % 5 == 0 {
                    b"curl/8"
                } else {
                    person_at(1).user_agent
                },
                ..person_at(visitor)
            };
            let path = if visitor % 3 == 0 {
                "/other"
            } else {
                "/launch"
            };
            t.terse.resolve(HOST, path, &facts).await.unwrap();
        }
        t.folded().await;
        sealed(&t, day + 1).await;
        t.clock.advance(Duration::from_hours(24));
    }
    // Too few to be sealed.
    for visitor in 0..3 {
        t.terse
            .resolve(HOST, "/launch", &person_at(visitor))
            .await
            .unwrap();
    }
    t.folded().await;
    (t, link.id)
}

/// Waits until this many days have chunks.
async fn sealed(t: &Installation, days: u8) {
    let days_of_chunks = "SELECT COUNT(DISTINCT day) FROM chunks";
    let waited = tokio::time::timeout(Duration::from_secs(20), async {
        while t.number(days_of_chunks).await < i64::from(days) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.expect("clicks are sealed within 20 s");
}

async fn tools(t: &Installation) -> Tools {
    let tools = Terse::builder().database(t.database.clone());
    tools.tools().await.unwrap()
}

const FIRST_CHUNK: &str = "SELECT MIN(id) FROM chunks WHERE replaced_at IS NULL";
const COLUMNS_OF_FIRST_CHUNK: &str = "SELECT COUNT(*) FROM chunk_columns WHERE id / 64 = \
     (SELECT MIN(id) FROM chunks WHERE replaced_at IS NULL)";

/// What `verify` finds is that one chunk, in these words.
#[track_caller]
fn assert_chunk(report: &VerifyReport, chunk: i64, words: &str, done: &str) {
    assert!(!report.is_consistent(), "{done}");
    let [damage] = &report.damaged[..] else {
        panic!("{done}: {report:?}");
    };
    assert_eq!(damage.chunk, Some(chunk), "{done}: {damage:?}");
    assert!(damage.what.contains(words), "{done}: {damage:?}");
}

async fn assert_sound(tools: &Tools, done: &str) {
    let report = tools.verify().await.unwrap();
    assert!(report.is_consistent(), "{done}: {report:?}");
    assert!(report.chunks >= 2, "{report:?}");
}

async fn a_changed_byte_of_any_column_is_found_where_it_is(t: Installation) {
    let (t, _) = with_chunks_and_tail(t).await;
    t.terse.close().await;
    let tools = tools(&t).await;
    assert_sound(&tools, "nothing").await;
    let chunk = t.number(FIRST_CHUNK).await;
    let mut columns = 0;
    for id in chunk * 64..(chunk + 1) * 64 {
        let column = format!("FROM chunk_columns WHERE id = {id}");
        let found = format!(
            "SELECT CAST(CAST(COUNT(*) AS TEXT) AS {}) {column}",
            blob(&t)
        );
        if t.bytes(found).await == b"0" {
            continue;
        }
        columns += 1;
        for part in ["counts", "data"] {
            let stored = t.bytes(format!("SELECT {part} {column}")).await;
            let update = format!("UPDATE chunk_columns SET {part} = $1 WHERE id = {id}");
            for place in [0, stored.len() / 2, stored.len() - 1] {
                let mut changed = stored.clone();
                changed[place] ^= 4;
                t.sql_with(update.clone(), Some(&changed)).await;
                let report = tools.verify().await.unwrap();
                assert_chunk(&report, chunk, "a checksum differs", &update);
            }
            t.sql_with(update, Some(&stored)).await;
        }
    }
    assert!(columns > 20, "{columns}");
    assert_sound(&tools, "put back").await;
}

async fn a_column_that_is_missing_is_found(t: Installation) {
    let (t, _) = with_chunks_and_tail(t).await;
    t.terse.close().await;
    let tools = tools(&t).await;
    let chunk = t.number(FIRST_CHUNK).await;
    let missing = |id: i64| format!("UPDATE chunk_columns SET id = -id WHERE id = {id}");
    let mut columns = 0;
    for id in chunk * 64..(chunk + 1) * 64 {
        t.sql_with(missing(id), None).await;
        let report = tools.verify().await.unwrap();
        if !report.is_consistent() {
            columns += 1;
            assert_chunk(&report, chunk, "", &missing(id));
        }
        t.sql_with(missing(-id), None).await;
    }
    assert_eq!(columns, t.number(COLUMNS_OF_FIRST_CHUNK).await);
    assert_sound(&tools, "put back").await;
}

/// The type of bytes.
fn blob(t: &Installation) -> &'static str {
    match &t.database {
        terse_core::DatabaseUrl::Sqlite(_) => "BLOB",
        terse_core::DatabaseUrl::Postgres(_) => "BYTEA",
    }
}

async fn whatever_else_is_changed_about_chunks_is_found(t: Installation) {
    let (t, _) = with_chunks_and_tail(t).await;
    t.terse.close().await;
    let tools = tools(&t).await;
    let chunk = t
        .number("SELECT MIN(id) FROM chunks WHERE replaced_at IS NULL")
        .await;
    for (head, words) in [
        ("humans", "its kinds"),
        ("bots", "its kinds"),
        ("previews", "its kinds"),
        ("row_count", "its kinds are not as many as its rows"),
        ("first_at", "its times"),
        ("last_at", "its times"),
        ("day", "another day"),
    ] {
        let by =
            |sign: &str| format!("UPDATE chunks SET {head} = {head} {sign} 1 WHERE id = {chunk}");
        t.sql_with(by("+"), None).await;
        assert_chunk(&tools.verify().await.unwrap(), chunk, words, head);
        t.sql_with(by("-"), None).await;
    }
    for (both, words) in [
        ("humans = humans {+} 1, bots = bots {-} 1", "its kinds"),
        ("humans = humans {+} 1, row_count = row_count {+} 1", ""),
    ] {
        let other = |sign: &str, opposite: &str| {
            let set = both.replace("{+}", sign).replace("{-}", opposite);
            format!("UPDATE chunks SET {set} WHERE id = {chunk}")
        };
        t.sql_with(other("+", "-"), None).await;
        assert_chunk(&tools.verify().await.unwrap(), chunk, words, both);
        t.sql_with(other("-", "+"), None).await;
    }
    assert_sound(&tools, "put back").await;
}

async fn a_chunk_that_is_missing_is_found_by_the_counters(t: Installation) {
    let (t, launch) = with_chunks_and_tail(t).await;
    t.terse.close().await;
    let tools = tools(&t).await;
    let chunk = t.number(FIRST_CHUNK).await;
    t.sql_with(format!("DELETE FROM chunks WHERE id = {chunk}"), None)
        .await;
    let report = tools.verify().await.unwrap();
    assert!(!report.is_consistent());
    assert_eq!(
        (report.damaged.len(), report.differences.len()),
        (0, 2),
        "{report:?}"
    );
    assert!(
        report
            .differences
            .iter()
            .any(|difference| difference.link == launch)
    );
    assert!(
        report
            .differences
            .iter()
            .all(|difference| difference.rows < difference.counters)
    );
}

/// What `verify` finds is the one parcel, in these words.
async fn assert_parcel(t: &Installation, tools: &Tools, words: &str, done: &str) {
    let report = tools.verify().await.unwrap();
    let [damage] = &report.damaged[..] else {
        panic!("{done}: {report:?}");
    };
    assert_eq!(
        (damage.chunk, damage.workspace),
        (None, t.workspace),
        "{done}"
    );
    assert!(damage.what.contains("parcel"), "{done}: {damage:?}");
    assert!(damage.what.contains(words), "{done}: {damage:?}");
}

async fn damage_of_the_tail_is_found(t: Installation) {
    let (t, _) = with_chunks_and_tail(t).await;
    t.terse.close().await;
    let tools = tools(&t).await;
    // One parcel of perhaps several.
    let seq = t.number("SELECT MIN(seq) FROM tail").await;
    let clicks = "SELECT click_count FROM tail ORDER BY seq LIMIT 1";
    let clicks = t.number(clicks).await;
    let update = format!("UPDATE tail SET records = $1 WHERE seq = {seq}");
    let records = t
        .bytes(format!("SELECT records FROM tail WHERE seq = {seq}"))
        .await;
    for place in 0..records.len() {
        let mut changed = records.clone();
        changed[place] ^= 1;
        t.sql_with(update.clone(), Some(&changed)).await;
        assert_parcel(&t, &tools, "a checksum differs", "a byte").await;
    }
    t.sql_with(update, Some(&records)).await;
    let too_many = format!(
        "it holds {clicks} clicks and should hold {}",
        clicks + 1_000
    );
    for (head, words) in [
        ("click_count", too_many.as_str()),
        ("first_at", "its times"),
        ("last_at", "its times"),
        ("seq", "its key"),
        ("stream", "its key"),
    ] {
        let moved = if head == "seq" { seq + 1_000 } else { seq };
        let change = |sign: &str, seq: i64| {
            format!("UPDATE tail SET {head} = {head} {sign} 1000 WHERE seq = {seq}")
        };
        t.sql_with(change("+", seq), None).await;
        assert_parcel(&t, &tools, words, head).await;
        t.sql_with(change("-", moved), None).await;
    }
    assert_sound(&tools, "put back").await;
}

async fn counters_that_are_off_and_a_tail_that_is_missing_are_found(t: Installation) {
    let (t, launch) = with_chunks_and_tail(t).await;
    t.terse.close().await;
    let tools = tools(&t).await;
    for (slot, kind) in ["humans", "bots", "previews"].into_iter().enumerate() {
        t.sql_with(
            format!("UPDATE link_counters SET {kind} = {kind} + 1"),
            None,
        )
        .await;
        let report = tools.verify().await.unwrap();
        assert!(report.damaged.is_empty() && !report.is_consistent());
        assert_eq!(report.differences.len(), 2);
        for difference in &report.differences {
            assert_eq!(
                difference.rows[slot] + 1,
                difference.counters[slot],
                "{kind}"
            );
        }
        t.sql_with(
            format!("UPDATE link_counters SET {kind} = {kind} - 1"),
            None,
        )
        .await;
    }
    assert_sound(&tools, "put back").await;
    t.sql("DELETE FROM tail").await;
    let report = tools.verify().await.unwrap();
    let [difference] = &report.differences[..] else {
        panic!("{report:?}");
    };
    assert_eq!(difference.link, launch);
    assert_eq!(difference.rows[0] + 3, difference.counters[0]);
}

/// All clicks and some figures.
async fn figures(t: &Installation) -> (Vec<RecordedClick>, String) {
    let analytics = t.terse.analytics();
    let query = || AnalyticsQuery {
        include: Some("bots,previews".to_owned()),
        ..all()
    };
    let as_of = Timestamp::MIN;
    let summary = analytics
        .summary(&t.workspace, query(), None)
        .await
        .unwrap();
    let summary = terse_core::analytics::Summary { as_of, ..summary };
    let rows = analytics.breakdown(&t.workspace, query(), "utm_content", Some(100));
    let days = analytics.timeseries(&t.workspace, AnalyticsQuery::default(), "day");
    let (rows, days) = (rows.await.unwrap().rows, days.await.unwrap().points);
    (t.clicks().await, format!("{summary:?} {rows:?} {days:?}"))
}

async fn clicks_go_down_into_rows_and_up_again_with_the_same_figures(t: Installation) {
    let (mut t, _) = with_chunks_and_tail(t).await;
    let before = figures(&t).await;
    assert_eq!(before.0.len(), 63);
    t.terse.close().await;
    let tools = tools(&t).await;
    tools.migrate_down(20_260_101_000_002).await.unwrap();
    assert_eq!(t.number("SELECT COUNT(*) FROM clicks").await, 78);
    tools.migrate_up().await.unwrap();
    assert_eq!(t.number("SELECT COUNT(*) FROM clicks").await, 0);
    assert_eq!(t.number("SELECT COUNT(*) FROM chunks").await, 0);
    let report = tools.verify().await.unwrap();
    assert!(report.is_consistent() && report.clicks == 78, "{report:?}");
    tools.close().await;
    // Too large for anything to be sealed, so that it is the rows that answer.
    let plan = Sealing::default();
    t.terse = builder(&t.dir, &t.database, &t.clock)
        .sealing(plan)
        .open()
        .await
        .unwrap();
    t.folded().await;
    assert_eq!(figures(&t).await, before);
    let t = t.sealing(SMALL).await;
    sealed(&t, 3).await;
    t.folded().await;
    assert_eq!(figures(&t).await, before);
    assert!(t.terse.verify().await.unwrap().is_consistent());
}

async fn chunks_of_a_release_that_kept_fewer_columns_answer_everything(t: Installation) {
    let (t, launch) = with_chunks_and_tail(t).await;
    let before = figures(&t).await;
    // As if nobody had kept the trigger then.
    t.sql("DELETE FROM chunk_columns WHERE id % 64 = 31").await;
    t.sql("UPDATE chunks SET column_count = column_count - 1")
        .await;
    assert_eq!(figures(&t).await, before);
    let analytics = t.terse.analytics();
    let triggers = analytics.breakdown(&t.workspace, all(), "trigger", None);
    let triggers = triggers.await.unwrap().rows;
    assert_eq!(triggers.len(), 1);
    assert_eq!(
        (triggers[0].value.as_str(), triggers[0].clicks),
        ("link", 63)
    );
    for (trigger, clicks) in [("link", 63), ("!link", 0), ("qr", 0)] {
        let filters = vec![Filter {
            dimension: Dimension::Fact(Fact::Trigger),
            values: vec![trigger.to_owned()],
        }];
        let query = AnalyticsQuery { filters, ..all() };
        let summary = analytics.summary(&t.workspace, query, None).await.unwrap();
        assert_eq!(summary.clicks, clicks, "{trigger}");
    }
    let report = t.terse.verify().await.unwrap();
    assert!(report.is_consistent() && report.clicks == 78, "{report:?}");
    // What is written anew has every column.
    let links = t.terse.links();
    links.delete_clicks(&t.workspace, launch).await.unwrap();
    let report = t.terse.verify().await.unwrap();
    assert!(report.is_consistent() && report.clicks == 27, "{report:?}");
    assert_eq!(
        t.number("SELECT COUNT(*) FROM chunk_columns WHERE id % 64 = 31")
            .await,
        t.number("SELECT COUNT(*) FROM chunks").await
    );
}
