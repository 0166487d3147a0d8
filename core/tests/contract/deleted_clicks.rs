use std::time::Duration;

use terse_core::classify::RequestFacts;
use terse_core::links::LinkError;
use terse_core::model::{Change, Link, LinkId, NewLink, WorkspaceChanges};
use terse_core::{GoneReason, Resolution};

use crate::fixture::{AT_ONCE, HOST, Installation, all, on_both_databases, person_at, sign_up};
use crate::people::{Person, by};

on_both_databases![
    clicks_in_chunks_are_deleted,
    clicks_in_the_tail_are_deleted,
    later_clicks_count_as_ever,
    deleted_clicks_give_their_slots_back,
    counts_past_the_retention_stay,
    links_of_others_are_left_alone,
    replaced_chunks_are_not_left_readable,
    a_deletion_that_is_broken_off_leaves_figures_that_agree,
    fifty_parallel_visitors_and_deletions_lose_and_double_nothing,
];

async fn click(t: &Installation, path: &str, visitor: u8) -> Resolution {
    t.terse
        .resolve(HOST, path, &person_at(visitor))
        .await
        .unwrap()
}

async fn delete(t: &Installation, link: LinkId) {
    let links = t.terse.links();
    links.delete_clicks(&t.workspace, link).await.unwrap();
}

async fn read(t: &Installation, link: &Link) -> Link {
    t.terse.links().get(&t.workspace, link.id).await.unwrap()
}

async fn verified(t: &Installation) -> i64 {
    let report = t.terse.verify().await.unwrap();
    assert!(report.is_consistent(), "{report:?}");
    report.clicks
}

