//! Requests that the framework refuses before any operation sees them.

use std::io::Write as _;

use reqwest::Method;
use serde_json::json;

use crate::answer::Answer;
use crate::raw;
use crate::server::{Server, path_of};

/// The head of a POST to `path` with a good token; the lines end it or go on.
fn head(server: &Server, path: &str, lines: &str) -> Vec<u8> {
    let token = server.token();
    let kind = if path.ends_with("token") {
        "application/x-www-form-urlencoded"
    } else {
        "application/json"
    };
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: {kind}\r\nConnection: close\r\n{lines}\r\n\r\n"
    )
    .into_bytes()
}

const POSTS: [&str; 3] = ["/api/v1/links", "/api/v1/auth/token", "/api/v1/auth/logout"];

#[test]
fn an_unknown_address_is_a_problem() {
    let server = Server::shared();
    let visitor = server.visitor();
    for path in [
        "/api/v1/nothing",
        "/api/v1/links/x/y",
        "/api/nothing",
        "/docs/x",
        "/health/x",
    ] {
        visitor.get(path).problem_code(404, "not_found");
    }
    for path in ["/nothing", "/links/x/y"] {
        let answer: Answer = server
            .request(Method::POST, path)
            .json(&json!({}))
            .send()
            .unwrap()
            .into();
        answer.problem_code(404, "not_found");
    }
}

#[test]
fn the_wrong_method_is_told_the_right_ones_and_they_are_right() {
    let server = Server::shared();
    let link = server.link("methods", &json!({}));
    let link_path = format!("/api/v1{}", path_of(&link));
    let paths = [
        "/api/v1/links",
        "/api/v1/links/lookup",
        &link_path,
        "/api/v1/auth/token",
        "/api/v1/auth/logout",
        "/api/v1/analytics/summary",
        "/api/v1/analytics/timeseries",
        "/api/v1/analytics/breakdown",
        "/api/v1/analytics/clicks",
        "/api/v1/analytics/export",
        "/api/v1/analytics/live",
        "/api/v1/openapi.json",
        "/",
        "/docs",
        "/redoc",
        "/metrics",
        "/robots.txt",
        "/health/live",
        "/health/ready",
    ];
    let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    for path in paths {
        let ask = |method: &str| -> Answer {
            // Without a token, so that nothing is changed by what is answered.
            let request = server.visitor().request(method.parse().unwrap(), path);
            request.send().unwrap().into()
        };
        let (refused, answered): (Vec<_>, Vec<_>) = methods
            .iter()
            .map(|method| (*method, ask(method)))
            .partition(|(_, answer)| answer.status == 405);
        assert!(!refused.is_empty(), "{path}");
        for (method, answer) in refused {
            if method != "HEAD" {
                answer.problem_code(405, "method_not_allowed");
            }
            let mut allowed: Vec<&str> = answer.header("allow").split(", ").collect();
            allowed.sort_unstable();
            let mut truly: Vec<&str> = answered.iter().map(|(method, _)| *method).collect();
            truly.sort_unstable();
            assert_eq!(allowed, truly, "{method} {path}");
        }
    }
}

#[test]
fn a_body_of_another_media_type_is_refused() {
    let server = Server::shared();
    for kind in [
        "text/plain",
        "application/xml",
        "application/x-www-form-urlencoded",
        "x",
        "multipart/form-data",
    ] {
        let request = server
            .request(Method::POST, "/links")
            .header("Content-Type", kind);
        let answer: Answer = request
            .body("{\"target_url\":\"https://example.com/\"}")
            .send()
            .unwrap()
            .into();
        assert_eq!(answer.status, 415, "{kind}");
        answer.problem_code(415, "unsupported_media_type");
    }
    let without: Answer = server
        .request(Method::POST, "/links")
        .body("{}")
        .send()
        .unwrap()
        .into();
    without.problem_code(415, "unsupported_media_type");
    let request = server.visitor().request(Method::POST, "/api/v1/auth/token");
    let json: Answer = request
        .json(&json!({"grant_type": "password"}))
        .send()
        .unwrap()
        .into();
    json.problem_code(415, "unsupported_media_type");
}

#[test]
fn a_body_that_cannot_be_read_is_refused() {
    let server = Server::shared();
    let deep = format!("{{\"target_url\":{}", "[".repeat(10_000));
    let nested = format!("{{\"tags\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let bodies: [&[u8]; 11] = [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\"text\"",
        b"{\"target_url\":\"https://example.com/\",}",
        b"{\"target_url\":\"\xff\xfe\"}",
        b"\xef\xbb\xbf{\"target_url\":\"https://example.com/\"}",
        b"{\"target_url\":\"https://example.com/\"}{}",
        deep.as_bytes(),
        nested.as_bytes(),
    ];
    for body in bodies {
        let request = server
            .request(Method::POST, "/links")
            .header("Content-Type", "application/json");
        let answer: Answer = request.body(body.to_vec()).send().unwrap().into();
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]);
        assert_eq!(answer.status, 400, "{shown}");
        let problem = answer.problem(400);
        assert!(problem["detail"].as_str().unwrap().len() < 300, "{shown}");
    }
}

