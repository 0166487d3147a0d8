//! Short URLs: from a request to a redirect, a page, or a problem.

use std::net::IpAddr;

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_LANGUAGE, CACHE_CONTROL, LOCATION, REFERER, USER_AGENT};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use terse_core::classify::RequestFacts;
use terse_core::model::RedirectStatus;
use terse_core::place::Place;
use terse_core::{GoneReason, Preview, Redirect, Resolution, ResolveError};

use crate::app::App;
use crate::host;
use crate::limits::Limited;
use crate::problem::Problem;
use crate::told_place::ToldPlace;
use crate::visitor_page::{escape, page, problem};

/// Answers a request whose path may be a slug.
pub async fn answer(app: &App, peer: IpAddr, request: &Parts) -> Response<Bytes> {
    let visit = Visit { app, request };
    let head = match request.method {
        Method::GET => false,
        Method::HEAD => true,
        _ => {
            app.metrics.refused.up();
            let refusal = Problem::of_status(StatusCode::METHOD_NOT_ALLOWED).allow("GET, HEAD");
            return visit.problem(
                &refusal,
                "Not this way",
                "Short links are followed with GET.",
            );
        }
    };
    let client = app.proxies.client(peer, &request.headers);
    if let Err(limited) = app.limits.redirect.check(client.into()) {
        app.metrics.limited_redirects.up();
        return visit.limited(&limited);
    }
    if let Err(limited) = app.limits.missing.may_look_up(client.into()) {
        app.metrics.limited_missing.up();
        return visit.limited(&limited);
    }
    let Some(host) = host::named(&request.headers, &request.uri, request.version) else {
        app.metrics.refused.up();
        let refusal = Problem::malformed("The request must name one host.");
        return visit.problem(
            &refusal,
            "Malformed request",
            "The request must name one host.",
        );
    };
    let path = request.uri.path();
    if let Some(path) = path.strip_suffix('+') {
        let preview = app.terse.preview(host, path).await;
        return visit.preview(preview, client);
    }
    let told = ToldPlace::by(peer, &app.proxies, &request.headers);
    let facts = facts(request, client, head, told.place());
    visit.follow(host, &facts).await
}

fn facts<'a>(request: &'a Parts, client: IpAddr, head: bool, place: Place<'a>) -> RequestFacts<'a> {
    const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
    const FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
    let headers = &request.headers;
    let bytes = |name: HeaderName| headers.get(name).map_or(&[][..], HeaderValue::as_bytes);
    RequestFacts {
        head,
        client,
        query: request.uri.query(),
        user_agent: bytes(USER_AGENT),
        accept_language: bytes(ACCEPT_LANGUAGE),
        referer: bytes(REFERER),
        purpose: purpose(headers),
        fetch_mode: bytes(FETCH_MODE),
        fetch_dest: bytes(FETCH_DEST),
        place,
    }
}

fn purpose(headers: &HeaderMap) -> &[u8] {
    const NAMES: [HeaderName; 4] = [
        HeaderName::from_static("sec-purpose"),
        HeaderName::from_static("purpose"),
        HeaderName::from_static("x-purpose"),
        HeaderName::from_static("x-moz"),
    ];
    NAMES
        .iter()
        .find_map(|name| headers.get(name))
        .map_or(&[], HeaderValue::as_bytes)
}

/// One request for a short URL.
struct Visit<'a> {
    app: &'a App,
    request: &'a Parts,
}

