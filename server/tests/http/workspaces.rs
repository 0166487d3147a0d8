//! Workspaces, who is in them, and who is invited.

use serde_json::{Value, json};

use crate::answer::Answer;
use crate::operations::UNKNOWN;
use crate::person::Person;
use crate::server::Server;

/// What an answer says, but for the name of the request.
fn told(answer: &Answer) -> String {
    let mut problem = answer.json();
    let id = problem["request_id"].take();
    answer.text().replace(id.as_str().unwrap(), "")
}

#[test]
fn a_workspace_is_made_found_renamed_and_deleted() {
    let server = Server::shared();
    let ada = Person::new(&server);
    let made = ada
        .post("/workspaces", &json!({"name": "Team"}))
        .expect(201);
    let workspace = made.json();
    let path = format!("/workspaces/{}", workspace["id"].as_str().unwrap());
    assert_eq!(made.location(), format!("/api/v1{path}"));
    assert_eq!(workspace["role"], "owner");
    let permissions = workspace["permissions"].as_array().unwrap();
    assert!(permissions.contains(&json!("workspace:manage")));
    assert_eq!(ada.get(&path).expect(200).json(), workspace);
    let list = ada.get("/workspaces").expect(200).json();
    assert_eq!(list["items"].as_array().unwrap().len(), 2);
    assert_eq!(list["items"][1], workspace);
    assert_eq!(list["next_cursor"], Value::Null);

    let renamed = ada.patch(&path, &json!({"name": "Crew"})).expect(200);
    assert_eq!(renamed.json()["name"], "Crew");
    assert_eq!(
        ada.patch(&path, &json!({})).expect(200).json(),
        renamed.json()
    );

    let id = workspace["id"].as_str().unwrap();
    let link = json!({"target_url": "https://example.com/", "slug": format!("of-{id}")});
    ada.post(&format!("/links?workspace={id}"), &link)
        .expect(201);
    let short = format!("/of-{id}");
    server.visitor().get(&short).expect(302);
    assert!(ada.delete(&path).expect(204).body.is_empty());
    server.visitor().get(&short).expect(410);
    ada.get(&path).problem_code(404, "not_found");
    ada.post(&format!("/links?workspace={id}"), &link)
        .problem_code(404, "not_found");
    let list = ada.get("/workspaces").expect(200).json();
    let own = list["items"][0]["id"].as_str().unwrap();
    ada.delete(&format!("/workspaces/{own}"))
        .problem_code(409, "last_workspace");
}

#[test]
fn a_workspace_says_how_it_keeps_clicks_and_visitors() {
    let server = Server::shared();
    let ada = Person::new(&server);
    let team = ada.founds("Team");
    let told = |answer: Answer| {
        let workspace = answer.expect(200).json();
        (
            workspace["retention_days"].clone(),
            workspace["visitor_epoch"].clone(),
        )
    };
    assert_eq!(told(ada.get(&team)), (Value::Null, Value::Null));
    let both = json!({"retention_days": 30, "visitor_epoch": "day"});
    assert_eq!(told(ada.patch(&team, &both)), (json!(30), json!("day")));
    let neither = json!({"name": "Crew"});
    assert_eq!(told(ada.patch(&team, &neither)), (json!(30), json!("day")));
    let cleared = json!({"retention_days": null, "visitor_epoch": null});
    assert_eq!(told(ada.patch(&team, &cleared)), (Value::Null, Value::Null));
    for (field, value) in [
        ("retention_days", json!(0)),
        ("retention_days", json!(36_501)),
        ("retention_days", json!(1.5)),
        ("visitor_epoch", json!("week")),
    ] {
        let refused = ada.patch(&team, &json!({field: value}));
        assert_eq!(refused.problem(422)["errors"][0]["field"], field);
    }
    let editor = ada.admits(&team, "editor");
    editor.patch(&team, &both).problem_code(403, "forbidden");
    assert_eq!(told(editor.get(&team)), (Value::Null, Value::Null));
}

#[test]
fn a_member_comes_by_invitation_and_has_what_their_role_says_at_once() {
    let server = Server::shared();
    let ada = Person::new(&server);
    let team = ada.founds("Team");
    let bob = Person::new(&server);
    let invitations = format!("{team}/invitations");
    let invitation = json!({"email": bob.email, "role": "viewer"});
    let invited = ada.post(&invitations, &invitation).expect(201);
    let open = invited.json();
    assert_eq!(
        (&open["email"], &open["role"]),
        (&json!(bob.email), &json!("viewer"))
    );
    let id = open["id"].as_str().unwrap();
    assert_eq!(invited.location(), format!("/api/v1{invitations}/{id}"));
    let list = ada.get(&invitations).expect(200).json();
    assert_eq!(list, json!({"items": [open], "next_cursor": null}));

    bob.get(&team).problem_code(404, "not_found");
    bob.joins(&ada, &team, "viewer");
    assert_eq!(bob.get(&team).expect(200).json()["role"], "viewer");
    assert_eq!(ada.get(&invitations).expect(200).json()["items"], json!([]));
    let id = team.rsplit('/').next().unwrap();
    let links = format!("/links?workspace={id}");
    let link = json!({"target_url": "https://example.com/"});
    bob.get(&links).expect(200);
    bob.post(&links, &link).problem_code(403, "forbidden");

    let path = bob.path_in(&ada, &team);
    let changed = ada.patch(&path, &json!({"role": "editor"})).expect(200);
    assert_eq!(changed.json()["role"], "editor");
    bob.post(&links, &link).expect(201);
    bob.patch(&team, &json!({"name": "Mine"}))
        .problem_code(403, "forbidden");
    ada.delete(&path).expect(204);
    bob.get(&links).problem_code(404, "not_found");
    ada.delete(&path).problem_code(404, "not_found");
    assert_eq!(bob.among_members(&ada, &team), None);
}

