//! What a node's database has.

use std::error::Error;
use std::time::{Duration, Instant};

use secrecy::SecretString;
use terse_core::analytics::AnalyticsQuery;
use terse_core::model::{Fact, Origin};
use terse_core::{DatabaseUrl, Terse};

use super::{EMAIL, Node, PASSWORD};

impl Node {
    /// The ids of all clicks in the database. The server must be stopped.
    pub(crate) fn counted_ids(&self) -> Vec<String> {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            match runtime.block_on(self.read_ids()) {
                Ok(ids) => return ids,
                // A machine with much else to do does not open a database in time.
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    async fn read_ids(&self) -> Result<Vec<String>, Box<dyn Error>> {
        let terse = Terse::builder()
            .database(self.database())
            .spool_dir(self.dir.path().join("reader-spool"))
            .public_url("http://localhost")
            .open()
            .await?;
        let report = terse.verify().await?;
        assert!(report.is_consistent(), "{report:?}");
        let accounts = terse.accounts();
        let (password, origin) = (SecretString::from(PASSWORD), Origin::default());
        let grant = accounts.sign_in(EMAIL, &password, &origin).await?;
        let standing = accounts.authenticate(grant.session, grant.user, None);
        let workspace = standing.await?.workspace;
        // Long before any test, and long after.
        let query = AnalyticsQuery {
            from: Some("2000-01-01T00:00:00Z".to_owned()),
            to: Some("2999-01-01T00:00:00Z".to_owned()),
            include: Some("bots,previews".to_owned()),
            ..AnalyticsQuery::default()
        };
        let mut export = terse.analytics().export(&workspace, query).await?;
        let mut ids = Vec::new();
        while let Some(clicks) = export.next().await? {
            let clicks = clicks.iter();
            ids.extend(clicks.map(|click| click.fact(Fact::UtmContent).to_owned()));
        }
        terse.close().await;
        Ok(ids)
    }

    /// The database that the server uses.
    fn database(&self) -> DatabaseUrl {
        let url = self
            .settings
            .iter()
            .rfind(|(name, _)| name == "TERSE_DATABASE_URL");
        match url {
            Some((_, url)) => url.parse().unwrap(),
            None => DatabaseUrl::Sqlite(self.data().join("terse.db")),
        }
    }
}
