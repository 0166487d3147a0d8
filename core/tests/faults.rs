//! A database that does not answer: redirects go on, and every click is counted in the end.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use secrecy::SecretString;
use sqlx::Connection as _;
use terse_core::classify::RequestFacts;
use terse_core::links::LinkError;
use terse_core::model::{
    Clock, InstanceRole, NewLink, NewUser, SystemClock, Timestamp, WorkspaceId,
};
use terse_core::{NotReady, Resolution, Terse};

const HOST: &str = "localhost";

fn person() -> RequestFacts<'static> {
    RequestFacts {
        user_agent: b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
        ..RequestFacts::of(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }
}

async fn workspace(terse: &Terse) -> WorkspaceId {
    let password = SecretString::from("correct horse battery");
    let new = NewUser {
        email: "ada@example.com".to_owned(),
        password: password.clone(),
        role: InstanceRole::User,
        name: None,
    };
    terse
        .accounts()
        .create_user(new, &terse_core::model::Actor::system())
        .await
        .unwrap();
    let grant = terse
        .accounts()
        .sign_in(
            "ada@example.com",
            &password,
            &terse_core::model::Origin::default(),
        )
        .await
        .unwrap();
    terse
        .accounts()
        .authenticate(grant.session, grant.user, None)
        .await
        .unwrap()
        .workspace
}

async fn folded(terse: &Terse) {
    let waited = tokio::time::timeout(Duration::from_mins(1), async {
        while terse.status().spool.pending > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.expect("clicks are folded");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_is_locked_known_links_redirect_and_every_click_is_counted_after() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("terse.db");
    let terse = Terse::builder().sqlite(&path).open().await.unwrap();
    let workspace = workspace(&terse).await;
    let create = |slug: &str| {
        let new = NewLink::to("https://example.com/").alias(slug);
        let terse = terse.clone();
        async move { terse.links().create(&workspace, new).await }
    };
    create("known").await.unwrap();
    let limited = NewLink {
        max_clicks: Some(5),
        ..NewLink::to("https://example.com/").alias("limited")
    };
    terse.links().create(&workspace, limited).await.unwrap();

    // As a stuck administrator's shell would: nobody else can write.
    let url = format!("sqlite:{}", path.display());
    let mut stuck = sqlx::SqliteConnection::connect(&url).await.unwrap();
    sqlx::query("BEGIN IMMEDIATE")
        .execute(&mut stuck)
        .await
        .unwrap();
    let long = std::env::var_os("TERSE_TEST_ALL").is_some();
    let until = Instant::now() + Duration::from_secs(if long { 30 } else { 4 });
    let mut answered = 0;
    while Instant::now() < until {
        let begun = Instant::now();
        let answer = terse.resolve(HOST, "/known", &person()).await.unwrap();
        assert!(matches!(answer, Resolution::Redirect(_)));
        assert!(
            begun.elapsed() < Duration::from_secs(1),
            "a redirect waited for the database"
        );
        answered += 1;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let begun = Instant::now();
    let refused = create("new").await;
    assert!(matches!(refused, Err(LinkError::Store(error)) if error.is_unavailable()));
    assert!(
        terse.resolve(HOST, "/limited", &person()).await.is_err(),
        "no slot without the database"
    );
    assert!(
        begun.elapsed() < Duration::from_secs(6),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(terse.status().spool.pending, answered);
    assert_eq!(
        terse.ready().await,
        Ok::<(), NotReady>(()),
        "reading still works"
    );

    sqlx::query("ROLLBACK").execute(&mut stuck).await.unwrap();
    folded(&terse).await;
    let link = terse
        .links()
        .lookup(&workspace, "http://localhost:8080/known")
        .await
        .unwrap();
    assert_eq!(u64::try_from(link.clicks), Ok(answered));
    assert!(terse.verify().await.unwrap().is_consistent());
    terse.close().await;
}

/// A clock that breaks on one thread once it is told to.
#[derive(Debug, Default)]
struct Trap {
    sprung_on: std::sync::Mutex<Option<&'static str>>,
}

impl Clock for Trap {
    fn now(&self) -> Timestamp {
        let here = std::thread::current();
        let trap = *self.sprung_on.lock().unwrap();
        assert!(trap.is_none() || here.name() != trap, "the trap is sprung");
        SystemClock.now()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_death_of_a_thread_that_clicks_depend_on_is_told_at_once() {
    for thread in ["terse-fold", "terse-spool"] {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(Trap::default());
        let terse = Terse::builder()
            .sqlite(dir.path().join("terse.db"))
            .public_url("http://localhost")
            .clock(Arc::clone(&clock) as Arc<dyn Clock>)
            .open()
            .await
            .unwrap();
        let healthy = tokio::time::timeout(Duration::from_millis(300), terse.failed()).await;
        assert!(healthy.is_err(), "nothing has died yet");
        *clock.sprung_on.lock().unwrap() = Some(thread);
        tokio::time::timeout(Duration::from_secs(30), terse.failed())
            .await
            .unwrap_or_else(|_| panic!("the death of {thread} was not told"));
        *clock.sprung_on.lock().unwrap() = None;
        terse.close().await;
    }
}