/// Waits until nothing is left in the tail.
async fn sealed(t: &Installation) {
    t.folded().await;
    let waited = tokio::time::timeout(Duration::from_secs(20), async {
        while t.number("SELECT COUNT(*) FROM tail").await > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.expect("every click is sealed within 20 s");
}

async fn clicks_in_chunks_are_deleted(t: Installation) {
    let t = t.sealing(AT_ONCE).await;
    deleting_leaves_the_others(&t, true).await;
}

async fn clicks_in_the_tail_are_deleted(t: Installation) {
    deleting_leaves_the_others(&t, false).await;
}

async fn deleting_leaves_the_others(t: &Installation, seal: bool) {
    let (one, two) = (t.link("one").await, t.link("two").await);
    for visitor in 1..=20 {
        click(t, "/one", visitor).await;
        click(t, "/two", visitor % 4).await;
        t.clock.advance(Duration::from_hours(2));
    }
    let bot = RequestFacts {
        user_agent: b"curl/8",
        query: Some("utm_source=secret"),
        ..person_at(9)
    };
    t.terse.resolve(HOST, "/one", &bot).await.unwrap();
    t.folded().await;
    if seal {
        sealed(t).await;
    }
    assert_eq!(verified(t).await, 41);
    let before = t.clicks().await;
    delete(t, one.id).await;
    assert_eq!(verified(t).await, 20);
    let left = t.clicks().await;
    let kept: Vec<_> = before.iter().filter(|click| click.link == two.id).collect();
    assert_eq!(left.iter().collect::<Vec<_>>(), kept);
    let (one_now, two_now) = (read(t, &one).await, read(t, &two).await);
    assert_eq!((one_now.clicks, one_now.last_clicked_at), (0, None));
    assert_eq!(two_now.clicks, 20);
    let summary = t.terse.analytics().summary(&t.workspace, all(), None).await;
    let summary = summary.unwrap();
    assert_eq!(
        (summary.clicks, summary.visitors, summary.bots),
        (20, Some(4), 0)
    );
    let sources = t
        .terse
        .analytics()
        .breakdown(&t.workspace, all(), "utm_source", None)
        .await
        .unwrap();
    assert!(sources.rows.iter().all(|row| row.value != "secret"));

    delete(t, one.id).await;
    delete(t, two.id).await;
    assert_eq!(verified(t).await, 0);
    for rows in ["tail", "chunks", "chunk_columns"] {
        let question = format!("SELECT COUNT(*) FROM {rows}");
        assert_eq!(t.number(question.leak()).await, 0, "{rows}");
    }
    let entries = "SELECT COUNT(*) FROM audit_log WHERE action = 'link.delete_clicks'";
    assert_eq!(t.number(entries).await, 3);
}

async fn later_clicks_count_as_ever(t: Installation) {
    let t = t.sealing(AT_ONCE).await;
    let link = t.link("one").await;
    for visitor in 1..=3 {
        click(&t, "/one", visitor).await;
    }
    // They need not be in the database yet.
    delete(&t, link.id).await;
    assert_eq!(read(&t, &link).await.clicks, 0);
    t.clock.advance(Duration::from_millis(1));
    click(&t, "/one", 1).await;
    t.folded().await;
    let now = read(&t, &link).await;
    assert_eq!((now.clicks, now.last_clicked_at), (1, Some(t.now())));
    assert_eq!(verified(&t).await, 1);
}

async fn deleted_clicks_give_their_slots_back(t: Installation) {
    let limited = NewLink {
        max_clicks: Some(2),
        ..NewLink::to("https://example.com/").alias("two-only")
    };
    let link = t.create(limited).await;
    for _ in 0..2 {
        for _ in 0..2 {
            let found = click(&t, "/two-only", 1).await;
            assert!(matches!(found, Resolution::Redirect(_)), "{found:?}");
        }
        for _ in 0..2 {
            let found = click(&t, "/two-only", 1).await;
            assert_eq!(found, Resolution::Gone(GoneReason::Exhausted));
        }
        delete(&t, link.id).await;
    }
    assert_eq!(verified(&t).await, 0);
}

async fn counts_past_the_retention_stay(t: Installation) {
    let t = t.sealing(AT_ONCE).await;
    let (one, two) = (t.link("one").await, t.link("two").await);
    for path in ["/one", "/one", "/two"] {
        click(&t, path, 1).await;
    }
    sealed(&t).await;
    let then = t.now();
    let home = Person::ada(&t).await.at_home().await;
    let changes = WorkspaceChanges {
        retention_days: Change::Set(5),
        ..WorkspaceChanges::default()
    };
    let workspaces = t.terse.workspaces();
    workspaces.update(&home, &by(&home), changes).await.unwrap();
    t.clock.advance(Duration::from_hours(240));
    click(&t, "/one", 1).await;
    sealed(&t).await;
    t.terse.apply_retention().await.unwrap();
    assert_eq!(read(&t, &one).await.clicks, 3);
    for _ in 0..2 {
        delete(&t, one.id).await;
        let left = read(&t, &one).await;
        assert_eq!((left.clicks, left.last_clicked_at), (2, Some(then)));
        assert_eq!(read(&t, &two).await.clicks, 1);
        assert_eq!(verified(&t).await, 3);
    }
}

async fn links_of_others_are_left_alone(t: Installation) {
    let link = t.link("one").await;
    click(&t, "/one", 1).await;
    t.folded().await;
    let eve = sign_up(&t.terse, "eve@example.com").await;
    let refused = t.terse.links().delete_clicks(&eve, link.id).await;
    assert!(matches!(refused, Err(LinkError::NotFound)));
    t.terse.links().delete(&t.workspace, link.id).await.unwrap();
    let refused = t.terse.links().delete_clicks(&t.workspace, link.id).await;
    assert!(matches!(refused, Err(LinkError::NotFound)));
    assert_eq!(verified(&t).await, 1);
}

async fn replaced_chunks_are_not_left_readable(t: Installation) {
    let t = t.sealing(AT_ONCE).await;
    let link = t.link("one").await;
    t.link("two").await;
    for _ in 0..3 {
        click(&t, "/one", 1).await;
        click(&t, "/two", 1).await;
        sealed(&t).await;
    }
    // The day is over: its chunks become one.
    t.clock.advance(Duration::from_hours(24));
    let t = t.sealing(AT_ONCE).await;
    let replaced = "SELECT COUNT(*) FROM chunks WHERE replaced_at IS NOT NULL";
    let waited = tokio::time::timeout(Duration::from_secs(20), async {
        while t.number(replaced).await == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.expect("chunks are merged within 20 s");
    delete(&t, link.id).await;
    assert_eq!(t.number(replaced).await, 0);
    let orphans = "SELECT COUNT(*) FROM chunk_columns c \
                   WHERE NOT EXISTS (SELECT 1 FROM chunks k WHERE k.id = c.id / 64)";
    assert_eq!(t.number(orphans).await, 0);
    assert_eq!(verified(&t).await, 3);
}

async fn a_deletion_that_is_broken_off_leaves_figures_that_agree(t: Installation) {
    let mut t = t.sealing(AT_ONCE).await;
    let (link, kept) = (t.link("one").await, t.link("kept").await);
    for visitor in 0..60 {
        click(&t, "/one", visitor).await;
        click(&t, "/kept", visitor).await;
        t.clock.advance(Duration::from_hours(24));
    }
    sealed(&t).await;
    for patience in [5, 20] {
        let (terse, workspace) = (t.terse.clone(), t.workspace);
        let deleting =
            tokio::spawn(async move { terse.links().delete_clicks(&workspace, link.id).await });
        tokio::time::sleep(Duration::from_millis(patience)).await;
        t = t.sealing(AT_ONCE).await;
        drop(deleting.await.unwrap());
        let left = read(&t, &link).await.clicks;
        assert_eq!(verified(&t).await, 60 + left);
    }
    delete(&t, link.id).await;
    assert_eq!(verified(&t).await, 60);
    let left = read(&t, &link).await;
    assert_eq!((left.clicks, left.last_clicked_at), (0, None));
    assert_eq!(read(&t, &kept).await.clicks, 60);
}

async fn fifty_parallel_visitors_and_deletions_lose_and_double_nothing(t: Installation) {
    let t = t.sealing(AT_ONCE).await;
    let (reset, kept) = (t.link("again").await, t.link("kept").await);
    let visitors = (0..50_u8).map(|visitor| {
        let (terse, workspace, clock) = (t.terse.clone(), t.workspace, t.clock.clone());
        tokio::spawn(async move {
            for n in 0..40 {
                for path in ["/again", "/kept"] {
                    let facts = person_at(visitor);
                    terse.resolve(HOST, path, &facts).await.unwrap();
                }
                clock.advance(Duration::from_millis(1));
                if visitor % 10 == 0 && n % 20 == 10 {
                    let links = terse.links();
                    links.delete_clicks(&workspace, reset.id).await.unwrap();
                }
                if visitor % 10 == 5 && n % 20 == 10 {
                    let report = terse.verify().await.unwrap();
                    assert!(report.is_consistent(), "{report:?}");
                    let summary = terse.analytics().summary(&workspace, all(), None);
                    summary.await.unwrap();
                }
            }
        })
    });
    for visitor in visitors.collect::<Vec<_>>() {
        visitor.await.unwrap();
    }
    t.folded().await;
    assert_eq!(read(&t, &kept).await.clicks, 2_000);
    let left = read(&t, &reset).await.clicks;
    assert!((0..2_000).contains(&left), "{left}");
    assert_eq!(verified(&t).await, 2_000 + left);
    t.clock.advance(Duration::from_millis(1));
    delete(&t, reset.id).await;
    assert_eq!(verified(&t).await, 2_000);
    let reset = read(&t, &reset).await;
    assert_eq!((reset.clicks, reset.last_clicked_at), (0, None));
}
