use terse_core::classify::RequestFacts;
use terse_core::model::{Change, LinkChanges, LinkStatus, NewLink};
use terse_core::{GoneReason, Preview, Resolution};

use crate::fixture::{HOST, Installation, on_both_databases, person};

on_both_databases![
    two_hundred_parallel_visitors_of_a_link_for_ten_make_ten_redirects,
    bots_previews_and_head_use_no_click_and_learn_no_target,
    a_query_of_any_length_tells_strangers_nothing_of_the_target,
    a_raised_limit_opens_the_link_again,
    a_limit_that_another_node_lowered_holds_at_once,
    a_limited_link_that_another_node_deleted_takes_no_click,
];

async fn limited(t: &Installation, max_clicks: i64) -> terse_core::model::Link {
    t.create(NewLink {
        max_clicks: Some(max_clicks),
        ..NewLink::to("https://example.com/secret").alias("few")
    })
    .await
}

async fn two_hundred_parallel_visitors_of_a_link_for_ten_make_ten_redirects(t: Installation) {
    let link = limited(&t, 10).await;
    let visits = (0..200).map(|_| {
        let terse = t.terse.clone();
        tokio::spawn(async move { terse.resolve(HOST, "/few", &person()).await })
    });
    let (mut redirects, mut gone) = (0, 0);
    for visit in visits.collect::<Vec<_>>() {
        match visit.await.unwrap() {
            Ok(Resolution::Redirect(_)) => redirects += 1,
            Ok(Resolution::Gone(GoneReason::Exhausted)) => gone += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((redirects, gone), (10, 190));
    let read = t.terse.links().get(&t.workspace, link.id).await.unwrap();
    assert_eq!((read.clicks, read.status), (10, LinkStatus::Exhausted));
    assert!(t.terse.verify().await.unwrap().is_consistent());
}

fn strangers() -> [RequestFacts<'static>; 4] {
    let by = |user_agent| RequestFacts {
        user_agent,
        ..person()
    };
    [
        RequestFacts {
            head: true,
            ..person()
        },
        by(b"curl/8.5.0"),
        by(b"Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)"),
        RequestFacts {
            purpose: b"prefetch;prerender",
            ..person()
        },
    ]
}

async fn bots_previews_and_head_use_no_click_and_learn_no_target(t: Installation) {
    let link = limited(&t, 1).await;
    for facts in strangers() {
        let answer = t.terse.resolve(HOST, "/few", &facts).await.unwrap();
        assert_eq!(answer, Resolution::Withheld, "{facts:?}");
    }
    assert_eq!(
        t.terse.preview(HOST, "/few").await.unwrap(),
        Preview::Withheld
    );
    let read = t.terse.links().get(&t.workspace, link.id).await.unwrap();
    assert_eq!((read.clicks, read.status), (0, LinkStatus::Active));
    let visit = t.terse.resolve(HOST, "/few", &person()).await.unwrap();
    assert!(matches!(visit, Resolution::Redirect(_)));
}

async fn a_query_of_any_length_tells_strangers_nothing_of_the_target(t: Installation) {
    let link = limited(&t, 1).await;
    let long = format!("q={}", "a".repeat(8_190));
    let query = Some(long.as_str());
    for facts in strangers() {
        let facts = RequestFacts { query, ..facts };
        let answer = t.terse.resolve(HOST, "/few", &facts).await.unwrap();
        assert_eq!(answer, Resolution::Withheld);
    }
    let facts = RequestFacts { query, ..person() };
    let visit = t.terse.resolve(HOST, "/few", &facts).await.unwrap();
    assert_eq!(visit, Resolution::QueryTooLong);
    let read = t.terse.links().get(&t.workspace, link.id).await.unwrap();
    assert_eq!(read.clicks, 0);
}

async fn a_raised_limit_opens_the_link_again(t: Installation) {
    let link = limited(&t, 1).await;
    let visit = async || t.terse.resolve(HOST, "/few", &person()).await.unwrap();
    assert!(matches!(visit().await, Resolution::Redirect(_)));
    assert_eq!(visit().await, Resolution::Gone(GoneReason::Exhausted));
    let changes = LinkChanges {
        max_clicks: Change::Set(2),
        ..LinkChanges::default()
    };
    t.terse
        .links()
        .update(&t.workspace, link.id, changes)
        .await
        .unwrap();
    assert!(matches!(visit().await, Resolution::Redirect(_)));
    assert_eq!(visit().await, Resolution::Gone(GoneReason::Exhausted));
}

async fn a_limit_that_another_node_lowered_holds_at_once(t: Installation) {
    limited(&t, 10).await;
    let visit = async || t.terse.resolve(HOST, "/few", &person()).await.unwrap();
    assert!(matches!(visit().await, Resolution::Redirect(_)));
    t.sql("UPDATE links SET max_clicks = 2, version = version + 1")
        .await;
    assert!(matches!(visit().await, Resolution::Redirect(_)));
    assert_eq!(visit().await, Resolution::Gone(GoneReason::Exhausted));
}

async fn a_limited_link_that_another_node_deleted_takes_no_click(t: Installation) {
    let link = limited(&t, 10).await;
    let visit = async || t.terse.resolve(HOST, "/few", &person()).await.unwrap();
    assert!(matches!(visit().await, Resolution::Redirect(_)));
    t.sql("UPDATE links SET state = 'deleted', version = version + 1")
        .await;
    assert!(matches!(visit().await, Resolution::Gone(_)));
    t.sql("UPDATE links SET state = 'active', version = version + 1")
        .await;
    let read = t.terse.links().get(&t.workspace, link.id).await.unwrap();
    assert_eq!(read.clicks, 1);
}
