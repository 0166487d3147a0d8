//! Accounts: oneself, one's sessions, and what administrators do.

use std::thread;

use serde_json::{Value, json};

use crate::server::{PASSWORD, Server, path_of};

#[test]
fn somebody_sees_and_changes_their_own_profile() {
    let server = Server::shared();
    let ada = server.person("me@example.com", "user");
    let me = ada.get("/me").expect(200).json();
    assert_eq!(me["email"], "me@example.com");
    assert_eq!((&me["role"], &me["name"]), (&json!("user"), &Value::Null));
    let permissions = me["permissions"].as_array().unwrap();
    assert!(permissions.contains(&json!("workspace:manage")));
    assert!(!permissions.contains(&json!("links:block")));
    let changed = ada.patch("/me", &json!({"name": "Ada"})).expect(200).json();
    assert_eq!(changed["name"], "Ada");
    for field in ["role", "status", "email", "verified", "id"] {
        let body = json!({field: "admin"});
        assert_eq!(ada.patch("/me", &body).refused(field), "field_unknown");
    }
    assert_eq!(ada.get("/me").json()["role"], "user");
}

#[test]
fn a_changed_password_ends_other_sessions_and_keeps_this_one() {
    let server = Server::shared();
    let here = server.person("change@example.com", "user");
    let there = server.sign_in_as("change@example.com", PASSWORD);
    let there = server.holder(there["access_token"].as_str().unwrap());
    there.get("/me").expect(200);
    let wrong =
        json!({"current_password": "wrong horse battery", "new_password": "entirely new staple"});
    let answer = here.post("/auth/password/change", &wrong);
    assert_eq!(answer.refused("current_password"), "password_wrong");
    for (weak, code) in [
        ("short", "password_length"),
        ("password123", "password_common"),
        ("change@example.com", "password_common"),
    ] {
        let body = json!({"current_password": PASSWORD, "new_password": weak});
        let answer = here.post("/auth/password/change", &body);
        assert_eq!(answer.refused("new_password"), code, "{weak}");
    }
    let body = json!({"current_password": PASSWORD, "new_password": "entirely new staple"});
    here.post("/auth/password/change", &body).expect(204);
    there.get("/me").problem_code(401, "session_ended");
    here.get("/me").expect(200);
    let form = |password| {
        [
            ("grant_type", "password"),
            ("username", "change@example.com"),
            ("password", password),
        ]
    };
    server.token_request(&form(PASSWORD)).problem(400);
    server
        .token_request(&form("entirely new staple"))
        .expect(200);
}

#[test]
fn sessions_are_listed_and_ended_one_by_one_or_all_at_once() {
    let server = Server::shared();
    let ada = server.person("sessions@example.com", "user");
    let other = server.sign_in_as("sessions@example.com", PASSWORD);
    let other = server.holder(other["access_token"].as_str().unwrap());
    let sessions = ada.get("/auth/sessions").expect(200).json();
    let sessions = sessions["items"].as_array().unwrap();
    assert_eq!(sessions.len(), 2);
    assert!(sessions[0]["client"].as_str().unwrap().contains("Firefox"));
    let foreign = sessions.iter().find(|session| session["current"] == false);
    let foreign = foreign.unwrap()["id"].as_str().unwrap();
    let grace = server.person("sessions-grace@example.com", "user");
    grace
        .delete(&format!("/auth/sessions/{foreign}"))
        .problem(404);
    other.get("/me").expect(200);
    ada.delete(&format!("/auth/sessions/{foreign}")).expect(204);
    other.get("/me").problem_code(401, "session_ended");
    ada.delete(&format!("/auth/sessions/{foreign}"))
        .problem(404);
    ada.delete("/auth/sessions").expect(204);
    ada.get("/me").problem_code(401, "session_ended");
    ada.refresh().problem(400);
    grace.get("/me").expect(200);
}

