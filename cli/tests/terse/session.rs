//! Signing in, staying signed in, signing out.

use std::io::Write;
use std::net::TcpListener;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::server::{Server, problem};
use crate::{Ended, Shell};

fn tokens(number: u32) -> (u16, Value) {
    let body = json!({
        "access_token": format!("access-{number}"), "token_type": "Bearer", "expires_in": 900,
        "refresh_token": format!("refresh-{number}"),
    });
    (200, body)
}

fn empty_list() -> (u16, Value) {
    (200, json!({ "items": [], "next_cursor": null }))
}

fn login(shell: &Shell, url: &str, password: &str) -> Ended {
    let mut child = shell
        .command(&format!(
            "login --url {url}/ --email ann@example.com --password-stdin"
        ))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    writeln!(stdin, "{password}").unwrap();
    drop(stdin);
    child.wait_with_output().unwrap().into()
}

#[test]
fn signing_in_keeps_the_tokens_and_not_the_password() {
    let server = Server::answering(vec![tokens(1), empty_list()]);
    let shell = Shell::new();
    let ended = login(&shell, &server.url, " pass word+&");
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(
        shell.profile(),
        json!({
            "url": server.url, "email": "ann@example.com", "access_token": "access-1", "refresh_token": "refresh-1",
        })
    );
    let asked = &server.asked()[0];
    assert_eq!(asked.line, "POST /api/v1/auth/token");
    assert_eq!(asked.authorization, None);
    assert_eq!(
        asked.body,
        "grant_type=password&username=ann%40example.com&password=+pass+word%2B%26"
    );
    let who = shell.run("whoami").json();
    assert_eq!(
        who,
        json!({ "url": server.url, "email": "ann@example.com" })
    );
    assert_eq!(
        server.asked()[1].authorization.as_deref(),
        Some("Bearer access-1")
    );
}

#[cfg(unix)]
#[test]
fn only_its_owner_can_read_a_profile() {
    use std::os::unix::fs::PermissionsExt;

    let server = Server::answering(vec![tokens(1)]);
    let shell = Shell::new();
    assert_eq!(login(&shell, &server.url, "secret").code, 0);
    let mode = |path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(shell.config()), 0o700);
    assert_eq!(mode(shell.config().join("profile.json")), 0o600);
}

#[test]
fn a_wrong_password_is_not_allowed_and_stores_nothing() {
    let server = Server::answering(vec![problem(400, "invalid_grant")]);
    let shell = Shell::new();
    let ended = login(&shell, &server.url, "wrong");
    assert_eq!(ended.code, 4);
    assert_eq!(
        ended.stderr,
        "terse: Because of invalid_grant.\n(code invalid_grant, request ID req-7)\n"
    );
    assert!(!shell.config().join("profile.json").exists());
}

#[test]
fn a_password_is_not_taken_from_the_command_line() {
    let server = Server::answering(vec![tokens(1)]);
    let url = &server.url;
    let ended = Shell::new().run(&format!(
        "login --url {url} --email ann@example.com --password hunter2"
    ));
    assert_eq!(ended.code, 2);
    let ended = Shell::new().run(&format!("login --url {url} --email ann@example.com"));
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("--password-stdin"), "{ended:?}");
    assert!(server.asked().is_empty());
}

#[test]
fn an_expired_session_is_refreshed_once_and_the_new_tokens_are_kept() {
    let expired = problem(401, "token_expired");
    let server = Server::answering(vec![expired, tokens(2), empty_list(), empty_list()]);
    let shell = Shell::signed_in(&server.url);
    assert_eq!(shell.run("links list").json()["items"], json!([]));
    assert_eq!(shell.profile()["access_token"], "access-2");
    assert_eq!(shell.profile()["refresh_token"], "refresh-2");
    assert_eq!(shell.run("links list").code, 0);
    let asked = server.asked();
    assert_eq!(
        asked[1].body,
        "grant_type=refresh_token&refresh_token=refresh-1"
    );
    assert_eq!(asked[2].authorization.as_deref(), Some("Bearer access-2"));
    assert_eq!(asked[3].authorization.as_deref(), Some("Bearer access-2"));
    assert_eq!(asked.len(), 4);
}

#[test]
fn a_session_that_has_ended_says_how_to_sign_in_again() {
    let server = Server::answering(vec![
        problem(401, "token_expired"),
        problem(400, "invalid_grant"),
    ]);
    let ended = Shell::signed_in(&server.url).run("links list");
    assert_eq!(ended.code, 4);
    assert!(ended.stderr.contains("terse login --url"), "{ended:?}");
}

#[test]
fn tokens_are_shown_to_the_server_that_issued_them_and_to_no_other() {
    let issuer = Server::answering(vec![]);
    let other = Server::answering(vec![]);
    let shell = Shell::signed_in(&issuer.url);
    let ended = shell.run(&format!("links list --url {}", other.url));
    assert_eq!(ended.code, 4);
    assert!(other.asked().is_empty());
}

#[test]
fn a_redirecting_server_gets_no_second_request() {
    let server = Server::answering(vec![(307, json!({}))]);
    let ended = Shell::signed_in(&server.url).run("links list");
    assert_eq!(ended.code, 1);
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn an_api_key_needs_no_profile_and_is_not_refreshed() {
    let server = Server::answering(vec![empty_list(), problem(401, "key_revoked")]);
    let shell = Shell::new();
    let run = || {
        let mut command = shell.command("links list");
        command
            .env("TERSE_URL", &server.url)
            .env("TERSE_API_KEY", "key-1");
        Ended::from(command.output().unwrap())
    };
    assert_eq!(run().code, 0);
    assert_eq!(run().code, 4);
    let asked = server.asked();
    assert_eq!(asked[0].authorization.as_deref(), Some("Bearer key-1"));
    assert_eq!(asked.len(), 2);
}

#[test]
fn signing_out_ends_the_session_and_forgets_it() {
    let server = Server::answering(vec![(204, Value::Null)]);
    let shell = Shell::signed_in(&server.url);
    assert_eq!(shell.run("logout").code, 0);
    assert_eq!(server.lines(), ["POST /api/v1/auth/logout"]);
    assert!(!shell.config().join("profile.json").exists());
    let ended = shell.run(&format!("links list --url {}", server.url));
    assert_eq!(ended.code, 4);
}

#[test]
fn a_server_that_does_not_answer_has_its_own_exit_code() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let ended = Shell::signed_in(&url).run("links list");
    assert_eq!(ended.code, 5);
    assert!(
        ended
            .stderr
            .starts_with(&format!("terse: {url} does not answer: ")),
        "{ended:?}"
    );
    assert_eq!(ended.stderr.lines().count(), 1);
}

#[test]
fn a_command_line_that_names_no_server_is_a_usage_error() {
    let ended = Shell::new().run("links list");
    assert_eq!(ended.code, 2);
    assert!(ended.stderr.contains("terse login"), "{ended:?}");
}
