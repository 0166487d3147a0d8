//! The server as a process: its files, its start, its end, and the settings it refuses.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::raw;
use crate::server::{EMAIL, ON_SQLITE, PASSWORD, Server, UNSET, run, until};

/// Longest time from SIGTERM to the end.
const STOP: Duration = Duration::from_secs(10);

fn assert_private(path: &Path) {
    let metadata = fs::symlink_metadata(path).unwrap();
    let expected = if metadata.is_dir() { 0o700 } else { 0o600 };
    let mode = metadata.permissions().mode() & 0o777;
    assert_eq!(mode, expected, "{} is {mode:o}", path.display());
    if metadata.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            assert_private(&entry.unwrap().path());
        }
    }
}

#[test]
fn whatever_the_server_writes_is_its_owners_alone() {
    let mut server = Server::start(&[ON_SQLITE]);
    server.link("private", &json!({}));
    server.visitor().get("/private").expect(302);
    for name in ["terse.db", "spool", "secrets/jwt"] {
        assert!(server.data().join(name).exists(), "{name}");
    }
    assert_private(&server.data());
    server.terminate();
    assert_eq!(server.exit_code(), Some(0));
    assert_private(&server.data());
}

#[test]
fn a_stopped_server_has_every_click_when_it_starts_again() {
    let mut server = Server::start(&[]);
    let link = server.link("survivor", &json!({}));
    let visitor = server.visitor();
    for _ in 0..100 {
        visitor.get("/survivor").expect(302);
    }
    let asked = Instant::now();
    server.terminate();
    assert_eq!(server.exit_code(), Some(0));
    assert!(asked.elapsed() < STOP);
    let again = server.restarted();
    assert_eq!(again.totals(&link), [100, 0, 0]);
    let verified = again.beside(&["verify"]);
    let told = String::from_utf8_lossy(&verified.stdout).into_owned();
    assert_eq!(verified.status.code(), Some(0), "{told}");
    assert!(told.contains("rows and counters agree"), "{told}");
}

