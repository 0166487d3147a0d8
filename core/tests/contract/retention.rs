use std::time::Duration;

use terse_core::analytics::{AnalyticsError, AnalyticsQuery, ClicksPage, Filter};
use terse_core::classify::RequestFacts;
use terse_core::model::{Change, NewLink, Timestamp, Workspace, WorkspaceChanges};
use terse_core::workspaces::WorkspaceError;

use crate::fixture::{AT_ONCE, HOST, Installation, all, on_both_databases, person_at};
use crate::people::{Person, by};

on_both_databases![
    a_retention_is_set_cleared_and_told,
    a_retention_out_of_range_is_refused,
    days_past_the_retention_keep_their_figures_and_lose_their_clicks,
    few_clicks_of_the_tail_shrink_too,
    a_longer_retention_brings_nothing_back,
    a_changed_retention_is_applied_by_itself,
    clicks_of_a_shrunk_day_that_come_late_are_counted,
    only_the_workspaces_that_asked_for_it_forget,
    questions_beside_a_shrinking_are_answered,
];

const DAY: Duration = Duration::from_hours(24);

async fn retain(t: &Installation, days: Change<i64>) -> Result<Workspace, WorkspaceError> {
    let home = Person::ada(t).await.at_home().await;
    let changes = WorkspaceChanges {
        retention_days: days,
        ..WorkspaceChanges::default()
    };
    t.terse
        .workspaces()
        .update(&home, &by(&home), changes)
        .await
}

async fn click(t: &Installation, path: &str, visitor: u8) {
    t.terse
        .resolve(HOST, path, &person_at(visitor))
        .await
        .unwrap();
}

async fn bot(t: &Installation, path: &str) {
    let facts = RequestFacts {
        user_agent: b"curl/8",
        ..person_at(9)
    };
    t.terse.resolve(HOST, path, &facts).await.unwrap();
}

/// Clicks on the 15th, the 16th, and the 25th, which is today.
async fn with_three_days(t: &Installation) {
    t.create(NewLink {
        tags: vec!["news".to_owned()],
        ..NewLink::to("https://example.com/").alias("one")
    })
    .await;
    t.link("two").await;
    for visitor in 1..=5 {
        click(t, "/one", visitor).await;
        t.clock.advance(Duration::from_mins(1));
    }
    // Two parcels, hence two chunks to merge where sealing is under way.
    t.folded().await;
    click(t, "/two", 1).await;
    bot(t, "/two").await;
    t.clock.advance(DAY);
    click(t, "/one", 1).await;
    t.clock.advance(9 * DAY);
    click(t, "/one", 1).await;
    click(t, "/two", 2).await;
    t.folded().await;
}

fn days(from: &str, to: &str) -> AnalyticsQuery {
    AnalyticsQuery {
        from: Some(format!("2026-03-{from}T00:00:00Z")),
        to: Some(format!("2026-03-{to}T00:00:00Z")),
        ..AnalyticsQuery::default()
    }
}

fn browser(value: &str) -> Filter {
    Filter {
        dimension: "browser".parse().unwrap(),
        values: vec![value.to_owned()],
    }
}

/// Every figure that outlives single clicks, as text.
async fn figures(t: &Installation) -> Vec<String> {
    let analytics = t.terse.analytics();
    let everything = || AnalyticsQuery {
        include: Some("bots".to_owned()),
        ..days("10", "26")
    };
    let summary = analytics.summary(&t.workspace, everything(), None);
    let summary = summary.await.unwrap();
    let mut told = vec![format!(
        "{} {} {:?}",
        summary.clicks, summary.bots, summary.last_clicked_at
    )];
    let points = analytics.timeseries(&t.workspace, everything(), "day");
    for point in points.await.unwrap().points {
        told.push(format!("{} {}", point.start, point.clicks));
    }
    for dimension in [
        "browser", "os", "language", "referrer", "link", "tag", "reason",
    ] {
        let answer = analytics.breakdown(&t.workspace, everything(), dimension, None);
        for row in answer.await.unwrap().rows {
            told.push(format!("{dimension} {} {}", row.value, row.clicks));
        }
    }
    for (filter, query) in [
        (
            "tag",
            AnalyticsQuery {
                tag: vec!["news".to_owned()],
                ..days("10", "26")
            },
        ),
        (
            "filter",
            AnalyticsQuery {
                filters: vec![browser("!Chrome")],
                ..days("10", "26")
            },
        ),
    ] {
        let summary = analytics.summary(&t.workspace, query, None).await.unwrap();
        told.push(format!("{filter} {}", summary.clicks));
    }
    for slug in ["one", "two"] {
        let url = format!("https://{HOST}/{slug}");
        let link = t.terse.links().lookup(&t.workspace, &url).await.unwrap();
        told.push(format!("{slug} {} {:?}", link.clicks, link.last_clicked_at));
    }
    told
}

