//! What every request to the API and the pages passes through, from the outside in: panics are
//! caught, the request gets an id and a log line, errors become problems, the client's address is
//! limited, the body is bounded and the whole thing has a time to end.

use std::net::{IpAddr, Ipv6Addr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use poem::endpoint::BoxEndpoint;
use poem::error::{ParsePathError, ReadBodyError};
use poem::{Body, Endpoint, EndpointExt as _, Request, Response};

use crate::app::App;
use crate::cors;
use crate::edge::ClientAddress;
use crate::problem::{PROBLEM_JSON, Problem};

/// Longest body of a request in bytes.
pub const MAX_BODY_BYTES: usize = 64 * 1024;
/// Its errors are those of RFC 6749.
const TOKEN_PATH: &str = "/api/v1/auth/token";
const PATIENCE: Duration = Duration::from_secs(30);

/// The id of a request, for whatever answers it.
#[derive(Clone, Debug)]
pub struct RequestId(pub String);

/// The whole chain around these routes.
pub fn chain(app: Arc<App>, routes: BoxEndpoint<'static>) -> BoxEndpoint<'static> {
    let state = Arc::clone(&app);
    Chain { app, routes }.data(state).boxed()
}

struct Chain {
    app: Arc<App>,
    routes: BoxEndpoint<'static>,
}

impl Endpoint for Chain {
    type Output = Response;

    async fn call(&self, mut request: Request) -> poem::Result<Response> {
        let begun = Instant::now();
        let id = self.app.request_id();
        let told = Told::of(&request);
        let allowed = self.app.origins.of(request.headers());
        let preflight =
            allowed.is_some() && cors::is_preflight(request.method(), request.headers());
        if preflight && told.is_api() {
            let mut response = Response::from(StatusCode::NO_CONTENT);
            cors::allow_requests(response.headers_mut());
            self.finish(&mut response, &told, allowed, &id);
            return Ok(response);
        }
        request.set_data(RequestId(id.clone()));
        let outcome = AssertUnwindSafe(self.within_limits(request))
            .catch_unwind()
            .await;
        let mut response = match outcome {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => problem_response(&problem_of(error, &told), &id),
            Err(_) => {
                self.app.metrics.panics.up();
                problem_response(&Problem::internal(), &id)
            }
        };
        self.finish(&mut response, &told, allowed, &id);
        self.count(&told, response.status());
        told.log(&id, response.status(), begun.elapsed());
        Ok(response)
    }
}

impl Chain {
    fn finish(&self, response: &mut Response, told: &Told, allowed: Option<HeaderValue>, id: &str) {
        finish(response, id);
        if told.is_api() && !self.app.origins.is_empty() {
            cors::varies(response.headers_mut());
            if let Some(origin) = allowed {
                cors::allow(response.headers_mut(), origin);
            }
        }
    }

    async fn within_limits(&self, request: Request) -> poem::Result<Response> {
        if request.uri().path().starts_with("/api/") {
            let client = client(&request);
            if let Err(limited) = self.app.limits.api.take(client.into()).await {
                self.app.metrics.limited_api.up();
                return Err(Problem::limited(&limited).into());
            }
        }
        let answered = tokio::time::timeout(PATIENCE, self.with_bounded_body(request)).await;
        answered.unwrap_or_else(|_| Err(Problem::of_status(StatusCode::REQUEST_TIMEOUT).into()))
    }

    async fn with_bounded_body(&self, mut request: Request) -> poem::Result<Response> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            if declared_length(&request).is_some_and(|length| length > MAX_BODY_BYTES) {
                return Err(Problem::of_status(StatusCode::PAYLOAD_TOO_LARGE).into());
            }
            let body = request.take_body().into_bytes_limit(MAX_BODY_BYTES).await;
            let body = body.map_err(|error| match error {
                ReadBodyError::PayloadTooLarge => Problem::of_status(StatusCode::PAYLOAD_TOO_LARGE),
                _ => Problem::malformed("The body ended early."),
            })?;
            request.set_body(Body::from(body));
        }
        self.routes.call(request).await
    }

    fn count(&self, told: &Told, status: StatusCode) {
        if !told.is_api() {
            return;
        }
        let metrics = &self.app.metrics;
        if status.is_server_error() {
            metrics.api_failed.up();
        } else if status.is_client_error() {
            metrics.api_refused.up();
        } else {
            metrics.api_ok.up();
        }
    }
}

