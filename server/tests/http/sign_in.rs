//! Signing in, staying signed in, signing out.

use std::thread;

use reqwest::Method;
use serde_json::Value;

use crate::answer::Answer;
use crate::server::{EMAIL, PASSWORD, Server};

fn refresh(server: &Server, token: &Value) -> Answer {
    let token = token.as_str().unwrap();
    server.token_request(&[("grant_type", "refresh_token"), ("refresh_token", token)])
}

/// The status of a request that only a signed-in caller may make.
fn status_with(server: &Server, token: &Value) -> u16 {
    let request = server.visitor().request(Method::GET, "/api/v1/links");
    let answer = request.bearer_auth(token.as_str().unwrap()).send().unwrap();
    answer.status().as_u16()
}

#[test]
fn a_password_buys_tokens_that_open_the_api() {
    let server = Server::shared();
    let form = [
        ("grant_type", "password"),
        ("username", EMAIL),
        ("password", PASSWORD),
        ("scope", "everything"),
        ("client_id", "swagger"),
    ];
    let request = server.visitor().request(Method::POST, "/api/v1/auth/token");
    let request = request.basic_auth("swagger", Some("")).form(&form);
    let answer: Answer = request.send().unwrap().into();
    let answer = answer.expect(200);
    assert_eq!(answer.header("cache-control"), "no-store");
    let granted = answer.json();
    assert_eq!(granted["token_type"], "Bearer");
    assert_eq!(granted["expires_in"], 900);
    assert_eq!(status_with(&server, &granted["access_token"]), 200);
}

#[test]
fn a_wrong_password_and_an_unknown_address_get_the_same_answer() {
    let server = Server::shared();
    let attempt = |username, password| {
        let answer = server.token_request(&[
            ("grant_type", "password"),
            ("username", username),
            ("password", password),
        ]);
        let mut problem = answer.problem(400);
        assert_eq!(problem["error"], "invalid_grant");
        assert!(problem["error_description"].is_string());
        problem["request_id"].take();
        problem
    };
    let wrong = attempt(EMAIL, "wrong horse battery");
    assert_eq!(attempt("nobody@example.com", "wrong horse battery"), wrong);
    assert_eq!(attempt("", ""), wrong);
    assert_eq!(attempt("a\0b", "c\0d"), wrong);
    assert_eq!(attempt(EMAIL, &"x".repeat(30_000)), wrong);
}

#[test]
fn token_requests_that_lack_something_say_so_as_oauth_does() {
    let server = Server::shared();
    let cases: [(&[(&str, &str)], &str); 5] = [
        (&[], "invalid_request"),
        (&[("grant_type", "password")], "invalid_request"),
        (
            &[("grant_type", "password"), ("username", EMAIL)],
            "invalid_request",
        ),
        (&[("grant_type", "refresh_token")], "invalid_request"),
        (&[("grant_type", "magic")], "unsupported_grant_type"),
    ];
    for (form, error) in cases {
        let problem = server.token_request(form).problem(400);
        assert_eq!(problem["error"], error, "{form:?}");
    }
}

#[test]
fn each_refresh_token_works_once_and_its_reuse_ends_the_session() {
    let server = Server::shared();
    let first = server.sign_in();
    let second = refresh(&server, &first["refresh_token"]).expect(200).json();
    let third = refresh(&server, &second["refresh_token"])
        .expect(200)
        .json();
    assert_eq!(status_with(&server, &third["access_token"]), 200);

    let reused = refresh(&server, &first["refresh_token"]);
    assert_eq!(reused.problem(400)["error"], "invalid_grant");
    let newest = refresh(&server, &third["refresh_token"]);
    assert_eq!(newest.problem(400)["error"], "invalid_grant");
    for granted in [first, second, third] {
        assert_eq!(status_with(&server, &granted["access_token"]), 401);
    }
}

#[test]
fn fifty_parallel_refreshes_of_one_token_leave_at_most_one_session_alive() {
    let server = Server::shared();
    let granted = server.sign_in();
    let answers: Vec<Answer> = thread::scope(|scope| {
        let refreshes: Vec<_> = (0..50)
            .map(|_| scope.spawn(|| refresh(&server, &granted["refresh_token"])))
            .collect();
        let join = |refresh: thread::ScopedJoinHandle<'_, Answer>| refresh.join().unwrap();
        refreshes.into_iter().map(join).collect()
    });
    assert!(answers.iter().all(|answer| answer.status < 500));
    let granted = answers.iter().filter(|answer| answer.status == 200);
    let successors: Vec<Value> = granted.map(Answer::json).collect();
    assert!(!successors.is_empty(), "one refresh has to succeed");
    let alive = |granted: &&Value| refresh(&server, &granted["refresh_token"]).status == 200;
    assert!(successors.iter().filter(alive).count() <= 1);
}

#[test]
fn signing_out_ends_access_and_refresh_at_once() {
    let server = Server::shared();
    let granted = server.sign_in();
    let access = granted["access_token"].as_str().unwrap();
    let request = server
        .visitor()
        .request(Method::POST, "/api/v1/auth/logout");
    let answer: Answer = request.bearer_auth(access).send().unwrap().into();
    assert!(answer.expect(204).body.is_empty());
    assert_eq!(status_with(&server, &granted["access_token"]), 401);
    assert_eq!(refresh(&server, &granted["refresh_token"]).status, 400);
}

#[test]
fn a_token_of_one_kind_is_worth_nothing_in_place_of_the_other() {
    let server = Server::shared();
    let granted = server.sign_in();
    assert_eq!(status_with(&server, &granted["refresh_token"]), 401);
    let refreshed = refresh(&server, &granted["access_token"]);
    assert_eq!(refreshed.problem(400)["error"], "invalid_grant");
}

#[test]
fn signing_out_races_refreshing_and_wins() {
    let server = Server::shared();
    for _ in 0..10 {
        let granted = server.sign_in();
        let access = granted["access_token"].as_str().unwrap();
        let refreshed = thread::scope(|scope| {
            let refreshing = scope.spawn(|| refresh(&server, &granted["refresh_token"]));
            let request = server
                .visitor()
                .request(Method::POST, "/api/v1/auth/logout");
            let status = request.bearer_auth(access).send().unwrap().status();
            assert_eq!(status, 204);
            refreshing.join().unwrap()
        });
        if refreshed.status == 200 {
            let successor = refreshed.json();
            assert_eq!(status_with(&server, &successor["access_token"]), 401);
            assert_eq!(refresh(&server, &successor["refresh_token"]).status, 400);
        }
    }
}
