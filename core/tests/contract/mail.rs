use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use secrecy::ExposeSecret as _;
use sqlx::{Connection as _, Executor as _};
use terse_core::DatabaseUrl;
use terse_core::jobs::LEASE;
use terse_core::mail::{Mail, MailError, Mailer, Sending};
use terse_core::model::{Actor, Job, JobFilter};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::fixture::{Installation, builder, on_both_databases};

on_both_databases![
    a_registration_gets_a_link_whose_token_is_stored_as_a_digest_only,
    a_newer_link_makes_the_older_worthless,
    an_invitation_names_who_invites_where,
    whatever_is_gone_gets_no_mail,
    a_mail_that_could_not_be_sent_is_sent_later_once,
    a_mailer_that_panics_keeps_no_mail_back,
    mails_under_way_are_finished_before_the_end,
    a_mail_that_hangs_at_the_end_is_taken_over,
    two_nodes_send_each_mail_once,
    what_is_queued_here_is_begun_at_once,
    a_mail_that_went_out_while_the_database_was_away_does_not_go_out_again,
];

const REGISTRATION: &str = "INSERT INTO registrations (id, email, email_key, name, password_hash, created_at, expires_at) \
     VALUES (5, 'Eve@example.com', 'eve@example.com', 'Win at evil.example', 'hash', 0, 4102444800000)";
const INVITATION: &str = "INSERT INTO invitations (id, workspace_id, email, email_key, role, invited_by, created_at, expires_at) \
     SELECT 6, workspace_id, 'eve@example.com', 'eve@example.com', 'editor', user_id, 0, 4102444800000 \
     FROM memberships";
const USER_7: &str = "INSERT INTO users (id, email, email_key, password_hash, role, status, created_at, updated_at) \
     VALUES (7, 'bob@example.com', 'bob@example.com', 'hash', 'user', 'active', 0, 0)";
const VERIFICATION: &str = "INSERT INTO jobs (id, kind, payload, state, attempts, run_at, created_at, updated_at) VALUES \
     (50, 'mail', '{\"about\":\"verify_address\",\"registration\":\"0000000000005\"}', 'queued', 0, 0, 0, 0)";
const INVITING: &str = "INSERT INTO jobs (id, kind, payload, state, attempts, run_at, created_at, updated_at) VALUES \
     (60, 'mail', '{\"about\":\"invitation\",\"invitation\":\"0000000000006\"}', 'queued', 0, 0, 0, 0)";
const TWO_RESETS: &str = "INSERT INTO jobs (id, kind, payload, state, attempts, run_at, created_at, updated_at) VALUES \
     (70, 'mail', '{\"about\":\"reset_password\",\"user\":\"0000000000007\"}', 'queued', 0, 0, 0, 0), \
     (71, 'mail', '{\"about\":\"reset_password\",\"user\":\"0000000000007\"}', 'queued', 0, 0, 0, 0)";
const FOR_NOBODY: &str = "INSERT INTO jobs (id, kind, payload, state, attempts, run_at, created_at, updated_at) VALUES \
     (80, 'mail', '{\"about\":\"reset_password\",\"user\":\"0000000000001\"}', 'queued', 0, 0, 0, 0), \
     (81, 'mail', '{\"about\":\"password_changed\",\"user\":\"0000000000001\"}', 'queued', 0, 0, 0, 0), \
     (82, 'mail', '{\"about\":\"verify_address\",\"registration\":\"0000000000001\"}', 'queued', 0, 0, 0, 0), \
     (83, 'mail', '{\"about\":\"invitation\",\"invitation\":\"0000000000001\"}', 'queued', 0, 0, 0, 0)";
const FORTY_MAILS: &str = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40) \
     INSERT INTO jobs (id, kind, payload, state, attempts, run_at, created_at, updated_at) \
     SELECT i, 'mail', '{\"about\":\"no_account\",\"email\":\"' || i || '@example.com\"}', \
     'queued', 0, 0, 0, 0 FROM n";

const FOUR_DEAD: &str = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4) \
     INSERT INTO jobs (id, kind, payload, state, attempts, run_at, created_at, updated_at) \
     SELECT i, 'mail', '{\"about\":\"no_account\",\"email\":\"eve@example.com\"}', \
     'dead', 8, 0, 0, 0 FROM n";

