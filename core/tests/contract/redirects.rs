use std::time::Duration;

use terse_core::classify::RequestFacts;
use terse_core::model::{LinkChanges, NewLink, RedirectStatus};
use terse_core::{GoneReason, Preview, Resolution};

use crate::fixture::{HOST, Installation, on_both_databases, person};

on_both_databases![
    a_known_slug_redirects_and_an_unknown_one_does_not,
    start_and_expiry_are_exact,
    states_decide_what_a_visitor_gets,
    the_visitors_query_is_forwarded_unless_switched_off,
    a_creation_an_edit_and_a_deletion_race_with_loads_and_the_next_redirect_is_right,
    parallel_edits_and_failing_ones_leave_the_last_one_in_force,
    a_link_that_the_database_does_not_know_any_more_is_forgotten,
    a_clock_that_was_set_back_does_not_keep_an_old_target_in_force,
];

async fn target(t: &Installation, path: &str) -> Resolution {
    t.terse.resolve(HOST, path, &person()).await.unwrap()
}

fn leads_to(resolution: &Resolution, target: &str) -> bool {
    matches!(resolution, Resolution::Redirect(redirect) if redirect.location == target)
}

async fn a_known_slug_redirects_and_an_unknown_one_does_not(t: Installation) {
    t.link("launch").await;
    for path in ["/launch", "/LAUNCH/", "/l%61unch"] {
        assert!(
            leads_to(&target(&t, path).await, "https://example.com/target"),
            "{path}"
        );
    }
    for path in ["/other", "/", "/launch/x", "/..%2flaunch"] {
        assert_eq!(target(&t, path).await, Resolution::NotFound, "{path}");
    }
    let elsewhere = t.terse.resolve("evil.example", "/launch", &person()).await;
    assert_eq!(elsewhere.unwrap(), Resolution::NotFound);
}

async fn start_and_expiry_are_exact(t: Installation) {
    let second = Duration::from_secs(1);
    t.create(NewLink {
        starts_at: Some(t.now().plus(second)),
        expires_at: Some(t.now().plus(2 * second)),
        ..NewLink::to("https://example.com/target").alias("timed")
    })
    .await;
    assert_eq!(target(&t, "/timed").await, Resolution::NotFound);
    t.clock.advance(second);
    assert!(leads_to(
        &target(&t, "/timed").await,
        "https://example.com/target"
    ));
    t.clock
        .advance(second.checked_sub(Duration::from_millis(1)).unwrap());
    assert!(leads_to(
        &target(&t, "/timed").await,
        "https://example.com/target"
    ));
    t.clock.advance(Duration::from_millis(1));
    assert_eq!(
        target(&t, "/timed").await,
        Resolution::Gone(GoneReason::Expired)
    );
}

async fn states_decide_what_a_visitor_gets(t: Installation) {
    let link = t.link("state").await;
    let set = async |status: &str| {
        let changes = LinkChanges {
            status: Some(status.to_owned()),
            may_block: true,
            ..LinkChanges::default()
        };
        t.terse
            .links()
            .update(&t.workspace, link.id, changes)
            .await
            .unwrap();
    };
    set("disabled").await;
    assert_eq!(target(&t, "/state").await, Resolution::NotFound);
    set("blocked").await;
    assert_eq!(target(&t, "/state").await, Resolution::Blocked);
    assert_eq!(
        t.terse.preview(HOST, "/state").await.unwrap(),
        Preview::Blocked
    );
    set("active").await;
    assert!(leads_to(
        &target(&t, "/state").await,
        "https://example.com/target"
    ));
    assert_eq!(
        t.terse.preview(HOST, "/state").await.unwrap(),
        Preview::Open {
            target: "https://example.com/target".to_owned(),
            title: None
        }
    );
    t.terse.links().delete(&t.workspace, link.id).await.unwrap();
    assert_eq!(
        target(&t, "/state").await,
        Resolution::Gone(GoneReason::Deleted)
    );
}

async fn the_visitors_query_is_forwarded_unless_switched_off(t: Installation) {
    t.create(NewLink::to("https://example.com/?a=1").alias("forward"))
        .await;
    t.create(NewLink {
        forward_query: Some(false),
        redirect_status: Some(307),
        ..NewLink::to("https://example.com/?a=1").alias("plain")
    })
    .await;
    let with = |query: &'static str| RequestFacts {
        query: Some(query),
        ..person()
    };
    let forward = t
        .terse
        .resolve(HOST, "/forward", &with("a=2&b=%0d%0aX:1"))
        .await
        .unwrap();
    assert!(
        leads_to(&forward, "https://example.com/?a=1&b=%0d%0aX:1"),
        "{forward:?}"
    );
    let plain = t.terse.resolve(HOST, "/plain", &with("b=2")).await.unwrap();
    assert!(leads_to(&plain, "https://example.com/?a=1"));
    assert!(
        matches!(plain, Resolution::Redirect(redirect) if redirect.status == RedirectStatus::TemporaryRedirect)
    );
    let long: &'static str = Box::leak("x".repeat(9_000).into_boxed_str());
    let refused = t
        .terse
        .resolve(HOST, "/forward", &with(long))
        .await
        .unwrap();
    assert_eq!(refused, Resolution::QueryTooLong);
}

