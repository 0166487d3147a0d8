//! What can go wrong with each operation, for the document and for handlers.

use http::StatusCode;
use poem_openapi::registry::{MetaMediaType, MetaResponse, MetaResponses, Registry};
use poem_openapi::types::Type as _;
use poem_openapi::{ApiResponse, Object};
use terse_core::accounts::{AccountError, KeyError, MailedTokenError, PasswordError, UserError};
use terse_core::analytics::AnalyticsError;
use terse_core::audit::AuditError;
use terse_core::jobs::JobError;
use terse_core::links::LinkError;
use terse_core::model::{FieldError, Permission};
use terse_core::workspaces::{RoleError, WorkspaceError};
use terse_core::{Complaint, StoreError};

use crate::problem::{PROBLEM_JSON, Problem};
use crate::seats::NoSeat;

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

/// While the database is away, every request meets that.
static AWAY: Complaint = Complaint::new();

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let source = &error as &dyn std::error::Error;
        if error.is_unavailable() {
            if AWAY.is_due() {
                tracing::warn!(error = source, "the database did not answer");
            }
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
            LinkError::KeyReused => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency_key_reused",
                "This Idempotency-Key was used for another request; take a new one.",
            ),
            LinkError::MayNotBlock => Self::lacking(Permission::LinksBlock),
            LinkError::MayNotWrite => Self::lacking(Permission::LinksWrite),
            LinkError::Contended => Self::unavailable(),
            LinkError::Store(error) => error.into(),
        }
    }
}

impl From<AccountError> for Problem {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::Refused(errors) => Self::refused(errors),
            AccountError::EmailTaken => Self::new(
                StatusCode::CONFLICT,
                "email_taken",
                "An account with this e-mail address exists already.",
            ),
            AccountError::RegistrationClosed => Self::forbidden(
                "registration_closed",
                "Administrators make the accounts here; ask one of them.",
            ),
            AccountError::Busy => Self::unavailable(),
            AccountError::Store(error) => error.into(),
        }
    }
}

impl From<UserError> for Problem {
    fn from(error: UserError) -> Self {
        match error {
            UserError::Refused(errors) => Self::refused(errors),
            UserError::NotFound => Self::not_found(),
            UserError::LastAdmin => Self::new(
                StatusCode::CONFLICT,
                "last_admin",
                "This is the last administrator; make another one first.",
            ),
            UserError::Store(error) => error.into(),
        }
    }
}

impl From<KeyError> for Problem {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Refused(errors) => Self::refused(errors),
            KeyError::MoreThanOwn => Self::forbidden(
                "forbidden",
                "Nobody can give more permissions than they have; leave some scopes out.",
            ),
            KeyError::NotFound => Self::not_found(),
            KeyError::Store(error) => error.into(),
        }
    }
}

impl From<MailedTokenError> for Problem {
    fn from(error: MailedTokenError) -> Self {
        PasswordError::from(error).into()
    }
}

impl From<PasswordError> for Problem {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Refused(errors) => Self::refused(errors),
            PasswordError::TokenInvalid => Self::refused([FieldError::new(
                "token",
                "token_invalid",
                "is unknown, used or expired; ask for a new mail",
            )]),
            PasswordError::WrongCurrent => Self::refused([FieldError::new(
                "current_password",
                "password_wrong",
                "is not the current password",
            )]),
            PasswordError::Busy => Self::unavailable(),
            PasswordError::Store(error) => error.into(),
        }
    }
}

impl From<AuditError> for Problem {
    fn from(error: AuditError) -> Self {
        match error {
            AuditError::Refused(errors) => Self::refused(errors),
            AuditError::Store(error) => error.into(),
        }
    }
}

impl From<JobError> for Problem {
    fn from(error: JobError) -> Self {
        match error {
            JobError::Refused(errors) => Self::refused(errors),
            JobError::NotFound => Self::not_found(),
            JobError::NotDead => Self::new(
                StatusCode::CONFLICT,
                "job_not_dead",
                "This job waits or runs; it is tried again by itself.",
            ),
            JobError::Store(error) => error.into(),
        }
    }
}

impl From<AnalyticsError> for Problem {
    fn from(error: AnalyticsError) -> Self {
        match error {
            AnalyticsError::Refused(errors) => Self::refused(errors),
            AnalyticsError::NotFound => Self::not_found(),
            AnalyticsError::DetailLost => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "detail_lost",
                "Of some clicks in this period only totals per day and dimension are kept; \
                 ask for a later period, or with fewer filters.",
            ),
            AnalyticsError::Interrupted => Self::unavailable(),
            AnalyticsError::Busy => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "busy",
                "Too many questions wait for their answers; ask again in a moment.",
            )
            .retry_after(std::time::Duration::from_secs(5)),
            AnalyticsError::Store(error) => error.into(),
        }
    }
}

impl From<NoSeat> for Problem {
    fn from(error: NoSeat) -> Self {
        let wait = std::time::Duration::from_secs(5);
        match error {
            NoSeat::ForThisOne => Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_at_once",
                "This workspace has as many of these under way as it may; wait until one ends.",
            )
            .retry_after(wait),
            NoSeat::ForAnybody => Self::unavailable().retry_after(wait),
        }
    }
}

impl From<WorkspaceError> for Problem {
    fn from(error: WorkspaceError) -> Self {
        let conflict = |code, detail| Self::new(StatusCode::CONFLICT, code, detail);
        match error {
            WorkspaceError::Refused(errors) => Self::refused(errors),
            WorkspaceError::NotFound => Self::not_found(),
            WorkspaceError::MoreThanOwn => Self::forbidden(
                "forbidden",
                "This role may do more than you; ask somebody who may as much.",
            ),
            WorkspaceError::LastOwner => conflict(
                "last_owner",
                "The workspace would have no owner left; make somebody else one first.",
            ),
            WorkspaceError::LastWorkspace => conflict(
                "last_workspace",
                "A member would be left without a workspace; remove them or make another first.",
            ),
            WorkspaceError::MemberExists => conflict(
                "member_exists",
                "Somebody with this e-mail address is a member already.",
            ),
            WorkspaceError::TooMany => conflict(
                "limit_reached",
                "There are as many as there can be; remove some first.",
            ),
            WorkspaceError::TokenInvalid => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "token_invalid",
                "This invitation is not good: used, expired, revoked, or for another address.",
            ),
            WorkspaceError::Store(error) => error.into(),
        }
    }
}

impl From<RoleError> for Problem {
    fn from(error: RoleError) -> Self {
        let conflict = |code, detail| Self::new(StatusCode::CONFLICT, code, detail);
        match error {
            RoleError::Refused(errors) => Self::refused(errors),
            RoleError::NotFound => Self::not_found(),
            RoleError::Exists => conflict("role_exists", "There is a role of this name already."),
            RoleError::BuiltIn => conflict(
                "role_built_in",
                "The built-in roles stay as they are; make one of your own.",
            ),
            RoleError::InUse => conflict(
                "role_in_use",
                "A member or an open invitation has this role; give them another first.",
            ),
            RoleError::Store(error) => error.into(),
        }
    }
}
