use std::collections::HashSet;
use std::time::{Duration, Instant};

use terse_core::analytics::ClicksPage;
use terse_core::classify::{Kind, Reason, RequestFacts};
use terse_core::model::Fact;

use crate::fixture::{HOST, Installation, all, builder, on_both_databases, person, person_at};

on_both_databases![
    every_redirect_becomes_one_click_with_its_facts,
    kinds_are_counted_apart,
    fifty_parallel_visitors_lose_and_double_nothing,
    clicks_survive_a_restart_and_are_folded_once,
    an_installation_that_is_dropped_unclosed_leaves_its_spool_to_the_next,
    a_click_outlives_its_link,
];

async fn visit(t: &Installation, path: &str, facts: &RequestFacts<'_>) {
    t.terse.resolve(HOST, path, facts).await.unwrap();
}

async fn every_redirect_becomes_one_click_with_its_facts(t: Installation) {
    let link = t.link("launch").await;
    let facts = RequestFacts {
        query: Some("utm_source=mail&utm_content=42"),
        ..person()
    };
    visit(&t, "/launch", &facts).await;
    t.folded().await;
    let clicks = t.clicks().await;
    assert_eq!(clicks.len(), 1);
    let click = &clicks[0];
    assert_eq!((click.link, click.at()), (link.id, t.now()));
    assert_eq!((click.kind, click.reason), (Kind::Human, Reason::Browser));
    assert_eq!(
        (
            click.fact(Fact::Browser),
            click.fact(Fact::Os),
            click.fact(Fact::Device)
        ),
        ("Chrome", "Windows", "desktop")
    );
    assert_eq!(
        (click.fact(Fact::Language), click.fact(Fact::Referrer)),
        ("en", "news.example")
    );
    assert_eq!(
        (click.fact(Fact::UtmSource), click.fact(Fact::UtmContent)),
        ("mail", "42")
    );
    let read = t.terse.links().get(&t.workspace, link.id).await.unwrap();
    assert_eq!((read.clicks, read.last_clicked_at), (1, Some(t.now())));
}

async fn kinds_are_counted_apart(t: Installation) {
    let link = t.link("launch").await;
    visit(&t, "/launch", &person()).await;
    visit(
        &t,
        "/launch",
        &RequestFacts {
            user_agent: b"curl/8.5.0",
            ..person()
        },
    )
    .await;
    visit(
        &t,
        "/launch",
        &RequestFacts {
            user_agent: b"",
            ..person()
        },
    )
    .await;
    visit(
        &t,
        "/launch",
        &RequestFacts {
            purpose: b"prefetch",
            ..person()
        },
    )
    .await;
    visit(
        &t,
        "/launch",
        &RequestFacts {
            head: true,
            ..person()
        },
    )
    .await;
    t.folded().await;
    let summary = t
        .terse
        .analytics()
        .summary(&t.workspace, all(), None)
        .await
        .unwrap();
    assert_eq!((summary.clicks, summary.bots, summary.previews), (1, 2, 1));
    let read = t.terse.links().get(&t.workspace, link.id).await.unwrap();
    assert_eq!(read.clicks, 1);
    assert!(t.terse.verify().await.unwrap().is_consistent());
}

async fn fifty_parallel_visitors_lose_and_double_nothing(t: Installation) {
    t.link("busy").await;
    let visitors = (0..50_u8).map(|visitor| {
        let terse = t.terse.clone();
        tokio::spawn(async move {
            for n in 0..40 {
                let query = format!("utm_content={visitor}-{n}");
                let facts = RequestFacts {
                    query: Some(&query),
                    ..person_at(visitor)
                };
                terse.resolve(HOST, "/busy", &facts).await.unwrap();
            }
        })
    });
    for visitor in visitors.collect::<Vec<_>>() {
        visitor.await.unwrap();
    }
    t.folded().await;
    let mut seen = HashSet::new();
    let mut cursor = None;
    loop {
        let page = ClicksPage {
            cursor,
            limit: Some(150),
            order: None,
        };
        let page = t.terse.analytics().clicks(&t.workspace, all(), page);
        let page = page.await.unwrap();
        for click in &page.items {
            assert!(
                seen.insert(click.fact(Fact::UtmContent).to_owned()),
                "twice: {}",
                click.fact(Fact::UtmContent)
            );
        }
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), 2_000);
    let summary = t
        .terse
        .analytics()
        .summary(&t.workspace, all(), None)
        .await
        .unwrap();
    assert_eq!(
        (summary.clicks, summary.visitors, summary.pending),
        (2_000, Some(50), 0)
    );
    assert!(t.terse.verify().await.unwrap().is_consistent());
}

async fn clicks_survive_a_restart_and_are_folded_once(t: Installation) {
    t.link("launch").await;
    for _ in 0..100 {
        visit(&t, "/launch", &person()).await;
    }
    let t = t.restarted().await;
    for _ in 0..100 {
        visit(&t, "/launch", &person()).await;
    }
    t.folded().await;
    let t = t.restarted().await;
    t.folded().await;
    let summary = t
        .terse
        .analytics()
        .summary(&t.workspace, all(), None)
        .await
        .unwrap();
    assert_eq!(summary.clicks, 200);
    assert!(t.terse.verify().await.unwrap().is_consistent());
}

async fn an_installation_that_is_dropped_unclosed_leaves_its_spool_to_the_next(
    mut t: Installation,
) {
    t.link("launch").await;
    visit(&t, "/launch", &person()).await;
    drop(t.terse);
    let begun = Instant::now();
    t.terse = loop {
        match builder(&t.dir, &t.database, &t.clock).open().await {
            Ok(terse) => break terse,
            Err(error) => assert!(begun.elapsed() < Duration::from_secs(10), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    t.folded().await;
    assert_eq!(t.clicks().await.len(), 1);
}

async fn a_click_outlives_its_link(t: Installation) {
    let link = t.link("short").await;
    visit(&t, "/short", &person()).await;
    t.terse.links().delete(&t.workspace, link.id).await.unwrap();
    t.folded().await;
    let clicks = t.clicks().await;
    assert_eq!(clicks.len(), 1);
    assert!(t.terse.verify().await.unwrap().is_consistent());
}
