//! API keys.

use std::thread;

use reqwest::Method;
use serde_json::json;

use crate::server::{PASSWORD, Server};

#[test]
fn a_key_does_what_its_scopes_name_and_nothing_else() {
    let server = Server::shared();
    let ada = server.person("keys-ada@example.com", "user");
    let (key, id) = ada.key(&["links:read"]);
    assert!(key.starts_with("terse_"));
    let program = server.holder(&key);
    program.get("/links").expect(200);
    program
        .post("/links", &json!({"target_url": "https://example.com/"}))
        .problem_code(403, "forbidden");
    program.get("/analytics/summary").problem(403);
    program.get("/api-keys").problem(403);
    program
        .get("/auth/sessions")
        .problem_code(403, "session_required");
    let me = program.get("/me").expect(200).json();
    assert_eq!(me["permissions"], json!(["links:read"]));
    let listed = ada.get("/api-keys").expect(200);
    assert!(!listed.text().contains(&key), "its text is shown once");
    let listed = listed.json();
    assert_eq!(listed["items"][0]["id"], json!(id));
    assert!(listed["items"][0]["last_used_at"].is_string());
}

#[test]
fn a_revoked_key_is_worth_nothing_at_once_and_an_expired_one_too() {
    let server = Server::shared();
    let ada = server.person("keys-revoked@example.com", "user");
    let (key, id) = ada.key(&["links:read"]);
    let program = server.holder(&key);
    program.get("/links").expect(200);
    ada.delete(&format!("/api-keys/{id}")).expect(204);
    program.get("/links").problem_code(401, "invalid_token");
    ada.delete(&format!("/api-keys/{id}")).problem(404);
    let past = json!({"name": "x", "scopes": ["links:read"], "expires_at": "2020-01-01T00:00:00Z"});
    let refused = ada.post("/api-keys", &past).refused("expires_at");
    assert_eq!(refused, "time_in_the_past");
}

#[test]
fn a_key_never_does_what_its_owner_may_not() {
    let server = Server::shared();
    let root = server.person("keys-root@example.com", "admin");
    let (key, _) = root.key(&["users:manage", "links:read"]);
    let program = server.holder(&key);
    program.get("/users").expect(200);
    let demotion = json!({"role": "user"});
    server
        .patch(&format!("/users/{}", root.id), &demotion)
        .expect(200);
    program.get("/users").problem_code(403, "forbidden");
    program.get("/links").expect(200);
    let suspension = json!({"status": "suspended"});
    server
        .patch(&format!("/users/{}", root.id), &suspension)
        .expect(200);
    program.get("/links").problem(401);
    let grace = server.person("keys-grace@example.com", "user");
    grace
        .post(
            "/api-keys",
            &json!({"name": "x", "scopes": ["users:manage"]}),
        )
        .problem_code(403, "forbidden");
}

#[test]
fn keys_are_refused_by_field_and_taken_only_from_the_header() {
    let server = Server::shared();
    let ada = server.person("keys-fields@example.com", "user");
    let body = json!({"name": "", "scopes": ["links:fly"]});
    let answer = ada.post("/api-keys", &body);
    assert_eq!(answer.refused("name"), "name_invalid");
    assert_eq!(answer.refused("scopes"), "permission_unknown");
    let none = ada.post("/api-keys", &json!({"name": "x", "scopes": []}));
    assert_eq!(none.refused("scopes"), "scopes_empty");
    let (key, _) = ada.key(&["links:read"]);
    let path = format!("/api/v1/links?access_token={key}&api_key={key}");
    server.visitor().get(&path).problem(401);
    // A key cannot make keys, and is no refresh token.
    let (manager, _) = ada.key(&["keys:manage"]);
    let manager = server.holder(&manager);
    manager.get("/api-keys").expect(200);
    manager
        .post(
            "/api-keys",
            &json!({"name": "x", "scopes": ["keys:manage"]}),
        )
        .problem_code(403, "session_required");
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", key.as_str()),
    ];
    server.token_request(&form).problem(400);
}

