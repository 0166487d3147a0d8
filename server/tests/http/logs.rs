//! What the log may know, and what outsiders may learn when something fails.

use std::sync::Arc;

use poem::endpoint::make_sync;
use poem::{Endpoint as _, EndpointExt as _};
use reqwest::Method;
use serde_json::{Value, json};
use terse_core::Terse;
use terse_core::model::OsEntropy;
use terse_server::app::{App, Limits, Policy};
use terse_server::chain::chain;
use terse_server::limits::Rate;
use terse_server::tokens::Tokens;

use crate::answer::Answer;
use crate::raw;
use crate::server::{BROWSER, EMAIL, ON_ONE_NODE, ON_SQLITE, PASSWORD, Server, path_of};

const JWT_SECRET: &str = "kept-out-of-every-log-0123456789abcdef";

/// Uses everything that is secret, in every way that a client can.
fn use_secrets(server: &Server) -> Vec<String> {
    let granted = server.sign_in();
    let secret = |name: &str| granted[name].as_str().unwrap().to_owned();
    let (access, refresh) = (secret("access_token"), secret("refresh_token"));
    let form = [("grant_type", "refresh_token"), ("refresh_token", &refresh)];
    let renewed = server.token_request(&form).expect(200).json();
    server.token_request(&form).problem(400);
    let wrong = "a-wrong-password-that-is-close";
    server
        .token_request(&[
            ("grant_type", "password"),
            ("username", EMAIL),
            ("password", wrong),
        ])
        .problem(400);
    let link = server.link("secretive", &json!({}));
    server.get(&path_of(&link)).expect(200);
    let visitor = server.visitor();
    let query = format!("/api/v1/links?access_token={access}");
    visitor.get(&query).problem(401);
    visitor
        .get_with(
            "/api/v1/links",
            "authorization",
            &format!("Bearer {access}x"),
        )
        .problem(401);
    visitor
        .get_with("/secretive", "cookie", &format!("session={access}"))
        .expect(302);
    vec![
        PASSWORD.to_owned(),
        wrong.to_owned(),
        JWT_SECRET.to_owned(),
        server.token().to_owned(),
        access,
        refresh,
        renewed["access_token"].as_str().unwrap().to_owned(),
        renewed["refresh_token"].as_str().unwrap().to_owned(),
    ]
}

#[test]
fn no_secret_reaches_the_log_even_at_the_chattiest_level() {
    let server = Server::start(&[("TERSE_LOG", "trace"), ("TERSE_JWT_SECRET", JWT_SECRET)]);
    let secrets = use_secrets(&server);
    let log = server.log();
    assert!(
        log.contains("TRACE") || log.contains("DEBUG"),
        "the level is in force"
    );
    for secret in secrets {
        let signature = secret.rsplit('.').next().unwrap();
        for text in [&*secret, signature, &secret.replace(' ', "+")] {
            let line = log.lines().find(|line| line.contains(text));
            assert!(line.is_none(), "{text} stands in {line:?}");
        }
    }
}

#[test]
fn no_request_forges_a_log_line() {
    for format in ["json", "text"] {
        let server = Server::start(&[("TERSE_LOG", "trace"), ("TERSE_LOG_FORMAT", format)]);
        server.link("forger", &json!({}));
        let before = server.log().len();
        let forged = "{\"level\":\"ERROR\",\"message\":\"forged\"}";
        let token = format!("Authorization: Bearer {}", server.token());
        for target in [
            "/forger".to_owned(),
            format!("/forger?utm_source=%0a{forged}"),
            format!("/api/v1/links/%0a{forged}"),
            format!("/api/v1/links/%0d%0a%1b[31m{forged}"),
            format!("/api/v1/links?search=%0a{forged}"),
        ] {
            let target = target
                .replace('"', "%22")
                .replace('{', "%7b")
                .replace('}', "%7d");
            for line in [
                format!("User-Agent: {BROWSER}\n{forged}"),
                format!("User-Agent: {BROWSER}\r\n {forged}"),
                format!("User-Agent: {BROWSER}\u{1b}[2J\u{1b}[31m{forged}"),
                "Referer: https://x/\u{1b}]0;forged\u{7}".to_owned(),
                format!("User-Agent: {BROWSER}\t{forged}\u{85}\u{2028}"),
            ] {
                let request = format!(
                    "GET {target} HTTP/1.1\r\nHost: localhost\r\n{token}\r\n{line}\r\nConnection: close\r\n\r\n"
                );
                let mut stream = raw::connect(server.address);
                std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
                if let Some(answer) = raw::read(&mut stream) {
                    assert!(answer.status < 500, "{request}");
                }
            }
        }
        let log = server.log();
        let written = &log[before..];
        assert!(!written.is_empty());
        assert!(
            !written.contains('\u{1b}'),
            "control sequences reach the terminal"
        );
        for line in written.lines() {
            assert!(
                !line.trim_start().starts_with("{\"level\":\"ERROR\""),
                "{line}"
            );
            if format == "json" {
                let entry: Value =
                    serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
                assert_ne!(entry["message"], "forged");
            } else {
                let stamp = line.split('T').next().unwrap();
                let dated =
                    stamp.len() == 10 && stamp.chars().all(|c| c.is_ascii_digit() || c == '-');
                assert!(dated, "not a line of ours: {line}");
            }
        }
    }
}

