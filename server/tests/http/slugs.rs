//! Slugs that nobody gets, and paths that only look like slugs.

use serde_json::{Value, json};
use terse_core::model::RESERVED;

use crate::raw;
use crate::server::Server;

/// First segments of everything that the server answers itself.
fn routed(server: &Server) -> Vec<String> {
    let document = server
        .visitor()
        .get("/api/v1/openapi.json")
        .expect(200)
        .json();
    let prefix = document["servers"][0]["url"].as_str().unwrap().to_owned();
    let pages = [
        "/docs",
        "/redoc",
        "/health/live",
        "/health/ready",
        "/metrics",
        "/robots.txt",
        "/favicon.ico",
    ];
    for page in pages {
        let status = server.visitor().get(page).status;
        assert!(matches!(status, 200 | 204), "{page}: {status}");
    }
    let paths = document["paths"].as_object().unwrap().keys();
    let operations = paths.map(|path| format!("{prefix}{path}"));
    let all = operations.chain(pages.map(str::to_owned));
    let first = |path: String| path.split('/').nth(1).unwrap().to_owned();
    let mut routed: Vec<String> = all.map(first).collect();
    routed.sort();
    routed.dedup();
    routed
}

#[test]
fn no_link_gets_a_slug_that_the_server_routes_in_any_case() {
    let server = Server::shared();
    let routed = routed(&server);
    assert!(routed.contains(&"api".to_owned()), "{routed:?}");
    let known = RESERVED.iter().map(|word| (*word).to_owned());
    let promised = ["sitemap.xml", ".well-known"].map(str::to_owned);
    for word in routed.into_iter().chain(known).chain(promised) {
        let mut capital = word.clone();
        capital[..1].make_ascii_uppercase();
        for slug in [word.to_ascii_uppercase(), capital, word] {
            let body = json!({"target_url": "https://example.com/", "slug": slug});
            let answer = server.post("/links", &body);
            assert_eq!(answer.status, 422, "{slug}");
            let code = answer.refused("slug");
            assert!(
                matches!(&*code, "slug_reserved" | "slug_dot"),
                "{slug}: {code}"
            );
        }
    }
}

#[test]
fn what_cannot_be_a_slug_is_refused() {
    let server = Server::shared();
    for (slug, code) in [
        ("", "slug_empty"),
        (".hidden", "slug_dot"),
        ("end.", "slug_dot"),
        ("a b", "slug_character"),
        ("a/b", "slug_character"),
        ("a+", "slug_character"),
        ("a%62", "slug_character"),
        ("ünï", "slug_character"),
        ("a\u{202e}b", "slug_character"),
        ("<script>", "slug_character"),
        ("a\0", "slug_character"),
    ] {
        let body = json!({"target_url": "https://example.com/", "slug": slug});
        assert_eq!(
            server.post("/links", &body).refused("slug"),
            code,
            "{slug:?}"
        );
    }
    let long = json!({"target_url": "https://example.com/", "slug": "a".repeat(65)});
    assert_eq!(
        server.post("/links", &long).refused("slug"),
        "slug_too_long"
    );
    server.link(&"a".repeat(64), &json!({}));
}

#[test]
fn the_same_slug_is_found_however_its_path_is_spelled() {
    let server = Server::shared();
    server.link("abc", &json!({}));
    for path in [
        "/abc",
        "/abc/",
        "/ABC",
        "/a%62c",
        "/%61%62%63",
        "/a%62c/",
        "/abc?",
    ] {
        let answer = raw::get(server.address, path.as_bytes(), &[]);
        assert_eq!(answer.status, 302, "{path}");
        assert_eq!(answer.location(), "https://example.com/");
    }
}

#[test]
fn path_tricks_reach_neither_a_link_nor_the_api() {
    let server = Server::shared();
    server.link("xyz", &json!({}));
    let visitor = server.visitor();
    let forwarded = format!("X-Forwarded-For: {}", visitor.address);
    let token = format!("Authorization: Bearer {}", server.token());
    let long = format!("/{}", "a".repeat(8_000));
    for path in [
        "/..%2fapi%2fv1",
        "/..%2fapi%2fv1%2flinks",
        "/%2e%2e/admin",
        "/%2e%2e%2fapi/v1/links",
        "/../api/v1/links",
        "/./api/v1/links",
        "/xyz/../api/v1/links",
        "/%61pi/v1/links",
        "/API/v1/links",
        "/api%2fv1%2flinks",
        "//api/v1/links",
        "/api//v1/links",
        "/api/v1/links/",
        "/api/v1/links/../links",
        "/api",
        "/api/",
        "/api/v1",
        "/api/v2/links",
        "/xyz%00",
        "/xyz%0d%0a",
        "/xyz%0a",
        "/xyz%20",
        "/xyz%2f",
        "/xyz//",
        "//xyz",
        "/xyz;x=1",
        "/xyz,",
        "/xyz%2500",
        "/x%2579z",
        "/%ff%fe",
        "/xyz%",
        "/xyz%zz",
        "/xyz/extra",
        "/xyz++",
        "/+",
        "/%2b",
        "/~xyz",
        "/\u{2024}xyz",
        "/docs/../xyz",
        "/metrics/x",
        "/health",
        "/health/live/../../xyz",
        &long,
    ] {
        let lines = [forwarded.as_bytes(), token.as_bytes()];
        let answer = raw::get(server.address, path.as_bytes(), &lines);
        let text = String::from_utf8_lossy(&answer.body);
        assert!(
            matches!(answer.status, 404 | 400),
            "{path}: {} {text}",
            answer.status
        );
        if !answer.body.is_empty() {
            let body: Value = serde_json::from_slice(&answer.body).unwrap();
            assert!(body.get("items").is_none(), "{path} reached the API");
            answer.problem(answer.status);
        }
    }
}
