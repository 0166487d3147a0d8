//! Pages that mails lead to. Opening one changes nothing, because programs that look into mails open
//! them too; a button does.

use std::sync::Arc;

use http::StatusCode;
use poem::web::{Data, Form};
use poem::{IntoEndpoint, Request, Response, get, handler};
use secrecy::SecretString;
use serde::Deserialize;
use terse_core::accounts::{MailedTokenError, PasswordError, SignInError};
use terse_core::model::{Actor, Grant, Origin};
use terse_core::workspaces::WorkspaceError;

use crate::api::security::origin;
use crate::app::App;
use crate::chain::client;
use crate::visitor_page::{escape, form_page};

/// What a form sends.
#[derive(Deserialize)]
struct Sent {
    #[serde(default)]
    token: String,
    #[serde(default)]
    new_password: String,
    #[serde(default)]
    email: String,
    #[serde(default)]
    password: String,
}

/// `GET` and `POST /verify`.
pub fn verify() -> impl IntoEndpoint {
    get(verify_form).post(verify_address)
}

/// `GET` and `POST /reset`.
pub fn reset() -> impl IntoEndpoint {
    get(reset_form).post(reset_password)
}

/// `GET` and `POST /invite`.
pub fn invite() -> impl IntoEndpoint {
    get(invite_form).post(accept_invitation)
}

fn shown(status: StatusCode, title: &str, body: &str) -> Response {
    let (parts, html) = form_page(status, title, body).into_parts();
    let mut response = Response::from((parts.status, html));
    *response.headers_mut() = parts.headers;
    response
}

/// The token of the mail, made harmless for HTML. It is in the address, so no page links elsewhere
/// and none tells others where it was.
fn token_of(request: &Request) -> String {
    let query = request.uri().query().unwrap_or_default();
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    let token = pairs.find(|(name, _)| name == "token");
    escape(&token.map(|(_, value)| value).unwrap_or_default())
}

/// Guessing tokens is as slow as guessing passwords.
async fn too_often(app: &App, request: &Request) -> Option<Response> {
    let limited = app.limits.auth.take(client(request).into()).await.err()?;
    app.metrics.limited_auth.up();
    let mut response = shown(
        StatusCode::TOO_MANY_REQUESTS,
        "One moment, please",
        "<p>That was tried too often from where you are. Please try again in a minute.</p>",
    );
    let problem = crate::problem::Problem::limited(&limited).response("");
    for (name, value) in problem.headers() {
        if !response.headers().contains_key(name) {
            response.headers_mut().insert(name.clone(), value.clone());
        }
    }
    Some(response)
}

#[handler]
fn verify_form(request: &Request) -> Response {
    let token = token_of(request);
    let body = format!(
        "<p>Press the button to finish: your account is made, and this address is yours.</p>\
         <form method=\"post\" action=\"/verify\"><input type=\"hidden\" name=\"token\" value=\"{token}\">\
         <button>Verify my address</button></form>\
         <p>You did not register? Then just close this page.</p>"
    );
    shown(StatusCode::OK, "Verify your address", &body)
}

#[handler]
async fn verify_address(
    request: &Request,
    app: Data<&Arc<App>>,
    Form(sent): Form<Sent>,
) -> Response {
    if let Some(wait) = too_often(&app, request).await {
        return wait;
    }
    let accounts = app.terse.accounts();
    match accounts
        .verify_email(&sent.token.into(), &origin(request))
        .await
    {
        Ok(user) => {
            let body = format!(
                "<p>Your account <strong>{}</strong> is ready. Sign in with the password that you chose: \
                 <a href=\"/docs\">open the API</a> and press Authorize. If a second mail asks you to choose a \
                 password, somebody else registered with your address too: do that first.</p>",
                escape(&user.email)
            );
            shown(StatusCode::OK, "Welcome", &body)
        }
        Err(MailedTokenError::Invalid) => spent("Register again, or ask for another mail."),
        Err(MailedTokenError::Store(error)) => failed(&error),
    }
}

#[handler]
fn reset_form(request: &Request) -> Response {
    shown(
        StatusCode::OK,
        "Choose a new password",
        &reset_body(&token_of(request), ""),
    )
}

fn reset_body(token: &str, refusal: &str) -> String {
    format!(
        "{refusal}<p>It must have 8 characters or more. Four words that do not belong together are good. You will \
         be signed out everywhere.</p>\
         <form method=\"post\" action=\"/reset\"><input type=\"hidden\" name=\"token\" value=\"{token}\">\
         <label>New password <input type=\"password\" name=\"new_password\" autocomplete=\"new-password\" \
         minlength=\"8\" required autofocus></label><button>Set the new password</button></form>"
    )
}

