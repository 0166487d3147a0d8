//! Who may call which operation: one table, for the check of every request, for the document, and
//! for `Allow`.

use http::Method;
use serde_json::{Map, Value, json};
use terse_core::model::{Permission, Principal};

use crate::api::PREFIX;
use crate::problem::Problem;

/// What a caller needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Nothing at all.
    Public,
    /// An access token or an API key.
    SignedIn,
    /// An access token: what concerns the person, not a program.
    Session,
    /// This permission in the workspace that the request acts in.
    InWorkspace(Permission),
    /// One of these permissions in the workspace; which of them, depends on what is asked for.
    AnyInWorkspace(&'static [Permission]),
    /// This permission in the workspace, shown with an access token.
    SessionInWorkspace(Permission),
    /// This permission on the whole instance.
    OnInstance(Permission),
}

use Need::{
    AnyInWorkspace, InWorkspace, OnInstance, Public, Session, SessionInWorkspace, SignedIn,
};
use Permission::{
    AnalyticsRead, AuditRead, JobsManage, KeysManage, LinksBlock, LinksRead, LinksWrite,
    MembersManage, RolesManage, UsersManage, WorkspaceManage,
};

/// Every operation. Of two patterns that fit a path, the first one counts.
const OPERATIONS: &[(&str, &str, Need)] = &[
    ("GET", "/openapi.json", Public),
    ("POST", "/auth/token", Public),
    ("POST", "/auth/register", Public),
    ("POST", "/auth/verify-email", Public),
    ("POST", "/auth/verify-email/resend", Public),
    ("POST", "/auth/password/forgot", Public),
    ("POST", "/auth/password/reset", Public),
    ("POST", "/auth/password/change", Session),
    ("POST", "/auth/logout", Session),
    ("GET", "/auth/sessions", Session),
    ("DELETE", "/auth/sessions", Session),
    ("DELETE", "/auth/sessions/:id", Session),
    ("GET", "/me", SignedIn),
    ("PATCH", "/me", Session),
    ("GET", "/users", OnInstance(UsersManage)),
    ("POST", "/users", OnInstance(UsersManage)),
    ("GET", "/users/:id", OnInstance(UsersManage)),
    ("PATCH", "/users/:id", OnInstance(UsersManage)),
    ("DELETE", "/users/:id", OnInstance(UsersManage)),
    ("GET", "/permissions", SignedIn),
    ("GET", "/roles", SignedIn),
    ("POST", "/roles", OnInstance(RolesManage)),
    ("PATCH", "/roles/:name", OnInstance(RolesManage)),
    ("DELETE", "/roles/:name", OnInstance(RolesManage)),
    ("GET", "/workspaces", SignedIn),
    ("POST", "/workspaces", Session),
    ("GET", "/workspaces/:id", SignedIn),
    ("PATCH", "/workspaces/:id", InWorkspace(WorkspaceManage)),
    ("DELETE", "/workspaces/:id", InWorkspace(WorkspaceManage)),
    ("GET", "/workspaces/:id/members", InWorkspace(LinksRead)),
    (
        "PATCH",
        "/workspaces/:id/members/:user_id",
        InWorkspace(MembersManage),
    ),
    (
        "DELETE",
        "/workspaces/:id/members/:user_id",
        InWorkspace(MembersManage),
    ),
    (
        "GET",
        "/workspaces/:id/invitations",
        InWorkspace(MembersManage),
    ),
    (
        "POST",
        "/workspaces/:id/invitations",
        InWorkspace(MembersManage),
    ),
    (
        "DELETE",
        "/workspaces/:id/invitations/:invitation_id",
        InWorkspace(MembersManage),
    ),
    ("GET", "/workspaces/:id/audit-log", InWorkspace(AuditRead)),
    ("POST", "/invitations/accept", Session),
    ("GET", "/api-keys", InWorkspace(KeysManage)),
    ("POST", "/api-keys", SessionInWorkspace(KeysManage)),
    ("DELETE", "/api-keys/:id", InWorkspace(KeysManage)),
    ("GET", "/audit-log", OnInstance(AuditRead)),
    ("GET", "/jobs", OnInstance(JobsManage)),
    ("POST", "/jobs/:id/retry", OnInstance(JobsManage)),
    ("GET", "/links", InWorkspace(LinksRead)),
    ("POST", "/links", InWorkspace(LinksWrite)),
    ("GET", "/links/lookup", InWorkspace(LinksRead)),
    ("GET", "/links/:id", InWorkspace(LinksRead)),
    (
        "PATCH",
        "/links/:id",
        AnyInWorkspace(&[LinksWrite, LinksBlock]),
    ),
    ("DELETE", "/links/:id", InWorkspace(LinksWrite)),
    ("DELETE", "/links/:id/clicks", InWorkspace(LinksWrite)),
    ("GET", "/analytics/summary", InWorkspace(AnalyticsRead)),
    ("GET", "/analytics/timeseries", InWorkspace(AnalyticsRead)),
    ("GET", "/analytics/breakdown", InWorkspace(AnalyticsRead)),
    ("GET", "/analytics/clicks", InWorkspace(AnalyticsRead)),
    ("GET", "/analytics/export", InWorkspace(AnalyticsRead)),
    ("GET", "/analytics/live", InWorkspace(AnalyticsRead)),
];