#[test]
fn nobody_grants_more_than_they_may_and_the_last_owner_stays() {
    let server = Server::shared();
    let ada = Person::new(&server);
    let team = ada.founds("Team");
    let admin = ada.admits(&team, "admin");
    let viewer = ada.admits(&team, "viewer");
    let (adas, viewers) = (ada.path_in(&ada, &team), viewer.path_in(&ada, &team));
    admin
        .patch(&viewers, &json!({"role": "owner"}))
        .problem_code(403, "forbidden");
    admin
        .patch(&adas, &json!({"role": "viewer"}))
        .problem_code(403, "forbidden");
    admin.delete(&adas).problem_code(403, "forbidden");
    let invitation = json!({"email": "new@example.com", "role": "owner"});
    admin
        .post(&format!("{team}/invitations"), &invitation)
        .problem_code(403, "forbidden");
    viewer.delete(&viewers).problem_code(403, "forbidden");
    ada.patch(&adas, &json!({"role": "admin"}))
        .problem_code(409, "last_owner");
    ada.delete(&adas).problem_code(409, "last_owner");
    ada.patch(&viewers, &json!({"role": "owner"})).expect(200);
    ada.delete(&adas).expect(204);
}

#[test]
fn an_invitation_is_answered_alike_whether_or_not_there_is_an_account() {
    let server = Server::shared();
    let ada = Person::new(&server);
    let team = ada.founds("Team");
    let known = Person::new(&server);
    let invite = |email: &str| {
        let body = json!({"email": email, "role": "viewer"});
        let answer = ada.post(&format!("{team}/invitations"), &body).expect(201);
        let mut told = answer.json();
        for member in ["id", "email", "created_at", "expires_at"] {
            told[member].take();
        }
        told
    };
    assert_eq!(invite(&known.email), invite("nobody@example.com"));
    let member = ada.admits(&team, "viewer");
    let body = json!({"email": member.email, "role": "viewer"});
    ada.post(&format!("{team}/invitations"), &body)
        .problem_code(409, "member_exists");
}

#[test]
fn a_bad_invitation_token_is_refused_without_saying_why() {
    let server = Server::shared();
    let ada = Person::new(&server);
    let team = ada.founds("Team");
    let bob = Person::new(&server);
    let eve = Person::new(&server);
    let body = json!({"email": bob.email, "role": "viewer"});
    let invited = ada.post(&format!("{team}/invitations"), &body);
    let invited = invited.expect(201).json();
    let accept = |person: &Person<'_>, token: &str| {
        let answer = person.post("/invitations/accept", &json!({"token": token}));
        answer.problem_code(422, "token_invalid");
        told(&answer)
    };
    let unknown = accept(&bob, "nothing");
    assert_eq!(accept(&bob, ""), unknown);
    assert_eq!(accept(&eve, &bob.mailed_token()), unknown);
    let token = bob.mailed_token();
    let id = invited["id"].as_str().unwrap();
    ada.delete(&format!("{team}/invitations/{id}")).expect(204);
    assert_eq!(accept(&bob, &token), unknown);
    ada.delete(&format!("{team}/invitations/{id}"))
        .problem_code(404, "not_found");
}

#[test]
fn fields_that_nobody_asked_for_are_refused_and_change_nothing() {
    let server = Server::shared();
    let ada = Person::new(&server);
    let team = ada.founds("Team");
    let member = ada.admits(&team, "viewer").path_in(&ada, &team);
    let invitations = format!("{team}/invitations");
    let before = ada.get(&team).expect(200).json();
    for (method, path, body, field) in [
        (
            "POST",
            "/workspaces",
            json!({"name": "x", "id": UNKNOWN}),
            "id",
        ),
        (
            "PATCH",
            &team,
            json!({"name": "x", "created_at": "x"}),
            "created_at",
        ),
        (
            "PATCH",
            &team,
            json!({"name": "x", "role": "viewer"}),
            "role",
        ),
        (
            "PATCH",
            &member,
            json!({"role": "editor", "user_id": UNKNOWN}),
            "user_id",
        ),
        (
            "POST",
            &invitations,
            json!({"email": "a@example.com", "role": "viewer", "workspace_id": UNKNOWN}),
            "workspace_id",
        ),
        (
            "POST",
            "/invitations/accept",
            json!({"token": "x", "user_id": UNKNOWN}),
            "user_id",
        ),
    ] {
        let refused = ada.asks(method, path, &body);
        assert_eq!(refused.refused(field), "field_unknown", "{method} {path}");
    }
    assert_eq!(ada.get(&team).expect(200).json(), before);
    let members = ada.get(&format!("{team}/members")).expect(200).json();
    assert_eq!(members["items"][1]["role"], "viewer");
    assert_eq!(ada.get(&invitations).expect(200).json()["items"], json!([]));
}