#[test]
fn an_administrator_makes_finds_changes_and_suspends_accounts() {
    let server = Server::shared();
    let mut ada = server.person("Managed@example.com", "user");
    let path = format!("/users/{}", ada.id);
    let found = server.get("/users?search=MANAGED@&role=user&status=active");
    let found = found.expect(200).json();
    assert_eq!(found["items"][0]["id"], json!(ada.id));
    let taken = json!({"email": "managed@EXAMPLE.com", "password": PASSWORD, "role": "user"});
    server
        .post("/users", &taken)
        .problem_code(409, "email_taken");
    let refused = json!({"email": "nobody", "password": "x", "role": "user"});
    let refused = server.post("/users", &refused);
    assert_eq!(refused.refused("email"), "email_invalid");
    assert_eq!(refused.refused("password"), "password_length");
    let boss = json!({"email": "a@b.c", "password": PASSWORD, "role": "boss"});
    assert_eq!(server.post("/users", &boss).refused("role"), "role_unknown");
    let changes = json!({"status": "suspended", "name": "Ada"});
    let suspended = server.patch(&path, &changes).expect(200).json();
    assert_eq!(suspended["status"], "suspended");
    ada.get("/me").problem_code(401, "session_ended");
    ada.refresh().problem(400);
    let form = [
        ("grant_type", "password"),
        ("username", "managed@example.com"),
        ("password", PASSWORD),
    ];
    let problem = server.token_request(&form).problem(400);
    assert_eq!(problem["error"], "invalid_grant");
    server
        .patch(&path, &json!({"status": "active"}))
        .expect(200);
    ada.sign_in_again();
    ada.get("/me").expect(200);
    ada.get("/users").problem_code(403, "forbidden");
    ada.patch(&path, &json!({"role": "admin"})).problem(403);
    server.get("/users/0000000000000").problem(404);
    server.get("/users?limit=0&role=boss&cursor=x").problem(422);
}

