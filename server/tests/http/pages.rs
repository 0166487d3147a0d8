//! Pages for people, and for the machines that watch the server.

use std::collections::HashSet;

use serde_json::json;

use crate::answer::Answer;
use crate::server::Server;

/// What every page carries.
fn assert_guarded(page: &Answer) {
    assert!(page.header("content-type").starts_with("text/html"));
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    assert_eq!(page.header("referrer-policy"), "no-referrer");
    let policy = page.header("content-security-policy");
    for part in [
        "default-src 'none'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("script-src 'unsafe"), "{policy}");
}

#[test]
fn the_preview_page_shows_where_an_open_link_leads_and_counts_nothing() {
    let server = Server::shared();
    let link = server.link(
        "shown",
        &json!({"target_url": "https://example.com/p?a=1&b=2", "title": "Fair & square"}),
    );
    let page = server.visitor().get("/shown+").expect(200);
    assert_guarded(&page);
    let text = page.text();
    assert!(
        text.contains("href=\"https://example.com/p?a=1&amp;b=2\""),
        "{text}"
    );
    assert!(text.contains("Fair &amp; square"));
    assert_eq!(page.location(), "");
    assert_eq!(server.totals(&link), [0, 0, 0]);
}

#[test]
fn hostile_titles_and_targets_are_only_text_on_the_preview_page() {
    let server = Server::shared();
    for (number, title) in [
        "</title><script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "'><svg/onload=alert(1)>",
        "<!--",
        "&lt;script&gt;",
    ]
    .into_iter()
    .enumerate()
    {
        let slug = format!("hostile-page-{number}");
        let target = "https://example.com/?q='onmouseover='alert(1)&x=</a><script>&y=\"><img>";
        server.link(&slug, &json!({"title": title, "target_url": target}));
        let page = server.visitor().get(&format!("/{slug}+")).expect(200);
        assert_guarded(&page);
        let text = page.text();
        for raw in ["<script", "<img", "<svg", "<!--", "'onmouseover"] {
            assert!(!text.contains(raw), "{raw} in {text}");
        }
        // Escaped once: shown as its owner wrote it.
        let shown = title
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;");
        let shown = shown.replace('"', "&quot;").replace('\'', "&#39;");
        assert!(text.contains(&shown), "{shown}");
    }
}

#[test]
fn the_preview_page_tells_nothing_of_links_that_are_not_open_to_all() {
    let server = Server::shared();
    let target = "https://example.com/only-for-some";
    for (slug, members, status) in [
        ("some-limited", json!({"max_clicks": 5}), 200),
        (
            "some-later",
            json!({"starts_at": "2999-01-01T00:00:00Z"}),
            404,
        ),
        (
            "some-over",
            json!({"expires_at": "2020-01-01T00:00:00Z"}),
            410,
        ),
    ] {
        let link = server.link(slug, &members);
        server.change(
            &link,
            &json!({"target_url": target, "title": "the inner circle"}),
        );
        for accept in ["text/html", "*/*"] {
            let answer = server
                .visitor()
                .get_with(&format!("/{slug}+"), "accept", accept);
            let text = answer.expect(status).text();
            assert!(!text.contains("only-for-some"), "{slug}: {text}");
            assert!(!text.contains("inner circle"), "{slug}: {text}");
        }
    }
    let blocked = server.link("some-blocked", &json!({"target_url": target}));
    server.change(&blocked, &json!({"status": "blocked"}));
    let answer = server.visitor().get("/some-blocked+").expect(451);
    assert!(!answer.text().contains("only-for-some"));
    server.visitor().get("/no-such-link+").problem(404);
}

#[test]
fn the_front_page_says_what_this_is_and_where_to_go_on() {
    let server = Server::shared();
    let page = server.visitor().get("/").expect(200);
    assert_guarded(&page);
    let text = page.text();
    for part in ["short", "/docs", "/redoc", "POST /links"] {
        assert!(text.contains(part), "{part}");
    }
}

#[test]
fn the_server_says_that_it_lives_and_is_ready() {
    let server = Server::shared();
    for path in ["/health/live", "/health/ready"] {
        let answer = server.visitor().get(path).expect(200);
        assert_eq!(answer.json(), json!({"status": "ok"}));
        assert_eq!(answer.header("cache-control"), "no-store");
    }
}

#[test]
fn crawlers_are_told_where_not_to_look() {
    let server = Server::shared();
    let answer = server.visitor().get("/robots.txt").expect(200);
    assert!(answer.header("content-type").starts_with("text/plain"));
    assert!(answer.text().contains("User-agent: *"));
}

#[test]
fn the_metrics_are_open_metrics() {
    let server = Server::shared();
    server.link("measured", &json!({}));
    server.visitor().get("/measured").expect(302);
    let answer = server.visitor().get("/metrics").expect(200);
    let kind = answer.header("content-type");
    assert_eq!(
        kind,
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    let text = answer.text();
    assert!(text.ends_with("# EOF\n"));
    assert_eq!(text.matches("# EOF").count(), 1);
    let mut families = HashSet::new();
    let mut current = (String::new(), String::new());
    for line in text.lines().filter(|line| *line != "# EOF") {
        if let Some(described) = line.strip_prefix("# ") {
            let words: Vec<&str> = described.splitn(3, ' ').collect();
            assert!(matches!(words[0], "HELP" | "TYPE" | "UNIT"), "{line}");
            if words[0] == "TYPE" {
                assert!(
                    matches!(words[2], "counter" | "gauge" | "histogram" | "info"),
                    "{line}"
                );
                assert!(families.insert(words[1].to_owned()), "{line} comes twice");
                current = (words[1].to_owned(), words[2].to_owned());
            }
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap();
        let name = name.split('{').next().unwrap();
        let good = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        assert!(name.chars().all(good), "{line}");
        assert!(
            name.starts_with(&current.0),
            "{line} stands under {}",
            current.0
        );
        assert!(current.1 != "counter" || name.ends_with("_total"), "{line}");
        assert!(value.parse::<f64>().unwrap() >= 0.0, "{line}");
    }
    for name in [
        "terse_redirects_total",
        "terse_spool_pending",
        "terse_clicks_unrecorded_total",
    ] {
        assert!(text.contains(name), "{name}");
    }
}