#[test]
fn values_that_cannot_be_are_refused_by_field() {
    let server = Server::shared();
    let ada = Person::new(&server);
    let team = ada.founds("Team");
    let member = ada.admits(&team, "viewer").path_in(&ada, &team);
    let invitations = format!("{team}/invitations");
    let before = ada.get(&team).expect(200).json();
    for (method, path, body, field) in [
        ("POST", "/workspaces", json!({"name": ""}), "name"),
        ("PATCH", &team, json!({"name": "a\u{0}b"}), "name"),
        ("PATCH", &team, json!({"name": null}), "name"),
        ("PATCH", &member, json!({"role": "king"}), "role"),
        ("PATCH", &member, json!({}), "role"),
        (
            "POST",
            &invitations,
            json!({"email": "x", "role": "viewer"}),
            "email",
        ),
        (
            "POST",
            &invitations,
            json!({"email": "a@example.com", "role": "\u{0}"}),
            "role",
        ),
    ] {
        ada.asks(method, path, &body).refused(field);
    }
    assert_eq!(ada.get(&team).expect(200).json(), before);
    let members = ada.get(&format!("{team}/members")).expect(200).json();
    assert_eq!(members["items"][1]["role"], "viewer");
    assert_eq!(ada.get(&invitations).expect(200).json()["items"], json!([]));
}

#[test]
fn an_administrator_of_the_instance_looks_into_a_workspace_and_changes_nothing() {
    let server = Server::shared();
    let ada = Person::new(&server);
    let team = ada.founds("Team");
    let seen = server.get(&team).expect(200).json();
    assert_eq!(
        (&seen["name"], &seen["role"]),
        (&json!("Team"), &Value::Null)
    );
    server.get(&format!("{team}/members")).expect(200);
    let name = json!({"name": "Taken"});
    server.patch(&team, &name).problem_code(403, "forbidden");
    server.delete(&team).problem_code(403, "forbidden");
    let list = server.get("/workspaces").expect(200).json();
    let listed = list["items"].as_array().unwrap();
    assert!(listed.iter().all(|workspace| workspace["id"] != seen["id"]));
}

#[test]
fn mails_to_one_address_are_limited_whoever_invites() {
    let server = Server::start(&[("TERSE_RATE_LIMIT_AUTH", "1000/m")]);
    let invite = |person: &Person<'_>| {
        let team = person.founds("Team");
        let body = json!({"email": "Victim@example.com", "role": "viewer"});
        person.post(&format!("{team}/invitations"), &body)
    };
    let people = [Person::new(&server), Person::new(&server)];
    for person in [&people[0], &people[0], &people[1]] {
        invite(person).expect(201);
    }
    let limited = invite(&people[1]);
    limited.problem_code(429, "rate_limited");
    assert!(!limited.header("retry-after").is_empty());
}

#[test]
fn an_invitation_is_accepted_on_the_page_that_its_mail_leads_to() {
    let server = Server::shared();
    let (ada, eve) = (Person::new(&server), Person::new(&server));
    let workspace = ada.founds("Pages");
    let invitation = json!({ "email": eve.email, "role": "viewer" });
    ada.post(&format!("{workspace}/invitations"), &invitation)
        .expect(201);
    let token = eve.mailed_token();
    let page = server
        .visitor()
        .get(&format!("/invite?token={token}"))
        .expect(200);
    assert!(page.text().contains("You are invited"));
    let press = |email: &str, password: &str| -> crate::answer::Answer {
        let request = server.visitor().request(reqwest::Method::POST, "/invite");
        let form = [
            ("token", token.as_str()),
            ("email", email),
            ("password", password),
        ];
        request.form(&form).send().unwrap().into()
    };
    press(&eve.email, "wrong horse battery").expect(422);
    press(&ada.email, crate::server::PASSWORD).expect(422);
    assert!(eve.among_members(&ada, &workspace).is_none());
    let welcome = press(&eve.email, crate::server::PASSWORD).expect(200);
    assert!(welcome.text().contains("Pages"));
    assert!(eve.among_members(&ada, &workspace).is_some());
    press(&eve.email, crate::server::PASSWORD).expect(422);
}