#[handler]
async fn reset_password(
    request: &Request,
    app: Data<&Arc<App>>,
    Form(sent): Form<Sent>,
) -> Response {
    if let Some(wait) = too_often(&app, request).await {
        return wait;
    }
    let token = escape(&sent.token);
    let accounts = app.terse.accounts();
    let new = sent.new_password.into();
    match accounts
        .reset_password(&sent.token.into(), new, &origin(request))
        .await
    {
        Ok(()) => shown(
            StatusCode::OK,
            "Your password is changed",
            "<p>You are signed out everywhere. Sign in with the new password: \
             <a href=\"/docs\">open the API</a> and press Authorize.</p>",
        ),
        Err(PasswordError::Refused(errors)) => {
            let why: Vec<String> = errors.iter().map(|error| escape(&error.message)).collect();
            let refusal = format!("<p class=\"refusal\">The password {}.</p>", why.join("; "));
            let body = reset_body(&token, &refusal);
            shown(
                StatusCode::UNPROCESSABLE_ENTITY,
                "Choose a new password",
                &body,
            )
        }
        Err(PasswordError::Busy) => busy(),
        Err(PasswordError::Store(error)) => failed(&error),
        Err(PasswordError::TokenInvalid | PasswordError::WrongCurrent) => {
            spent("Ask for another mail.")
        }
    }
}

#[handler]
fn invite_form(request: &Request) -> Response {
    let body = invite_body(&token_of(request), "", "");
    shown(StatusCode::OK, "You are invited", &body)
}

fn invite_body(token: &str, email: &str, refusal: &str) -> String {
    format!(
        "{refusal}<p>Sign in to accept, with the account of the address that was invited.</p>\
         <form method=\"post\" action=\"/invite\"><input type=\"hidden\" name=\"token\" value=\"{token}\">\
         <label>E-mail address <input type=\"email\" name=\"email\" value=\"{email}\" autocomplete=\"username\" required></label>\
         <label>Password <input type=\"password\" name=\"password\" autocomplete=\"current-password\" required></label>\
         <button>Accept the invitation</button></form>\
         <p>No account yet? <a href=\"/docs\">Register</a> with that address first, then open this link again.</p>"
    )
}

#[handler]
async fn accept_invitation(
    request: &Request,
    app: Data<&Arc<App>>,
    Form(sent): Form<Sent>,
) -> Response {
    if let Some(wait) = too_often(&app, request).await {
        return wait;
    }
    let refused = |why: &str| {
        let refusal = format!("<p class=\"refusal\">{why}</p>");
        let body = invite_body(&escape(&sent.token), &escape(&sent.email), &refusal);
        shown(StatusCode::UNPROCESSABLE_ENTITY, "You are invited", &body)
    };
    let origin = origin(request);
    if crate::api::auth::slow_down(&app, &sent.email, &origin)
        .await
        .is_err()
    {
        return refused("That was tried too often. Please wait a minute.");
    }
    let password = sent.password.clone().into();
    let accounts = app.terse.accounts();
    let grant = match accounts.sign_in(&sent.email, &password, &origin).await {
        Ok(grant) => grant,
        Err(SignInError::InvalidCredentials) => {
            return refused("The e-mail address or the password is wrong.");
        }
        Err(SignInError::Busy) => return busy(),
        Err(SignInError::Store(error)) => return failed(&error),
    };
    let joined = join(&app, &grant, sent.token.clone().into(), &origin).await;
    match joined {
        Ok(name) => {
            let body = format!(
                "<p>You are a member of <strong>{}</strong> now. <a href=\"/docs\">Open the API</a> and press Authorize.</p>",
                escape(&name)
            );
            shown(StatusCode::OK, "Welcome", &body)
        }
        Err(Some(WorkspaceError::Store(error))) => failed(&error),
        Err(Some(_)) => spent("Ask whoever invited you for another one."),
        Err(None) => busy(),
    }
}

/// Accepts in the name of whoever has just signed in, and signs them out again: the page keeps nothing.
async fn join(
    app: &App,
    grant: &Grant,
    token: SecretString,
    origin: &Origin,
) -> Result<String, Option<WorkspaceError>> {
    let accounts = app.terse.accounts();
    let principal = accounts.authenticate(grant.session, grant.user, None).await;
    let principal = principal.map_err(|_| None)?;
    let actor = Actor::of(&principal, origin.address);
    let workspaces = app.terse.workspaces();
    let joined = workspaces
        .accept_invitation(&principal, &actor, &token)
        .await;
    let _ = accounts
        .end_session(grant.user, grant.session, &actor)
        .await;
    Ok(joined.map_err(Some)?.name)
}

fn spent(what_now: &str) -> Response {
    let body = format!(
        "<p>This link was used already, or it is too old. {what_now}</p><p><a href=\"/\">To the front page</a></p>"
    );
    shown(
        StatusCode::UNPROCESSABLE_ENTITY,
        "This link is spent",
        &body,
    )
}

fn busy() -> Response {
    shown(
        StatusCode::SERVICE_UNAVAILABLE,
        "One moment, please",
        "<p>This cannot be done right now. Please go back and try again in a minute.</p>",
    )
}

fn failed(error: &terse_core::StoreError) -> Response {
    tracing::warn!(
        error = error as &dyn std::error::Error,
        "a page could not be answered"
    );
    busy()
}