impl Visit<'_> {
    async fn follow(&self, host: &str, facts: &RequestFacts<'_>) -> Response<Bytes> {
        let path = self.request.uri.path();
        let resolution = self.app.terse.resolve(host, path, facts).await;
        self.respond(resolution, facts.client, facts.head)
    }

    fn respond(
        &self,
        resolution: Result<Resolution, ResolveError>,
        client: IpAddr,
        head: bool,
    ) -> Response<Bytes> {
        let metrics = &self.app.metrics;
        match resolution {
            Ok(Resolution::Redirect(redirect)) => {
                if head {
                    metrics.heads.up();
                } else {
                    metrics.redirects.up();
                }
                self.redirect(redirect)
            }
            Ok(Resolution::Withheld) => self.withheld(),
            Ok(Resolution::NotFound) => self.not_found(client),
            Ok(Resolution::Gone(reason)) => self.gone(reason),
            Ok(Resolution::Blocked) => self.blocked(),
            Ok(Resolution::QueryTooLong) => {
                metrics.refused.up();
                let refusal = Problem::new(
                    StatusCode::URI_TOO_LONG,
                    "query_too_long",
                    "The target with this query would be longer than 8 KiB.",
                );
                self.problem(
                    &refusal,
                    "Address too long",
                    "The target with this query would be too long.",
                )
            }
            Err(ResolveError::Unavailable | ResolveError::Unrecordable) => self.unavailable(),
        }
    }

    fn redirect(&self, redirect: Redirect) -> Response<Bytes> {
        // Targets are visible ASCII; were one not, an answer without Location would be worse.
        let Ok(location) = HeaderValue::from_maybe_shared(redirect.location) else {
            tracing::error!(
                path = self.request.uri.path(),
                "a stored target cannot be sent"
            );
            return self.problem(
                &Problem::internal(),
                "Something went wrong",
                "Please try again later.",
            );
        };
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = status(redirect.status);
        let headers = response.headers_mut();
        headers.reserve(3);
        headers.insert(LOCATION, location);
        headers.insert(
            CACHE_CONTROL,
            HeaderValue::from_static(if redirect.status.is_permanent() {
                "private, max-age=60"
            } else {
                "private, no-store"
            }),
        );
        headers.insert(
            HeaderName::from_static("x-robots-tag"),
            HeaderValue::from_static("noindex"),
        );
        response
    }

    fn preview(&self, preview: Result<Preview, ResolveError>, client: IpAddr) -> Response<Bytes> {
        match preview {
            Ok(Preview::Open { target, title }) => {
                let heading = title
                    .as_deref()
                    .map_or("Where this link leads".to_owned(), escape);
                let target = escape(&target);
                let body = format!(
                    "<p>This short link leads to:</p><a class=\"target\" rel=\"noreferrer nofollow\" href=\"{target}\">{target}</a>\
                     <p>Looking at this page does not count as a click.</p>"
                );
                page(StatusCode::OK, &heading, &body)
            }
            Ok(Preview::Withheld) => self.withheld(),
            Ok(Preview::NotFound) => self.not_found(client),
            Ok(Preview::Gone(reason)) => self.gone(reason),
            Ok(Preview::Blocked) => self.blocked(),
            Err(_) => self.unavailable(),
        }
    }

    fn withheld(&self) -> Response<Bytes> {
        self.app.metrics.withheld.up();
        page(
            StatusCode::OK,
            "Open this link in a browser",
            "<p>It works for a limited number of visits, so it is followed only by people who open it.</p>",
        )
    }

    fn not_found(&self, client: IpAddr) -> Response<Bytes> {
        let misses = &self.app.limits.missing;
        if let Err(limited) = misses.missed(client.into(), self.request.uri.path()) {
            self.app.metrics.limited_missing.up();
            return self.limited(&limited);
        }
        self.app.metrics.not_found.up();
        self.problem(
            &Problem::not_found(),
            "There is no such link",
            "Check the address for a typing error, or ask whoever sent it to you.",
        )
    }

    fn gone(&self, reason: GoneReason) -> Response<Bytes> {
        self.app.metrics.gone.up();
        let (code, text) = match reason {
            GoneReason::Expired => ("link_expired", "This link has expired."),
            GoneReason::Exhausted => (
                "link_exhausted",
                "This link has been used as often as it was made for.",
            ),
            GoneReason::Deleted => ("link_deleted", "This link was deleted by its owner."),
        };
        let problem = Problem::new(StatusCode::GONE, code, text);
        self.problem(&problem, "This link is no longer there", text)
    }

    fn blocked(&self) -> Response<Bytes> {
        self.app.metrics.blocked.up();
        let text = "This link was blocked by an administrator.";
        let problem = Problem::new(
            StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS,
            "link_blocked",
            text,
        );
        self.problem(&problem, "This link is blocked", text)
    }

    fn unavailable(&self) -> Response<Bytes> {
        self.app.metrics.unavailable.up();
        self.problem(
            &Problem::unavailable(),
            "Back in a moment",
            "The link cannot be followed right now. Please try again shortly.",
        )
    }

    fn limited(&self, limited: &Limited) -> Response<Bytes> {
        self.problem(
            &Problem::limited(limited),
            "Too many requests",
            "Too many requests came from your address. Please wait a moment.",
        )
    }

    fn problem(&self, refusal: &Problem, title: &str, text: &str) -> Response<Bytes> {
        let html = self
            .request
            .headers
            .get(ACCEPT)
            .and_then(|accept| accept.to_str().ok())
            .is_some_and(|accept| accept.contains("text/html"));
        problem(refusal, title, text, html, &self.app.request_id())
    }
}

const fn status(status: RedirectStatus) -> StatusCode {
    match status {
        RedirectStatus::MovedPermanently => StatusCode::MOVED_PERMANENTLY,
        RedirectStatus::Found => StatusCode::FOUND,
        RedirectStatus::SeeOther => StatusCode::SEE_OTHER,
        RedirectStatus::TemporaryRedirect => StatusCode::TEMPORARY_REDIRECT,
        RedirectStatus::PermanentRedirect => StatusCode::PERMANENT_REDIRECT,
    }
}
