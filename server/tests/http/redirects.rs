//! Redirects: statuses, headers, queries, and changes that are in force at once.

use serde_json::json;

use crate::raw;
use crate::server::{ON_ONE_NODE, Server, path_of};

#[test]
fn every_redirect_status_has_its_headers() {
    let server = Server::shared();
    for status in [301, 302, 303, 307, 308] {
        let slug = format!("status-{status}");
        server.link(&slug, &json!({"redirect_status": status}));
        let answer = server.visitor().get(&format!("/{slug}")).expect(status);
        assert_eq!(answer.location(), "https://example.com/");
        let cached = matches!(status, 301 | 308);
        let expected = if cached {
            "private, max-age=60"
        } else {
            "private, no-store"
        };
        assert_eq!(answer.header("cache-control"), expected);
        assert_eq!(answer.header("x-robots-tag"), "noindex");
        assert!(!answer.headers.contains_key("set-cookie"));
        assert!(answer.body.is_empty());
    }
}

#[test]
fn a_change_is_in_force_with_the_next_redirect() {
    let server = Server::start(&[ON_ONE_NODE]);
    let link = server.link("fresh", &json!({}));
    let visitor = server.visitor();
    for round in 0..20 {
        let target = format!("https://example.com/{round}");
        server.change(&link, &json!({"target_url": target}));
        assert_eq!(visitor.get("/fresh").expect(302).location(), target);
    }
    server.change(&link, &json!({"redirect_status": 307}));
    visitor.get("/fresh").expect(307);
    server.change(&link, &json!({"status": "disabled"}));
    visitor.get("/fresh").problem(404);
    server.change(&link, &json!({"status": "blocked"}));
    visitor.get("/fresh").problem_code(451, "link_blocked");
    server.change(&link, &json!({"status": "active"}));
    visitor.get("/fresh").expect(307);
    server.delete(&path_of(&link)).expect(204);
    visitor.get("/fresh").problem(410);
}

#[test]
fn a_slug_that_was_missed_redirects_as_soon_as_it_exists() {
    let server = Server::shared();
    let visitor = server.visitor();
    visitor.get("/not-yet").problem(404);
    server.link("not-yet", &json!({}));
    visitor.get("/not-yet").expect(302);
}

#[test]
fn the_visitors_query_is_added_and_overrides_nothing() {
    let server = Server::shared();
    server.link(
        "query",
        &json!({"target_url": "https://example.com/p?own=1#part"}),
    );
    let visitor = server.visitor();
    for (query, location) in [
        ("", "https://example.com/p?own=1#part"),
        ("?", "https://example.com/p?own=1#part"),
        (
            "?utm_source=x",
            "https://example.com/p?own=1&utm_source=x#part",
        ),
        ("?own=2&a=b", "https://example.com/p?own=1&a=b#part"),
        (
            "?utm=1&x=%0d%0aSet-Cookie:1",
            "https://example.com/p?own=1&utm=1&x=%0d%0aSet-Cookie:1#part",
        ),
        ("?a&&b=", "https://example.com/p?own=1&a&b=#part"),
    ] {
        let answer = visitor.get(&format!("/query{query}")).expect(302);
        assert_eq!(answer.location(), location, "{query}");
        assert!(!answer.headers.contains_key("set-cookie"));
    }
    for hostile in ["%00", "%ff", "%", "%zz", "=&=&=", "&&&", "'\"<>", "[]{}|^`"] {
        let target = format!("/query?{hostile}");
        let answer = raw::get(server.address, target.as_bytes(), &[]);
        assert!(matches!(answer.status, 302 | 400), "{hostile}: {answer:?}");
    }
}

#[test]
fn a_query_that_is_too_long_is_refused_and_a_link_may_want_none() {
    let server = Server::shared();
    let link = server.link("long-query", &json!({}));
    let path = format!("/long-query?a={}", "x".repeat(9 * 1024));
    let visitor = server.visitor();
    visitor.get(&path).problem_code(414, "query_too_long");
    server.change(&link, &json!({"forward_query": false}));
    assert_eq!(
        visitor.get(&path).expect(302).location(),
        "https://example.com/"
    );
}

#[test]
fn pages_for_browsers_and_problems_for_programs_have_the_same_status() {
    let server = Server::shared();
    let link = server.link("pages-blocked", &json!({}));
    server.change(&link, &json!({"status": "blocked"}));
    let visitor = server.visitor();
    for (path, status) in [("/pages-blocked", 451), ("/no-such-page", 404)] {
        visitor.get(path).problem(status);
        let page = visitor
            .get_with(path, "accept", "text/html,*/*;q=0.8")
            .expect(status);
        assert!(page.header("content-type").starts_with("text/html"));
        assert!(
            page.header("content-security-policy")
                .starts_with("default-src 'none'")
        );
        assert_eq!(page.header("x-content-type-options"), "nosniff");
        assert!(!page.text().contains("https://example.com/"));
    }
}
