//! What can go wrong with each operation, for the document and for handlers.

use http::StatusCode;
use poem_openapi::registry::{MetaMediaType, MetaResponse, MetaResponses, Registry};
use poem_openapi::types::Type as _;
use poem_openapi::{ApiResponse, Object};
use terse_core::StoreError;
use terse_core::analytics::AnalyticsError;
use terse_core::links::LinkError;

use crate::problem::{PROBLEM_JSON, Problem};

/// Problem details (RFC 9457). `code` is stable and made for programs, `detail` is for people.
#[derive(Debug, Object)]
#[oai(rename = "Problem")]
struct ProblemSchema {
    /// Always `about:blank`: the status says what kind of problem it is.
    r#type: String,
    title: String,
    status: u16,
    detail: String,
    code: String,
    /// Names this request in the server's log.
    request_id: String,
    /// Refused fields, when there are any.
    errors: Option<Vec<RefusedFieldSchema>>,
    /// At the token endpoint: the error of RFC 6749, section 5.2.
    error: Option<String>,
    error_description: Option<String>,
}

#[derive(Debug, Object)]
#[oai(rename = "RefusedField")]
struct RefusedFieldSchema {
    field: String,
    code: String,
    message: String,
}

const STATUSES: [(u16, &str); 13] = [
    (400, "The request cannot be read."),
    (401, "Not signed in, or the token is not good any more."),
    (403, "Signed in, but not allowed."),
    (404, "Unknown, or not visible to the caller."),
    (405, "The address does not answer to this method."),
    (408, "The request took too long."),
    (409, "In conflict with what exists."),
    (413, "The body is larger than 64 KiB."),
    (415, "The body's media type is not one this address reads."),
    (
        422,
        "Well-formed, but some fields are refused; see `errors`.",
    ),
    (
        429,
        "Too many requests; `Retry-After` says when to come back.",
    ),
    (500, "Something went wrong on our side."),
    (503, "Not possible right now; try again shortly."),
];

impl ApiResponse for Problem {
    fn meta() -> MetaResponses {
        let responses = STATUSES
            .into_iter()
            .map(|(status, description)| MetaResponse {
                description,
                status: Some(status),
                status_range: None,
                content: vec![MetaMediaType {
                    content_type: PROBLEM_JSON,
                    schema: ProblemSchema::schema_ref(),
                }],
                headers: Vec::new(),
            })
            .collect();
        MetaResponses { responses }
    }

    fn register(registry: &mut Registry) {
        ProblemSchema::register(registry);
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let source = &error as &dyn std::error::Error;
        if error.is_unavailable() {
            tracing::warn!(error = source, "the database did not answer");
            Self::unavailable()
        } else {
            tracing::error!(error = source, "the database failed");
            Self::internal()
        }
    }
}

impl From<LinkError> for Problem {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Refused(errors) => Self::refused(errors),
            LinkError::SlugTaken => Self::new(
                StatusCode::CONFLICT,
                "slug_taken",
                "A link with this slug exists already; choose another slug.",
            ),
            LinkError::SlugRetired => Self::new(
                StatusCode::CONFLICT,
                "alias_retired",
                "This slug belonged to a deleted link; slugs are never issued again.",
            ),
            LinkError::NotFound => Self::not_found(),
            LinkError::MayNotBlock => Self::new(
                StatusCode::FORBIDDEN,
                "forbidden",
                "Blocking and unblocking links needs the permission links:block.",
            ),
            LinkError::Contended => Self::unavailable(),
            LinkError::Store(error) => error.into(),
        }
    }
}

impl From<AnalyticsError> for Problem {
    fn from(error: AnalyticsError) -> Self {
        match error {
            AnalyticsError::Refused(errors) => Self::refused(errors),
            AnalyticsError::NotFound => Self::not_found(),
            AnalyticsError::Store(error) => error.into(),
        }
    }
}
