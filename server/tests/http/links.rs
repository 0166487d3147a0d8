//! Links made, found, changed and retired over the API.

use serde_json::{Value, json};

use crate::server::{Server, path_of};

/// Every member of a link, in the order of the document.
const MEMBERS: [&str; 19] = [
    "id",
    "short_url",
    "domain",
    "slug",
    "target_url",
    "title",
    "notes",
    "tags",
    "status",
    "redirect_status",
    "forward_query",
    "starts_at",
    "expires_at",
    "max_clicks",
    "clicks",
    "last_clicked_at",
    "created_at",
    "updated_at",
    "created_by",
];

#[test]
fn a_made_link_is_answered_whole_and_found_at_its_location() {
    let server = Server::shared();
    let body = json!({"target_url": "https://example.com/a", "slug": "Made-Whole"});
    let answer = server.post("/links", &body).expect(201);
    let link = answer.json();
    assert_eq!(answer.location(), format!("/api/v1{}", path_of(&link)));
    for member in MEMBERS {
        assert!(link.get(member).is_some(), "{member} is missing");
    }
    assert_eq!(link["short_url"], "http://localhost/Made-Whole");
    assert_eq!(link["status"], "active");
    assert_eq!(link["redirect_status"], 302);
    assert_eq!(link["forward_query"], true);
    assert_eq!(link["title"], Value::Null);
    assert_eq!(link["clicks"], 0);
    assert!(link["created_at"].as_str().unwrap().ends_with('Z'));

    let found = server.get(&path_of(&link)).expect(200);
    assert_eq!(
        found.header("content-type"),
        "application/json; charset=utf-8"
    );
    assert_eq!(found.json(), link);
    let lookup = "/links/lookup?short_url=http://localhost/made-whole";
    assert_eq!(server.get(lookup).expect(200).json(), link);
}

#[test]
fn a_link_without_a_slug_gets_one_that_redirects() {
    let server = Server::shared();
    let body = json!({"target_url": "https://example.com/generated"});
    let link = server.post("/links", &body).expect(201).json();
    let slug = link["slug"].as_str().unwrap();
    assert_eq!(slug.len(), 7);
    let answer = server.visitor().get(&format!("/{slug}")).expect(302);
    assert_eq!(answer.location(), "https://example.com/generated");
}

#[test]
fn a_change_leaves_what_is_absent_and_clears_what_is_null() {
    let server = Server::shared();
    let link = server.link(
        "changing",
        &json!({"title": "One", "notes": "Two\nlines", "tags": ["b", "a"], "max_clicks": 5}),
    );
    assert_eq!(link["tags"], json!(["a", "b"]));
    let changed = server.change(&link, &json!({"title": null, "max_clicks": 7}));
    assert_eq!(changed["title"], Value::Null);
    assert_eq!(changed["max_clicks"], 7);
    assert_eq!(changed["notes"], "Two\nlines");
    assert_eq!(changed["tags"], json!(["a", "b"]));
    assert_eq!(changed["created_at"], link["created_at"]);
    let cleared = server.change(
        &link,
        &json!({"tags": null, "notes": null, "max_clicks": null}),
    );
    assert_eq!(cleared["tags"], json!([]));
    assert_eq!(cleared["notes"], Value::Null);
    assert_eq!(cleared["max_clicks"], Value::Null);
    let mut unchanged = server.change(&link, &json!({}));
    unchanged["updated_at"] = cleared["updated_at"].clone();
    assert_eq!(unchanged, cleared);
}

#[test]
fn a_deleted_link_is_gone_for_good_with_its_slug() {
    let server = Server::shared();
    let link = server.link("short-lived", &json!({}));
    let visitor = server.visitor();
    visitor.get("/short-lived").expect(302);
    assert!(server.delete(&path_of(&link)).expect(204).body.is_empty());
    visitor
        .get("/short-lived")
        .problem_code(410, "link_deleted");
    visitor
        .get("/Short-Lived")
        .problem_code(410, "link_deleted");
    visitor
        .get("/short-lived+")
        .problem_code(410, "link_deleted");
    server.get(&path_of(&link)).problem(404);
    server.delete(&path_of(&link)).problem(404);
    let again = json!({"target_url": "https://evil.example/", "slug": "SHORT-LIVED"});
    server
        .post("/links", &again)
        .problem_code(409, "alias_retired");
}

#[test]
fn a_slug_belongs_to_one_link_whatever_its_case() {
    let server = Server::shared();
    server.link("Promo", &json!({}));
    let again = json!({"target_url": "https://example.com/", "slug": "promo"});
    server
        .post("/links", &again)
        .problem_code(409, "slug_taken");
}