/// In which order people read about them.
const TAGS: [&str; 7] = [
    "Auth",
    "Links",
    "Analytics",
    "Workspaces",
    "Roles",
    "Keys",
    "Administration",
];

/// What the operation at this path needs; `None` when there is none.
pub(crate) fn need(method: &Method, path: &str) -> Option<Need> {
    let path = path.strip_prefix(PREFIX)?;
    let method = if method == Method::HEAD {
        "GET"
    } else {
        method.as_str()
    };
    let pattern = OPERATIONS
        .iter()
        .map(|(_, pattern, _)| *pattern)
        .find(|pattern| fits(pattern, path))?;
    OPERATIONS
        .iter()
        .find(|(verb, known, _)| *known == pattern && *verb == method)
        .map(|(_, _, need)| *need)
}

/// The identifier that stands in a path where `pattern` has `:id`.
pub(crate) fn id_in<'a>(pattern: &str, path: &'a str) -> Option<&'a str> {
    let path = path.strip_prefix(PREFIX)?;
    let position = pattern.split('/').position(|part| part == ":id")?;
    let begins = pattern
        .split('/')
        .take(position)
        .eq(path.split('/').take(position));
    path.split('/').nth(position).filter(|_| begins)
}

/// The methods of a routed path, for `Allow`.
pub(crate) fn allowed_methods(path: &str) -> String {
    let Some(path) = path.strip_prefix(PREFIX) else {
        let form = matches!(path, "/verify" | "/reset" | "/invite");
        return if form { "GET, HEAD, POST" } else { "GET, HEAD" }.to_owned();
    };
    let pattern = OPERATIONS
        .iter()
        .map(|(_, pattern, _)| *pattern)
        .find(|pattern| fits(pattern, path));
    let mut methods = Vec::new();
    for (method, known, _) in OPERATIONS {
        if Some(*known) == pattern {
            methods.push(*method);
            if *method == "GET" {
                methods.push("HEAD");
            }
        }
    }
    methods.join(", ")
}

fn fits(pattern: &str, path: &str) -> bool {
    let mut parts = path.split('/');
    let fits = pattern.split('/').all(|wanted| {
        parts
            .next()
            .is_some_and(|part| wanted == part || (wanted.starts_with(':') && !part.is_empty()))
    });
    fits && parts.next().is_none()
}