#[test]
fn each_api_request_has_one_line_under_the_id_of_its_answer() {
    let server = Server::start(&[ON_ONE_NODE, ("TERSE_LOG_FORMAT", "json")]);
    let answer = server.get("/links/unknown");
    let problem = answer.problem(404);
    let id = problem["request_id"].as_str().unwrap();
    assert_eq!(answer.header("x-request-id"), id);
    let log = server.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains(id)).collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    let entry: Value = serde_json::from_str(lines[0]).unwrap();
    assert_eq!(entry["method"], "GET");
    assert_eq!(entry["status"], 404);
    assert!(entry["ms"].is_u64());
    let next = server.get("/links/unknown").problem(404);
    assert_ne!(next["request_id"], problem["request_id"]);
}

/// Words that tell about the inside.
const INSIDE: [&str; 10] = [
    "sqlite",
    "sql",
    "select",
    "terse.db",
    "/tmp",
    ".rs",
    "panicked",
    "sqlx",
    "database disk",
    "no such table",
];

fn assert_tells_nothing(answer: &Answer) {
    let problem = answer.problem(answer.status).to_string().to_lowercase();
    for word in INSIDE {
        assert!(!problem.contains(word), "{word} in {problem}");
    }
}

#[test]
fn a_broken_database_is_told_to_the_log_and_not_to_the_client() {
    let server = Server::start(&[ON_SQLITE]);
    let link = server.link("breaking", &json!({}));
    server.visitor().get("/breaking").expect(302);
    for name in ["terse.db", "terse.db-wal"] {
        let path = server.data().join(name);
        let length = path.metadata().map_or(0, |metadata| metadata.len());
        let garbage = vec![0xa5; usize::try_from(length).unwrap()];
        std::fs::write(&path, garbage).unwrap();
    }
    let answers = [
        server.get("/links"),
        server.get(&path_of(&link)),
        server.post("/links", &json!({"target_url": "https://example.com/"})),
        server.patch(&path_of(&link), &json!({"title": "x"})),
        server.delete(&path_of(&link)),
        server.get("/analytics/summary"),
        server.visitor().get("/never-seen-before"),
    ];
    // What the database has in memory may still be answered.
    let failed: Vec<Answer> = answers
        .into_iter()
        .filter(|answer| answer.status >= 500)
        .collect();
    assert!(!failed.is_empty(), "the database is broken");
    for answer in failed {
        assert!(matches!(answer.status, 500 | 503), "{answer:?}");
        assert_tells_nothing(&answer);
    }
    server.visitor().get("/breaking").expect(302);
    server.visitor().get("/health/live").expect(200);
}

#[test]
fn a_panic_is_one_answer_that_tells_nothing() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let url = "http://localhost";
        let builder = Terse::builder().sqlite(dir.path().join("terse.db"));
        let terse = builder
            .spool_dir(dir.path().join("spool"))
            .public_url(url)
            .open()
            .await
            .unwrap();
        let entropy = Arc::new(OsEntropy);
        let tokens = Tokens::new(
            url,
            &JWT_SECRET.into(),
            Arc::clone(terse.clock()),
            entropy.clone(),
        )
        .unwrap();
        let limits = Limits::new(Rate::OFF, Rate::OFF, Rate::OFF);
        let app = App::new(
            terse.clone(),
            tokens,
            limits,
            Policy::default(),
            url.to_owned(),
            &*entropy,
        );
        let routes =
            make_sync(|_| -> poem::Response { panic!("SELECT secret FROM /tmp/terse.db") });
        let endpoint = chain(Arc::clone(&app), routes.boxed());
        let request = poem::Request::builder()
            .uri_str("/api/v1/links")
            .method(Method::GET)
            .finish();
        let mut response = endpoint.get_response(request).await;
        let body = response.take_body().into_vec().await.unwrap();
        let answer = Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body,
        };
        answer.problem_code(500, "internal_error");
        assert_tells_nothing(&answer);
        assert_eq!(app.metrics.panics.get(), 1);
        terse.close().await;
    });
}
