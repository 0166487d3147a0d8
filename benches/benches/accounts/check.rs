//! CPU time to tell who is calling, and that whoever was put out is out at once.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use terse_benches::machine;
use terse_benches::server::target_dir;
use terse_benches::settings;
use terse_benches::stats::{float, grouped, median};
use terse_core::accounts::{AuthenticationError, NewApiKey};
use terse_core::model::{Actor, ApiKeyId, Origin, OsEntropy, Principal};
use terse_core::{Accounts, DatabaseUrl, Terse};
use terse_server::tokens::{Bearer, Tokens};

const EMAIL: &str = "bench@example.com";
const PASSWORD: &str = "a-password-for-benches-only";
const SIGNING_SECRET: &str = "0123456789abcdef0123456789abcdef-for-benches-only";
const CHECKS: u32 = 100_000;
const MOST_MICROS: f64 = 20.0;

/// Somebody who is signed in, and has a key.
struct Caller<'a> {
    accounts: &'a Accounts,
    tokens: Tokens,
    bearer: Bearer,
    token: String,
    principal: Principal,
    key_id: ApiKeyId,
    key: secrecy::SecretString,
}

/// Checks of a token and of a key, in turns, on one thread; then both are revoked.
pub(crate) fn run() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let home = tempfile::Builder::new()
        .prefix("bench-accounts-")
        .tempdir_in(target_dir()?)?;
    let terse = runtime.block_on(
        Terse::builder()
            .database(DatabaseUrl::Sqlite(home.path().join("terse.db")))
            .spool_dir(home.path().join("spool"))
            .open(),
    )?;
    let caller = runtime.block_on(Caller::sign_in(&terse))?;
    println!(
        "CPU time of the process per check, SQLite, one thread, {} checks a round",
        grouped(float(CHECKS.into()))
    );
    runtime.block_on(caller.measure())?;
    runtime.block_on(caller.revoke())?;
    println!("  a session that has ended and a key that was revoked: refused at the next check");
    runtime.block_on(terse.close());
    Ok(())
}

impl<'a> Caller<'a> {
    async fn sign_in(terse: &'a Terse) -> Result<Self> {
        let accounts = terse.accounts();
        accounts
            .first_admin(Some(EMAIL.to_owned()), Some(PASSWORD.into()))
            .await?;
        let grant = accounts
            .sign_in(EMAIL, &PASSWORD.into(), &Origin::default())
            .await?;
        let principal = accounts
            .authenticate(grant.session, grant.user, None)
            .await?;
        let new = NewApiKey {
            name: "bench".to_owned(),
            scopes: vec!["links:read".to_owned()],
            expires_at: None,
        };
        let actor = Actor::of(&principal, None);
        let (made, key) = accounts.create_key(&principal, &actor, new).await?;
        let clock = Arc::clone(terse.clock());
        let secret = SIGNING_SECRET.into();
        let tokens = Tokens::new("http://localhost:8080", &secret, clock, Arc::new(OsEntropy))?;
        let bearer = Bearer {
            user: grant.user,
            session: grant.session,
        };
        Ok(Self {
            accounts,
            token: tokens.issue(bearer)?,
            tokens,
            bearer,
            principal,
            key_id: made.id,
            key,
        })
    }

    async fn check_token(&self) -> Result<Principal> {
        let bearer = self.tokens.verify(&self.token)?;
        let accounts = self.accounts;
        Ok(accounts
            .authenticate(bearer.session, bearer.user, None)
            .await?)
    }

    async fn check_key(&self) -> Result<Principal> {
        Ok(self.accounts.authenticate_key(&self.key, None).await?)
    }

    async fn measure(&self) -> Result<()> {
        let (mut by_token, mut by_key) = (Vec::new(), Vec::new());
        // One round is not measured: it reads what is remembered from then on.
        for round in 0..=settings::rounds()? {
            let token = cpu_micros(async || self.check_token().await).await?;
            let key = cpu_micros(async || self.check_key().await).await?;
            if round > 0 {
                by_token.push(token);
                by_key.push(key);
            }
        }
        print("access token", &by_token);
        print("API key", &by_key);
        Ok(())
    }

    async fn revoke(&self) -> Result<()> {
        let actor = Actor::of(&self.principal, None);
        self.check_key().await?;
        self.accounts
            .revoke_key(self.principal.workspace, self.key_id, &actor)
            .await?;
        let refused = self.accounts.authenticate_key(&self.key, None).await;
        ensure!(
            matches!(refused, Err(AuthenticationError::KeyInvalid)),
            "a revoked key was answered with {refused:?}"
        );
        self.check_token().await?;
        let Bearer { user, session } = self.bearer;
        let ended = self.accounts.end_session(user, session, &actor).await?;
        ensure!(ended, "there was no session to end");
        let refused = self.accounts.authenticate(session, user, None).await;
        ensure!(
            matches!(refused, Err(AuthenticationError::Ended)),
            "an ended session was answered with {refused:?}"
        );
        Ok(())
    }
}

/// Microseconds of the whole process per check: what checks have other threads do counts as well.
async fn cpu_micros(check: impl AsyncFn() -> Result<Principal>) -> Result<f64> {
    let before = machine::own_cpu_time()?;
    for _ in 0..CHECKS {
        std::hint::black_box(check().await.context("a good credential was refused")?);
    }
    let took = machine::own_cpu_time()?.saturating_sub(before);
    Ok(per_check(took))
}

fn per_check(took: Duration) -> f64 {
    took.as_secs_f64() * 1e6 / f64::from(CHECKS)
}

fn print(name: &str, micros: &[f64]) {
    let (least, most) = terse_benches::stats::range(micros);
    let middle = median(micros);
    println!(
        "  {name:<12} {middle:>6.2} us ({least:.2} to {most:.2}); under {MOST_MICROS} us: {}",
        if middle < MOST_MICROS { "yes" } else { "NO" }
    );
}
