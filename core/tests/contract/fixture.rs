//! A fresh installation per test, on the database that the test asks for.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::{Connection as _, Executor as _};
use tempfile::TempDir;
use terse_core::analytics::{AnalyticsQuery, RecordedClick};
use terse_core::classify::RequestFacts;
use terse_core::model::{
    Clock, InstanceRole, Link, ManualClock, NewLink, NewUser, OsEntropy, Timestamp, WorkspaceId,
    random_bytes,
};
use terse_core::{DatabaseUrl, Sealing, Terse, TerseBuilder};

pub(crate) const HOST: &str = "go.example";
pub(crate) const CHROME: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 \
     (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36";
pub(crate) const PASSWORD: &str = "correct horse battery";

/// Runs each body on both databases.
macro_rules! on_both_databases {
    ($($name:ident),+ $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(crate::fixture::Installation::on_sqlite().await).await;
            })+
        }
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                if let Some(installation) = crate::fixture::Installation::on_postgres().await {
                    super::$name(installation).await;
                }
            })+
        }
    };
}
pub(crate) use on_both_databases;

/// An open installation with one user, and what keeps it alive.
pub(crate) struct Installation {
    pub(crate) terse: Terse,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) workspace: WorkspaceId,
    pub(crate) database: DatabaseUrl,
    pub(crate) dir: TempDir,
    sealing: Sealing,
}

/// Chunks of few clicks, made early and merged often.
pub(crate) const SMALL: Sealing = Sealing {
    ripe_clicks: 20,
    ripe_parcels: 4,
    at_once: 50,
    fewest: 5,
    large_tail: 60,
    largest_chunk: 600,
};

