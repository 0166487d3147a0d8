//! Pages beside the API: the front page, documentation, health, metrics.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use poem::endpoint::make_sync;
use poem::web::Data;
use poem::{Endpoint, IntoEndpoint, Request, Response, get, handler};
use sha2::{Digest, Sha256};
use terse_core::NotReady;

use crate::app::App;
use crate::metrics::OPENMETRICS;
use crate::visitor_page::{escape, page};

fn fixed(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response {
    Response::builder()
        .status(status)
        .content_type(content_type)
        .body(body.into())
}

/// The OpenAPI document.
pub fn document(text: String) -> impl IntoEndpoint<Endpoint = impl Endpoint> {
    let text = Bytes::from(text);
    get(make_sync(move |_| {
        fixed(StatusCode::OK, "application/json", text.clone())
    }))
}

/// A page of interactive documentation, allowed to run its own scripts and nothing else.
pub fn documentation(html: &str) -> impl IntoEndpoint<Endpoint = impl Endpoint + use<>> + use<> {
    // ReDoc's page names a font service; nothing is fetched from elsewhere.
    let html = without_external_links(html);
    let policy = documentation_policy(&html);
    let html = Bytes::from(html);
    get(make_sync(move |_| {
        let mut response = fixed(StatusCode::OK, "text/html; charset=utf-8", html.clone());
        if let Ok(policy) = HeaderValue::from_str(&policy) {
            response
                .headers_mut()
                .insert(CONTENT_SECURITY_POLICY, policy);
        }
        response
    }))
}

fn without_external_links(html: &str) -> String {
    html.lines()
        .filter(|line| !line.trim_start().starts_with("<link href=\"https://"))
        .collect::<Vec<_>>()
        .join("\n")
}

fn documentation_policy(html: &str) -> String {
    let scripts = inline_hashes(html, "script");
    // Both libraries write styles while they run: those cannot be named by hash.
    format!(
        "default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; img-src 'self' data:; \
         font-src data:; connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'self'; \
         frame-ancestors 'none'"
    )
}

/// The hashes of a page's inline elements, as CSP sources.
fn inline_hashes(html: &str, element: &str) -> String {
    let (open, close) = (format!("<{element}"), format!("</{element}>"));
    let mut sources = Vec::new();
    let mut rest = html;
    while let Some(start) = rest.find(&open) {
        let Some(begin) = rest[start..].find('>').map(|end| start + end + 1) else {
            break;
        };
        let Some(end) = rest[begin..].find(&close).map(|end| begin + end) else {
            break;
        };
        let hash = STANDARD.encode(Sha256::digest(&rest[begin..end]));
        sources.push(format!("'sha256-{hash}'"));
        rest = &rest[end..];
    }
    sources.join(" ")
}

/// What this is, for whoever opens the server's address.
pub fn front(public_url: &str) -> impl IntoEndpoint<Endpoint = impl Endpoint + use<>> + use<> {
    let url = escape(public_url);
    let body = format!(
        "<p>This server turns long addresses into short ones, leads visitors on, and tells the owners of \
         links who clicked.</p><ul><li><a href=\"/docs\">Try the API</a>: press Authorize, sign in with your \
         e-mail address and password, then make a link with <code>POST /links</code>.</li>\
         <li><a href=\"/redoc\">Read the API</a>.</li>\
         <li>See where a short link leads before you follow it: add a <code>+</code>, as in \
         <code>{url}/launch+</code>.</li></ul>\
         <p>Links from a terminal: <code>terse login --url {url}</code>, then \
         <code>terse links create https://example.com</code>.</p>"
    );
    let (parts, html) = page(StatusCode::OK, "Terse", &body).into_parts();
    get(make_sync(move |_| {
        let mut response = Response::from((parts.status, html.clone()));
        *response.headers_mut() = parts.headers.clone();
        response
    }))
}

/// Whether the process runs.
pub fn live() -> impl IntoEndpoint<Endpoint = impl Endpoint> {
    get(make_sync(|_| {
        fixed(
            StatusCode::OK,
            "application/json",
            &b"{\"status\":\"ok\"}"[..],
        )
    }))
}

/// Whether links should be sent here: they are answered and their clicks recorded.
pub fn ready() -> impl IntoEndpoint<Endpoint = impl Endpoint> {
    get(readiness)
}

#[handler]
async fn readiness(app: Data<&Arc<App>>) -> Response {
    match app.terse.ready().await {
        Ok(()) => fixed(
            StatusCode::OK,
            "application/json",
            &b"{\"status\":\"ok\"}"[..],
        ),
        // Known links go on. All nodes lose their database at once: a balancer would take the last one out.
        Err(NotReady::Database) => fixed(
            StatusCode::OK,
            "application/json",
            &b"{\"status\":\"degraded\",\"waiting_for\":\"database\"}"[..],
        ),
        Err(NotReady::Spool) => fixed(
            StatusCode::SERVICE_UNAVAILABLE,
            "application/json",
            &b"{\"status\":\"not ready\",\"waiting_for\":\"spool\"}"[..],
        ),
    }
}

/// Counters for a monitoring system.
pub fn metrics() -> impl IntoEndpoint<Endpoint = impl Endpoint> {
    get(make_sync(|request: Request| {
        let Some(app) = request.data::<Arc<App>>() else {
            return Response::from(StatusCode::INTERNAL_SERVER_ERROR);
        };
        let status = app.terse.status();
        let now = app.terse.clock().now();
        let page = app.metrics.page(&status, &app.limits, now);
        fixed(StatusCode::OK, OPENMETRICS, page)
    }))
}

/// Short links are not for search engines, and neither is the API.
pub fn robots() -> impl IntoEndpoint<Endpoint = impl Endpoint> {
    get(make_sync(|_| {
        fixed(
            StatusCode::OK,
            "text/plain; charset=utf-8",
            &b"User-agent: *\nDisallow: /api/\n"[..],
        )
    }))
}

/// Browsers ask for it; there is none.
pub fn favicon() -> impl IntoEndpoint<Endpoint = impl Endpoint> {
    get(make_sync(|_: Request| {
        let mut response = Response::from(StatusCode::NO_CONTENT);
        let headers = response.headers_mut();
        headers.insert(
            CACHE_CONTROL,
            HeaderValue::from_static("public, max-age=86400"),
        );
        headers.remove(CONTENT_TYPE);
        response
    }))
}
