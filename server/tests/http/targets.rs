//! Where links may lead.

use serde_json::json;

use crate::server::{Server, path_of};

/// Spellings that no target may have, by the code of their refusal; no code where several would do.
const REFUSED: &[(&str, &[&str])] = &[
    (
        "url_scheme_not_allowed",
        &[
            "javascript:alert(1)",
            "JaVaScRiPt:alert(1)",
            "javascript://example.com/%0aalert(1)",
            "data:text/html,<script>alert(1)</script>",
            "vbscript:msgbox(1)",
            "file:///etc/passwd",
            "blob:https://example.com/1",
            "about:blank",
            "ftp://example.com/",
            "mailto:a@example.com",
            "intent://x#Intent;end",
        ],
    ),
    (
        "url_userinfo",
        &[
            "https://bank.example@evil.example/",
            "https://user:password@evil.example/",
            "https://@evil.example/",
        ],
    ),
    (
        "url_own_domain",
        &[
            "http://localhost/other",
            "https://LOCALHOST/",
            "http://localhost:8080/",
            "http://localhost./",
        ],
    ),
    ("url_empty", &[""]),
    (
        "",
        &[
            "example.com",
            "//evil.example",
            "/path",
            "https:evil.example",
            "https:/evil.example",
            "https:///evil.example",
            "https:\\\\evil.example",
            "https:/\\evil.example",
            "https://evil.example\\@bank.example",
            "\\\\evil.example",
            "java\tscript:alert(1)",
            "java\nscript:alert(1)",
            "ht\ttps://example.com/",
            " https://example.com/",
            "https://example.com/ ",
            "https://example.com/a b",
            "https://example.com/\r\nSet-Cookie: a=b",
            "https://example.com/\nLocation: https://evil.example/",
            "https://example.com/\u{0}",
            "https://exam\u{0}ple.com/",
            "https://example.com/\u{7f}",
            "https://example.com/\u{85}",
            "https://example.com/\u{2028}",
            "https://",
            "https://:80/",
            "https://example.com:99999/",
            "https://[::1",
            "https://0x7f.1/",
            "https://2130706433/",
            "https://exam%70le.com/",
        ],
    ),
];

#[test]
fn a_hostile_target_is_refused_on_create_and_nothing_is_stored() {
    let server = Server::shared();
    for (code, targets) in REFUSED {
        for target in *targets {
            let body = json!({"target_url": target, "slug": "hostile-target"});
            let answer = server.post("/links", &body);
            assert_eq!(answer.status, 422, "{target:?}");
            let given = answer.refused("target_url");
            assert!(code.is_empty() || given == *code, "{target:?}: {given}");
        }
    }
    let long = format!("https://example.com/{}", "a".repeat(8_200));
    let body = json!({"target_url": long, "slug": "hostile-target"});
    assert_eq!(
        server.post("/links", &body).refused("target_url"),
        "url_too_long"
    );
    server.visitor().get("/hostile-target").problem(404);
    server.link("hostile-target", &json!({}));
}

#[test]
fn a_hostile_target_is_refused_on_change_and_the_old_one_stays() {
    let server = Server::shared();
    let link = server.link("steadfast", &json!({}));
    for (code, targets) in REFUSED {
        for target in *targets {
            let answer = server.patch(
                &path_of(&link),
                &json!({"target_url": target, "title": "taken over"}),
            );
            assert_eq!(answer.status, 422, "{target:?}");
            let given = answer.refused("target_url");
            assert!(code.is_empty() || given == *code, "{target:?}: {given}");
        }
    }
    assert_eq!(server.get(&path_of(&link)).expect(200).json(), link);
    let answer = server.visitor().get("/steadfast").expect(302);
    assert_eq!(answer.location(), "https://example.com/");
}

#[test]
fn what_is_stored_is_exactly_what_is_sent() {
    let server = Server::shared();
    for (number, (given, stored)) in [
        ("HTTPS://EXAMPLE.com", "https://example.com/"),
        ("https://example.com:443/a/../b", "https://example.com/b"),
        (
            "https://bücher.example/ü?q=ü#ü",
            "https://xn--bcher-kva.example/%C3%BC?q=%C3%BC#%C3%BC",
        ),
        (
            "https://example.com/%0d%0aSet-Cookie:a=b",
            "https://example.com/%0d%0aSet-Cookie:a=b",
        ),
        (
            "https://example.com/?next=https://a@b",
            "https://example.com/?next=https://a@b",
        ),
        (
            "https://example.com/<b>\"'",
            "https://example.com/%3Cb%3E%22'",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let slug = format!("normal-{number}");
        let link = server.link(&slug, &json!({"target_url": given}));
        assert_eq!(link["target_url"], stored);
        let answer = server.visitor().get(&format!("/{slug}")).expect(302);
        assert_eq!(answer.location(), stored);
        let again = server.change(&link, &json!({"target_url": stored}));
        assert_eq!(again["target_url"], stored, "normal forms are stable");
    }
}
