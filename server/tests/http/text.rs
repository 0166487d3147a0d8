//! Text that is no text: NUL, lone surrogates, bytes that are not UTF-8.

use reqwest::Method;
use serde_json::json;

use crate::answer::Answer;
use crate::raw;
use crate::server::{BROWSER, Server, path_of};

const CREATE: [&str; 8] = [
    "target_url",
    "slug",
    "domain",
    "title",
    "notes",
    "tags",
    "starts_at",
    "expires_at",
];
const CHANGE: [&str; 7] = [
    "target_url",
    "title",
    "notes",
    "tags",
    "starts_at",
    "expires_at",
    "status",
];

/// A body in which `field` holds `value`, which stands for itself.
fn body(field: &str, value: &str, create: bool) -> String {
    let value = if field == "tags" {
        format!("[\"{value}\"]")
    } else {
        format!("\"{value}\"")
    };
    if create && field != "target_url" {
        format!("{{\"target_url\":\"https://example.com/\",\"{field}\":{value}}}")
    } else {
        format!("{{\"{field}\":{value}}}")
    }
}

fn send(server: &Server, method: Method, path: &str, body: String) -> Answer {
    let request = server
        .request(method, path)
        .header("Content-Type", "application/json");
    request.body(body).send().unwrap().into()
}

#[test]
fn nul_is_refused_in_every_text_and_named() {
    let server = Server::shared();
    let link = server.link("nul", &json!({}));
    for value in ["a\\u0000b", "\\u0000", "https://example.com/\\u0000"] {
        for field in CREATE {
            let answer = send(&server, Method::POST, "/links", body(field, value, true));
            assert_eq!(answer.status, 422, "{field} {value}");
            answer.refused(field);
        }
        for field in CHANGE {
            let answer = send(
                &server,
                Method::PATCH,
                &path_of(&link),
                body(field, value, false),
            );
            assert_eq!(answer.status, 422, "{field} {value}");
            answer.refused(field);
        }
    }
    assert_eq!(server.get(&path_of(&link)).expect(200).json(), link);
}

#[test]
fn lone_surrogates_are_malformed_in_every_text() {
    let server = Server::shared();
    let link = server.link("surrogates", &json!({}));
    for value in ["a\\ud800b", "\\udc00", "\\ud800\\ud800"] {
        for field in CREATE {
            let answer = send(&server, Method::POST, "/links", body(field, value, true));
            assert_eq!(answer.status, 400, "{field} {value}");
            answer.problem(400);
        }
        for field in CHANGE {
            let answer = send(
                &server,
                Method::PATCH,
                &path_of(&link),
                body(field, value, false),
            );
            assert_eq!(answer.status, 400, "{field} {value}");
        }
    }
}

#[test]
fn text_that_means_something_elsewhere_is_kept_as_it_is() {
    let server = Server::shared();
    for (number, text) in [
        "=HYPERLINK(\"http://x\")",
        "'; DROP TABLE links; --",
        "<svg onload=alert(1)>",
        "{{7*7}} ${7*7} %s %n",
        "\u{202e}right to left",
        "👩‍👩‍👧‍👦 e\u{301} Ω",
    ]
    .into_iter()
    .enumerate()
    {
        let link = server.link(
            &format!("kept-{number}"),
            &json!({"title": text, "notes": text, "tags": [text]}),
        );
        let found = server.get(&path_of(&link)).expect(200).json();
        assert_eq!(
            (&found["title"], &found["notes"], &found["tags"][0]),
            (&json!(text), &json!(text), &json!(text))
        );
    }
}

#[test]
fn bytes_that_are_not_utf8_never_keep_a_visitor_from_the_target() {
    let server = Server::start(&[]);
    let link = server.link("bytes", &json!({}));
    let agent = format!("User-Agent: {BROWSER}");
    let cases: [(&[u8], &[u8]); 7] = [
        (b"/bytes", b"Referer: https://ex\xffample.com/\xfe"),
        (b"/bytes", b"Referer: \xc3\x28"),
        (b"/bytes", b"Accept-Language: \xff\xfe"),
        (b"/bytes", b"Sec-CH-UA: \xff"),
        (b"/bytes?utm_source=%ff%fe&utm_medium=%00", b"X: y"),
        (b"/bytes?%ff=%ff", b"Referer: https://\xed\xa0\x80/"),
        (b"/bytes?utm_content=%ed%a0%80", b"Cookie: \xff"),
    ];
    for (target, line) in cases {
        let answer = raw::get(server.address, target, &[agent.as_bytes(), line]);
        assert_eq!(answer.status, 302, "{}", String::from_utf8_lossy(line));
        assert!(answer.location().starts_with("https://example.com/"));
    }
    for agent in [
        b"User-Agent: Mozilla/5.0 \xff\xfe".as_slice(),
        b"User-Agent: \xff",
        b"User-Agent:",
    ] {
        assert_eq!(raw::get(server.address, b"/bytes", &[agent]).status, 302);
    }
    let counted: i64 = server.totals(&link).iter().sum();
    assert_eq!(counted, 10, "every answered redirect is stored");
    // Raw bytes in the request's target: what reaches us is answered, nothing fails.
    for (target, statuses) in [
        (b"/bytes?x=\xff".as_slice(), [302, 400]),
        (b"/bytes?x=\xc3\xa9", [302, 400]),
        (b"/byt\xffes", [404, 400]),
        (b"/byt%ffes", [404, 404]),
    ] {
        let status = raw::get(server.address, target, &[agent.as_bytes()]).status;
        assert!(
            statuses.contains(&status),
            "{}: {status}",
            String::from_utf8_lossy(target)
        );
    }
}

#[test]
fn very_long_headers_never_keep_a_visitor_from_the_target() {
    let server = Server::shared();
    server.link("long-headers", &json!({}));
    let visitor = server.visitor();
    let long = "x".repeat(7_000);
    for name in [
        "user-agent",
        "referer",
        "accept-language",
        "sec-purpose",
        "x-forwarded-for",
        "cookie",
    ] {
        visitor.get_with("/long-headers", name, &long).expect(302);
    }
    visitor
        .get(&format!("/long-headers?utm_source={long}"))
        .expect(302);
}
