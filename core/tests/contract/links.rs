use terse_core::links::LinkError;
use terse_core::model::{Change, LinkChanges, LinkStatus, NewLink, RedirectStatus};

use crate::fixture::{Installation, on_both_databases, sign_up};

on_both_databases![
    a_created_link_is_read_back_as_it_was_asked_for,
    every_refused_field_is_named_and_nothing_is_stored,
    an_alias_is_taken_in_any_case,
    a_deleted_slug_is_retired_for_good,
    a_link_is_found_by_its_short_url,
    a_change_leaves_what_it_does_not_name,
    a_link_of_another_workspace_does_not_exist,
    of_fifty_parallel_creations_of_one_alias_one_succeeds,
    fifty_parallel_changes_of_one_link_all_take_effect,
    only_administrators_block_and_unblock,
    the_status_follows_the_clock,
];

async fn a_created_link_is_read_back_as_it_was_asked_for(t: Installation) {
    let created = t
        .create(NewLink {
            target_url: "https://Example.com:443/a".to_owned(),
            slug: Some("Launch".to_owned()),
            title: Some("  Our launch ".to_owned()),
            notes: Some("two\nlines".to_owned()),
            tags: vec!["b".to_owned(), "a".to_owned(), "b".to_owned()],
            redirect_status: Some(308),
            forward_query: Some(false),
            max_clicks: Some(10),
            ..NewLink::default()
        })
        .await;
    assert_eq!(created.short_url, "https://go.example/Launch");
    assert_eq!(created.target_url, "https://example.com/a");
    assert_eq!(created.title.as_deref(), Some("Our launch"));
    assert_eq!(created.tags, ["a", "b"]);
    assert_eq!(created.redirect_status, RedirectStatus::PermanentRedirect);
    assert_eq!(created.status, LinkStatus::Active);
    assert_eq!((created.clicks, created.created_at), (0, t.now()));
    let read = t.terse.links().get(&t.workspace, created.id).await.unwrap();
    assert_eq!(read, created);
}

async fn every_refused_field_is_named_and_nothing_is_stored(t: Installation) {
    let refused = NewLink {
        target_url: "javascript:alert(1)".to_owned(),
        slug: Some("api".to_owned()),
        domain: Some("other.example".to_owned()),
        title: Some("a\0b".to_owned()),
        notes: Some("n".repeat(4_001)),
        tags: vec![String::new()],
        redirect_status: Some(300),
        starts_at: Some(t.now()),
        expires_at: Some(t.now()),
        max_clicks: Some(0),
        ..NewLink::default()
    };
    let error = t
        .terse
        .links()
        .create(&t.workspace, refused)
        .await
        .unwrap_err();
    let LinkError::Refused(errors) = error else {
        panic!("{error:?}");
    };
    let named: Vec<_> = errors.iter().map(|e| (e.field, e.code)).collect();
    assert_eq!(
        named,
        [
            ("target_url", "url_scheme_not_allowed"),
            ("slug", "slug_reserved"),
            ("domain", "domain_unknown"),
            ("title", "text_control_character"),
            ("notes", "text_too_long"),
            ("tags", "tag_empty"),
            ("redirect_status", "redirect_status_unknown"),
            ("expires_at", "expires_before_start"),
            ("max_clicks", "max_clicks_out_of_range"),
        ]
    );
    let page = t
        .terse
        .links()
        .list(&t.workspace, terse_core::model::LinkFilter::default())
        .await
        .unwrap();
    assert!(page.items.is_empty());
}

async fn an_alias_is_taken_in_any_case(t: Installation) {
    t.link("Promo").await;
    let again = NewLink::to("https://example.com/").alias("pROMO");
    let error = t
        .terse
        .links()
        .create(&t.workspace, again)
        .await
        .unwrap_err();
    assert!(matches!(error, LinkError::SlugTaken), "{error:?}");
}

async fn a_deleted_slug_is_retired_for_good(t: Installation) {
    let link = t.link("promo").await;
    t.terse.links().delete(&t.workspace, link.id).await.unwrap();
    let other = sign_up(&t.terse, "eve@example.com").await;
    for workspace in [&t.workspace, &other] {
        let again = NewLink::to("https://example.com/").alias("Promo");
        let error = t.terse.links().create(workspace, again).await.unwrap_err();
        assert!(matches!(error, LinkError::SlugRetired), "{error:?}");
    }
    let gone = t
        .terse
        .links()
        .get(&t.workspace, link.id)
        .await
        .unwrap_err();
    assert!(matches!(gone, LinkError::NotFound));
    let gone = t
        .terse
        .links()
        .delete(&t.workspace, link.id)
        .await
        .unwrap_err();
    assert!(matches!(gone, LinkError::NotFound));
}

async fn a_link_is_found_by_its_short_url(t: Installation) {
    let link = t.link("launch").await;
    for url in [
        "https://go.example/launch",
        "http://GO.example:80/LAUNCH/",
        "https://go.example/l%61unch?x=1",
    ] {
        let found = t.terse.links().lookup(&t.workspace, url).await.unwrap();
        assert_eq!(found, link, "{url}");
    }
    for url in [
        "https://go.example/other",
        "https://else.example/launch",
        "https://go.example/",
    ] {
        let error = t.terse.links().lookup(&t.workspace, url).await.unwrap_err();
        assert!(matches!(error, LinkError::NotFound), "{url}");
    }
    let error = t
        .terse
        .links()
        .lookup(&t.workspace, "launch")
        .await
        .unwrap_err();
    assert!(matches!(error, LinkError::Refused(_)));
}

