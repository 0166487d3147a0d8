//! The HTTP API, version 1.

pub mod analytics;
pub mod auth;
mod body;
mod errors;
pub mod links;
mod schema;
mod security;

use std::sync::Arc;

use poem::{EndpointExt as _, Route, endpoint::BoxEndpoint};
use poem_openapi::{OpenApiService, Tags};

use crate::app::App;
use crate::chain::chain;
use crate::pages;

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
}

type Service = OpenApiService<(auth::AuthApi, links::LinksApi, analytics::AnalyticsApi), ()>;

fn service() -> Service {
    OpenApiService::new(
        (auth::AuthApi, links::LinksApi, analytics::AnalyticsApi),
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
    service().spec()
}

/// Everything but short URLs: API, documentation, health, metrics and the front page.
pub fn routes(app: &Arc<App>) -> BoxEndpoint<'static> {
    let service = service();
    let document = service.spec();
    let swagger = service.swagger_ui_html();
    let redoc = service.redoc_html();
    let api = Route::new()
        .at("/openapi.json", pages::document(document))
        .nest("/", service);
    let routes = Route::new()
        .nest(PREFIX, api)
        .at("/", pages::front(&app.public_url))
        .at("/docs", pages::documentation(&swagger))
        .at("/redoc", pages::documentation(&redoc))
        .at("/health/live", pages::live())
        .at("/health/ready", pages::ready())
        .at("/metrics", pages::metrics())
        .at("/robots.txt", pages::robots())
        .at("/favicon.ico", pages::favicon());
    chain(Arc::clone(app), routes.boxed())
}

/// The methods of a routed path, for `Allow`.
pub(crate) fn allowed_methods(path: &str) -> &'static str {
    let Some(path) = path.strip_prefix(PREFIX) else {
        return "GET, HEAD";
    };
    match path {
        "/links" => "GET, HEAD, POST",
        "/auth/token" | "/auth/logout" => "POST",
        "/openapi.json" | "/links/lookup" | "/analytics/summary" | "/analytics/timeseries" => {
            "GET, HEAD"
        }
        _ => "GET, HEAD, PATCH, DELETE",
    }
}