async fn a_creation_an_edit_and_a_deletion_race_with_loads_and_the_next_redirect_is_right(
    t: Installation,
) {
    // A thousand changes in all: what a redirect says after a change has returned is what the
    // change said, although loads of the same slug are under way all the time.
    for round in 0..334 {
        let slug = format!("race{round}");
        let path = format!("/{slug}");
        let loads = (0..4).map(|_| {
            let (terse, path) = (t.terse.clone(), path.clone());
            tokio::spawn(async move {
                for _ in 0..4 {
                    terse
                        .resolve(
                            HOST,
                            &path,
                            &RequestFacts {
                                head: true,
                                ..person()
                            },
                        )
                        .await
                        .unwrap();
                    tokio::task::yield_now().await;
                }
            })
        });
        let loads = loads.collect::<Vec<_>>();
        let link = t
            .create(NewLink::to("https://example.com/first").alias(&slug))
            .await;
        assert!(
            leads_to(&target(&t, &path).await, "https://example.com/first"),
            "{round}"
        );
        let changes = LinkChanges {
            target_url: Some("https://example.com/second".to_owned()),
            ..LinkChanges::default()
        };
        t.terse
            .links()
            .update(&t.workspace, link.id, changes)
            .await
            .unwrap();
        assert!(
            leads_to(&target(&t, &path).await, "https://example.com/second"),
            "{round}"
        );
        t.terse.links().delete(&t.workspace, link.id).await.unwrap();
        assert_eq!(
            target(&t, &path).await,
            Resolution::Gone(GoneReason::Deleted),
            "{round}"
        );
        for load in loads {
            load.await.unwrap();
        }
        assert_eq!(
            target(&t, &path).await,
            Resolution::Gone(GoneReason::Deleted),
            "{round}"
        );
    }
}

async fn parallel_edits_and_failing_ones_leave_the_last_one_in_force(t: Installation) {
    let link = t.link("contended").await;
    for round in 0..25 {
        let edits: Vec<_> = (0..16)
            .map(|number| {
                let (terse, workspace) = (t.terse.clone(), t.workspace);
                tokio::spawn(async move {
                    let changes = LinkChanges {
                        target_url: Some(format!("https://example.com/{round}/{number}")),
                        ..LinkChanges::default()
                    };
                    let changed = terse.links().update(&workspace, link.id, changes).await;
                    changed.expect("every edit takes effect");
                })
            })
            .collect();
        for edit in edits {
            edit.await.unwrap();
        }
        let stored = t.terse.links().get(&t.workspace, link.id).await.unwrap();
        let next = target(&t, "/contended").await;
        assert!(
            leads_to(&next, &stored.target_url),
            "{next:?} is not {}",
            stored.target_url
        );
    }
}

/// Asks until it is answered as wanted: memory is refreshed behind the visitor's back.
async fn comes_to(t: &Installation, path: &str, wanted: impl Fn(&Resolution) -> bool) -> bool {
    for _ in 0..500 {
        if wanted(&target(t, path).await) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    false
}

async fn a_link_that_the_database_does_not_know_any_more_is_forgotten(t: Installation) {
    // As after going back to a backup that is older than the link.
    let link = t.link("restored").await;
    target(&t, "/restored").await;
    t.folded().await;
    t.sql("DELETE FROM link_counters").await;
    t.sql("DELETE FROM tail").await;
    t.sql("DELETE FROM links").await;
    let gone = t.terse.links().get(&t.workspace, link.id).await;
    assert!(gone.is_err());
    t.clock.advance(Duration::from_secs(31));
    assert!(comes_to(&t, "/restored", |found| *found == Resolution::NotFound).await);
}

async fn a_clock_that_was_set_back_does_not_keep_an_old_target_in_force(t: Installation) {
    t.link("elsewhere").await;
    target(&t, "/elsewhere").await;
    t.clock.set(t.now().minus(Duration::from_hours(2)));
    // As another node changes it.
    t.sql("UPDATE links SET target_url = 'https://example.com/new', version = version + 1")
        .await;
    let new = |found: &Resolution| leads_to(found, "https://example.com/new");
    assert!(comes_to(&t, "/elsewhere", new).await);
}