async fn a_change_leaves_what_it_does_not_name(t: Installation) {
    let link = t
        .create(NewLink {
            title: Some("title".to_owned()),
            notes: Some("notes".to_owned()),
            tags: vec!["tag".to_owned()],
            ..NewLink::to("https://example.com/a").alias("launch")
        })
        .await;
    t.clock.advance(std::time::Duration::from_secs(1));
    let changes = LinkChanges {
        target_url: Some("https://example.com/b".to_owned()),
        notes: Change::Clear,
        ..LinkChanges::default()
    };
    let changed = t
        .terse
        .links()
        .update(&t.workspace, link.id, changes)
        .await
        .unwrap();
    assert_eq!(changed.target_url, "https://example.com/b");
    assert_eq!(changed.title.as_deref(), Some("title"));
    assert_eq!(changed.notes, None);
    assert_eq!(changed.tags, ["tag"]);
    assert_eq!(
        (changed.created_at, changed.updated_at),
        (link.created_at, t.now())
    );
    let read = t.terse.links().get(&t.workspace, link.id).await.unwrap();
    assert_eq!(read, changed);
}

async fn a_link_of_another_workspace_does_not_exist(t: Installation) {
    let link = t.link("mine").await;
    let other = sign_up(&t.terse, "eve@example.com").await;
    let links = t.terse.links();
    assert!(matches!(
        links.get(&other, link.id).await,
        Err(LinkError::NotFound)
    ));
    assert!(matches!(
        links.delete(&other, link.id).await,
        Err(LinkError::NotFound)
    ));
    let found = links.lookup(&other, &link.short_url).await;
    assert!(matches!(found, Err(LinkError::NotFound)));
    let changed = links.update(&other, link.id, LinkChanges::default()).await;
    assert!(matches!(changed, Err(LinkError::NotFound)));
    assert_eq!(links.get(&t.workspace, link.id).await.unwrap(), link);
}

async fn of_fifty_parallel_creations_of_one_alias_one_succeeds(t: Installation) {
    let attempts = (0..50).map(|n| {
        let (terse, workspace) = (t.terse.clone(), t.workspace);
        tokio::spawn(async move {
            let new = NewLink::to(format!("https://example.com/{n}")).alias("once");
            terse.links().create(&workspace, new).await
        })
    });
    let mut made = 0;
    for attempt in attempts.collect::<Vec<_>>() {
        match attempt.await.unwrap() {
            Ok(_) => made += 1,
            Err(LinkError::SlugTaken) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!(made, 1);
}

async fn fifty_parallel_changes_of_one_link_all_take_effect(t: Installation) {
    let link = t.link("busy").await;
    // Eight at a time: each retries when another was faster.
    for round in 0..7 {
        let changes = (0..8).map(|n| {
            let (terse, workspace, id) = (t.terse.clone(), t.workspace, link.id);
            tokio::spawn(async move {
                let changes = if n % 2 == 0 {
                    LinkChanges {
                        title: Change::Set(format!("{round}")),
                        ..LinkChanges::default()
                    }
                } else {
                    LinkChanges {
                        notes: Change::Set(format!("{round}")),
                        ..LinkChanges::default()
                    }
                };
                terse.links().update(&workspace, id, changes).await.unwrap();
            })
        });
        for change in changes.collect::<Vec<_>>() {
            change.await.unwrap();
        }
        let read = t.terse.links().get(&t.workspace, link.id).await.unwrap();
        assert_eq!(read.title, Some(round.to_string()));
        assert_eq!(read.notes, Some(round.to_string()));
    }
}

async fn only_administrators_block_and_unblock(t: Installation) {
    let link = t.link("bad").await;
    let status = |status: &str, may_block| LinkChanges {
        status: Some(status.to_owned()),
        may_block,
        ..LinkChanges::default()
    };
    let links = t.terse.links();
    let refused = links
        .update(&t.workspace, link.id, status("blocked", false))
        .await;
    assert!(matches!(refused, Err(LinkError::MayNotBlock)));
    let blocked = links
        .update(&t.workspace, link.id, status("blocked", true))
        .await
        .unwrap();
    assert_eq!(blocked.status, LinkStatus::Blocked);
    let refused = links
        .update(&t.workspace, link.id, status("active", false))
        .await;
    assert!(matches!(refused, Err(LinkError::MayNotBlock)));
    let refused = links
        .update(&t.workspace, link.id, status("expired", true))
        .await;
    assert!(matches!(refused, Err(LinkError::Refused(_))));
}

async fn the_status_follows_the_clock(t: Installation) {
    let hour = std::time::Duration::from_hours(1);
    let link = t
        .create(NewLink {
            starts_at: Some(t.now().plus(hour)),
            expires_at: Some(t.now().plus(2 * hour)),
            ..NewLink::to("https://example.com/")
        })
        .await;
    assert_eq!(link.slug.len(), 7);
    let status = async || {
        t.terse
            .links()
            .get(&t.workspace, link.id)
            .await
            .unwrap()
            .status
    };
    assert_eq!(status().await, LinkStatus::Scheduled);
    t.clock.advance(hour);
    assert_eq!(status().await, LinkStatus::Active);
    t.clock.advance(hour);
    assert_eq!(status().await, LinkStatus::Expired);
}
