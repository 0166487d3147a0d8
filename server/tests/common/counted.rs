//! What a node's database has.

use secrecy::SecretString;
use terse_core::analytics::AnalyticsQuery;
use terse_core::model::{Fact, Origin};
use terse_core::{DatabaseUrl, Terse};

use super::{EMAIL, Node, PASSWORD};

impl Node {
    /// The ids of all clicks in the database. The server must be stopped.
    pub(crate) fn counted_ids(&self) -> Vec<String> {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let terse = Terse::builder()
                .database(self.database())
                .spool_dir(self.dir.path().join("reader-spool"))
                .public_url("http://localhost")
                .open()
                .await
                .unwrap();
            let report = terse.verify().await.unwrap();
            assert!(report.is_consistent(), "{report:?}");
            let accounts = terse.accounts();
            let grant = accounts
                .sign_in(EMAIL, &SecretString::from(PASSWORD), &Origin::default())
                .await
                .unwrap();
            let workspace = accounts
                .authenticate(grant.session, grant.user, None)
                .await
                .unwrap()
                .workspace;
            // Long before any test, and long after.
            let query = AnalyticsQuery {
                from: Some("2000-01-01T00:00:00Z".to_owned()),
                to: Some("2999-01-01T00:00:00Z".to_owned()),
                include: Some("bots,previews".to_owned()),
                ..AnalyticsQuery::default()
            };
            let mut export = terse.analytics().export(&workspace, query).await.unwrap();
            let mut ids = Vec::new();
            while let Some(clicks) = export.next().await.unwrap() {
                let clicks = clicks.iter();
                ids.extend(clicks.map(|click| click.fact(Fact::UtmContent).to_owned()));
            }
            terse.close().await;
            ids
        })
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