/// What `Content-Length` says; the bytes are counted all the same.
fn declared_length(request: &Request) -> Option<usize> {
    let length = request.headers().get(CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

/// The client of a request; the unspecified address where no connection is behind it.
pub fn client(request: &Request) -> IpAddr {
    request
        .extensions()
        .get::<ClientAddress>()
        .map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |client| client.0)
}

/// What the log may know of a request: never its query, its headers or its body.
struct Told {
    method: Method,
    path: String,
    client: IpAddr,
    authenticated: bool,
}

impl Told {
    fn of(request: &Request) -> Self {
        Self {
            method: request.method().clone(),
            path: request.uri().path().chars().take(200).collect(),
            client: client(request),
            authenticated: request.headers().contains_key(AUTHORIZATION),
        }
    }

    fn is_api(&self) -> bool {
        self.path.starts_with("/api/")
    }

    fn log(&self, id: &str, status: StatusCode, took: Duration) {
        if !self.is_api() {
            return;
        }
        tracing::info!(
            method = %self.method,
            path = ?self.path,
            status = status.as_u16(),
            ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            client = %self.client,
            request_id = id,
            "request"
        );
    }
}

fn problem_of(error: poem::Error, told: &Told) -> Problem {
    match error.downcast::<Problem>() {
        Ok(problem) => problem,
        Err(error) => {
            let status = error.status();
            if status.is_server_error() {
                tracing::error!(%error, "a request failed");
            }
            match status {
                StatusCode::UNAUTHORIZED if told.authenticated => Problem::unauthorized(
                    "invalid_token",
                    "The Authorization header must be: Bearer, a space, and an access token.",
                ),
                // No id of ours is spelled in a way that cannot be decoded.
                StatusCode::BAD_REQUEST if error.is::<ParsePathError>() => Problem::not_found(),
                StatusCode::BAD_REQUEST if told.path == TOKEN_PATH => {
                    Problem::oauth("invalid_request", short(&error.to_string()))
                }
                StatusCode::BAD_REQUEST => Problem::malformed(short(&error.to_string())),
                StatusCode::METHOD_NOT_ALLOWED => Problem::of_status(status)
                    .allow(&crate::api::access::allowed_methods(&told.path)),
                status => Problem::of_status(status),
            }
        }
    }
}

/// What a framework says about a request, cut and cleaned: it may repeat parts of it.
fn short(text: &str) -> String {
    let clean: String = text.chars().filter(|c| !c.is_control()).take(200).collect();
    if clean.is_empty() {
        "The request cannot be read.".to_owned()
    } else {
        clean
    }
}

fn problem_response(problem: &Problem, id: &str) -> Response {
    let (parts, body) = problem.response(id).into_parts();
    let mut response = Response::from((parts.status, body));
    *response.headers_mut() = parts.headers;
    response
}

/// Headers that every answer carries.
fn finish(response: &mut Response, id: &str) {
    let json = response.headers().get(CONTENT_TYPE).is_some_and(|kind| {
        kind.as_bytes().starts_with(b"application/json") || kind == PROBLEM_JSON
    });
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(HeaderName::from_static("x-request-id"), id);
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(
        HeaderName::from_static("referrer-policy"),
        HeaderValue::from_static("no-referrer"),
    );
    headers.insert(
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    );
    if !headers.contains_key(http::header::CONTENT_SECURITY_POLICY) {
        headers.insert(
            http::header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
        );
    }
    if json {
        headers
            .entry(http::header::CACHE_CONTROL)
            .or_insert(HeaderValue::from_static("no-store"));
    }
}
