use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use crate::{Service, shared};

#[test]
fn the_document_is_the_one_that_was_reviewed() {
    let service = shared();
    let (status, document) = service.node.run(&["openapi"], &[]);
    assert_eq!(status, Some(0));
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    let text = serde_json::to_string_pretty(&document).unwrap() + "\n";
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openapi.json");
    if std::env::var_os("UPDATE_SNAPSHOT").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let reviewed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        reviewed == text,
        "the API changed: look at it, then run the tests with UPDATE_SNAPSHOT=1"
    );
    let served: serde_json::Value = service
        .request("GET", "/api/v1/openapi.json")
        .send()
        .unwrap()
        .json()
        .unwrap();
    assert_eq!(served, document);
}

#[test]
fn pages_are_there_on_any_host_with_policies_that_fit() {
    let service = shared();
    for path in ["/", "/docs", "/redoc"] {
        let answer = service.request("GET", path).send().unwrap();
        let policy = answer.headers()["content-security-policy"]
            .to_str()
            .unwrap()
            .to_owned();
        assert!(
            policy.contains("default-src 'none'") && !policy.contains("script-src 'unsafe-inline'"),
            "{policy}"
        );
        let html = answer.text().unwrap();
        assert!(
            !html.contains("https://fonts"),
            "{path} loads something from elsewhere"
        );
    }
    let metrics = service.request("GET", "/metrics").send().unwrap();
    assert!(
        metrics.headers()["content-type"]
            .to_str()
            .unwrap()
            .starts_with("application/openmetrics-text")
    );
    assert!(metrics.text().unwrap().ends_with("# EOF\n"));
    assert_eq!(
        service
            .request("GET", "/health/live")
            .send()
            .unwrap()
            .status(),
        200
    );
    let elsewhere =
        service.raw(b"GET /health/ready HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n");
    assert!(elsewhere.starts_with("HTTP/1.1 200"));
}

#[test]
fn files_are_their_owners_alone() {
    let service = shared();
    let data = service.node.data();
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    assert_eq!(mode(&data.join("secrets")), 0o700);
    assert_eq!(mode(&data.join("secrets/jwt")), 0o600);
    assert_eq!(mode(&data.join("terse.db")), 0o600);
}

#[test]
fn secrets_and_forged_lines_stay_out_of_the_log() {
    let service = Service::new(&[("TERSE_LOG", "trace"), ("TERSE_LOG_FORMAT", "json")]);
    service.link(json!({"slug": "logged"}));
    let forged = "x\u{1b}[31m{\"level\":\"error\",\"forged\":true}";
    service
        .api("GET", "/links?search=secret-query")
        .header("User-Agent", "a\tb")
        .send()
        .unwrap();
    service
        .api(
            "GET",
            &format!("/links/{forged}")
                .replace('\u{1b}', "%1b")
                .replace('"', "%22"),
        )
        .send()
        .unwrap();
    let log = service.node.logged();
    assert!(log.contains("\"request_id\""));
    for secret in [
        service.token.as_str(),
        crate::common::PASSWORD,
        "secret-query",
    ] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
    // The greeting is for people; every line of the log itself is one event.
    let events = log.lines().filter(|line| line.starts_with('{'));
    let mut counted = 0;
    for event in events {
        let event: serde_json::Value = serde_json::from_str(event).unwrap();
        assert!(event.get("forged").is_none(), "{event}");
        counted += 1;
    }
    assert!(counted > 10);
}

#[test]
fn unusable_settings_are_refused_by_name() {
    let service = shared();
    let node = &service.node;
    for (name, value, word) in [
        ("TERSE_JWT_SECRET", "changeme", "placeholder"),
        ("TERSE_JWT_SECRET", "short", "32 bytes"),
        ("TERSE_CLICK_DURABILITY", "memory", "lose clicks"),
        ("TERSE_LISTEN", "nowhere", "TERSE_LISTEN"),
        ("TERSE_UNKNOWN", "x", "not a known setting"),
        ("TERSE_PUBLIC_URL", "example.com", "TERSE_PUBLIC_URL"),
        ("TERSE_RATE_LIMIT_API", "many", "TERSE_RATE_LIMIT_API"),
    ] {
        let fresh = tempfile::tempdir().unwrap();
        let dir = fresh.path().join("data");
        let (status, text) = node.run(
            &[],
            &[
                ("TERSE_DATA_DIR", dir.to_str().unwrap()),
                ("TERSE_LISTEN", "127.0.0.1:0"),
                (name, value),
            ],
        );
        assert_eq!(status, Some(1), "{name}={value}: {text}");
        assert!(text.contains(word), "{name}={value}: {text}");
    }
    let (status, text) = node.run(
        &["config"],
        &[("TERSE_JWT_SECRET", "0123456789abcdef0123456789abcdef")],
    );
    assert_eq!(status, Some(0));
    assert!(
        text.contains("(hidden)") && !text.contains("0123456789abcdef"),
        "{text}"
    );
}

#[test]
fn an_administrator_is_made_beside_the_running_server() {
    use std::io::Write as _;

    let service = shared();
    let (status, _) = service.node.run(&["migrate", "status"], &[]);
    assert_eq!(status, Some(0));
    let mut child = service.node.piped(&[
        "user",
        "create",
        "--admin",
        "--email",
        "second@example.com",
        "--password-stdin",
    ]);
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"another good password\n")
        .unwrap();
    assert!(child.wait_with_output().unwrap().status.success());
    let form = [
        ("grant_type", "password"),
        ("username", "second@example.com"),
        ("password", "another good password"),
    ];
    let answer = service
        .request("POST", "/api/v1/auth/token")
        .form(&form)
        .send()
        .unwrap();
    assert_eq!(answer.status(), 200);
}