#[test]
fn members_that_are_missing_or_of_another_type_are_named() {
    let server = Server::shared();
    let target = "https://example.com/";
    for (body, fields) in [
        (json!({}), &["target_url"][..]),
        (json!({"target_url": null}), &["target_url"]),
        (json!({"target_url": target, "title": 5}), &["title"]),
        (json!({"target_url": target, "tags": [1]}), &["tags"]),
        (
            json!({"target_url": target, "max_clicks": 1.5}),
            &["max_clicks"],
        ),
        (
            json!({"target_url": target, "redirect_status": 70_000}),
            &["redirect_status"],
        ),
        (
            json!({"slug": "a", "forward_query": "yes"}),
            &["forward_query", "target_url"],
        ),
    ] {
        let problem = server.post("/links", &body).problem(422);
        let errors = problem["errors"].as_array().unwrap();
        let named: Vec<&str> = errors
            .iter()
            .map(|error| error["field"].as_str().unwrap())
            .collect();
        assert_eq!(named, fields, "{body}");
    }
    let unset = json!({"target_url": target, "slug": null, "tags": null, "expires_at": null});
    server.post("/links", &unset).expect(201);
}

#[test]
fn unknown_members_are_refused_and_change_nothing() {
    let server = Server::shared();
    let link = server.link("untouched", &json!({}));
    for member in [
        "clicks",
        "created_at",
        "created_by",
        "id",
        "role",
        "user_id",
        "verified",
        "workspace_id",
        "Title",
    ] {
        let mut body = json!({"target_url": "https://example.com/", "slug": "never-made"});
        body[member] = json!(1);
        server.post("/links", &body).problem(422);
        server
            .patch(&path_of(&link), &json!({"title": "x", member: 1}))
            .problem(422);
    }
    // A slug stays with its link, so a change has no such member either.
    server
        .patch(&path_of(&link), &json!({"slug": "other"}))
        .problem(422);
    server.visitor().get("/never-made").problem(404);
    assert_eq!(server.get(&path_of(&link)).expect(200).json(), link);
}

#[test]
fn a_malformed_id_is_answered_exactly_like_an_unknown_one() {
    let server = Server::shared();
    let link = server.link("real-id", &json!({}));
    // The id of a link that does not exist, in the form of one that does.
    let mut unknown = link["id"].as_str().unwrap().to_owned();
    let last = if unknown.ends_with('0') { "1" } else { "0" };
    unknown.replace_range(unknown.len() - 1.., last);
    let without_id = |mut problem: Value| {
        problem["request_id"].take();
        problem
    };
    let expected = without_id(server.get(&format!("/links/{unknown}")).problem(404));
    let long = "a".repeat(4_000);
    for id in [
        "x", "-1", "0", "%00", "%ff", "%20", "1e9", "%2e%2e", "null", &long,
    ] {
        let path = format!("/links/{id}");
        let answers = [
            server.get(&path),
            server.patch(&path, &json!({"title": "x"})),
            server.delete(&path),
        ];
        for answer in answers {
            assert_eq!(answer.status, 404, "{id}");
            assert_eq!(without_id(answer.problem(404)), expected, "{id}");
        }
    }
}

#[test]
fn an_unknown_short_url_is_not_found_and_a_malformed_one_refused() {
    let server = Server::shared();
    server
        .get("/links/lookup?short_url=http://localhost/nothing-here")
        .problem(404);
    server
        .get("/links/lookup?short_url=http://evil.example/x")
        .problem(404);
    for path in ["/links/lookup", "/links/lookup?short_url=%00"] {
        let status = server.get(path).status;
        assert!(matches!(status, 404 | 422), "{path}: {status}");
    }
}

#[test]
fn every_refused_field_is_named_at_once() {
    let server = Server::shared();
    let body = json!({
        "target_url": "ftp://example.com/", "slug": "a b", "domain": "evil.example", "title": "a\u{7}b",
        "tags": [""], "redirect_status": 200, "max_clicks": 0,
    });
    let answer = server.post("/links", &body);
    for (field, code) in [
        ("target_url", "url_scheme_not_allowed"),
        ("slug", "slug_character"),
        ("domain", "domain_unknown"),
        ("title", "text_control_character"),
        ("tags", "tag_empty"),
        ("max_clicks", "max_clicks_out_of_range"),
    ] {
        assert_eq!(answer.refused(field), code);
    }
    answer.refused("redirect_status");
}

