use super::*;
use crate::model::{LinkState, ManualClock};
use crate::store::{DatabaseUrl, Db, PoolPurpose};

pub(super) fn version(version: i64) -> LinkRow {
    let at = Timestamp::MIN;
    LinkRow {
        id: LinkId::from_number(1),
        workspace_id: WorkspaceId::from_number(1),
        visitor_epoch: None,
        domain_id: DomainId::from_number(1),
        host: "go.example".to_owned(),
        slug: "raced".to_owned(),
        target_url: "https://example.com/".to_owned(),
        title: None,
        notes: None,
        state: LinkState::Active,
        redirect_status: 302,
        forward_query: true,
        starts_at: None,
        expires_at: None,
        max_clicks: None,
        version,
        created_at: at,
        updated_at: at,
        created_by: None,
        humans: 0,
        last_clicked_at: None,
        tags: Vec::new(),
    }
}

#[test]
fn another_visitor_epoch_makes_another_destination() {
    let (row, now) = (version(1), Timestamp::MIN);
    let destination = Destination::of(&row, now);
    assert!(destination.is_as(&row));
    let changed = LinkRow {
        visitor_epoch: Some(crate::model::VisitorEpoch::Day),
        ..row
    };
    assert!(!destination.is_as(&changed));
}

#[tokio::test]
async fn what_was_read_or_changed_before_its_workspace_is_forgotten_does_not_come_into_force() {
    let dir = tempfile::tempdir().unwrap();
    let resolver = resolver(&dir).await;
    let domain = DomainId::from_number(1);
    let key = SlugKey {
        domain,
        folded: "raced".into(),
    };
    let kept = || resolver.present.get(&key.borrowed()).is_some();
    resolver.changing(domain, "raced").published(&version(1));
    resolver.forget_workspace(WorkspaceId::from_number(2));
    assert!(kept(), "another workspace's");
    let changing = resolver.changing(domain, "raced");
    let load = Load::default();
    let loads = resolver.under_way().loads.insert(key.clone(), load.clone());
    assert!(loads.is_none());
    resolver.forget_workspace(WorkspaceId::from_number(1));
    assert!(!kept());
    resolver.finish(&key, &load, Ok(Some(version(1)))).unwrap();
    changing.published(&version(2));
    assert!(!kept(), "the database is asked");
}

async fn resolver(dir: &tempfile::TempDir) -> Arc<Resolver> {
    let url = DatabaseUrl::Sqlite(dir.path().join("terse.db"));
    let store = Store::connect(&url, PoolPurpose::Requests).await.unwrap();
    let clock = Arc::new(ManualClock::at(Timestamp::MIN));
    Arc::new(Resolver::new(store, clock, None))
}

#[tokio::test]
async fn an_older_change_that_is_published_late_does_not_come_into_force() {
    let dir = tempfile::tempdir().unwrap();
    let resolver = resolver(&dir).await;
    let change = || resolver.changing(DomainId::from_number(1), "raced");
    let kept = || {
        let key = SlugRef {
            domain: DomainId::from_number(1),
            folded: "raced",
        };
        resolver.present.get(&key).map(|kept| kept.version)
    };
    let (older, newer, failing) = (change(), change(), change());
    newer.published(&version(3));
    drop(failing);
    older.published(&version(2));
    assert_eq!(kept(), None, "the database is asked");
    change().published(&version(4));
    assert_eq!(kept(), Some(4));
}

#[tokio::test]
async fn loads_that_nobody_waits_for_any_more_are_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let resolver = resolver(&dir).await;
    let Db::Sqlite(pool) = &resolver.store.db else {
        panic!("not SQLite");
    };
    // While all connections are taken, no load gets on.
    let mut taken = Vec::new();
    while let Ok(Ok(connection)) =
        tokio::time::timeout(Duration::from_millis(100), pool.acquire()).await
    {
        taken.push(connection);
    }
    let visit = |slug: &str| {
        let slug = SlugKey {
            domain: DomainId::from_number(1),
            folded: slug.into(),
        };
        let resolver = Arc::clone(&resolver);
        tokio::spawn(async move { resolver.load(slug).await })
    };
    let listed = || resolver.under_way().loads.len();
    let leaving: Vec<_> = (0..50).map(|slug| visit(&slug.to_string())).collect();
    let (first, second) = (visit("shared"), visit("shared"));
    while listed() < 51 {
        tokio::task::yield_now().await;
    }
    for visit in leaving.into_iter().chain([first]) {
        visit.abort();
        assert!(visit.await.is_err());
    }
    assert_eq!(listed(), 1, "the second visitor still waits");
    second.abort();
    assert!(second.await.is_err());
    assert_eq!(listed(), 0);
}