/// What the mailer does with the mails it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    Send,
    /// Takes a second for each.
    Slow,
    Hang,
    /// Refuses the first one.
    RefuseFirst,
    PanicAtFirst,
}

#[derive(Debug)]
struct Desk {
    manner: Manner,
    begun: AtomicUsize,
    sent: UnboundedSender<Mail>,
}

impl Mailer for Desk {
    fn send<'a>(&'a self, mail: &'a Mail) -> Sending<'a> {
        Box::pin(async move {
            let first = self.begun.fetch_add(1, Ordering::SeqCst) == 0;
            match self.manner {
                Manner::RefuseFirst if first => return Err(MailError::new("refused (421)")),
                Manner::PanicAtFirst if first => panic!("the mailer is broken"),
                Manner::Hang => std::future::pending().await,
                Manner::Slow => tokio::time::sleep(Duration::from_secs(1)).await,
                _ => {}
            }
            let _ = self.sent.send(mail.clone());
            Ok(())
        })
    }
}

fn desk(manner: Manner) -> (Arc<Desk>, UnboundedReceiver<Mail>) {
    let (sent, mails) = unbounded_channel();
    let begun = AtomicUsize::new(0);
    let desk = Desk {
        manner,
        begun,
        sent,
    };
    (Arc::new(desk), mails)
}

/// The installation after a restart, with somebody who sends mails.
pub(crate) async fn with_mailer(
    mut t: Installation,
    manner: Manner,
) -> (Installation, UnboundedReceiver<Mail>) {
    let (desk, mails) = desk(manner);
    t.terse.close().await;
    t.terse = builder(&t.dir, &t.database, &t.clock)
        .mailer(desk)
        .open()
        .await
        .unwrap();
    (t, mails)
}

pub(crate) async fn next(mails: &mut UnboundedReceiver<Mail>) -> Mail {
    let mail = tokio::time::timeout(Duration::from_secs(20), mails.recv()).await;
    mail.expect("a mail is sent within 20 s").unwrap()
}

async fn jobs(t: &Installation) -> Vec<Job> {
    let page = t.terse.jobs().list(&JobFilter::default()).await.unwrap();
    page.items
}

/// Waits until the queue is as wanted.
async fn until(t: &Installation, wanted: impl Fn(&[Job]) -> bool) -> Vec<Job> {
    let waiting = async {
        loop {
            let jobs = jobs(t).await;
            if wanted(&jobs) {
                return jobs;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), waiting).await;
    waited.expect("the queue is as wanted within 20 s")
}

pub(crate) async fn all_done(t: &Installation) {
    until(t, <[Job]>::is_empty).await;
}

pub(crate) fn token<'a>(mail: &'a Mail, page: &str) -> &'a str {
    let start = format!("https://go.example/{page}?token=");
    let (_, rest) = mail.text.split_once(&start).unwrap();
    rest.lines().next().unwrap()
}

/// How many stored tokens have the digest of this one; of any, how many there are.
async fn stored(t: &Installation, token: &str) -> (i64, i64) {
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest(token.as_bytes()).to_vec();
    let sql = "SELECT CAST(COALESCE(SUM(CASE WHEN digest = $1 THEN 1 ELSE 0 END), 0) AS BIGINT), \
               COUNT(*) FROM mailed_tokens";
    match &t.database {
        DatabaseUrl::Sqlite(path) => {
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
            let mut connection = sqlx::SqliteConnection::connect_with(&options)
                .await
                .unwrap();
            let query = sqlx::query_as(sql).bind(digest);
            query.fetch_one(&mut connection).await.unwrap()
        }
        DatabaseUrl::Postgres(url) => {
            let mut connection = sqlx::PgConnection::connect(url.expose_secret())
                .await
                .unwrap();
            let query = sqlx::query_as(sql).bind(digest);
            query.fetch_one(&mut connection).await.unwrap()
        }
    }
}

/// Waits until a token is stored: what follows is sending its mail, and reporting that.
async fn token_stored(t: &Installation) {
    let waiting = async {
        while stored(t, "").await.1 == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), waiting).await;
    waited.expect("a token is stored within 20 s");
}

