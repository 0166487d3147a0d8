//! Errors as the API tells them: RFC 9457 problem details.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, StatusCode};
use poem::error::ResponseError;
use serde::Serialize;
use terse_core::model::{FieldError, Permission};

use crate::limits::Limited;

/// The media type of every error.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// One error, before it is written for a request.
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    code: Cow<'static, str>,
    detail: Cow<'static, str>,
    errors: Vec<RefusedField>,
    oauth: Option<&'static str>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// One refused field of a request.
#[derive(Clone, Debug, Serialize)]
pub struct RefusedField {
    /// Where: a member of the body or a query parameter.
    pub field: String,
    /// Stable, `snake_case`.
    pub code: Cow<'static, str>,
    /// A sentence for people.
    pub message: String,
}

impl From<FieldError> for RefusedField {
    fn from(error: FieldError) -> Self {
        Self {
            field: error.field.to_owned(),
            code: error.code.into(),
            message: error.message.into_owned(),
        }
    }
}

impl RefusedField {
    /// A refusal of `field`, whose name the client chose: cut and cleaned before it is repeated.
    pub fn new(field: &str, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            field: field.chars().filter(|c| !c.is_control()).take(64).collect(),
            code: code.into(),
            message: message.into(),
        }
    }
}

impl Problem {
    /// A problem with a stable `code` and a sentence for people.
    pub fn new(
        status: StatusCode,
        code: impl Into<Cow<'static, str>>,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            code: code.into(),
            detail: detail.into(),
            errors: Vec::new(),
            oauth: None,
            headers: Vec::new(),
        }
    }

    /// 400: the request cannot be read.
    pub fn malformed(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed_request", detail)
    }

    /// 401 with the challenge of RFC 6750; `code` tells an expired token from none at all.
    pub fn unauthorized(code: &'static str, detail: &'static str) -> Self {
        let challenge = match code {
            "unauthenticated" => HeaderValue::from_static("Bearer realm=\"terse\""),
            _ => HeaderValue::from_static("Bearer realm=\"terse\", error=\"invalid_token\""),
        };
        Self::new(StatusCode::UNAUTHORIZED, code, detail).header(WWW_AUTHENTICATE, challenge)
    }

    /// 403: signed in, but not allowed.
    pub fn forbidden(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, detail)
    }

    /// 403: this permission is missing.
    pub fn lacking(permission: Permission) -> Self {
        Self::forbidden(
            "forbidden",
            format!("This needs the permission {}.", permission.as_str()),
        )
    }

    /// 404, the same for what does not exist and for what the caller may not see.
    pub fn not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "There is nothing here under this address.",
        )
    }

    /// 422: the request can be read, but these fields are refused.
    pub fn refused(errors: impl IntoIterator<Item = impl Into<RefusedField>>) -> Self {
        let mut problem = Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "validation_failed",
            "Some fields are not acceptable; see errors.",
        );
        problem.errors = errors.into_iter().map(Into::into).collect();
        problem
    }

    /// 429, saying when to come back.
    pub fn limited(limited: &Limited) -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "rate_limited",
            "Too many requests from this address; try again later.",
        )
        .retry_after(limited.retry_after)
        .header(
            HeaderName::from_static("ratelimit"),
            header_value(&limited.rate_limit()),
        )
        .header(
            HeaderName::from_static("ratelimit-policy"),
            header_value(&limited.policy()),
        )
    }

    /// 500, telling the outside nothing about the cause.
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal_error",
            "Something went wrong on our side. The request id helps to find it in the log.",
        )
    }

    /// 503: the store does not answer; a later attempt may succeed.
    pub fn unavailable() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "The service cannot do this right now; try again shortly.",
        )
        .retry_after(Duration::from_secs(1))
    }

    /// An error of the token endpoint (RFC 6749, section 5.2).
    pub fn oauth(error: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        let mut problem = Self::new(StatusCode::BAD_REQUEST, error, detail)
            .header(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        problem.oauth = Some(error);
        problem
    }

    /// The generic problem of an HTTP status that a framework chose.
    pub fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::UNAUTHORIZED => {
                Self::unauthorized("unauthenticated", "Sign in to use this.")
            }
            StatusCode::FORBIDDEN => Self::new(status, "forbidden", "This is not allowed."),
            StatusCode::NOT_FOUND => Self::not_found(),
            StatusCode::METHOD_NOT_ALLOWED => Self::new(
                status,
                "method_not_allowed",
                "This address does not answer to that method.",
            ),
            StatusCode::REQUEST_TIMEOUT => Self::new(
                status,
                "request_timeout",
                "The request took too long to arrive or to answer.",
            ),
            StatusCode::PAYLOAD_TOO_LARGE => Self::new(
                status,
                "payload_too_large",
                "The body is larger than 64 KiB.",
            ),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::new(
                status,
                "unsupported_media_type",
                "The body's Content-Type is missing or not one this address reads.",
            ),
            StatusCode::SERVICE_UNAVAILABLE => Self::unavailable(),
            status if status.is_server_error() => Self::internal(),
            status if status == StatusCode::BAD_REQUEST => {
                Self::malformed("The request cannot be read.")
            }
            status => Self::new(
                status,
                "request_refused",
                status
                    .canonical_reason()
                    .unwrap_or("The request is refused."),
            ),
        }
    }

    /// Adds a header to the answer.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Adds `Allow`.
    #[must_use]
    pub fn allow(self, methods: &str) -> Self {
        self.header(ALLOW, header_value(methods))
    }

    /// Adds `Retry-After`, in whole seconds and at least one.
    #[must_use]
    pub fn retry_after(self, wait: Duration) -> Self {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        self.header(RETRY_AFTER, HeaderValue::from(seconds.max(1)))
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The JSON text of this problem in the answer to request `request_id`.
    pub fn body(&self, request_id: &str) -> Vec<u8> {
        let document = Document {
            kind: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            code: &self.code,
            request_id,
            errors: &self.errors,
            error: self.oauth,
            error_description: self.oauth.map(|_| &*self.detail),
        };
        serde_json::to_vec(&document).unwrap_or_default()
    }

    /// The whole answer to request `request_id`.
    pub fn response(&self, request_id: &str) -> http::Response<Vec<u8>> {
        let mut response = http::Response::new(self.body(request_id));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        for (name, value) in &self.headers {
            headers.insert(name, value.clone());
        }
        if !headers.contains_key(CACHE_CONTROL) {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        response
    }
}

fn header_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [RefusedField],
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_description: Option<&'a str>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status.as_u16(), self.code)
    }
}

impl std::error::Error for Problem {}

impl ResponseError for Problem {
    fn status(&self) -> StatusCode {
        self.status
    }
}
