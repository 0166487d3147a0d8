//! Signing in, staying signed in, signing out.

use std::sync::Arc;

use poem::Request;
use poem::web::Data;
use poem_openapi::payload::{Form, Json};
use poem_openapi::{ApiResponse, Object, OpenApi};
use secrecy::{ExposeSecret, SecretString};
use terse_core::accounts::{RefreshError, SignInError};
use terse_core::model::{Grant, Origin};

use crate::api::Tag;
use crate::api::security::{Caller, origin};
use crate::app::App;
use crate::chain::client;
use crate::limits::LimitKey;
use crate::problem::Problem;
use crate::tokens::{ACCESS_TOKEN_TTL, Bearer};

pub struct AuthApi;

/// A request for tokens (RFC 6749). Unknown members are ignored, as that RFC asks.
#[derive(Object, serde::Deserialize)]
struct TokenRequest {
    /// `password` or `refresh_token`
    grant_type: Option<String>,
    /// With `password`: the e-mail address
    username: Option<String>,
    /// With `password`
    password: Option<String>,
    /// With `refresh_token`
    refresh_token: Option<String>,
}

#[derive(Object)]
struct TokenAnswer {
    /// Good for 15 minutes, in `Authorization: Bearer`
    access_token: String,
    /// Always `Bearer`
    token_type: String,
    /// Seconds
    expires_in: u64,
    /// Good for one refresh within 30 days
    refresh_token: String,
}

#[derive(ApiResponse)]
enum Tokens {
    /// Signed in
    #[oai(status = 200)]
    Granted(Json<TokenAnswer>, #[oai(header = "Cache-Control")] String),
}

#[derive(ApiResponse)]
enum LoggedOut {
    /// The session has ended
    #[oai(status = 204)]
    Done,
}

#[OpenApi(tag = "Tag::Auth")]
impl AuthApi {
    /// Sign in, or refresh a session
    #[oai(path = "/auth/token", method = "post", operation_id = "create_token")]
    async fn token(
        &self,
        app: Data<&Arc<App>>,
        request: &Request,
        form: Form<TokenRequest>,
    ) -> Result<Tokens, Problem> {
        if let Err(limited) = app.limits.auth.take(client(request).into()).await {
            app.metrics.limited_auth.up();
            return Err(Problem::limited(&limited));
        }
        let grant = grant(&app, form.0, &origin(request)).await?;
        let access_token = app
            .tokens
            .issue(Bearer {
                user: grant.user,
                session: grant.session,
            })
            .map_err(|_| Problem::internal())?;
        let answer = TokenAnswer {
            access_token,
            token_type: "Bearer".to_owned(),
            expires_in: ACCESS_TOKEN_TTL.as_secs(),
            refresh_token: grant.refresh_token.expose_secret().to_owned(),
        };
        Ok(Tokens::Granted(Json(answer), "no-store".to_owned()))
    }

    /// End this session
    ///
    /// Its access and refresh tokens are worth nothing from now on.
    #[oai(path = "/auth/logout", method = "post", operation_id = "logout")]
    async fn logout(&self, app: Data<&Arc<App>>, caller: Caller) -> Result<LoggedOut, Problem> {
        if let Some(session) = caller.0.credential.session() {
            let accounts = app.terse.accounts();
            accounts
                .end_session(caller.0.user, session, &caller.0.actor())
                .await?;
        }
        Ok(LoggedOut::Done)
    }
}

async fn grant(app: &App, form: TokenRequest, origin: &Origin) -> Result<Grant, Problem> {
    let missing = |name: &str| {
        Problem::oauth(
            "invalid_request",
            format!("The parameter {name} is missing."),
        )
    };
    match form.grant_type.as_deref() {
        Some("password") => {
            let username = form.username.ok_or_else(|| missing("username"))?;
            let password = form
                .password
                .map(SecretString::from)
                .ok_or_else(|| missing("password"))?;
            slow_down(app, &username, origin).await?;
            let grant = app
                .terse
                .accounts()
                .sign_in(&username, &password, origin)
                .await;
            grant.map_err(|error| match error {
                SignInError::InvalidCredentials => Problem::oauth(
                    "invalid_grant",
                    "The e-mail address or the password is wrong.",
                ),
                SignInError::Busy => Problem::unavailable(),
                SignInError::Store(error) => error.into(),
            })
        }
        Some("refresh_token") => {
            let token = form.refresh_token.ok_or_else(|| missing("refresh_token"))?;
            let grant = app.terse.accounts().refresh(&token, origin).await;
            grant.map_err(|error| match error {
                RefreshError::Invalid => Problem::oauth(
                    "invalid_grant",
                    "The refresh token is unknown, used or expired; sign in again.",
                ),
                RefreshError::Store(error) => error.into(),
            })
        }
        Some(_) => Err(Problem::oauth(
            "unsupported_grant_type",
            "The grant_type must be password or refresh_token.",
        )),
        None => Err(missing("grant_type")),
    }
}

/// Guessing the password of one account is slow from wherever it is done. Whoever signed in from
/// there before does not wait for strangers' guesses.
pub(crate) async fn slow_down(app: &App, username: &str, origin: &Origin) -> Result<(), Problem> {
    let account = LimitKey::of_name(&username.trim().to_ascii_lowercase());
    let Err(limited) = app.limits.account.take(account).await else {
        return Ok(());
    };
    if let Some(address) = origin.address {
        let accounts = app.terse.accounts();
        if accounts.has_signed_in_from(username, address).await? {
            return Ok(());
        }
    }
    app.metrics.limited_auth.up();
    Err(Problem::limited(&limited))
}
