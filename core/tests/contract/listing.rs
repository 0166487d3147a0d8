use std::time::Duration;

use terse_core::links::LinkError;
use terse_core::model::{LinkChanges, LinkFilter, NewLink};

use crate::fixture::{Installation, on_both_databases, sign_up};

on_both_databases![
    pages_follow_each_other_without_gap_or_repetition,
    filters_select_what_they_say,
    search_takes_wildcards_literally,
    each_status_filter_agrees_with_the_shown_status,
    bad_filters_are_refused_by_name,
];

async fn slugs(t: &Installation, filter: LinkFilter) -> Vec<String> {
    let page = t.terse.links().list(&t.workspace, filter).await.unwrap();
    page.items.into_iter().map(|link| link.slug).collect()
}

async fn pages_follow_each_other_without_gap_or_repetition(t: Installation) {
    for n in 0..23 {
        t.link(&format!("s{n:02}")).await;
        if n % 3 == 0 {
            // Several links share a moment: the id decides among them.
            t.clock.advance(Duration::from_secs(1));
        }
    }
    for sort in ["created_at", "updated_at", "clicks", "slug"] {
        for order in ["asc", "desc"] {
            let mut seen = Vec::new();
            let mut cursor = None;
            loop {
                let filter = LinkFilter {
                    sort: Some(sort.to_owned()),
                    order: Some(order.to_owned()),
                    limit: Some(5),
                    cursor: cursor.clone(),
                    ..LinkFilter::default()
                };
                let page = t.terse.links().list(&t.workspace, filter).await.unwrap();
                seen.extend(page.items.into_iter().map(|link| link.slug));
                cursor = page.next_cursor;
                if cursor.is_none() {
                    break;
                }
            }
            let all = LinkFilter {
                sort: Some(sort.to_owned()),
                order: Some(order.to_owned()),
                ..LinkFilter::default()
            };
            assert_eq!(seen, slugs(&t, all).await, "{sort} {order}");
            seen.sort();
            seen.dedup();
            assert_eq!(seen.len(), 23, "{sort} {order}");
        }
    }
}

async fn filters_select_what_they_say(t: Installation) {
    let start = t.now();
    t.create(NewLink {
        tags: vec!["news".to_owned()],
        ..NewLink::to("https://example.com/alpha").alias("a")
    })
    .await;
    t.clock.advance(Duration::from_mins(1));
    t.create(NewLink {
        title: Some("The Beta Page".to_owned()),
        ..NewLink::to("https://example.com/").alias("b")
    })
    .await;
    let other = sign_up(&t.terse, "eve@example.com").await;
    let foreign = NewLink::to("https://example.com/alpha").alias("foreign");
    t.terse.links().create(&other, foreign).await.unwrap();

    let with = |change: fn(&mut LinkFilter)| {
        let mut filter = LinkFilter::default();
        change(&mut filter);
        filter
    };
    assert_eq!(slugs(&t, with(|_| ())).await, ["b", "a"]);
    assert_eq!(
        slugs(&t, with(|f| f.search = Some("ALPHA".into()))).await,
        ["a"]
    );
    assert_eq!(
        slugs(&t, with(|f| f.search = Some("beta".into()))).await,
        ["b"]
    );
    assert_eq!(
        slugs(&t, with(|f| f.tag = Some("news".into()))).await,
        ["a"]
    );
    assert_eq!(
        slugs(&t, with(|f| f.domain = Some("GO.example".into())))
            .await
            .len(),
        2
    );
    assert!(
        slugs(&t, with(|f| f.domain = Some("x.example".into())))
            .await
            .is_empty()
    );
    let after = LinkFilter {
        created_after: Some(start),
        ..LinkFilter::default()
    };
    assert_eq!(slugs(&t, after).await, ["b"]);
    let before = LinkFilter {
        created_before: Some(t.now()),
        ..LinkFilter::default()
    };
    assert_eq!(slugs(&t, before).await, ["a"]);
}

async fn search_takes_wildcards_literally(t: Installation) {
    t.create(NewLink {
        title: Some("100% sure_thing".to_owned()),
        ..NewLink::to("https://example.com/").alias("literal")
    })
    .await;
    t.link("other").await;
    for search in ["%", "_", "100%", "e_t"] {
        let filter = LinkFilter {
            search: Some(search.to_owned()),
            ..LinkFilter::default()
        };
        assert_eq!(slugs(&t, filter).await, ["literal"], "{search}");
    }
    for search in ["\\", "q'||1", "a\" OR", "1=1;--"] {
        let filter = LinkFilter {
            search: Some(search.to_owned()),
            ..LinkFilter::default()
        };
        assert!(slugs(&t, filter).await.is_empty(), "{search}");
    }
}

async fn each_status_filter_agrees_with_the_shown_status(t: Installation) {
    let hour = Duration::from_hours(1);
    t.link("active").await;
    t.create(NewLink {
        starts_at: Some(t.now().plus(hour)),
        ..NewLink::to("https://example.com/").alias("scheduled")
    })
    .await;
    t.create(NewLink {
        expires_at: Some(t.now().plus(Duration::from_millis(1))),
        ..NewLink::to("https://example.com/").alias("expired")
    })
    .await;
    t.clock.advance(Duration::from_millis(1));
    for (slug, status) in [("disabled", "disabled"), ("blocked", "blocked")] {
        let link = t.link(slug).await;
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
    }
    for status in ["active", "scheduled", "expired", "disabled", "blocked"] {
        let filter = LinkFilter {
            status: Some(status.to_owned()),
            ..LinkFilter::default()
        };
        let page = t.terse.links().list(&t.workspace, filter).await.unwrap();
        let shown: Vec<_> = page
            .items
            .iter()
            .map(|link| (link.slug.as_str(), link.status.as_str()))
            .collect();
        assert_eq!(shown, [(status, status)]);
    }
}

async fn bad_filters_are_refused_by_name(t: Installation) {
    let base = LinkFilter::default;
    let cases: Vec<(&str, LinkFilter)> = vec![
        (
            "limit_out_of_range",
            LinkFilter {
                limit: Some(0),
                ..base()
            },
        ),
        (
            "limit_out_of_range",
            LinkFilter {
                limit: Some(201),
                ..base()
            },
        ),
        (
            "limit_out_of_range",
            LinkFilter {
                limit: Some(i64::MAX),
                ..base()
            },
        ),
        (
            "sort_unknown",
            LinkFilter {
                sort: Some("created_at;drop".into()),
                ..base()
            },
        ),
        (
            "sort_unknown",
            LinkFilter {
                sort: Some("password_hash".into()),
                ..base()
            },
        ),
        (
            "order_unknown",
            LinkFilter {
                order: Some("sideways".into()),
                ..base()
            },
        ),
        (
            "status_unknown",
            LinkFilter {
                status: Some("x".into()),
                ..base()
            },
        ),
        (
            "cursor_invalid",
            LinkFilter {
                cursor: Some("forged".into()),
                ..base()
            },
        ),
        (
            "cursor_invalid",
            LinkFilter {
                cursor: Some("bnVsbA".into()),
                ..base()
            },
        ),
        (
            "filter_invalid",
            LinkFilter {
                search: Some("a\0".into()),
                ..base()
            },
        ),
    ];
    for (code, filter) in cases {
        let error = t
            .terse
            .links()
            .list(&t.workspace, filter)
            .await
            .unwrap_err();
        let LinkError::Refused(errors) = error else {
            panic!("{code}: {error:?}");
        };
        assert_eq!(errors[0].code, code);
    }
}
