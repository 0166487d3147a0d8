//! What callers meet who are not signed in.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;

use crate::answer::Answer;
use crate::operations::{UNKNOWN, operations};
use crate::server::Server;

/// What the document's own security sections leave open: reviewed here, one by one.
const PUBLIC: [&str; 6] = [
    "/auth/token",
    "/auth/register",
    "/auth/verify-email",
    "/auth/verify-email/resend",
    "/auth/password/forgot",
    "/auth/password/reset",
];

/// Every operation that is not public, with plausible parameters.
fn closed_operations() -> Vec<(Method, String)> {
    let mut closed = Vec::new();
    for operation in operations() {
        let path = operation.path.as_str();
        assert_eq!(operation.is_public(), PUBLIC.contains(&path), "{path}");
        if !operation.is_public() {
            let path = operation.at(|_| UNKNOWN.to_owned());
            closed.push((operation.method, format!("/api/v1{path}")));
        }
    }
    closed
}

fn ask(server: &Server, operation: &(Method, String), authorization: Option<&str>) -> Answer {
    let (method, path) = operation;
    let mut request = server.visitor().request(method.clone(), path);
    if let Some(authorization) = authorization {
        request = request.header("Authorization", authorization);
    }
    if matches!(*method, Method::POST | Method::PATCH) {
        request = request
            .header("Content-Type", "application/json")
            .body("{}");
    }
    request.send().unwrap().into()
}

#[test]
fn every_operation_asks_callers_without_a_token_to_sign_in() {
    let server = Server::shared();
    for operation in closed_operations() {
        let answer = ask(&server, &operation, None);
        assert_eq!(answer.status, 401, "{operation:?}");
        answer.problem(401);
        assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"terse\"");
    }
}

#[test]
fn no_operation_takes_a_token_that_this_server_did_not_issue() {
    let server = Server::shared();
    let good = server.token();
    let parts: Vec<&str> = good.split('.').collect();
    let unsigned = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"at+jwt"}"#);
    let other = Server::start(&[]);
    let refused = [
        "Bearer x".to_owned(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        "Basic YWRtaW46YWRtaW4=".to_owned(),
        "Digest x".to_owned(),
        format!("Bearer {}", &good[..good.len() - 2]),
        format!("Bearer {good}x"),
        format!("Bearer {unsigned}.{}.", parts[1]),
        format!("Bearer {}.{}.", parts[0], parts[1]),
        format!("Bearer {}", "a".repeat(10_000)),
        format!("Bearer {}", other.token()),
    ];
    for operation in closed_operations() {
        for authorization in &refused {
            let answer = ask(&server, &operation, Some(authorization));
            assert_eq!(answer.status, 401, "{operation:?} {authorization}");
            answer.problem(401);
        }
    }
}

#[test]
fn a_token_in_the_address_opens_nothing() {
    let server = Server::shared();
    let path = format!("/api/v1/links?access_token={}", server.token());
    server.visitor().get(&path).problem(401);
}

#[test]
fn the_documents_public_parts_need_no_token() {
    let server = Server::shared();
    let answer = server.visitor().get("/api/v1/openapi.json").expect(200);
    assert!(answer.json()["paths"].is_object());
}