#[test]
fn a_request_under_way_is_finished_before_the_server_ends() {
    let mut server = Server::start(&[]);
    let body = r#"{"target_url":"https://example.com/","slug":"in-flight"}"#;
    let mut stream = raw::connect(server.address);
    let head = format!(
        "POST /api/v1/links HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        server.token(),
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut told = [0; 25];
    stream.read_exact(&mut told).unwrap();
    assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
    // The server waits for the body now.
    let asked = Instant::now();
    server.terminate();
    until_refused(&server);
    stream.write_all(body.as_bytes()).unwrap();
    let answer = raw::read(&mut stream).expect("an answer").expect(201);
    assert_eq!(answer.json()["slug"], "in-flight");
    assert_eq!(server.exit_code(), Some(0));
    assert!(asked.elapsed() < STOP);
    server.restarted().visitor().get("/in-flight").expect(302);
}

fn until_refused(server: &Server) {
    until("new connections are refused", || {
        TcpStream::connect(server.address).err()
    });
}

#[test]
fn open_connections_do_not_hold_a_server_that_is_asked_to_stop() {
    let mut server = Server::start(&[]);
    server.link("held", &json!({}));
    let mut idle = raw::connect(server.address);
    idle.write_all(b"GET /held HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    raw::read(&mut idle).unwrap().expect(302);
    let _silent = raw::connect(server.address);
    let mut half = raw::connect(server.address);
    half.write_all(b"GET /held HTTP/1.1\r\nHo").unwrap();
    let mut stuck = raw::connect(server.address);
    stuck
        .write_all(
            b"POST /api/v1/auth/token HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc",
        )
        .unwrap();
    let asked = Instant::now();
    server.terminate();
    assert_eq!(server.exit_code(), Some(0));
    assert!(asked.elapsed() < STOP, "{:?}", asked.elapsed());
}

#[test]
fn a_server_that_is_stopped_as_soon_as_it_serves_ends_well() {
    for _ in 0..3 {
        let mut server = Server::start(&[]);
        server.terminate_at_once();
        assert_eq!(
            server.exit_code(),
            Some(0),
            "not ended by the signal itself"
        );
    }
}

#[test]
fn the_first_administrators_password_is_shown_once_and_works() {
    let unset = [
        ("TERSE_ADMIN_EMAIL", UNSET),
        ("TERSE_ADMIN_PASSWORD", UNSET),
    ];
    let mut server = Server::start(&unset);
    let shown = until("the password is shown", || {
        let log = server.log();
        let line = log
            .lines()
            .find(|line| line.trim_start().starts_with("password "))?;
        Some(line.split_whitespace().nth(1).unwrap().to_owned())
    });
    assert!(shown.len() >= 16, "{shown}");
    server.sign_in_as("admin@localhost", &shown);
    server.terminate();
    assert_eq!(server.exit_code(), Some(0));
    let before = server.log().len();
    let again = server.restarted();
    again.sign_in_as("admin@localhost", &shown);
    let told = again.log()[before..].to_owned();
    assert!(
        !told.contains("password") && !told.contains(&shown),
        "{told}"
    );
}

#[test]
fn an_address_in_use_is_named_and_does_not_cost_the_first_administrators_password() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let data = tempfile::tempdir().unwrap();
    let settings = [
        ("TERSE_DATA_DIR", data.path().to_str().unwrap()),
        ("TERSE_ADMIN_EMAIL", UNSET),
        ("TERSE_ADMIN_PASSWORD", UNSET),
    ];
    let mut first = settings.to_vec();
    first.push(("TERSE_LISTEN", &address));
    let told = refusal(&first);
    assert!(told.contains(&address) && told.contains("in use"), "{told}");
    let server = Server::start(&settings);
    until("the password is shown", || {
        server.log().contains("  password  ").then_some(())
    });
}

#[test]
fn a_start_that_was_cut_short_leaves_no_half_written_secret() {
    let data = tempfile::tempdir().unwrap();
    let secrets = data.path().join("secrets");
    fs::create_dir(&secrets).unwrap();
    // What a start leaves that is killed before the secret has its name.
    fs::write(secrets.join("jwt.new"), "abc").unwrap();
    let path = data.path().to_str().unwrap();
    let server = Server::start(&[ON_SQLITE, ("TERSE_DATA_DIR", path)]);
    server.get("/links").expect(200);
    let secret = fs::read_to_string(secrets.join("jwt")).unwrap();
    assert_eq!(secret.len(), 43);
    assert!(!secrets.join("jwt.new").exists());
}

#[test]
fn a_directory_that_everybody_writes_to_does_not_become_private() {
    let dir = tempfile::tempdir().unwrap();
    let shared = dir.path().join("tmp");
    fs::create_dir(&shared).unwrap();
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o1777)).unwrap();
    let path = shared.to_str().unwrap();
    let told = refusal(&[("TERSE_DATA_DIR", path)]);
    assert!(told.contains(path), "{told}");
    let mode = fs::metadata(&shared).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode, 0o1777, "{mode:o}");
    assert_eq!(fs::read_dir(&shared).unwrap().count(), 0);
}

#[test]
fn commands_beside_the_server_make_no_data_where_there_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("mistyped");
    for arguments in [
        &["verify"][..],
        &["migrate", "status"],
        &["migrate", "down", "--yes-delete-data"],
        &["spool", "accept-gap", "00000000000000000000000000000000"],
    ] {
        let output = run(
            arguments,
            &[ON_SQLITE, ("TERSE_DATA_DIR", data.to_str().unwrap())],
        );
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {told}");
        assert!(told.contains("mistyped"), "{arguments:?}: {told}");
        assert!(!data.exists(), "{arguments:?}");
    }
}