async fn verified(t: &Installation) {
    let report = t.terse.verify().await.unwrap();
    assert!(report.is_consistent(), "{report:?}");
}

async fn a_retention_is_set_cleared_and_told(t: Installation) {
    let home = Person::ada(&t).await.at_home().await;
    let workspaces = t.terse.workspaces();
    let told = async || workspaces.get(&home).await.unwrap().retention_days;
    assert_eq!(told().await, None);
    let set = retain(&t, Change::Set(30)).await.unwrap();
    assert_eq!(set.retention_days, Some(30));
    let renamed = WorkspaceChanges::rename("Crew");
    let renamed = workspaces.update(&home, &by(&home), renamed).await.unwrap();
    assert_eq!(
        (renamed.name.as_str(), renamed.retention_days),
        ("Crew", Some(30))
    );
    assert_eq!(told().await, Some(30));
    retain(&t, Change::Clear).await.unwrap();
    assert_eq!(told().await, None);
    let question = "SELECT COUNT(*) FROM audit_log WHERE action = 'workspace.update' \
                    AND details IN ('{\"retention_days\":[null,30]}', \
                    '{\"retention_days\":[30,null]}', '{\"name\":[\"ada@example.com\",\"Crew\"]}')";
    assert_eq!(t.number(question).await, 3);
}

async fn a_retention_out_of_range_is_refused(t: Installation) {
    for days in [0, -1, 36_501, i64::MIN, i64::MAX] {
        let refused = retain(&t, Change::Set(days)).await;
        let Err(WorkspaceError::Refused(errors)) = refused else {
            panic!("{days}: {refused:?}");
        };
        assert_eq!(errors[0].code, "retention_days_out_of_range");
    }
    for days in [1, 36_500] {
        retain(&t, Change::Set(days)).await.unwrap();
    }
}

async fn days_past_the_retention_keep_their_figures_and_lose_their_clicks(t: Installation) {
    let t = t.sealing(AT_ONCE).await;
    shrinking_changes_no_figure(&t).await;
}

async fn few_clicks_of_the_tail_shrink_too(t: Installation) {
    shrinking_changes_no_figure(&t).await;
    // Part of a shrunk day, and steps that cut it.
    let part = AnalyticsQuery {
        to: Some("2026-03-15T12:02:30Z".to_owned()),
        ..all()
    };
    let analytics = t.terse.analytics();
    let lost = analytics.summary(&t.workspace, part, None).await;
    assert!(matches!(lost, Err(AnalyticsError::DetailLost)), "{lost:?}");
    let abroad = AnalyticsQuery {
        tz: Some("Pacific/Kiritimati".to_owned()),
        ..days("15", "16")
    };
    let abroad = analytics.timeseries(&t.workspace, abroad, "day").await;
    let points = abroad.unwrap().points;
    assert_eq!(points.iter().map(|point| point.clicks).max(), Some(6));
}

async fn shrinking_changes_no_figure(t: &Installation) {
    with_three_days(t).await;
    let before = figures(t).await;
    assert_eq!(t.clicks().await.len(), 9);
    retain(t, Change::Set(5)).await.unwrap();
    t.terse.apply_retention().await.unwrap();
    assert_eq!(figures(t).await, before);
    verified(t).await;
    no_click_is_left_before_the_20th(t).await;

    let analytics = t.terse.analytics();
    let summary = async |query| analytics.summary(&t.workspace, query, None).await;
    let over_all = summary(days("10", "26")).await.unwrap();
    assert_eq!((over_all.clicks, over_all.visitors), (9, None));
    let recent = summary(days("20", "26")).await.unwrap();
    assert_eq!((recent.clicks, recent.visitors), (2, Some(2)));
    assert_eq!(t.clicks().await.len(), 2);
    let page = analytics.clicks(&t.workspace, all(), ClicksPage::default());
    assert_eq!(page.await.unwrap().items.len(), 2);

    let crossing = AnalyticsQuery {
        filters: vec![browser("Chrome")],
        tag: vec!["news".to_owned()],
        ..all()
    };
    let lost = summary(crossing).await;
    assert!(matches!(lost, Err(AnalyticsError::DetailLost)), "{lost:?}");
}

/// Chunks that others replaced stay for those who read them, for ten minutes at most.
async fn no_click_is_left_before_the_20th(t: &Installation) {
    let in_force = "SELECT COUNT(*) FROM chunks \
                    WHERE detail = TRUE AND day < 20532 AND replaced_at IS NULL";
    assert_eq!(t.number(in_force).await, 0);
    t.clock.advance(Duration::from_mins(11));
    let kept = "SELECT COUNT(*) FROM chunk_columns c JOIN chunks k ON k.id = c.id / 64 \
                WHERE c.data IS NOT NULL AND k.day < 20532";
    let gone = tokio::time::timeout(Duration::from_secs(20), async {
        while t.number(kept).await > 0 {
            // Replaced chunks are looked for after whatever the merger does.
            t.terse.apply_retention().await.unwrap();
        }
    });
    gone.await.expect("no click is left");
}

