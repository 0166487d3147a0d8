//! The document of the API, and the pages made from it.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::server::{Server, run};

fn document() -> Value {
    let output = run(&["openapi"], &[]);
    assert_eq!(output.status.code(), Some(0));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_document_is_the_one_that_was_reviewed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openapi.json");
    let text = serde_json::to_string_pretty(&document()).unwrap() + "\n";
    if std::env::var_os("UPDATE_SNAPSHOT").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let reviewed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        text == reviewed,
        "the API has changed: run with UPDATE_SNAPSHOT=1 and review the change of server/tests/openapi.json"
    );
}

#[test]
fn the_server_serves_the_same_document() {
    let server = Server::shared();
    let served = server.visitor().get("/api/v1/openapi.json").expect(200);
    assert_eq!(served.header("content-type"), "application/json");
    assert_eq!(served.json(), document());
}

#[test]
fn unset_fields_of_answers_are_nullable_and_always_there() {
    let document = document();
    let link = &document["components"]["schemas"]["Link"];
    for field in [
        "title",
        "notes",
        "starts_at",
        "expires_at",
        "max_clicks",
        "last_clicked_at",
    ] {
        assert_eq!(link["properties"][field]["nullable"], true, "{field}");
        let required = link["required"].as_array().unwrap();
        assert!(required.iter().any(|name| name == field), "{field}");
    }
}

#[test]
fn the_documentation_may_run_its_own_scripts_and_no_others() {
    let server = Server::shared();
    for path in ["/docs", "/redoc"] {
        let page = server.visitor().get(path).expect(200);
        let policy = page.header("content-security-policy");
        let allowed = policy
            .split(';')
            .find_map(|part| part.trim().strip_prefix("script-src "));
        let mut allowed: Vec<&str> = allowed.unwrap().split(' ').collect();
        let text = page.text();
        let mut scripts = inline_scripts(&text);
        allowed.sort_unstable();
        scripts.sort_unstable();
        assert!(!scripts.is_empty(), "{path}");
        assert_eq!(allowed, scripts, "{path}");
        assert!(policy.contains("default-src 'none'"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(policy.contains("connect-src 'self'"), "{policy}");
    }
}

/// The sources, in the words of a policy, of a page's scripts; none may come from elsewhere.
fn inline_scripts(html: &str) -> Vec<String> {
    let mut sources = Vec::new();
    let mut rest = html;
    while let Some(start) = rest.find("<script") {
        let end_of_tag = start + rest[start..].find('>').unwrap();
        assert!(
            !rest[start..end_of_tag].contains(" src="),
            "a script from elsewhere"
        );
        let begin = end_of_tag + 1;
        let end = begin + rest[begin..].find("</script").unwrap();
        let hash = STANDARD.encode(Sha256::digest(&rest[begin..end]));
        sources.push(format!("'sha256-{hash}'"));
        rest = &rest[end..];
    }
    sources
}

#[test]
fn nobody_can_sign_in_to_a_documentation_page_that_sends_passwords_elsewhere() {
    let document = document();
    let scheme = &document["components"]["securitySchemes"]["AccessToken"];
    assert_eq!(
        scheme["flows"]["password"]["tokenUrl"],
        "/api/v1/auth/token"
    );
    assert_eq!(document["servers"][0]["url"], "/api/v1");
}
