//! Pages that visitors of short links meet: small, self-contained, without script.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use sha2::{Digest, Sha256};

use crate::problem::Problem;

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1c2024;--soft:#60646c;--paper:#fcfcfd;--line:#e0e1e6;--link:#0a58ca}\
@media(prefers-color-scheme:dark){:root{--ink:#edeef0;--soft:#b0b4ba;--paper:#111113;--line:#363a3f;--link:#70b8ff}}\
*{box-sizing:border-box}body{margin:0;min-height:100vh;display:grid;place-items:center;padding:2rem;\
background:var(--paper);color:var(--ink);font:1.0625rem/1.6 system-ui,sans-serif}\
main{max-width:36rem;width:100%}h1{font-size:1.5rem;line-height:1.25;margin:0 0 .5rem}p{margin:.5rem 0;color:var(--soft)}\
a{color:var(--link)}code,.target{font:0.95rem/1.5 ui-monospace,monospace;overflow-wrap:anywhere;color:var(--ink)}\
.target{display:block;margin:1rem 0;padding:1rem;border:1px solid var(--line);border-radius:.5rem}\
ul{padding-left:1.2rem;color:var(--soft)}li{margin:.35rem 0}pre{overflow-x:auto;padding:1rem;border:1px solid var(--line);\
border-radius:.5rem;font:0.85rem/1.5 ui-monospace,monospace}\
form{margin:1.25rem 0}label{display:block;margin:0 0 1rem;color:var(--soft)}\
input{display:block;width:100%;margin:.35rem 0 0;padding:.6rem .75rem;font:inherit;color:var(--ink);background:var(--paper);\
border:1px solid var(--line);border-radius:.5rem}button{padding:.6rem 1.1rem;font:inherit;font-weight:600;color:var(--paper);\
background:var(--link);border:0;border-radius:.5rem;cursor:pointer}.refusal{color:var(--ink);border-left:.25rem solid #d13415;\
padding-left:.75rem}";

/// Allows this page's own style, and nothing else.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| policy("'none'"));
/// Allows a form of our own too.
static FORM_POLICY: LazyLock<HeaderValue> = LazyLock::new(|| policy("'self'"));

fn policy(form_action: &str) -> HeaderValue {
    let hash = STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; img-src 'self'; base-uri 'none'; form-action {form_action}; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&policy)
        .unwrap_or_else(|_| HeaderValue::from_static("default-src 'none'"))
}

/// A page with this title and body; both are HTML already.
pub(crate) fn page(status: StatusCode, title: &str, body: &str) -> Response<Bytes> {
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width,initial-scale=1\"><meta name=\"robots\" content=\"noindex\">\
         <title>{title}</title><style>{STYLE}</style></head><body><main><h1>{title}</h1>{body}</main></body></html>"
    );
    let mut response = Response::new(Bytes::from(html));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_SECURITY_POLICY, POLICY.clone());
    guard(headers);
    response
}

/// A [`page`] that may hold a form.
pub(crate) fn form_page(status: StatusCode, title: &str, body: &str) -> Response<Bytes> {
    let mut response = page(status, title, body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, FORM_POLICY.clone());
    response
}

/// Headers that every page and problem of the redirect path carries.
pub(crate) fn guard(headers: &mut HeaderMap) {
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(
        HeaderName::from_static("x-robots-tag"),
        HeaderValue::from_static("noindex"),
    );
    headers.insert(
        HeaderName::from_static("referrer-policy"),
        HeaderValue::from_static("no-referrer"),
    );
    headers.insert(
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    );
    headers
        .entry(CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static(
            "default-src 'none'; frame-ancestors 'none'",
        ));
}

/// The problem as a page for browsers, as problem+json for programs.
pub(crate) fn problem(
    problem: &Problem,
    title: &str,
    text: &str,
    html: bool,
    request_id: &str,
) -> Response<Bytes> {
    let told = problem.response(request_id);
    let (parts, body) = told.into_parts();
    if html {
        let mut response = page(parts.status, title, &format!("<p>{text}</p>"));
        for (name, value) in &parts.headers {
            if *name != CONTENT_TYPE {
                response.headers_mut().insert(name.clone(), value.clone());
            }
        }
        return response;
    }
    let mut response = Response::from_parts(parts, Bytes::from(body));
    guard(response.headers_mut());
    response
}

/// Text that means only itself inside HTML.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}