impl Installation {
    pub(crate) async fn on_sqlite() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let database = DatabaseUrl::Sqlite(dir.path().join("terse.db"));
        Self::open(dir, database).await
    }

    /// `None` only when this run was told to do without PostgreSQL.
    pub(crate) async fn on_postgres() -> Option<Self> {
        let Ok(server) = std::env::var("TERSE_TEST_POSTGRES_URL") else {
            assert!(
                std::env::var_os("TERSE_TEST_SQLITE_ONLY").is_some(),
                "TERSE_TEST_POSTGRES_URL is not set: run the tests by scripts/test"
            );
            return None;
        };
        let name = format!(
            "terse_{:032x}",
            u128::from_le_bytes(random_bytes(&OsEntropy))
        );
        let mut connection = sqlx::PgConnection::connect(&server).await.unwrap();
        connection
            .execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}")))
            .await
            .unwrap();
        connection.close().await.unwrap();
        let (base, _) = server.rsplit_once('/').unwrap();
        let database = format!("{base}/{name}").parse().unwrap();
        Some(Self::open(tempfile::tempdir().unwrap(), database).await)
    }

    async fn open(dir: TempDir, database: DatabaseUrl) -> Self {
        let clock = Arc::new(ManualClock::at(
            Timestamp::parse("now", "2026-03-15T12:00:00Z").unwrap(),
        ));
        let terse = builder(&dir, &database, &clock).open().await.unwrap();
        let workspace = sign_up(&terse, "ada@example.com").await;
        Self {
            terse,
            clock,
            workspace,
            database,
            dir,
            sealing: Sealing::default(),
        }
    }

    /// The same installation, which seals by another plan from now on.
    pub(crate) async fn sealing(mut self, sealing: Sealing) -> Self {
        self.sealing = sealing;
        self.restarted().await
    }

    /// The same installation after a clean restart.
    pub(crate) async fn restarted(mut self) -> Self {
        self.terse.close().await;
        self.terse = builder(&self.dir, &self.database, &self.clock)
            .sealing(self.sealing)
            .open()
            .await
            .unwrap();
        self
    }

    /// Every stored click, the newest first.
    pub(crate) async fn clicks(&self) -> Vec<RecordedClick> {
        let mut export = self
            .terse
            .analytics()
            .export(&self.workspace, all())
            .await
            .unwrap();
        let mut clicks = Vec::new();
        while let Some(some) = export.next().await.unwrap() {
            clicks.extend(some);
        }
        clicks.sort_by_key(|click| std::cmp::Reverse(click.position));
        clicks
    }

    /// The same installation, with a place file.
    pub(crate) async fn with_places(mut self, file: &Path) -> Self {
        self.terse.close().await;
        self.terse = builder(&self.dir, &self.database, &self.clock)
            .geoip_db(file)
            .open()
            .await
            .unwrap();
        self
    }

    pub(crate) async fn link(&self, slug: &str) -> Link {
        self.create(NewLink::to("https://example.com/target").alias(slug))
            .await
    }

    pub(crate) async fn create(&self, new: NewLink) -> Link {
        self.terse
            .links()
            .create(&self.workspace, new)
            .await
            .unwrap()
    }

    /// Changes the database behind the installation's back.
    pub(crate) async fn sql(&self, statement: &'static str) {
        match &self.database {
            DatabaseUrl::Sqlite(path) => {
                let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
                let mut connection = sqlx::SqliteConnection::connect_with(&options)
                    .await
                    .unwrap();
                connection.execute(statement).await.unwrap();
                connection.close().await.unwrap();
            }
            DatabaseUrl::Postgres(url) => {
                let url = url.expose_secret();
                let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
                connection.execute(statement).await.unwrap();
                connection.close().await.unwrap();
            }
        }
    }

    /// The number that a question to the database is answered with.
    pub(crate) async fn number(&self, question: &'static str) -> i64 {
        self.answer(question.to_owned()).await
    }

    /// The bytes that a question to the database is answered with.
    pub(crate) async fn bytes(&self, question: String) -> Vec<u8> {
        self.answer(question).await
    }

    async fn answer<T>(&self, question: String) -> T
    where
        T: Send + Unpin,
        for<'r> T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
        for<'r> T: sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
    {
        let question = sqlx::AssertSqlSafe(question);
        match &self.database {
            DatabaseUrl::Sqlite(path) => {
                let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
                let mut connection = sqlx::SqliteConnection::connect_with(&options)
                    .await
                    .unwrap();
                let answer = sqlx::query_scalar(question).fetch_one(&mut connection);
                answer.await.unwrap()
            }
            DatabaseUrl::Postgres(url) => {
                let url = url.expose_secret();
                let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
                let answer = sqlx::query_scalar(question).fetch_one(&mut connection);
                answer.await.unwrap()
            }
        }
    }

    /// Changes the database behind the installation's back; the bytes are `$1`.
    pub(crate) async fn sql_with(&self, statement: String, bytes: Option<&[u8]>) {
        let statement = sqlx::AssertSqlSafe(statement);
        match &self.database {
            DatabaseUrl::Sqlite(path) => {
                let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
                let mut connection = sqlx::SqliteConnection::connect_with(&options)
                    .await
                    .unwrap();
                let mut query = sqlx::query(statement);
                if let Some(bytes) = bytes {
                    query = query.bind(bytes);
                }
                query.execute(&mut connection).await.unwrap();
            }
            DatabaseUrl::Postgres(url) => {
                let url = url.expose_secret();
                let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
                let mut query = sqlx::query(statement);
                if let Some(bytes) = bytes {
                    query = query.bind(bytes);
                }
                query.execute(&mut connection).await.unwrap();
            }
        }
    }

    /// Waits until every recorded click is in the database.
    pub(crate) async fn folded(&self) {
        let waited = tokio::time::timeout(Duration::from_secs(20), async {
            while self.terse.status().spool.pending > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        waited.await.expect("clicks are folded within 20 s");
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

pub(crate) fn builder(
    dir: &TempDir,
    database: &DatabaseUrl,
    clock: &Arc<ManualClock>,
) -> TerseBuilder {
    Terse::builder()
        .database(database.clone())
        .spool_dir(dir.path().join("spool"))
        .public_url("https://go.example")
        .clock(Arc::clone(clock) as Arc<dyn Clock>)
}

/// Makes a user; returns their workspace.
pub(crate) async fn sign_up(terse: &Terse, email: &str) -> WorkspaceId {
    let password = SecretString::from(PASSWORD);
    terse
        .accounts()
        .create_user(
            NewUser {
                email: email.to_owned(),
                password: password.clone(),
                role: InstanceRole::User,
                name: None,
            },
            &terse_core::model::Actor::system(),
        )
        .await
        .unwrap();
    let grant = terse
        .accounts()
        .sign_in(email, &password, &terse_core::model::Origin::default())
        .await
        .unwrap();
    assert!(grant.refresh_token.expose_secret().len() >= 43);
    terse
        .accounts()
        .authenticate(grant.session, grant.user, None)
        .await
        .unwrap()
        .workspace
}

/// A question about every click there is.
pub(crate) fn all() -> AnalyticsQuery {
    AnalyticsQuery {
        from: Some("2000-01-01T00:00:00Z".to_owned()),
        ..AnalyticsQuery::default()
    }
}

/// Seals every click as soon as it can, in chunks that are merged when there are several.
pub(crate) const AT_ONCE: Sealing = Sealing {
    ripe_clicks: 1,
    ripe_parcels: 1,
    at_once: 64,
    fewest: 1,
    large_tail: 1,
    largest_chunk: 256,
};

/// A person's browser at 192.0.2.1.
pub(crate) fn person() -> RequestFacts<'static> {
    RequestFacts {
        user_agent: CHROME.as_bytes(),
        accept_language: b"en-GB,en;q=0.9",
        referer: b"https://www.news.example/story",
        ..RequestFacts::of(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)))
    }
}

/// The same from another address.
pub(crate) fn person_at(last: u8) -> RequestFacts<'static> {
    RequestFacts {
        client: IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)),
        ..person()
    }
}
