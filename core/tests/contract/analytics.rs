use std::time::Duration;

use terse_core::analytics::{AnalyticsError, AnalyticsQuery, Filter};
use terse_core::classify::RequestFacts;
use terse_core::model::NewLink;

use crate::fixture::{AT_ONCE, HOST, Installation, on_both_databases, person, person_at, sign_up};

on_both_databases![
    a_summary_counts_what_its_range_and_filters_select,
    a_timeseries_has_every_step_and_sums_to_the_summary,
    bad_questions_are_refused_by_name,
    foreign_links_do_not_exist,
    what_clicks_take_of_the_disk_is_told,
    a_breakdown_by_more_values_than_fit_into_memory_is_exact,
    a_value_of_one_day_has_its_visitors_though_it_was_not_foreseen,
];

async fn click(t: &Installation, path: &str, facts: &RequestFacts<'_>) {
    t.terse.resolve(HOST, path, facts).await.unwrap();
}

/// Clicks at 12:00, 13:00 and 14:00 UTC on 2026-03-15 (the fixture's day): two people, one bot.
async fn with_clicks(t: &Installation) -> terse_core::model::Link {
    let tagged = t
        .create(NewLink {
            tags: vec!["news".to_owned()],
            ..NewLink::to("https://example.com/").alias("tagged")
        })
        .await;
    t.link("other").await;
    click(t, "/tagged", &person_at(1)).await;
    t.clock.advance(Duration::from_hours(1));
    click(t, "/tagged", &person_at(1)).await;
    click(t, "/tagged", &person_at(2)).await;
    click(t, "/other", &person_at(2)).await;
    t.clock.advance(Duration::from_hours(1));
    click(
        t,
        "/tagged",
        &RequestFacts {
            user_agent: b"curl/8",
            ..person()
        },
    )
    .await;
    t.folded().await;
    tagged
}

fn range(from: &str, to: &str) -> AnalyticsQuery {
    AnalyticsQuery {
        from: Some(from.to_owned()),
        to: Some(to.to_owned()),
        ..AnalyticsQuery::default()
    }
}

async fn a_summary_counts_what_its_range_and_filters_select(t: Installation) {
    let tagged = with_clicks(&t).await;
    let summary = async |query| {
        t.terse
            .analytics()
            .summary(&t.workspace, query, None)
            .await
            .unwrap()
    };
    let all = summary(AnalyticsQuery::default()).await;
    assert_eq!(
        (all.clicks, all.visitors, all.bots, all.previews),
        (4, Some(2), 1, 0)
    );
    assert_eq!(all.as_of, t.now());
    let with_bots = AnalyticsQuery {
        include: Some("bots,previews".to_owned()),
        ..AnalyticsQuery::default()
    };
    let with_bots = summary(with_bots).await;
    assert_eq!(
        (with_bots.clicks, with_bots.last_clicked_at),
        (5, Some(t.now()))
    );
    let first_hour = summary(range("2026-03-15T12:00:00Z", "2026-03-15T13:00:00Z")).await;
    assert_eq!((first_hour.clicks, first_hour.visitors), (1, Some(1)));
    for query in [
        AnalyticsQuery {
            link_id: vec![tagged.id.to_string()],
            ..AnalyticsQuery::default()
        },
        AnalyticsQuery {
            tag: vec!["news".to_owned()],
            ..AnalyticsQuery::default()
        },
    ] {
        assert_eq!(summary(query).await.clicks, 3);
    }
    let domain = |host: &str| AnalyticsQuery {
        domain: vec![host.to_owned()],
        ..AnalyticsQuery::default()
    };
    assert_eq!(summary(domain("GO.example")).await.clicks, 4);
    assert_eq!(summary(domain("x.example")).await.clicks, 0);
}