/// Everything that the database holds, as far as it is text.
async fn contents(t: &Installation) -> Vec<u8> {
    match &t.database {
        DatabaseUrl::Sqlite(_) => {
            let files = std::fs::read_dir(t.dir.path()).unwrap();
            let files = files.map(|file| file.unwrap().path());
            let databases = files.filter(|path| path.is_file());
            databases
                .flat_map(|path| std::fs::read(path).unwrap())
                .collect()
        }
        DatabaseUrl::Postgres(url) => {
            let mut connection = sqlx::PgConnection::connect(url.expose_secret())
                .await
                .unwrap();
            let sql = "SELECT CAST(schema_to_xml('public', true, true, '') AS TEXT)";
            let text: String = sqlx::query_scalar(sql)
                .fetch_one(&mut connection)
                .await
                .unwrap();
            text.into_bytes()
        }
    }
}

fn holds(contents: &[u8], text: &str) -> bool {
    contents
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}

async fn a_registration_gets_a_link_whose_token_is_stored_as_a_digest_only(t: Installation) {
    t.sql(REGISTRATION).await;
    t.sql(VERIFICATION).await;
    let (t, mut mails) = with_mailer(t, Manner::Send).await;
    let mail = next(&mut mails).await;
    assert_eq!(mail.to, "Eve@example.com");
    assert!(!mail.text.contains("evil") && !mail.html.contains("evil"));
    let token = token(&mail, "verify");
    assert_eq!(token.len(), 43, "256 bits");
    assert!(mail.html.contains(token));
    all_done(&t).await;
    assert_eq!(stored(&t, token).await, (1, 1));
    let contents = contents(&t).await;
    assert!(holds(&contents, "Eve@example.com"), "the search works");
    assert!(!holds(&contents, token));
}

async fn a_newer_link_makes_the_older_worthless(t: Installation) {
    t.sql(USER_7).await;
    t.sql(TWO_RESETS).await;
    let (t, mut mails) = with_mailer(t, Manner::Send).await;
    let (one, other) = (next(&mut mails).await, next(&mut mails).await);
    assert_eq!(
        (&*one.to, &*other.to),
        ("bob@example.com", "bob@example.com")
    );
    all_done(&t).await;
    let (of_one, all) = stored(&t, token(&one, "reset")).await;
    let (of_other, _) = stored(&t, token(&other, "reset")).await;
    assert_eq!((of_one + of_other, all), (1, 1));
}

async fn an_invitation_names_who_invites_where(t: Installation) {
    t.sql(INVITATION).await;
    t.sql(INVITING).await;
    let (t, mut mails) = with_mailer(t, Manner::Send).await;
    let mail = next(&mut mails).await;
    assert_eq!(mail.to, "eve@example.com");
    let said = "ada@example.com invites you to the workspace \"ada@example.com\"";
    let on_one_line = mail.text.replace('\n', " ");
    assert!(on_one_line.contains(said), "{}", mail.text);
    assert_eq!(stored(&t, token(&mail, "invite")).await, (1, 1));
}

async fn whatever_is_gone_gets_no_mail(t: Installation) {
    t.sql(REGISTRATION).await;
    t.sql("UPDATE registrations SET expires_at = 1").await;
    t.sql(INVITATION).await;
    t.sql("UPDATE invitations SET ended_at = 1").await;
    for jobs in [VERIFICATION, INVITING, FOR_NOBODY] {
        t.sql(jobs).await;
    }
    let (t, mut mails) = with_mailer(t, Manner::Send).await;
    all_done(&t).await;
    assert!(mails.try_recv().is_err());
    assert_eq!(stored(&t, "").await, (0, 0));
}

async fn a_mail_that_could_not_be_sent_is_sent_later_once(t: Installation) {
    t.sql(REGISTRATION).await;
    t.sql(VERIFICATION).await;
    let (t, mut mails) = with_mailer(t, Manner::RefuseFirst).await;
    let waiting = until(&t, |jobs| jobs.iter().any(|job| job.error.is_some())).await;
    assert_eq!(waiting[0].error.as_deref(), Some("refused (421)"));
    assert!(waiting[0].run_at > t.now());
    assert!(mails.try_recv().is_err());
    t.clock.set(waiting[0].run_at);
    let mail = next(&mut mails).await;
    all_done(&t).await;
    assert_eq!(stored(&t, token(&mail, "verify")).await, (1, 1));
    assert!(mails.try_recv().is_err());
}

