//! Two nodes of one URL shortener, here in one process: links, figures and click limits are shared by way of
//! PostgreSQL, and each node has a spool of its own.
//!
//! `DATABASE_URL=postgres://… cargo run -p terse-core --example cluster`

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use secrecy::SecretString;
use terse_core::analytics::AnalyticsQuery;
use terse_core::classify::RequestFacts;
use terse_core::model::{Actor, InstanceRole, NewLink, NewUser, Origin, WorkspaceId};
use terse_core::spool::Durability;
use terse_core::{DatabaseUrl, Resolution, Terse};

const BROWSER: &str = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) \
     Version/18.0 Safari/605.1.15";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = std::env::var("DATABASE_URL").context("DATABASE_URL names a PostgreSQL database")?;
    let database: DatabaseUrl = url.parse()?;
    let dir = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "cluster-data".to_owned());
    let one = node(&database, &format!("{dir}/one")).await?;
    let two = node(&database, &format!("{dir}/two")).await?;

    let workspace = workspace(&one).await?;
    let launch = NewLink::to("https://example.com/a").alias("launch");
    one.links().create(&workspace, launch).await?;
    let few = NewLink {
        max_clicks: Some(3),
        ..NewLink::to("https://example.com/b").alias("few")
    };
    one.links().create(&workspace, few).await?;

    // A link made on one node is followed on both.
    for terse in [&one, &two] {
        if !is_redirect(terse, "/launch").await? {
            bail!("a node does not know the link");
        }
    }
    // A limit holds for both together.
    let mut followed = 0;
    for terse in [&one, &two, &one, &two, &one] {
        followed += u32::from(is_redirect(terse, "/few").await?);
    }
    say(&format!("the limited link was followed {followed} times"));

    // Either node has the figures of both.
    let clicks = clicks_once_counted(&two, workspace, 5).await?;
    say(&format!("node two knows of {clicks} clicks"));
    say(&format!(
        "consistent: {}",
        one.verify().await?.is_consistent()
    ));
    one.close().await;
    two.close().await;
    Ok(())
}

async fn node(database: &DatabaseUrl, spool: &str) -> anyhow::Result<Terse> {
    let terse = Terse::builder()
        .database(database.clone())
        // Each node's own, on a disk of its own.
        .spool_dir(spool)
        .public_url("http://localhost")
        // An answered click survives the loss of its node.
        .durability(Durability::Node)
        .open()
        .await?;
    Ok(terse)
}

async fn is_redirect(terse: &Terse, path: &str) -> anyhow::Result<bool> {
    let facts = RequestFacts {
        user_agent: BROWSER.as_bytes(),
        ..RequestFacts::of(IpAddr::V4(Ipv4Addr::LOCALHOST))
    };
    let answer = terse.resolve("localhost", path, &facts).await?;
    Ok(matches!(answer, Resolution::Redirect(_)))
}

async fn clicks_once_counted(
    terse: &Terse,
    workspace: WorkspaceId,
    expected: i64,
) -> anyhow::Result<i64> {
    let begun = Instant::now();
    loop {
        let query = AnalyticsQuery::default();
        let summary = terse.analytics().summary(&workspace, query, None).await?;
        if summary.clicks >= expected || begun.elapsed() > Duration::from_secs(10) {
            return Ok(summary.clicks);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The workspace of a user whom this program makes.
async fn workspace(terse: &Terse) -> anyhow::Result<WorkspaceId> {
    let password = SecretString::from("an embedded password");
    let user = NewUser {
        email: "owner@localhost".to_owned(),
        password: password.clone(),
        role: InstanceRole::Admin,
        name: None,
    };
    terse.accounts().create_user(user, &Actor::system()).await?;
    let grant = terse
        .accounts()
        .sign_in("owner@localhost", &password, &Origin::default())
        .await?;
    let principal = terse
        .accounts()
        .authenticate(grant.session, grant.user, None)
        .await;
    Ok(principal
        .context("the session was made a moment ago")?
        .workspace)
}

#[expect(clippy::print_stdout, reason = "an example tells what it does")]
fn say(line: &str) {
    println!("{line}");
}