async fn a_timeseries_has_every_step_and_sums_to_the_summary(t: Installation) {
    with_clicks(&t).await;
    let query = AnalyticsQuery {
        tz: Some("Asia/Kolkata".to_owned()),
        ..range("2026-03-15T11:30:00Z", "2026-03-15T14:30:00Z")
    };
    let series = t
        .terse
        .analytics()
        .timeseries(&t.workspace, query, "hour")
        .await
        .unwrap();
    let points: Vec<_> = series
        .points
        .iter()
        .map(|p| (p.start.as_str(), p.clicks, p.visitors))
        .collect();
    assert_eq!(
        points,
        [
            ("2026-03-15T17:00:00+05:30", 1, Some(1)),
            ("2026-03-15T18:00:00+05:30", 3, Some(2)),
            ("2026-03-15T19:00:00+05:30", 0, Some(0)),
        ]
    );
    let days = t
        .terse
        .analytics()
        .timeseries(&t.workspace, AnalyticsQuery::default(), "day")
        .await
        .unwrap();
    assert_eq!(days.points.len(), 31);
    assert_eq!(days.points.iter().map(|p| p.clicks).sum::<i64>(), 4);
    assert_eq!(days.points.last().unwrap().visitors, Some(2));
}

async fn bad_questions_are_refused_by_name(t: Installation) {
    let base = AnalyticsQuery::default;
    let text = |text: &str| Some(text.to_owned());
    for (code, query) in [
        (
            "time_invalid",
            AnalyticsQuery {
                from: text("yesterday"),
                ..base()
            },
        ),
        (
            "time_invalid",
            AnalyticsQuery {
                to: text("9999999-01-01T00:00:00Z"),
                ..base()
            },
        ),
        (
            "range_empty",
            range("2026-03-15T12:00:00Z", "2026-03-15T12:00:00Z"),
        ),
        (
            "time_zone_unknown",
            AnalyticsQuery {
                tz: text("Mars/Base"),
                ..base()
            },
        ),
        (
            "time_zone_unknown",
            AnalyticsQuery {
                tz: text("../../etc/passwd"),
                ..base()
            },
        ),
        (
            "include_unknown",
            AnalyticsQuery {
                include: text("ghosts"),
                ..base()
            },
        ),
        (
            "filter_invalid",
            AnalyticsQuery {
                tag: vec!["a\0".to_owned()],
                ..base()
            },
        ),
    ] {
        let error = t
            .terse
            .analytics()
            .summary(&t.workspace, query, None)
            .await
            .unwrap_err();
        let AnalyticsError::Refused(errors) = error else {
            panic!("{code}: {error:?}");
        };
        assert_eq!(errors[0].code, code);
    }
    let long = range("1990-01-01T00:00:00Z", "2026-01-01T00:00:00Z");
    let error = t
        .terse
        .analytics()
        .timeseries(&t.workspace, long, "hour")
        .await
        .unwrap_err();
    assert!(
        matches!(error, AnalyticsError::Refused(errors) if errors[0].code == "too_many_points")
    );
    let error = t
        .terse
        .analytics()
        .timeseries(&t.workspace, base(), "second")
        .await
        .unwrap_err();
    assert!(
        matches!(error, AnalyticsError::Refused(errors) if errors[0].code == "interval_unknown")
    );
}

async fn foreign_links_do_not_exist(t: Installation) {
    let link = with_clicks(&t).await;
    let other = sign_up(&t.terse, "eve@example.com").await;
    for id in [link.id.to_string(), "nonsense".to_owned()] {
        let query = AnalyticsQuery {
            link_id: vec![id],
            ..AnalyticsQuery::default()
        };
        let error = t
            .terse
            .analytics()
            .summary(&other, query, None)
            .await
            .unwrap_err();
        assert!(matches!(error, AnalyticsError::NotFound));
    }
    let all = t
        .terse
        .analytics()
        .summary(&other, AnalyticsQuery::default(), None)
        .await
        .unwrap();
    assert_eq!(all.clicks, 0);
}

async fn what_clicks_take_of_the_disk_is_told(t: Installation) {
    with_clicks(&t).await;
    let tools = terse_core::Terse::builder().database(t.database.clone());
    let tools = tools.tools().await.unwrap();
    let report = tools.storage().await.unwrap();
    assert_eq!((report.tail_clicks, report.sealed_clicks), (5, 0));
    assert!(report.bytes > 0);
    tools.close().await;
}