#[test]
fn lists_of_accounts_have_pages_that_meet() {
    let server = Server::shared();
    for number in 0..5 {
        server.person(&format!("paged-{number}@example.com"), "user");
    }
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = server.get(&format!("/users?search=paged-&limit=2{cursor}"));
        let page = page.expect(200).json();
        for user in page["items"].as_array().unwrap() {
            seen.push(user["email"].as_str().unwrap().to_owned());
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let expected: Vec<_> = (0..5).map(|n| format!("paged-{n}@example.com")).collect();
    assert_eq!(seen, expected);
}

#[test]
fn of_two_administrators_who_demote_each_other_one_stays() {
    let server = Server::start(&[]);
    let root = server.get("/me").expect(200).json();
    let root = root["id"].as_str().unwrap().to_owned();
    for round in 0..10 {
        let other = server.person(&format!("admin-{round}@example.com"), "admin");
        let demote = json!({"role": "user"});
        let (first, second) = thread::scope(|scope| {
            let first = scope.spawn(|| server.patch(&format!("/users/{}", other.id), &demote));
            let second = scope.spawn(|| other.patch(&format!("/users/{root}"), &demote));
            (first.join().unwrap().status, second.join().unwrap().status)
        });
        let winners = [first, second].iter().filter(|s| **s == 200).count();
        assert_eq!(winners, 1, "{first} {second}");
        if second == 200 {
            // The account that the tests act by was demoted: the story is told.
            return;
        }
    }
    server
        .patch(&format!("/users/{root}"), &json!({"role": "user"}))
        .problem_code(409, "last_admin");
}

#[test]
fn every_change_is_in_the_audit_log_with_who_what_when_and_from_where() {
    let server = Server::shared();
    let ada = server.person("audited@example.com", "user");
    let body = json!({"target_url": "https://example.com/", "slug": "audited"});
    let link = ada.post("/links", &body).expect(201).json();
    let id = link["id"].as_str().unwrap();
    ada.patch(&format!("/links/{id}"), &json!({"title": "New"}))
        .expect(200);
    ada.delete(&format!("/links/{id}")).expect(204);
    let log = server
        .get(&format!("/audit-log?object={id}"))
        .expect(200)
        .json();
    let entries = log["items"].as_array().unwrap();
    let actions: Vec<_> = entries.iter().map(|entry| &entry["action"]).collect();
    assert_eq!(actions, ["link.delete", "link.update", "link.create"]);
    for entry in entries {
        assert_eq!(entry["actor"], "audited@example.com");
        assert_eq!(entry["user_id"], json!(ada.id));
        assert!(entry["address"].as_str().unwrap().starts_with("198.18."));
        assert!(entry["at"].is_string() && entry["workspace_id"].is_string());
    }
    assert_eq!(entries[1]["details"]["title"], json!([null, "New"]));
    let workspace = entries[0]["workspace_id"].as_str().unwrap();
    let own = ada.get(&format!(
        "/workspaces/{workspace}/audit-log?action=link&limit=2"
    ));
    let own = own.expect(200).json();
    assert_eq!(own["items"].as_array().unwrap().len(), 2);
    let next = own["next_cursor"].as_str().unwrap();
    let rest = ada.get(&format!(
        "/workspaces/{workspace}/audit-log?action=link&cursor={next}"
    ));
    assert_eq!(
        rest.expect(200).json()["items"].as_array().unwrap().len(),
        1
    );
    ada.get("/audit-log").problem_code(403, "forbidden");
    let grace = server.person("audited-grace@example.com", "user");
    grace
        .get(&format!("/workspaces/{workspace}/audit-log"))
        .problem_code(404, "not_found");
    let sessions = server.get(&format!("/audit-log?user_id={}&action=session", ada.id));
    let sessions = sessions.expect(200).json();
    assert_eq!(sessions["items"][0]["action"], "session.create");
}

#[test]
fn an_administrator_blocks_any_link_and_its_owner_cannot_open_it_again() {
    let server = Server::shared();
    let ada = server.person("blocked@example.com", "user");
    let body = json!({"target_url": "https://example.com/", "slug": "to-be-blocked"});
    let link = ada.post("/links", &body).expect(201).json();
    let path = format!("/links/{}", link["id"].as_str().unwrap());
    let me = ada.get("/me").expect(200).json();
    let there = format!("{path}?workspace={}", me["workspace_id"].as_str().unwrap());
    server.get(&path).problem(404);
    server.get(&there).expect(200);
    let change = json!({"title": "Not mine"});
    server.patch(&there, &change).problem_code(403, "forbidden");
    ada.patch(&path, &json!({"status": "blocked"})).problem(403);
    let blocked = server.patch(&there, &json!({"status": "blocked"}));
    assert_eq!(blocked.expect(200).json()["status"], "blocked");
    server.visitor().get("/to-be-blocked").expect(451);
    ada.patch(&path, &json!({"status": "active"})).problem(403);
    ada.patch(&path, &json!({"title": "Mine"})).expect(200);
    server.visitor().get("/to-be-blocked").expect(451);
    server
        .patch(&there, &json!({"status": "active"}))
        .expect(200);
    server.visitor().get("/to-be-blocked").expect(302);
}

#[test]
fn a_deleted_accounts_links_go_to_somebody_else_or_are_retired() {
    let server = Server::shared();
    let heir = server.person("heir@example.com", "user");
    let mut left = Vec::new();
    for (name, query) in [
        ("leaves-1", format!("?links=transfer&to={}", heir.id)),
        ("leaves-2", "?links=delete".to_owned()),
    ] {
        let ada = server.person(&format!("{name}@example.com"), "user");
        let body = json!({"target_url": "https://example.com/", "slug": name});
        let link = ada.post("/links", &body).expect(201).json();
        server.visitor().get(&format!("/{name}")).expect(302);
        let (key, _) = ada.key(&["links:read"]);
        let me = ada.get("/me").expect(200).json();
        let workspace = me["workspace_id"].as_str().unwrap().to_owned();
        let path = format!("/users/{}", ada.id);
        server
            .delete(&format!("{path}?links=burn"))
            .refused("links");
        server
            .delete(&format!("{path}?to={}", ada.id))
            .refused("to");
        server.delete(&format!("{path}{query}")).expect(204);
        server.delete(&format!("{path}{query}")).problem(404);
        ada.get("/me").problem(401);
        server.holder(&key).get("/links").problem(401);
        let form = [
            ("grant_type", "password"),
            ("username", ada.email.as_str()),
            ("password", PASSWORD),
        ];
        server.token_request(&form).problem(400);
        left.push((workspace, path_of(&link)));
    }
    let (workspace, link) = &left[0];
    heir.get(&format!("{link}?workspace={workspace}"))
        .expect(200);
    server.visitor().get("/leaves-1").expect(302);
    server.visitor().get("/leaves-2").expect(410);
    let root = server.get("/me").expect(200).json();
    let root = root["id"].as_str().unwrap();
    server
        .delete(&format!("/users/{root}?links=delete"))
        .problem_code(409, "last_admin");
}
