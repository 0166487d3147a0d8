//! Roles, and the permissions that they are made of.

use serde_json::{Value, json};

use crate::person::Person;
use crate::server::Server;

#[test]
fn every_permission_is_listed_with_what_it_is_about() {
    let server = Server::shared();
    let list = Person::new(&server).get("/permissions").expect(200).json();
    assert_eq!(list["next_cursor"], Value::Null);
    let items = list["items"].as_array().unwrap();
    assert_eq!(items.len(), 14);
    for (name, on) in [("links:write", "workspace"), ("users:manage", "instance")] {
        let item = items.iter().find(|item| item["name"] == name).unwrap();
        assert_eq!(item["on"], on);
        let description = item["description"].as_str().unwrap();
        assert_eq!(description, description.trim());
        assert!(!description.is_empty());
    }
}

#[test]
fn a_role_is_made_given_changed_and_deleted() {
    let server = Server::shared();
    let body = json!({"name": "made-and-gone", "permissions": ["links:write", "links:read"]});
    let made = server.post("/roles", &body).expect(201);
    assert_eq!(made.location(), "/api/v1/roles/made-and-gone");
    let role = json!({
        "name": "made-and-gone",
        "permissions": ["links:read", "links:write"],
        "built_in": false,
    });
    assert_eq!(made.json(), role);
    server
        .post("/roles", &body)
        .problem_code(409, "role_exists");

    let ada = Person::new(&server);
    let list = ada.get("/roles").expect(200).json();
    let items = list["items"].as_array().unwrap();
    assert!(items.contains(&role));
    assert_eq!(
        (&items[0]["name"], &items[0]["built_in"]),
        (&json!("owner"), &json!(true))
    );
    let team = ada.founds("Team");
    let bob = ada.admits(&team, "made-and-gone");
    let path = "/roles/made-and-gone";
    server.delete(path).problem_code(409, "role_in_use");
    let links = format!("/links?workspace={}", team.rsplit('/').next().unwrap());
    let link = json!({"target_url": "https://example.com/"});
    bob.post(&links, &link).expect(201);
    let less = json!({"permissions": ["links:read"]});
    let changed = server.patch(path, &less).expect(200).json();
    assert_eq!(changed["permissions"], json!(["links:read"]));
    bob.post(&links, &link).problem_code(403, "forbidden");
    assert_eq!(server.patch(path, &json!({})).expect(200).json(), changed);

    ada.delete(&bob.path_in(&ada, &team)).expect(204);
    server.delete(path).expect(204);
    server.delete(path).problem_code(404, "not_found");
}

#[test]
fn roles_that_cannot_be_are_refused() {
    let server = Server::shared();
    for (body, field, code) in [
        (
            json!({"name": "Upper", "permissions": []}),
            "name",
            "name_invalid",
        ),
        (
            json!({"name": "x", "permissions": ["links:fly"]}),
            "permissions",
            "permission_unknown",
        ),
        (
            json!({"name": "x", "permissions": ["jobs:manage"]}),
            "permissions",
            "permission_of_instance",
        ),
        (
            json!({"name": "x", "permissions": [], "built_in": true}),
            "built_in",
            "field_unknown",
        ),
        (json!({"name": "x"}), "permissions", "required"),
    ] {
        assert_eq!(server.post("/roles", &body).refused(field), code);
    }
    let none = json!({"permissions": []});
    let owner = json!({"name": "owner", "permissions": []});
    server
        .post("/roles", &owner)
        .problem_code(409, "role_exists");
    server
        .patch("/roles/owner", &none)
        .problem_code(409, "role_built_in");
    server
        .delete("/roles/viewer")
        .problem_code(409, "role_built_in");
    for unknown in [
        "/roles/unknown",
        "/roles/%00",
        "/roles/%C3%A4",
        "/roles/Owner",
    ] {
        server.patch(unknown, &none).problem_code(404, "not_found");
        server.delete(unknown).problem_code(404, "not_found");
    }
}

#[test]
fn only_who_manages_roles_changes_them() {
    let server = Server::shared();
    let ada = Person::new(&server);
    let body = json!({"name": "mine", "permissions": ["links:read"]});
    ada.post("/roles", &body).problem_code(403, "forbidden");
    let less = json!({"permissions": []});
    ada.patch("/roles/viewer", &less)
        .problem_code(403, "forbidden");
    ada.delete("/roles/viewer").problem_code(403, "forbidden");
}
