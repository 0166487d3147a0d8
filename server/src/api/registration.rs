//! Registering, verifying an address, and getting back in. What these answer never tells whether an
//! account exists.

use std::sync::Arc;

use poem::Request;
use poem::web::Data;
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, Object, OpenApi};
use terse_core::accounts::NewRegistration;

use crate::api::Tag;
use crate::api::body::Body;
use crate::api::schema::Optional;
use crate::api::security::origin;
use crate::app::App;
use crate::chain::client;
use crate::limits::{LimitKey, Limiter};
use crate::problem::Problem;

pub struct RegistrationApi;

/// Somebody who wants an account
#[derive(Object)]
#[oai(rename = "NewRegistration", deny_unknown_fields)]
struct RegistrationBody {
    email: String,
    /// 8 to 1,024 bytes, and not one that is guessed quickly
    password: String,
    name: Optional<String>,
}

#[derive(Object)]
#[oai(rename = "EmailAddress", deny_unknown_fields)]
struct EmailBody {
    email: String,
}

#[derive(Object)]
#[oai(rename = "MailedToken", deny_unknown_fields)]
struct TokenBody {
    /// From the mail
    token: String,
}

#[derive(Object)]
#[oai(rename = "PasswordReset", deny_unknown_fields)]
struct ResetBody {
    /// From the mail
    token: String,
    /// 8 to 1,024 bytes, and not one that is guessed quickly
    new_password: String,
}

/// What happens next
#[derive(Object)]
struct Accepted {
    message: String,
}

#[derive(ApiResponse)]
enum OnItsWay {
    /// The same answer whether or not there is such an account: a mail says more
    #[oai(status = 202)]
    Accepted(Json<Accepted>),
}

#[derive(ApiResponse)]
enum Verified {
    /// The account exists now: sign in
    #[oai(status = 204)]
    Done,
}

#[derive(ApiResponse)]
enum Reset {
    /// The new password is in force, and every session has ended: sign in
    #[oai(status = 204)]
    Done,
}

fn on_its_way() -> OnItsWay {
    OnItsWay::Accepted(Json(Accepted {
        message: "If that is possible, a mail is on its way. It says how to go on.".to_owned(),
    }))
}

/// Strangers cause a mail to `email`: within limits.
async fn may_cause_mail(
    app: &App,
    request: &Request,
    mails: &Limiter,
    email: &str,
) -> Result<bool, Problem> {
    if let Err(limited) = app.limits.registration.take(client(request).into()).await {
        app.metrics.limited_auth.up();
        return Err(Problem::limited(&limited));
    }
    // Who has enough mails gets no more, and nobody is told: the answer stays the same.
    let address = LimitKey::of_name(&email.trim().to_ascii_lowercase());
    Ok(mails.take(address).await.is_ok())
}

#[OpenApi(tag = "Tag::Auth")]
impl RegistrationApi {
    /// Register
    ///
    /// A mail to the address has a link that makes the account.
    #[oai(path = "/auth/register", method = "post", operation_id = "register")]
    async fn register(
        &self,
        app: Data<&Arc<App>>,
        request: &Request,
        body: Body<RegistrationBody>,
    ) -> Result<OnItsWay, Problem> {
        let mail = may_cause_mail(&app, request, &app.limits.mail, &body.0.email).await?;
        let new = NewRegistration {
            email: body.0.email,
            password: body.0.password.into(),
            name: body.0.name.0.take(),
        };
        let accounts = app.terse.accounts();
        accounts.register(new, app.registration, mail).await?;
        Ok(on_its_way())
    }

    /// Verify an address
    #[oai(
        path = "/auth/verify-email",
        method = "post",
        operation_id = "verify_email"
    )]
    async fn verify(
        &self,
        app: Data<&Arc<App>>,
        request: &Request,
        body: Body<TokenBody>,
    ) -> Result<Verified, Problem> {
        guess(&app, request).await?;
        let accounts = app.terse.accounts();
        accounts
            .verify_email(&body.0.token.into(), &origin(request))
            .await?;
        Ok(Verified::Done)
    }

    /// Have the mail sent again
    #[oai(
        path = "/auth/verify-email/resend",
        method = "post",
        operation_id = "resend_verification"
    )]
    async fn resend(
        &self,
        app: Data<&Arc<App>>,
        request: &Request,
        body: Body<EmailBody>,
    ) -> Result<OnItsWay, Problem> {
        let mail = may_cause_mail(&app, request, &app.limits.mail, &body.0.email).await?;
        let accounts = app.terse.accounts();
        accounts.resend_verification(&body.0.email, mail).await?;
        Ok(on_its_way())
    }

    /// Forgot the password
    #[oai(
        path = "/auth/password/forgot",
        method = "post",
        operation_id = "forgot_password"
    )]
    async fn forgot(
        &self,
        app: Data<&Arc<App>>,
        request: &Request,
        body: Body<EmailBody>,
    ) -> Result<OnItsWay, Problem> {
        let mail = may_cause_mail(&app, request, &app.limits.reset_mail, &body.0.email).await?;
        let accounts = app.terse.accounts();
        accounts.forgot_password(&body.0.email, mail).await?;
        Ok(on_its_way())
    }

    /// Set a new password
    ///
    /// Every session of the account ends, and its owner is told by mail.
    #[oai(
        path = "/auth/password/reset",
        method = "post",
        operation_id = "reset_password"
    )]
    async fn reset(
        &self,
        app: Data<&Arc<App>>,
        request: &Request,
        body: Body<ResetBody>,
    ) -> Result<Reset, Problem> {
        guess(&app, request).await?;
        let accounts = app.terse.accounts();
        let (token, new) = (body.0.token.into(), body.0.new_password.into());
        accounts
            .reset_password(&token, new, &origin(request))
            .await?;
        Ok(Reset::Done)
    }
}

async fn guess(app: &App, request: &Request) -> Result<(), Problem> {
    app.limits
        .auth
        .take(client(request).into())
        .await
        .map_err(|limited| {
            app.metrics.limited_auth.up();
            Problem::limited(&limited)
        })
}
