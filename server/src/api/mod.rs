//! The HTTP API, version 1.

pub(crate) mod access;
pub mod analytics;
pub mod audit;
pub mod auth;
mod body;
mod click;
pub mod clicks;
mod errors;
pub mod invitations;
pub mod jobs;
pub mod keys;
pub mod links;
pub mod live;
pub mod me;
pub mod members;
mod params;
mod question;
pub mod registration;
pub mod roles;
mod schema;
pub(crate) mod security;
pub mod users;
pub mod workspaces;

use std::sync::Arc;

use poem::{EndpointExt as _, Route, endpoint::BoxEndpoint};
use poem_openapi::{ApiResponse, OpenApiService, Tags};

use crate::app::App;
use crate::chain::chain;
use crate::{mail_pages, pages};

/// Where the API begins.
pub const PREFIX: &str = "/api/v1";

#[derive(Tags)]
pub(crate) enum Tag {
    /// Signing in and out
    Auth,
    /// Short links
    Links,
    /// Who clicked
    Analytics,
    /// What links belong to, and who is in them
    Workspaces,
    /// What members may do
    Roles,
    /// Keys for programs
    Keys,
    /// Accounts and the audit log, for administrators
    Administration,
}

/// There is nothing to say about it.
#[derive(ApiResponse)]
pub(crate) enum Done {
    /// Done
    #[oai(status = 204)]
    Done,
}

/// Workspaces, and who is in them.
type Membership = (
    workspaces::WorkspacesApi,
    members::MembersApi,
    invitations::InvitationsApi,
    roles::RolesApi,
);

/// Who clicked.
type Figures = (analytics::AnalyticsApi, clicks::ClicksApi, live::LiveApi);

type Apis = (
    auth::AuthApi,
    registration::RegistrationApi,
    me::MeApi,
    links::LinksApi,
    Figures,
    keys::KeysApi,
    users::UsersApi,
    audit::AuditApi,
    jobs::JobsApi,
    Membership,
);
type Service = OpenApiService<Apis, ()>;

fn service() -> Service {
    OpenApiService::new(
        (
            auth::AuthApi,
            registration::RegistrationApi,
            me::MeApi,
            links::LinksApi,
            (analytics::AnalyticsApi, clicks::ClicksApi, live::LiveApi),
            keys::KeysApi,
            users::UsersApi,
            audit::AuditApi,
            jobs::JobsApi,
            (
                workspaces::WorkspacesApi,
                members::MembersApi,
                invitations::InvitationsApi,
                roles::RolesApi,
            ),
        ),
        "Terse",
        "1",
    )
    .description(
        "Short links with exact click analytics. Sign in with Authorize (a user's e-mail address \
         and password); every error is problem+json (RFC 9457) with a stable `code`.",
    )
    .server(PREFIX)
}

/// The OpenAPI document.
pub fn document() -> String {
    described(&service().spec())
}

/// The framework's document with who may call what.
fn described(spec: &str) -> String {
    let Ok(mut document) = serde_json::from_str(spec) else {
        return spec.to_owned();
    };
    access::describe(&mut document);
    question::describe(&mut document);
    serde_json::to_string_pretty(&document).unwrap_or_else(|_| spec.to_owned())
}

/// Everything but short URLs: API, documentation, health, metrics and the front page.
pub fn routes(app: &Arc<App>) -> BoxEndpoint<'static> {
    let service = service();
    let document = described(&service.spec());
    let swagger = service.swagger_ui_html();
    let redoc = service.redoc_html();
    let api = Route::new()
        .at("/openapi.json", pages::document(document))
        .nest("/", service);
    let routes = Route::new()
        .nest(PREFIX, api)
        .at("/", pages::front(&app.public_url))
        .at("/verify", mail_pages::verify())
        .at("/reset", mail_pages::reset())
        .at("/invite", mail_pages::invite())
        .at("/docs", pages::documentation(&swagger))
        .at("/redoc", pages::documentation(&redoc))
        .at("/health/live", pages::live())
        .at("/health/ready", pages::ready())
        .at("/metrics", pages::metrics())
        .at("/robots.txt", pages::robots())
        .at("/favicon.ico", pages::favicon());
    chain(Arc::clone(app), routes.boxed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_of_the_document_has_been_decided_on_and_the_table_has_no_other() {
        let document: serde_json::Value = serde_json::from_str(&document()).unwrap();
        assert!(!document.to_string().contains("x-undecided"));
        assert_eq!(access::missing_from(&document), Vec::<String>::new());
    }
}