#[test]
fn a_body_over_64_kib_is_refused_by_its_declared_length() {
    let server = Server::shared();
    let filler = |bytes: usize| {
        let empty = json!({"target_url": "https://example.com/", "notes": ""}).to_string();
        json!({"target_url": "https://example.com/", "notes": "x".repeat(bytes - empty.len())})
    };
    server.post("/links", &filler(64 * 1024)).refused("notes");
    server
        .post("/links", &filler(64 * 1024 + 1))
        .problem_code(413, "payload_too_large");
    for path in POSTS {
        let request = head(&server, path, "Content-Length: 100000000");
        raw::send(server.address, &request).problem_code(413, "payload_too_large");
    }
}

#[test]
fn an_endless_chunked_body_is_refused_once_the_limit_is_reached() {
    let server = Server::shared();
    for path in POSTS {
        let mut stream = raw::connect(server.address);
        stream
            .write_all(&head(&server, path, "Transfer-Encoding: chunked"))
            .unwrap();
        let chunk = [b"1000\r\n".as_slice(), &[b' '; 4096], b"\r\n"].concat();
        let mut taken = 0;
        // Up to 100 MB; what the kernel holds on both sides is a few MB.
        while taken < 25_000 && stream.write_all(&chunk).is_ok() {
            taken += 1;
        }
        assert!(taken < 25_000, "{path} took 100 MB");
    }
    for path in POSTS {
        let mut stream = raw::connect(server.address);
        stream
            .write_all(&head(&server, path, "Transfer-Encoding: chunked"))
            .unwrap();
        stream
            .write_all(&[b"10001\r\n".as_slice(), &vec![b' '; 65_537], b"\r\n"].concat())
            .unwrap();
        let answer = raw::read(&mut stream).expect("an answer before the body's end");
        answer.problem_code(413, "payload_too_large");
    }
}

#[test]
fn a_declared_length_that_lies_makes_nothing() {
    let server = Server::shared();
    let body = r#"{"target_url":"https://example.com/","slug":"lying"}"#;
    // More is promised than comes.
    let mut short = head(
        &server,
        "/api/v1/links",
        &format!("Content-Length: {}", body.len() + 1),
    );
    short.extend_from_slice(body.as_bytes());
    let mut stream = raw::connect(server.address);
    stream.write_all(&short).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    if let Some(answer) = raw::read(&mut stream) {
        answer.problem(400);
    }
    // Less is promised than comes.
    let mut long = head(
        &server,
        "/api/v1/links",
        &format!("Content-Length: {}", body.len() - 1),
    );
    long.extend_from_slice(body.as_bytes());
    raw::send(server.address, &long).problem(400);
    for length in ["-1", "1e3", "18446744073709551616", "5, 6", ""] {
        let mut request = head(
            &server,
            "/api/v1/links",
            &format!("Content-Length: {length}"),
        );
        request.extend_from_slice(body.as_bytes());
        assert_eq!(raw::send(server.address, &request).status, 400, "{length}");
    }
    server.visitor().get("/lying").problem(404);
}

#[test]
fn odd_requests_get_an_answer_and_the_server_lives_on() {
    let server = Server::shared();
    let long_header = format!(
        "GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: {}\r\n\r\n",
        "x".repeat(200_000)
    );
    let many_headers = format!(
        "GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n",
        "X: y\r\n".repeat(500)
    );
    for request in [
        "GET\r\n\r\n",
        "\r\n\r\n\r\nGET / HTTP/9.9\r\n\r\n",
        "GET / HTTP/1.1\r\nHost localhost\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\n X: folded\r\n\r\n",
        "POST /api/v1/links HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n",
        &long_header,
        &many_headers,
    ] {
        let mut stream = raw::connect(server.address);
        let _ = stream.write_all(request.as_bytes());
        if let Some(answer) = raw::read(&mut stream) {
            let shown = &request[..request.len().min(60)];
            assert!(
                (400..500).contains(&answer.status),
                "{shown}: {}",
                answer.status
            );
        }
    }
    server.visitor().get("/health/ready").expect(200);
}

#[test]
fn an_answer_is_sent_whatever_follows_its_request() {
    let server = Server::shared();
    server.link("followed", &json!({}));
    let request = "GET /followed HTTP/1.1\r\nHost: localhost\r\n";
    for (lines, rest) in [
        ("Connection: close\r\n\r\n", "\r\n"),
        ("Connection: close\r\n\r\n", "GET /fol"),
        ("\r\n", "GET /fol"),
        ("\r\n", "\0\0\0"),
        ("\r\n", "\r\n"),
    ] {
        let sent = format!("{request}{lines}{rest}");
        assert_eq!(
            raw::send(server.address, sent.as_bytes()).status,
            302,
            "{rest:?}"
        );
    }
}