async fn a_longer_retention_brings_nothing_back(t: Installation) {
    with_three_days(&t).await;
    retain(&t, Change::Set(5)).await.unwrap();
    t.terse.apply_retention().await.unwrap();
    retain(&t, Change::Clear).await.unwrap();
    let report = t.terse.apply_retention().await.unwrap();
    assert_eq!(report, terse_core::RetentionReport::default());
    assert_eq!(t.clicks().await.len(), 2);
    verified(&t).await;
}

async fn a_changed_retention_is_applied_by_itself(t: Installation) {
    let t = t.sealing(AT_ONCE).await;
    with_three_days(&t).await;
    retain(&t, Change::Set(9)).await.unwrap();
    let waited = tokio::time::timeout(Duration::from_secs(20), async {
        while t.clicks().await.len() != 3 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.expect("the 15th shrinks, the 16th does not");
    // And at the start.
    t.clock.advance(DAY);
    let t = t.restarted().await;
    let waited = tokio::time::timeout(Duration::from_secs(20), async {
        while t.clicks().await.len() != 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.expect("the 16th shrinks at the start");
    verified(&t).await;
}

async fn clicks_of_a_shrunk_day_that_come_late_are_counted(t: Installation) {
    let t = t.sealing(AT_ONCE).await;
    with_three_days(&t).await;
    retain(&t, Change::Set(5)).await.unwrap();
    t.terse.apply_retention().await.unwrap();
    let now = t.now();
    t.clock
        .set(Timestamp::parse("at", "2026-03-15T20:00:00Z").unwrap());
    click(&t, "/one", 7).await;
    t.folded().await;
    t.clock.set(now);
    t.terse.apply_retention().await.unwrap();
    let summary = t
        .terse
        .analytics()
        .summary(&t.workspace, days("15", "16"), None);
    assert_eq!(summary.await.unwrap().clicks, 7);
    assert_eq!(t.clicks().await.len(), 2);
    verified(&t).await;
}

async fn only_the_workspaces_that_asked_for_it_forget(t: Installation) {
    with_three_days(&t).await;
    let ada = Person::ada(&t).await;
    let team = ada.founds("Team").await;
    let changes = WorkspaceChanges {
        retention_days: Change::Set(1),
        ..WorkspaceChanges::default()
    };
    let workspaces = t.terse.workspaces();
    workspaces.update(&team, &by(&team), changes).await.unwrap();
    t.terse.apply_retention().await.unwrap();
    assert_eq!(t.clicks().await.len(), 9);
}

async fn questions_beside_a_shrinking_are_answered(t: Installation) {
    let t = t.sealing(AT_ONCE).await;
    with_three_days(&t).await;
    let asking = (0..8).map(|_| {
        let (terse, workspace) = (t.terse.clone(), t.workspace);
        tokio::spawn(async move {
            for _ in 0..20 {
                let summary = terse
                    .analytics()
                    .summary(&workspace, days("10", "26"), None);
                assert_eq!(summary.await.unwrap().clicks, 9);
                assert!(terse.verify().await.unwrap().is_consistent());
            }
        })
    });
    let asking: Vec<_> = asking.collect();
    for days in [12, 9, 8, 1] {
        retain(&t, Change::Set(days)).await.unwrap();
        t.terse.apply_retention().await.unwrap();
    }
    for asked in asking {
        asked.await.unwrap();
    }
}

/// SQLite alone: PostgreSQL has autovacuum.
#[tokio::test(flavor = "multi_thread")]
async fn the_space_of_shrunk_days_is_used_again() {
    let t = Installation::on_sqlite().await.sealing(AT_ONCE).await;
    t.link("one").await;
    retain(&t, Change::Set(1)).await.unwrap();
    let mut pages = Vec::new();
    for _ in 0..5 {
        for visitor in 0..=250_u8 {
            for campaign in 0..4 {
                let query = format!("utm_campaign={campaign}");
                let facts = RequestFacts {
                    query: Some(&query),
                    ..person_at(visitor)
                };
                t.terse.resolve(HOST, "/one", &facts).await.unwrap();
            }
        }
        t.folded().await;
        t.clock.advance(3 * DAY);
        let report = t.terse.apply_retention().await.unwrap();
        assert!(report.shrunk_chunks > 0, "{report:?}");
        pages.push(t.number("PRAGMA page_count").await);
    }
    let rows_kept = "SELECT COUNT(*) FROM chunk_columns JOIN chunks ON chunks.id = chunk_columns.id / 64 \
         WHERE data IS NOT NULL AND replaced_at IS NULL";
    assert_eq!(t.number(rows_kept).await, 0);
    assert!(pages[4] <= pages[1] + 8, "{pages:?}");
    verified(&t).await;
}