impl Need {
    /// Whether `principal` has what it takes.
    pub(crate) fn check(self, principal: &Principal) -> Result<(), Problem> {
        let by_person = principal.credential.session().is_some();
        let session_wanted = matches!(self, Session | SessionInWorkspace(_));
        if session_wanted && !by_person {
            return Err(Problem::forbidden(
                "session_required",
                "An API key cannot do this; sign in.",
            ));
        }
        let missing = match self {
            Public | SignedIn | Session => None,
            InWorkspace(permission) | SessionInWorkspace(permission) => {
                (!principal.may(permission)).then_some(permission)
            }
            AnyInWorkspace(permissions) => {
                let any = permissions
                    .iter()
                    .any(|permission| principal.may(*permission));
                (!any).then(|| permissions[0])
            }
            OnInstance(permission) => {
                (!principal.may_on_instance(permission)).then_some(permission)
            }
        };
        missing.map_or(Ok(()), |permission| Err(Problem::lacking(permission)))
    }

    /// Its `security` member in the document (OpenAPI 3.0: only `OAuth2` names scopes).
    fn security(self) -> Value {
        let token = |scopes: &[&str]| json!({ "AccessToken": scopes });
        let key = json!({ "ApiKey": [] });
        match self {
            Public => json!([]),
            SignedIn => json!([token(&[]), key]),
            Session => json!([token(&[])]),
            InWorkspace(permission) | OnInstance(permission) => {
                json!([token(&[permission.as_str()]), key])
            }
            AnyInWorkspace(permissions) => permissions
                .iter()
                .map(|permission| token(&[permission.as_str()]))
                .chain([key])
                .collect(),
            SessionInWorkspace(permission) => json!([token(&[permission.as_str()])]),
        }
    }
}

/// Writes into an OpenAPI document who may call what. An operation that the table lacks is said to
/// be open to nobody, and the suite fails.
pub(crate) fn describe(document: &mut Value) {
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    for (path, operations) in paths {
        for (method, operation) in operations.as_object_mut().into_iter().flatten() {
            let pattern = colons(path);
            let known = OPERATIONS
                .iter()
                .find(|(verb, known, _)| *known == pattern && verb.eq_ignore_ascii_case(method));
            let Some((_, _, need)) = known else {
                operation["x-undecided"] = json!(true);
                continue;
            };
            operation["security"] = need.security();
            if let OnInstance(_) = need {
                operation["x-permission-on"] = json!("instance");
            }
        }
    }
    if let Some(tags) = document["tags"].as_array_mut() {
        let place = |tag: &Value| TAGS.iter().position(|known| tag["name"] == *known);
        tags.sort_by_key(|tag| place(tag).unwrap_or(TAGS.len()));
    }
    let schemes = &mut document["components"]["securitySchemes"];
    schemes["ApiKey"] = json!({
        "type": "http",
        "scheme": "bearer",
        "description": "An API key from `POST /api-keys`, beginning with `terse_`. It may do what its scopes \
                        name and its owner may do at that time.",
    });
    let scopes: Map<String, Value> = Permission::ALL
        .iter()
        .map(|permission| {
            (
                permission.as_str().to_owned(),
                json!(permission.description()),
            )
        })
        .collect();
    schemes["AccessToken"]["flows"]["password"]["scopes"] = Value::Object(scopes);
}

/// `/links/{id}` as `/links/:id`.
fn colons(path: &str) -> String {
    path.replace('{', ":").replace('}', "")
}

/// Operations of the table that the document lacks.
#[cfg(test)]
pub(crate) fn missing_from(document: &Value) -> Vec<String> {
    let mut known = std::collections::BTreeSet::new();
    for (path, operations) in document["paths"].as_object().into_iter().flatten() {
        for method in operations.as_object().into_iter().flatten().map(|(m, _)| m) {
            known.insert(format!("{} {}", method.to_uppercase(), colons(path)));
        }
    }
    OPERATIONS
        .iter()
        .map(|(method, pattern, _)| format!("{method} {pattern}"))
        .filter(|operation| operation != "GET /openapi.json" && !known.contains(operation))
        .collect()
}