/// Starts a server that has to refuse; returns what it says.
#[track_caller]
fn refusal(settings: &[(&str, &str)]) -> String {
    let output = run(&[], settings);
    assert!(matches!(output.status.code(), Some(1..)), "{settings:?}");
    let told = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<&str> = told.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(lines.len(), 1, "one clear line: {told}");
    assert!(!told.contains("panicked"), "{told}");
    told
}

#[test]
fn a_weak_signing_secret_keeps_the_server_from_starting() {
    for secret in [
        "",
        "changeme",
        "secret",
        "replace-me-with-a-random-string",
        "replace-me-with-a-random-string-of-32-bytes",
        "0123456789abcdef0123456789abcde",
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "0123456789abcdef0123456789abcdef,short",
    ] {
        let told = refusal(&[("TERSE_JWT_SECRET", secret)]);
        assert!(
            told.to_lowercase().contains("jwt_secret"),
            "{secret:?}: {told}"
        );
        assert!(secret.len() < 9 || !told.contains(secret), "{told}");
    }
}

#[test]
fn a_secret_file_that_others_can_read_keeps_the_server_from_starting() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jwt");
    fs::write(&path, "0123456789abcdef0123456789abcdef-of-a-file").unwrap();
    let name = path.to_str().unwrap();
    for mode in [0o644, 0o640, 0o604] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let told = refusal(&[("TERSE_JWT_SECRET_FILE", name)]);
        assert!(
            told.contains(name) || told.contains("TERSE_JWT_SECRET_FILE"),
            "{told}"
        );
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let server = Server::start(&[ON_SQLITE, ("TERSE_JWT_SECRET_FILE", name)]);
    server.get("/links").expect(200);
    refusal(&[("TERSE_JWT_SECRET_FILE", "/nonexistent/jwt")]);
}

#[test]
fn a_generated_secret_that_became_readable_keeps_the_server_from_starting() {
    let mut server = Server::start(&[ON_SQLITE]);
    server.terminate();
    assert_eq!(server.exit_code(), Some(0));
    let path = server.data().join("secrets/jwt");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let output = server.beside(&[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("secrets/jwt"));
}

#[test]
fn settings_that_make_no_sense_are_named() {
    for (name, value) in [
        ("TERSE_LISTNE", "127.0.0.1:1"),
        ("TERSE_LISTEN", "nowhere"),
        ("TERSE_PUBLIC_URL", "localhost"),
        ("TERSE_PUBLIC_URL", "https://user@localhost"),
        ("TERSE_PUBLIC_URL", "https://localhost/path"),
        ("TERSE_TRUSTED_PROXIES", "10.0.0.0/99"),
        ("TERSE_RATE_LIMIT_REDIRECT", "fast"),
        ("TERSE_RATE_LIMIT_AUTH", "0/s"),
        ("TERSE_CLICK_DURABILITY", "memory"),
        ("TERSE_ON_UNRECORDABLE", "shrug"),
        ("TERSE_SLUG_LENGTH", "0"),
        ("TERSE_LOG_FORMAT", "xml"),
        ("TERSE_DATABASE_URL", "mysql://localhost/terse"),
    ] {
        let told = refusal(&[(name, value)]);
        assert!(told.contains(name), "{name}: {told}");
    }
}

#[test]
fn the_effective_settings_are_shown_without_secrets() {
    let secret = "0123456789abcdef0123456789abcdef-hidden";
    let output = run(
        &["config"],
        &[("TERSE_JWT_SECRET", secret), ("TERSE_SLUG_LENGTH", "9")],
    );
    assert_eq!(output.status.code(), Some(0));
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(!told.contains(secret) && !told.contains(PASSWORD), "{told}");
    assert!(told.contains("TERSE_SLUG_LENGTH"), "{told}");
    assert!(told.contains(EMAIL), "{told}");
}

#[test]
fn a_public_url_that_differs_from_the_datas_keeps_the_server_from_starting() {
    let mut server = Server::start(&[]);
    server.terminate();
    assert_eq!(server.exit_code(), Some(0));
    let output = server.beside(&["--public-url", "http://other.example"]);
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("public URL"), "{told}");
}
