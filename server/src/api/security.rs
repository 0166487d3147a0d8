//! Who is calling, and whether they may.

use std::net::IpAddr;
use std::sync::Arc;

use poem::Request;
use poem_openapi::SecurityScheme;
use poem_openapi::auth::Bearer;
use secrecy::{ExposeSecret as _, SecretString};
use terse_core::accounts::{API_KEY_PREFIX, AuthenticationError};
use terse_core::model::{Actor, Origin, Principal, WorkspaceId};

use crate::api::access::{self, Need};
use crate::app::App;
use crate::chain::client;
use crate::problem::Problem;
use crate::tokens::TokenError;

/// An access token from `/auth/token`. Swagger's Authorize asks for an e-mail address (as
/// `username`) and a password.
#[derive(SecurityScheme)]
#[oai(
    ty = "oauth2",
    rename = "AccessToken",
    flows(password(token_url = "/api/v1/auth/token")),
    checker = "authenticate"
)]
pub(crate) struct Caller(pub(crate) Known);

/// A caller who may do what the request asks for, as far as its operation and workspace tell.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) principal: Principal,
    pub(crate) address: IpAddr,
    bearer: SecretString,
    need: Need,
}

impl Known {
    /// Who to name in the audit log.
    pub(crate) fn actor(&self) -> Actor {
        Actor::of(&self.principal, Some(self.address))
    }

    /// Whether the same request would still be let in: for answers that take long.
    pub(crate) async fn is_still_let_in(&self, app: &App) -> Result<(), Problem> {
        let workspace = Some(self.principal.workspace);
        let principal = identify(app, self.bearer.expose_secret(), workspace).await?;
        self.need.check(&principal)
    }
}

impl std::ops::Deref for Known {
    type Target = Principal;

    fn deref(&self) -> &Principal {
        &self.principal
    }
}

/// From where a request comes.
pub(crate) fn origin(request: &Request) -> Origin {
    let client_program = request.header(http::header::USER_AGENT);
    Origin {
        address: Some(client(request)),
        client: client_program.map(str::to_owned),
    }
}

async fn authenticate(request: &Request, bearer: Bearer) -> poem::Result<Known> {
    let app = request.data::<Arc<App>>().ok_or_else(Problem::internal)?;
    let path = request.original_uri().path();
    // Nobody has decided who may call it: nobody may.
    let need = access::need(request.method(), path).ok_or_else(Problem::internal)?;
    let principal = principal(app, request, &bearer.token).await?;
    need.check(&principal)?;
    if let Err(limited) = app.limits.caller.take((&principal).into()).await {
        app.metrics.limited_api.up();
        return Err(Problem::limited(&limited).into());
    }
    Ok(Known {
        principal,
        address: client(request),
        bearer: bearer.token.into(),
        need,
    })
}

async fn principal(app: &App, request: &Request, token: &str) -> Result<Principal, Problem> {
    let workspace = named_workspace(request);
    // Whoever is nobody hears of that first: a workspace that cannot be is told to members only.
    let principal = identify(app, token, workspace.and_then(Result::ok)).await?;
    match workspace {
        Some(Err(())) => Err(Problem::not_found()),
        _ => Ok(principal),
    }
}

/// Whom a token or key stands for now, in the workspace that is wanted.
async fn identify(
    app: &App,
    token: &str,
    wanted: Option<WorkspaceId>,
) -> Result<Principal, Problem> {
    let accounts = app.terse.accounts();
    let principal = if token.starts_with(API_KEY_PREFIX) {
        let key = SecretString::from(token);
        accounts.authenticate_key(&key, wanted).await
    } else {
        let token = app.tokens.verify(token).map_err(|error| match error {
            TokenError::Invalid => Problem::unauthorized(
                "invalid_token",
                "This is not an access token of this server.",
            ),
            TokenError::Expired => Problem::unauthorized(
                "token_expired",
                "The access token has expired; refresh it or sign in again.",
            ),
        })?;
        accounts
            .authenticate(token.session, token.user, wanted)
            .await
    };
    principal.map_err(|error| match error {
        AuthenticationError::Ended => {
            Problem::unauthorized("session_ended", "This session has ended; sign in again.")
        }
        AuthenticationError::KeyInvalid => Problem::unauthorized(
            "invalid_token",
            "This API key is unknown, expired or revoked.",
        ),
        AuthenticationError::NoSuchWorkspace => Problem::not_found(),
        AuthenticationError::Store(error) => error.into(),
    })
}

/// The workspace that a request names in its path, or else in `?workspace=`; `Err` when it is
/// spelled like none.
fn named_workspace(request: &Request) -> Option<Result<WorkspaceId, ()>> {
    let uri = request.original_uri();
    let in_path = access::id_in("/workspaces/:id", uri.path()).map(str::to_owned);
    let named = in_path.or_else(|| {
        let query = uri.query()?;
        let mut pairs = url::form_urlencoded::parse(query.as_bytes());
        let (_, value) = pairs.find(|(name, _)| name == "workspace")?;
        Some(value.into_owned())
    })?;
    Some(named.parse().map_err(|_| ()))
}
