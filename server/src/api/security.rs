//! Who is calling.

use std::sync::Arc;

use poem::Request;
use poem_openapi::SecurityScheme;
use poem_openapi::auth::Bearer;
use terse_core::accounts::AuthenticationError;
use terse_core::model::Principal;

use crate::app::App;
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
pub(crate) struct Caller(pub(crate) Principal);

async fn authenticate(request: &Request, bearer: Bearer) -> poem::Result<Principal> {
    let app = request.data::<Arc<App>>().ok_or_else(Problem::internal)?;
    let token = app
        .tokens
        .verify(&bearer.token)
        .map_err(|error| match error {
            TokenError::Invalid => Problem::unauthorized(
                "invalid_token",
                "This is not an access token of this server.",
            ),
            TokenError::Expired => Problem::unauthorized(
                "token_expired",
                "The access token has expired; refresh it or sign in again.",
            ),
        })?;
    let caller = app
        .terse
        .accounts()
        .authenticate(token.session, token.user)
        .await;
    caller.map_err(|error| {
        match error {
            AuthenticationError::Ended => {
                Problem::unauthorized("session_ended", "This session has ended; sign in again.")
            }
            AuthenticationError::Store(error) => error.into(),
        }
        .into()
    })
}
