use super::*;
use crate::model::OsEntropy;
use crate::store::{DatabaseUrl, PoolPurpose};

const SLUG: &str = "slug";

/// One node of an installation of its own, on the Redis of all tests; `None` only when this run was told
/// to do without.
struct Node {
    shared: Arc<Shared>,
    url: RedisUrl,
    _background: Background,
    _dir: tempfile::TempDir,
}

impl Node {
    async fn start() -> Option<Self> {
        let Ok(url) = std::env::var("TERSE_TEST_REDIS_URL") else {
            assert!(
                std::env::var_os("TERSE_TEST_SQLITE_ONLY").is_some(),
                "TERSE_TEST_REDIS_URL is not set: run the tests by scripts/test"
            );
            return None;
        };
        let url: RedisUrl = url.parse().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let database = DatabaseUrl::Sqlite(dir.path().join("terse.db"));
        let store = Store::connect(&database, PoolPurpose::Requests)
            .await
            .unwrap();
        store.migrate_up().await.unwrap();
        let (shared, announcer) = Shared::prepare(&url, &store, Arc::new(OsEntropy))
            .await
            .unwrap();
        let authorization = Arc::clone(&store.authorization);
        let background = shared.start(announcer, authorization, |_| {}).await;
        Some(Self {
            shared,
            url,
            _background: background,
            _dir: dir,
        })
    }

    async fn ticket(&self) -> Ticket {
        match self.shared.look_up(DomainId::from_number(1), SLUG).await {
            Known::Nothing(ticket) => ticket,
            other => panic!("{other:?}"),
        }
    }

    /// The text that readers get.
    async fn text(&self) -> Option<String> {
        self.shared.finish().await;
        match self.shared.look_up(DomainId::from_number(1), SLUG).await {
            Known::Entry(text, left) => {
                assert!(left <= Duration::from_secs(30));
                Some(text)
            }
            Known::Absent(left) => {
                assert!(left <= Duration::from_secs(5));
                Some("absent".to_owned())
            }
            Known::Nothing(_) => None,
            Known::Away => panic!("Redis is away"),
        }
    }

    /// Writes behind everybody's back.
    async fn write(&self, key: &str, value: &[u8], millis: Option<u64>) {
        let mut set = deadpool_redis::redis::cmd("SET");
        set.arg(key).arg(value);
        if let Some(millis) = millis {
            set.arg("PX").arg(millis);
        }
        let mut commands = pipe();
        commands.add_command(set);
        Redis::new(&self.url)
            .unwrap()
            .probe(&commands)
            .await
            .unwrap();
    }
}

fn version(version: i64) -> Copy {
    Copy {
        domain: DomainId::from_number(1),
        slug: SLUG.into(),
        version,
        text: (version > 0).then(|| format!("v{version}")),
        keep_for: Duration::from_secs(if version > 0 { 30 } else { 5 }),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_load_never_replaces_a_newer_entry() {
    let Some(node) = Node::start().await else {
        return;
    };
    let (early, late) = (node.ticket().await, node.ticket().await);
    node.shared.offer(node.ticket().await, version(0));
    assert_eq!(node.text().await.as_deref(), Some("absent"));
    node.shared.changed(version(2));
    node.shared.offer(early, version(1));
    assert_eq!(node.text().await.as_deref(), Some("v2"));
    node.shared.offer(late, version(0));
    node.shared.changed(version(1));
    assert_eq!(node.text().await.as_deref(), Some("v2"));
    node.shared.changed(Copy {
        text: None,
        ..version(3)
    });
    assert_eq!(node.text().await, None, "only its version is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_this_node_changed_is_never_read_as_it_was() {
    let Some(node) = Node::start().await else {
        return;
    };
    for n in 1..=200 {
        node.shared.changed(version(n));
        match node.shared.look_up(DomainId::from_number(1), SLUG).await {
            Known::Entry(text, _) => assert_eq!(text, format!("v{n}")),
            Known::Away => {}
            other => panic!("{n}: {other:?}"),
        }
        if n % 2 == 0 {
            assert_eq!(node.text().await, Some(format!("v{n}")));
        }
    }
    node.shared.renewed(News::Anything);
    let known = node.shared.look_up(DomainId::from_number(1), SLUG).await;
    assert!(
        matches!(known, Known::Away | Known::Nothing(_)),
        "{known:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_loads_and_changes_beside_each_other_the_newest_stays() {
    let Some(node) = Node::start().await else {
        return;
    };
    let node = Arc::new(node);
    let generation = node.ticket().await.generation;
    let mut racing = Vec::new();
    for n in 1..=50 {
        let (node, generation) = (Arc::clone(&node), generation.clone());
        racing.push(tokio::spawn(async move {
            // Fifty connections' worth of disorder, beside the one queue.
            let redis = Redis::new(&node.url).unwrap();
            let mut commands = pipe();
            let entry = node.shared.names.entry(DomainId::from_number(1), SLUG);
            let text = format!("v{n}");
            let keeping = scripts::Keeping {
                entry: &entry,
                generations: &node.shared.names.generations,
                generation: &generation,
                version: n,
                text: &text,
                millis: 30_000,
            };
            if n % 2 == 0 {
                commands.add_command(keeping.offer());
            } else {
                commands.add_command(keeping.change(&node.shared.names.channel, ""));
            }
            redis.probe(&commands).await.unwrap();
        }));
    }
    for one in racing {
        one.await.unwrap();
    }
    assert_eq!(node.text().await.as_deref(), Some("v50"));
}

#[tokio::test(flavor = "multi_thread")]
async fn loads_that_began_before_everything_was_forgotten_are_not_kept() {
    let Some(node) = Node::start().await else {
        return;
    };
    let ticket = node.ticket().await;
    node.shared.changed(version(7));
    node.shared.renewed(News::Anything);
    assert_eq!(node.text().await, None);
    node.shared.offer(ticket, version(6));
    assert_eq!(node.text().await, None);
    node.shared.offer(node.ticket().await, version(8));
    assert_eq!(node.text().await.as_deref(), Some("v8"));
    // After a flush there is another generation.
    let ticket = Ticket {
        generation: "0123456789abcdef".to_owned(),
    };
    node.shared.offer(ticket, version(9));
    assert_eq!(node.text().await.as_deref(), Some("v8"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_unknown_outcome_keeps_loads_out() {
    let Some(node) = Node::start().await else {
        return;
    };
    let ticket = node.ticket().await;
    node.shared
        .perhaps_changed(DomainId::from_number(1), SLUG.into());
    node.shared.offer(ticket, version(1));
    assert_eq!(node.text().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_or_without_an_end_counts_as_nothing() {
    let Some(node) = Node::start().await else {
        return;
    };
    let generation = node.ticket().await.generation;
    let entry = node.shared.names.entry(DomainId::from_number(1), SLUG);
    let good = format!("{generation} 1 text");
    for (value, millis) in [
        (good.as_bytes(), None),
        (b"", Some(9_000)),
        (b"\xff\xfe", Some(9_000)),
        (generation.as_bytes(), Some(9_000)),
        (format!("{generation} x text").as_bytes(), Some(9_000)),
        (b"another 1 text", Some(9_000)),
    ] {
        node.write(&entry, value, millis).await;
        assert_eq!(node.text().await, None, "{value:?}");
    }
    node.write(&entry, good.as_bytes(), Some(9_000)).await;
    assert_eq!(node.text().await.as_deref(), Some("text"));
}