#[test]
fn a_key_acts_in_its_own_workspace_only_and_other_workspaces_do_not_see_it() {
    let server = Server::shared();
    let ada = server.person("keys-here@example.com", "user");
    let grace = server.person("keys-there@example.com", "user");
    let (key, id) = ada.key(&["links:read"]);
    let there = grace.get("/me").expect(200).json();
    let there = there["workspace_id"].as_str().unwrap();
    let program = server.holder(&key);
    program
        .get(&format!("/links?workspace={there}"))
        .problem(404);
    program.get("/links?workspace=nonsense").problem(404);
    grace.delete(&format!("/api-keys/{id}")).problem(404);
    program.get("/links").expect(200);
}

#[test]
fn of_fifty_parallel_revocations_one_succeeds_and_no_request_after_it_is_let_in() {
    let server = Server::shared();
    let ada = server.person("keys-parallel@example.com", "user");
    let (key, id) = ada.key(&["links:read"]);
    let revoke = || {
        let answer = ada.ask(Method::DELETE, &format!("/api-keys/{id}"), None);
        let after = server.holder(&key).get("/links").status;
        assert_eq!(after, 401, "let in after it was revoked");
        answer.status
    };
    let statuses: Vec<u16> = thread::scope(|scope| {
        let tasks: Vec<_> = (0..50).map(|_| scope.spawn(revoke)).collect();
        tasks.into_iter().map(|task| task.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 204).count(), 1);
    assert_eq!(statuses.iter().filter(|status| **status == 404).count(), 49);
}

#[test]
fn each_key_has_its_own_allowance_and_the_sessions_of_a_person_share_one() {
    let server = Server::start(&[
        ("TERSE_TRUSTED_PROXIES", "127.0.0.0/8"),
        ("TERSE_RATE_LIMIT_API", "10/m"),
    ]);
    let ada = server.person("allowance@example.com", "user");
    let (first, _) = ada.key(&["links:read"]);
    let (second, _) = ada.key(&["links:read"]);
    let other = server.sign_in_as("allowance@example.com", PASSWORD);
    let other = server.holder(other["access_token"].as_str().unwrap());
    let until_limited = |token: &str| {
        let holder = server.holder(token);
        // Each request comes from another address.
        let answers = (0..20).map(|_| holder.get("/links"));
        answers.take_while(|answer| answer.status == 200).count()
    };
    let allowed = until_limited(&first);
    assert!((10..=11).contains(&allowed), "{allowed}");
    let limited = server.holder(&first).get("/links");
    limited.problem_code(429, "rate_limited");
    assert!(limited.header("ratelimit").starts_with("\"caller\""));
    assert!(limited.header("retry-after").parse::<u64>().unwrap() <= 6);
    assert!(until_limited(&second) >= 9, "another key has its own");
    // Making two keys took two of the ten that both sessions share.
    let shared = until_limited(&other.token) + until_limited(&ada.token);
    assert!((7..=9).contains(&shared), "{shared}");
}

#[test]
fn a_key_that_manages_users_is_no_key_to_everything() {
    let server = Server::shared();
    let root = server.person("keys-managing@example.com", "admin");
    let (key, _) = root.key(&["users:manage"]);
    let program = server.holder(&key);
    let new = |email: &str, role: &str| json!({"email": email, "password": PASSWORD, "role": role});
    program
        .post("/users", &new("keys-boss@example.com", "admin"))
        .problem_code(403, "forbidden");
    let user = program.post("/users", &new("keys-clerk@example.com", "user"));
    let user = user.expect(201).json();
    let clerk = format!("/users/{}", user["id"].as_str().unwrap());
    program.patch(&clerk, &json!({"name": "Clerk"})).expect(200);
    program
        .patch(&clerk, &json!({"role": "admin"}))
        .problem_code(403, "forbidden");
    let boss = format!("/users/{}", root.id);
    program
        .patch(&boss, &json!({"status": "suspended"}))
        .problem(403);
    program.delete(&boss).problem(403);
    root.get("/users").expect(200);
    program.delete(&clerk).expect(204);
}