/// Tests are built to count 500 values at once.
async fn a_breakdown_by_more_values_than_fit_into_memory_is_exact(t: Installation) {
    t.link("posted").await;
    let mut clicks_of = Vec::new();
    for number in 0..1_300_i64 {
        let value = format!("v{number:04}");
        let query = format!("utm_content={value}");
        let clicks = if number % 130 == 7 {
            2 + number / 130
        } else {
            1
        };
        for visitor in 0..clicks {
            let facts = RequestFacts {
                query: Some(&query),
                ..person_at(u8::try_from(visitor / 2).unwrap())
            };
            click(&t, "/posted", &facts).await;
        }
        clicks_of.push((value, clicks, (clicks + 1) / 2));
    }
    t.folded().await;
    clicks_of.sort_by_key(|(value, clicks, _)| (-clicks, value.clone()));
    let total: i64 = clicks_of.iter().map(|(_, clicks, _)| clicks).sum();
    for limit in [4, 10, 700] {
        let analytics = t.terse.analytics();
        let query = AnalyticsQuery::default();
        let answer = analytics.breakdown(&t.workspace, query, "utm_content", Some(limit));
        let answer = answer.await.unwrap();
        let rows: Vec<_> = answer
            .rows
            .into_iter()
            .map(|row| (row.value, row.clicks, row.visitors.unwrap()))
            .collect();
        let largest = &clicks_of[..usize::try_from(limit).unwrap()];
        assert_eq!(rows, largest);
        let in_rows: i64 = largest.iter().map(|(_, clicks, _)| clicks).sum();
        assert_eq!((answer.total, answer.other), (total, total - in_rows));
    }
}

/// One of four chunks is looked at to foresee the values asked for: here those of two other days.
async fn a_value_of_one_day_has_its_visitors_though_it_was_not_foreseen(t: Installation) {
    t.link("posted").await;
    let visit = async |value: &str, visitor: u8| {
        let query = format!("utm_content={value}");
        let facts = RequestFacts {
            query: Some(&query),
            ..person_at(visitor)
        };
        click(&t, "/posted", &facts).await;
    };
    for day in 1..=6 {
        visit("common", day).await;
        if day == 3 {
            for visitor in [6, 7, 6, 8, 8, 8, 6] {
                visit("rare", visitor).await;
            }
        }
        t.clock.advance(Duration::from_hours(24));
    }
    t.folded().await;
    // All days at once: a chunk each.
    let t = t.sealing(AT_ONCE).await;
    let sealed = tokio::time::timeout(Duration::from_secs(20), async {
        while t.number("SELECT COUNT(*) FROM chunks").await < 6 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    sealed.await.expect("every day is sealed");
    assert_eq!(t.number("SELECT COUNT(*) FROM tail").await, 0);
    assert_eq!(t.number("SELECT COUNT(*) FROM chunks").await, 6);
    let query = AnalyticsQuery {
        filters: vec![Filter {
            dimension: "browser".parse().unwrap(),
            values: vec!["Chrome".to_owned()],
        }],
        ..AnalyticsQuery::default()
    };
    let analytics = t.terse.analytics();
    for (limit, expected) in [
        (1, &[("rare", 7, 3)][..]),
        (5, &[("rare", 7, 3), ("common", 6, 6)]),
    ] {
        let query = query.clone();
        let answer = analytics.breakdown(&t.workspace, query, "utm_content", Some(limit));
        let rows = answer.await.unwrap().rows.into_iter();
        let rows: Vec<_> = rows
            .map(|row| (row.value, row.clicks, row.visitors.unwrap()))
            .collect();
        let expected = expected.iter().copied();
        let expected: Vec<_> = expected
            .map(|(value, clicks, visitors)| (value.to_owned(), clicks, visitors))
            .collect();
        assert_eq!(rows, expected);
    }
}
