//! Which other sites' pages may use the API from a browser: those of an explicit list, and never with
//! cookies, of which there are none.

use std::str::FromStr;

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
    VARY,
};
use http::{HeaderMap, HeaderValue, Method};

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PATCH, DELETE");
const REQUEST_HEADERS: HeaderValue =
    HeaderValue::from_static("Authorization, Content-Type, Idempotency-Key, Last-Event-ID");
const ANSWER_HEADERS: HeaderValue = HeaderValue::from_static(
    "Content-Disposition, Location, Retry-After, RateLimit, RateLimit-Policy, WWW-Authenticate, \
     X-Request-Id",
);

/// Origins whose pages may use the API; none by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedOrigins(Vec<HeaderValue>);

/// The text is no list of origins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be origins such as https://app.example, separated by commas; there is no wildcard")]
pub struct MalformedOrigins;

impl FromStr for AllowedOrigins {
    type Err = MalformedOrigins;

    fn from_str(text: &str) -> Result<Self, MalformedOrigins> {
        let origins = text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty());
        origins.map(origin).collect::<Result<_, _>>().map(Self)
    }
}

/// An origin in the spelling that browsers send (RFC 6454).
fn origin(text: &str) -> Result<HeaderValue, MalformedOrigins> {
    let url = url::Url::parse(text).map_err(|_| MalformedOrigins)?;
    let origin = url.origin();
    let web = matches!(url.scheme(), "http" | "https");
    // Anything that the origin does not have would be a rule that is not kept.
    if !web || text.contains('*') || origin.ascii_serialization() != text.trim_end_matches('/') {
        return Err(MalformedOrigins);
    }
    HeaderValue::from_str(&origin.ascii_serialization()).map_err(|_| MalformedOrigins)
}

impl AllowedOrigins {
    /// The origin of this request, if its pages may use the API.
    pub(crate) fn of(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let asked = headers.get(ORIGIN)?;
        self.0.iter().find(|allowed| *allowed == asked).cloned()
    }

    /// Whether there are any.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Whether a browser asks what it may ask.
pub(crate) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// Lets pages of `origin` read an answer.
pub(crate) fn allow(answer: &mut HeaderMap, origin: HeaderValue) {
    answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, ANSWER_HEADERS);
}

/// Says what pages may ask.
pub(crate) fn allow_requests(answer: &mut HeaderMap) {
    answer.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS);
    answer.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
}

/// The answer depends on who asks, whoever it is.
pub(crate) fn varies(answer: &mut HeaderMap) {
    answer.append(VARY, HeaderValue::from_static("Origin"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_origins_are_allowed_in_their_exact_spelling() {
        let allowed: AllowedOrigins = "https://app.example, http://localhost:3000"
            .parse()
            .unwrap();
        for (origin, expected) in [
            ("https://app.example", true),
            ("http://localhost:3000", true),
            ("https://evil.example", false),
            ("https://app.example.evil.example", false),
            ("http://app.example", false),
            ("https://app.example:8443", false),
            ("null", false),
            ("*", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ORIGIN, origin.parse().unwrap());
            assert_eq!(allowed.of(&headers).is_some(), expected, "{origin}");
        }
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for text in [
            "*",
            "app.example",
            "https://app.example/path",
            "null",
            "file:///x",
            "https://*.example",
        ] {
            assert!(text.parse::<AllowedOrigins>().is_err(), "{text}");
        }
        assert!("".parse::<AllowedOrigins>().unwrap().is_empty());
    }
}
