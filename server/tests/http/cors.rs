//! Pages of other sites, and headers that every answer carries.

use reqwest::Method;
use serde_json::json;

use crate::answer::Answer;
use crate::server::Server;

fn from(server: &Server, method: Method, origin: &str) -> Answer {
    let request = server.visitor().request(method, "/api/v1/links");
    let request = request.header("Origin", origin);
    let request = request.header("Access-Control-Request-Method", "POST");
    request.send().unwrap().into()
}

#[test]
fn pages_of_listed_sites_may_use_the_api_and_no_others() {
    let server = Server::start(&[("TERSE_CORS_ORIGINS", "https://app.example")]);
    let preflight = from(&server, Method::OPTIONS, "https://app.example").expect(204);
    assert_eq!(
        preflight.header("access-control-allow-origin"),
        "https://app.example"
    );
    assert!(
        preflight
            .header("access-control-allow-headers")
            .contains("Authorization")
    );
    assert_eq!(preflight.header("access-control-allow-credentials"), "");
    let answer = from(&server, Method::GET, "https://app.example").expect(401);
    assert_eq!(
        answer.header("access-control-allow-origin"),
        "https://app.example"
    );
    assert_eq!(answer.header("vary"), "Origin");
    for origin in [
        "https://evil.example",
        "https://app.example.evil.example",
        "null",
    ] {
        let refused = from(&server, Method::OPTIONS, origin);
        assert_eq!(
            refused.header("access-control-allow-origin"),
            "",
            "{origin}"
        );
        let answer = from(&server, Method::GET, origin).expect(401);
        assert_eq!(answer.header("access-control-allow-origin"), "", "{origin}");
        assert_eq!(answer.header("vary"), "Origin");
    }
}

#[test]
fn without_a_list_no_page_of_another_site_may() {
    let server = Server::shared();
    for origin in ["https://app.example", "http://localhost", "null"] {
        let answer = from(&server, Method::OPTIONS, origin);
        assert_eq!(answer.header("access-control-allow-origin"), "");
    }
}

#[test]
fn every_page_and_problem_says_what_browsers_must_not_do_with_it() {
    let server = Server::shared();
    server.link("guarded", &json!({}));
    for path in [
        "/",
        "/docs",
        "/redoc",
        "/verify?token=x",
        "/reset?token=x",
        "/health/live",
        "/metrics",
        "/robots.txt",
        "/no-such-link",
        "/guarded+",
        "/api/v1/links",
        "/api/v1/nothing",
        "/api/v1/openapi.json",
    ] {
        let answer = server.visitor().get(path);
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{path}");
        assert_eq!(
            answer.header("cross-origin-opener-policy"),
            "same-origin",
            "{path}"
        );
        let policy = answer.header("content-security-policy");
        assert!(policy.contains("default-src 'none'"), "{path}: {policy}");
        assert!(
            policy.contains("frame-ancestors 'none'"),
            "{path}: {policy}"
        );
    }
}