async fn a_mailer_that_panics_keeps_no_mail_back(t: Installation) {
    t.sql(FORTY_MAILS).await;
    let (t, mut mails) = with_mailer(t, Manner::PanicAtFirst).await;
    for _ in 0..39 {
        next(&mut mails).await;
    }
    let left = until(&t, |jobs| jobs.len() == 1 && jobs[0].error.is_some()).await;
    assert_eq!(left[0].error.as_deref(), Some("it panicked"));
}

async fn mails_under_way_are_finished_before_the_end(t: Installation) {
    t.sql(REGISTRATION).await;
    t.sql(VERIFICATION).await;
    let (t, mut mails) = with_mailer(t, Manner::Slow).await;
    until(&t, |jobs| jobs.iter().any(|job| job.attempts == 1)).await;
    let t = t.restarted().await;
    assert!(mails.recv().await.is_some());
    assert_eq!(jobs(&t).await, []);
}

async fn a_mail_that_hangs_at_the_end_is_taken_over(t: Installation) {
    t.sql(REGISTRATION).await;
    t.sql(VERIFICATION).await;
    let (t, _) = with_mailer(t, Manner::Hang).await;
    until(&t, |jobs| jobs.iter().any(|job| job.attempts == 1)).await;
    let asked = Instant::now();
    let (t, mut mails) = with_mailer(t, Manner::Send).await;
    assert!(asked.elapsed() < Duration::from_secs(8));
    t.clock.advance(LEASE);
    next(&mut mails).await;
    all_done(&t).await;
}

async fn two_nodes_send_each_mail_once(t: Installation) {
    t.sql(FORTY_MAILS).await;
    let (desk, mut mails) = desk(Manner::Send);
    let other = tempfile::tempdir().unwrap();
    let open = |dir| builder(dir, &t.database, &t.clock).mailer(desk.clone());
    t.terse.close().await;
    let (one, two) = tokio::join!(open(&t.dir).open(), open(&other).open());
    let (one, two) = (one.unwrap(), two.unwrap());
    let mut addresses = Vec::new();
    for _ in 0..40 {
        addresses.push(next(&mut mails).await.to);
    }
    one.close().await;
    two.close().await;
    assert!(mails.try_recv().is_err());
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), 40);
}

async fn what_is_queued_here_is_begun_at_once(t: Installation) {
    t.sql(FOUR_DEAD).await;
    let (t, mut mails) = with_mailer(t, Manner::Send).await;
    let begun = Instant::now();
    for dead in jobs(&t).await {
        let retried = t.terse.jobs().retry(dead.id, &Actor::system()).await;
        assert_eq!(retried.unwrap().id, dead.id);
        next(&mut mails).await;
        until(&t, |jobs| jobs.iter().all(|job| job.id != dead.id)).await;
    }
    // Looking every three seconds alone would take nine at least.
    assert!(begun.elapsed() < Duration::from_secs(6));
}

/// Lets nobody write for a while that is longer than a writer waits.
async fn without_writes(t: &Installation, meanwhile: impl Future<Output = ()>) {
    const WHILE: Duration = Duration::from_secs(2);
    match &t.database {
        DatabaseUrl::Sqlite(path) => {
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
            let mut connection = sqlx::SqliteConnection::connect_with(&options)
                .await
                .unwrap();
            connection.execute("BEGIN IMMEDIATE").await.unwrap();
            meanwhile.await;
            tokio::time::sleep(WHILE).await;
            connection.execute("ROLLBACK").await.unwrap();
        }
        DatabaseUrl::Postgres(url) => {
            let url = url.expose_secret();
            let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
            let lock = "BEGIN; LOCK TABLE jobs IN EXCLUSIVE MODE";
            connection.execute(sqlx::raw_sql(lock)).await.unwrap();
            meanwhile.await;
            tokio::time::sleep(WHILE).await;
            connection.execute("ROLLBACK").await.unwrap();
        }
    }
}

async fn a_mail_that_went_out_while_the_database_was_away_does_not_go_out_again(t: Installation) {
    t.sql(REGISTRATION).await;
    t.sql(VERIFICATION).await;
    let (t, mut mails) = with_mailer(t, Manner::Slow).await;
    token_stored(&t).await;
    without_writes(&t, async {
        next(&mut mails).await;
    })
    .await;
    all_done(&t).await;
    assert!(mails.try_recv().is_err());
}
