use std::collections::HashSet;
use std::time::{Duration, Instant};

use terse_core::analytics::{AnalyticsError, AnalyticsQuery, Filter, Live};
use terse_core::classify::RequestFacts;
use terse_core::model::{Dimension, Fact, NewLink};

use crate::fixture::{HOST, Installation, on_both_databases, person, sign_up};

on_both_databases![
    a_listener_that_comes_and_goes_hears_every_click_once,
    a_click_is_told_within_a_second,
    a_listener_hears_what_its_filters_select_and_nothing_of_others,
    a_listener_who_heard_nothing_yet_goes_on_from_where_it_began,
    clicks_that_a_listener_did_not_ask_for_make_no_event_too_old,
    nobody_goes_on_after_an_event_that_never_was,
];

const PATIENCE: Duration = Duration::from_secs(20);
const CLICKS: usize = 600;

async fn listen(t: &Installation, after: Option<&str>) -> Live {
    let analytics = t.terse.analytics();
    let live = analytics.live(&t.workspace, AnalyticsQuery::default(), after);
    live.await.unwrap()
}

/// The next event's id, and what its click's `utm_content` was.
async fn heard(live: &mut Live) -> (String, String) {
    let event = tokio::time::timeout(PATIENCE, live.next());
    let event = event.await.expect("no click was told").unwrap();
    (event.id, event.click.fact(Fact::UtmContent).to_owned())
}

async fn click(t: &Installation, path: &str, name: &str) {
    let query = format!("utm_content={name}");
    let facts = RequestFacts {
        query: Some(&query),
        ..person()
    };
    t.terse.resolve(HOST, path, &facts).await.unwrap();
}

async fn a_listener_that_comes_and_goes_hears_every_click_once(t: Installation) {
    t.link("free").await;
    let limited = NewLink {
        max_clicks: Some(1_000),
        ..NewLink::to("https://example.com/").alias("limited")
    };
    t.create(limited).await;
    let mut live = listen(&t, None).await;
    let clicking = async {
        for number in 0..CLICKS {
            // Limited links are counted without the spool, in an order of their own.
            let path = if number % 5 == 0 { "/limited" } else { "/free" };
            click(&t, path, &number.to_string()).await;
            t.clock.advance(Duration::from_millis(number as u64 % 7));
            if number % 50 == 0 {
                tokio::time::sleep(Duration::from_millis(60)).await;
            }
        }
    };
    let listening = async {
        let mut names = HashSet::new();
        let mut until_leaving = 1;
        while names.len() < CLICKS {
            let (id, name) = heard(&mut live).await;
            assert!(names.insert(name.clone()), "{name} was told twice");
            until_leaving -= 1;
            if until_leaving == 0 {
                live = listen(&t, Some(&id)).await;
                until_leaving = 1 + names.len() % 23;
            }
        }
    };
    tokio::join!(clicking, listening);
    let more = tokio::time::timeout(Duration::from_secs(1), live.next());
    assert!(more.await.is_err(), "a click was told that never was");
}

async fn a_click_is_told_within_a_second(t: Installation) {
    t.link("free").await;
    let mut live = listen(&t, None).await;
    let mut waits = Vec::new();
    for name in ["one", "two", "three", "four", "five"] {
        let begun = Instant::now();
        click(&t, "/free", name).await;
        assert_eq!(heard(&mut live).await.1, name);
        waits.push(begun.elapsed());
    }
    // Other tests run on the same cores: that makes some wait longer, and none shorter.
    let shortest = waits.iter().min().unwrap();
    assert!(*shortest < Duration::from_secs(1), "{waits:?}");
}

async fn a_listener_hears_what_its_filters_select_and_nothing_of_others(t: Installation) {
    let link = t.link("free").await;
    t.link("other").await;
    let query = AnalyticsQuery {
        link_id: vec![link.id.to_string()],
        filters: vec![Filter {
            dimension: Dimension::Fact(Fact::UtmContent),
            values: vec!["!no".to_owned()],
        }],
        ..AnalyticsQuery::default()
    };
    let analytics = t.terse.analytics();
    let mut live = analytics.live(&t.workspace, query, None).await.unwrap();
    let stranger = sign_up(&t.terse, "eve@example.com").await;
    let theirs = analytics.live(&stranger, AnalyticsQuery::default(), None);
    let mut theirs = theirs.await.unwrap();
    for (path, name) in [("/other", "yes"), ("/free", "no"), ("/free", "yes")] {
        click(&t, path, name).await;
    }
    let robot = RequestFacts {
        user_agent: b"curl/8",
        ..person()
    };
    t.terse.resolve(HOST, "/free", &robot).await.unwrap();
    click(&t, "/free", "last").await;
    assert_eq!(heard(&mut live).await.1, "yes");
    assert_eq!(heard(&mut live).await.1, "last");
    let anything = tokio::time::timeout(Duration::from_millis(100), theirs.next());
    assert!(anything.await.is_err());
}

async fn a_listener_who_heard_nothing_yet_goes_on_from_where_it_began(t: Installation) {
    t.link("free").await;
    let mut live = listen(&t, None).await;
    let id = live.id().unwrap();
    click(&t, "/free", "first").await;
    assert_eq!(heard(&mut live).await.1, "first");
    let mut again = listen(&t, Some(&id)).await;
    assert_eq!(
        again.id(),
        None,
        "a click is ready, and the id would pass it over"
    );
    assert_eq!(heard(&mut again).await.1, "first");
    let id = again.id().unwrap();
    click(&t, "/free", "second").await;
    let mut again = listen(&t, Some(&id)).await;
    assert_eq!(heard(&mut again).await.1, "second");
}

async fn clicks_that_a_listener_did_not_ask_for_make_no_event_too_old(t: Installation) {
    let link = t.link("free").await;
    t.link("busy").await;
    let query = || AnalyticsQuery {
        link_id: vec![link.id.to_string()],
        ..AnalyticsQuery::default()
    };
    let analytics = t.terse.analytics();
    let live = analytics.live(&t.workspace, query(), None).await.unwrap();
    let id = live.id().unwrap();
    drop(live);
    for _ in 0..10_500 {
        t.terse.resolve(HOST, "/busy", &person()).await.unwrap();
    }
    click(&t, "/free", "mine").await;
    t.folded().await;
    let again = analytics.live(&t.workspace, query(), Some(&id));
    assert_eq!(heard(&mut again.await.unwrap()).await.1, "mine");
    let all = analytics.live(&t.workspace, AnalyticsQuery::default(), Some(&id));
    let error = all.await.unwrap_err();
    assert!(
        matches!(&error, AnalyticsError::Refused(errors) if errors[0].code == "event_too_old"),
        "{error:?}"
    );
}

async fn nobody_goes_on_after_an_event_that_never_was(t: Installation) {
    for id in ["", "x", "1.2", "1.2-3-", "١"] {
        let analytics = t.terse.analytics();
        let live = analytics.live(&t.workspace, AnalyticsQuery::default(), Some(id));
        let error = live.await.unwrap_err();
        assert!(
            matches!(&error, AnalyticsError::Refused(errors) if errors[0].field == "after"),
            "{error:?}"
        );
    }
}