#[test]
fn numbers_and_times_out_of_bounds_are_refused() {
    let server = Server::shared();
    let link = server.link("bounds", &json!({}));
    for max_clicks in [0, -1, i64::MIN, i64::MAX] {
        let answer = server.patch(&path_of(&link), &json!({"max_clicks": max_clicks}));
        answer.refused("max_clicks");
    }
    for status in [0, 200, 300, 304, 306, 309, 400, 65_535] {
        let answer = server.patch(&path_of(&link), &json!({"redirect_status": status}));
        answer.refused("redirect_status");
    }
    for time in [
        "",
        "now",
        "2026-13-01T00:00:00Z",
        "2026-01-01",
        "9999999-01-01T00:00:00Z",
        "2026-01-01T00:00:00",
        "\0",
        "-0001-01-01T00:00:00Z",
    ] {
        for field in ["starts_at", "expires_at"] {
            let answer = server.patch(&path_of(&link), &json!({field: time}));
            assert_eq!(answer.status, 422, "{field} {time}");
            answer.refused(field);
        }
    }
    let backwards =
        json!({"starts_at": "2027-01-01T00:00:00Z", "expires_at": "2026-01-01T00:00:00Z"});
    server
        .patch(&path_of(&link), &backwards)
        .refused("expires_at");
    for unreadable in [
        json!({"max_clicks": 1.5}),
        json!({"max_clicks": "5"}),
        json!({"redirect_status": 70_000}),
        json!({"redirect_status": -1}),
        json!({"tags": "a"}),
        json!({"forward_query": "yes"}),
        json!({"target_url": 1}),
    ] {
        let status = server.patch(&path_of(&link), &unreadable).status;
        assert!(matches!(status, 400 | 422), "{unreadable}: {status}");
    }
    assert_eq!(server.get(&path_of(&link)).expect(200).json(), link);
}

/// The fields that a problem names, in its order.
fn refused_fields(problem: &Value) -> Vec<&str> {
    let errors = problem["errors"].as_array().unwrap();
    errors
        .iter()
        .map(|error| error["field"].as_str().unwrap())
        .collect()
}

#[test]
fn unreadable_times_of_a_new_link_are_told_with_all_else_that_is_refused() {
    let server = Server::shared();
    let body = json!({
        "max_clicks": 0, "expires_at": "tomorrow", "starts_at": "now", "redirect_status": 200,
        "tags": [""], "title": "a\0b", "slug": "no/slug", "target_url": "ftp://example.com/",
    });
    let problem = server.post("/links", &body).problem(422);
    let fields = [
        "target_url",
        "slug",
        "title",
        "tags",
        "redirect_status",
        "starts_at",
        "expires_at",
        "max_clicks",
    ];
    assert_eq!(refused_fields(&problem), fields);
    let only_time = json!({"target_url": "https://example.com/", "expires_at": "tomorrow"});
    assert_eq!(
        server.post("/links", &only_time).refused("expires_at"),
        "time_invalid"
    );
}

#[test]
fn unreadable_times_of_a_change_are_told_with_all_else_that_is_refused_and_nothing_changes() {
    let server = Server::shared();
    let link = server.link("bad-times", &json!({"starts_at": "2030-01-01T00:00:00Z"}));
    let changes = json!({
        "status": "expired", "max_clicks": 0, "expires_at": "tomorrow", "starts_at": "now",
        "target_url": "ftp://example.com/", "notes": "would be fine",
    });
    let problem = server.patch(&path_of(&link), &changes).problem(422);
    let fields = [
        "target_url",
        "starts_at",
        "expires_at",
        "max_clicks",
        "status",
    ];
    assert_eq!(refused_fields(&problem), fields);
    assert_eq!(server.get(&path_of(&link)).expect(200).json(), link);
    let unknown = "/links/0000000000000";
    server.patch(unknown, &changes).problem(404);
}

#[test]
fn the_clicks_of_a_link_are_deleted() {
    let server = Server::shared();
    let link = server.link("deleted-clicks", &json!({}));
    server.visitor().get("/deleted-clicks").expect(302);
    assert_eq!(server.totals(&link), [1, 0, 0]);
    let path = format!("/links/{}", link["id"].as_str().unwrap());
    for _ in 0..2 {
        let deleted = server.delete(&format!("{path}/clicks")).expect(204);
        assert!(deleted.body.is_empty());
        assert_eq!(server.totals(&link), [0, 0, 0]);
        let read = server.get(&path).expect(200).json();
        assert_eq!(
            (&read["clicks"], &read["last_clicked_at"]),
            (&json!(0), &Value::Null)
        );
    }
    server.visitor().get("/deleted-clicks").expect(302);
    assert_eq!(server.totals(&link), [1, 0, 0]);
    server
        .get(&format!("{path}/clicks"))
        .problem_code(405, "method_not_allowed");
    let unknown = format!("/links/{}/clicks", crate::operations::UNKNOWN);
    server.delete(&unknown).problem_code(404, "not_found");
}
