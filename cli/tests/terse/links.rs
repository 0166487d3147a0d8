//! Links made, found, listed, changed and deleted.

use serde_json::{Value, json};

use crate::server::{Server, problem};
use crate::{Shell, link};

#[test]
fn creating_sends_the_fields_that_were_given_and_shows_the_link() {
    let server = Server::answering(vec![(201, link("id1", "launch"))]);
    let ended = Shell::signed_in(&server.url).run(
        "links create https://example.com/a --slug launch --tag x --tag y --no-forward-query --max-clicks 10",
    );
    assert_eq!(ended.json(), link("id1", "launch"));
    let asked = &server.asked()[0];
    assert_eq!(asked.line, "POST /api/v1/links");
    let expected = json!({
        "target_url": "https://example.com/a", "slug": "launch", "tags": ["x", "y"], "forward_query": false,
        "max_clicks": 10,
    });
    assert_eq!(asked.json(), expected);
}

#[test]
fn a_refusal_names_each_field_and_the_request() {
    let (status, mut body) = problem(422, "link_refused");
    body["errors"] =
        json!([{ "field": "slug", "code": "slug_reserved", "message": "is \u{1b}[31mreserved" }]);
    let server = Server::answering(vec![(status, body)]);
    let ended = Shell::signed_in(&server.url).run("links create https://example.com --slug api");
    assert_eq!(ended.code, 1);
    assert_eq!(
        ended.stderr,
        "terse: Because of link_refused.\n  slug: is \u{fffd}[31mreserved (slug_reserved)\n\
         (code link_refused, request ID req-7)\n"
    );
    assert_eq!(ended.stdout, "");
}

#[test]
fn a_link_is_found_by_id_slug_or_short_url() {
    let missing = problem(404, "not_found");
    let server = Server::answering(vec![
        (200, link("id1", "launch")),
        missing,
        (200, link("id1", "launch")),
        (200, link("id1", "launch")),
    ]);
    let shell = Shell::signed_in(&server.url);
    for name in ["id1", "launch", "https://go.example/launch"] {
        let found = shell.run(&format!("links get {name}"));
        assert_eq!(found.json()["id"], "id1", "{name}");
    }
    let own = server.url.replace(':', "%3A").replace('/', "%2F");
    let expected = [
        "GET /api/v1/links/id1".to_owned(),
        "GET /api/v1/links/launch".to_owned(),
        format!("GET /api/v1/links/lookup?short_url={own}%2Flaunch"),
        "GET /api/v1/links/lookup?short_url=https%3A%2F%2Fgo.example%2Flaunch".to_owned(),
    ];
    assert_eq!(server.lines(), expected);
}

#[test]
fn a_slug_is_found_when_short_urls_live_at_another_host_than_the_api() {
    let missing = || problem(404, "not_found");
    let oldest = json!({ "items": [link("id0", "first")], "next_cursor": "more" });
    let server = Server::answering(vec![
        missing(),
        missing(),
        (200, oldest),
        (200, link("id1", "launch")),
    ]);
    let found = Shell::signed_in(&server.url).run("links get launch");
    assert_eq!(found.json()["id"], "id1");
    assert_eq!(
        server.lines()[3],
        "GET /api/v1/links/lookup?short_url=https%3A%2F%2Fgo.example%2Flaunch"
    );
}

#[test]
fn an_unknown_link_has_its_own_exit_code() {
    let missing = problem(404, "not_found");
    let ended = Shell::signed_in(&Server::answering(vec![missing]).url)
        .run("links get https://go.example/nothing");
    assert_eq!(ended.code, 3);
}

#[test]
fn what_is_no_terse_server_is_not_mistaken_for_a_missing_link() {
    let server = Server::answering(vec![(404, json!("<html>"))]);
    let ended = Shell::signed_in(&server.url).run("links get https://go.example/launch");
    assert_eq!(ended.code, 1);
}

#[test]
fn a_name_of_dots_does_not_become_another_address() {
    let server = Server::answering(vec![problem(404, "not_found"), problem(404, "not_found")]);
    let ended = Shell::signed_in(&server.url).run("links get ..");
    assert_ne!(ended.code, 0);
    assert!(server.lines()[0].starts_with("GET /api/v1/links/lookup?"));
}

#[test]
fn listing_passes_filters_on_and_follows_every_page() {
    let page =
        |id: &str, next: Value| (200, json!({ "items": [link(id, id)], "next_cursor": next }));
    let server = Server::answering(vec![page("a", json!("c=1")), page("b", Value::Null)]);
    let ended = Shell::signed_in(&server.url).run("links list --all --search x&y --sort clicks -q");
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "a\nb\n"));
    let lines = server.lines();
    assert_eq!(
        lines[0],
        "GET /api/v1/links?search=x%26y&sort=clicks&limit=200"
    );
    assert_eq!(lines[1], format!("{}&cursor=c%3D1", lines[0]));
}

#[test]
fn csv_keeps_cells_whole_and_starts_no_formula() {
    let mut risky = link("id1", "-launch");
    risky["title"] = json!("say \"hi\",\nthen go");
    risky["notes"] = json!(" =HYPERLINK(\"http://evil.example\")");
    risky["domain"] = json!("＠SUM(1)");
    risky["created_by"] = json!("\tx");
    risky["clicks"] = json!(-5);
    let page = (200, json!({ "items": [risky], "next_cursor": null }));
    let ended = Shell::signed_in(&Server::answering(vec![page]).url).run("links list --output csv");
    assert_eq!(ended.code, 0, "{ended:?}");
    let (header, row) = ended.stdout.split_once('\n').unwrap();
    assert!(header.starts_with("id,short_url,domain,slug,target_url,title,notes,tags,status"));
    assert_eq!(
        row,
        "id1,https://go.example/-launch,'＠SUM(1),'-launch,https://example.com/a,\"say \"\"hi\"\",\nthen go\",\
         \"' =HYPERLINK(\"\"http://evil.example\"\")\",\"x,y\",active,302,true,,,,-5,,2026-01-01T00:00:00Z,\
         2026-01-01T00:00:00Z,'\tx\n"
    );
}

#[test]
fn a_table_shows_no_escape_sequence_of_somebody_else() {
    let mut risky = link("id1", "launch");
    risky["target_url"] = json!("https://example.com/\u{1b}]0;owned\u{7}");
    let page = (200, json!({ "items": [risky], "next_cursor": "c1" }));
    let ended =
        Shell::signed_in(&Server::answering(vec![page]).url).run("links list --output table");
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stdout.contains("SHORT_URL"), "{ended:?}");
    assert!(ended.stdout.contains("https://go.example/launch"));
    assert!(!ended.stdout.contains('\u{1b}'), "{ended:?}");
    assert!(ended.stderr.contains("--cursor c1"), "{ended:?}");
}

#[test]
fn updating_changes_what_is_named_and_clears_what_is_cleared() {
    let found = || (200, link("id1", "launch"));
    let server = Server::answering(vec![found(), found(), found(), found(), found(), found()]);
    let shell = Shell::signed_in(&server.url);
    let update = "links update id1 --target https://example.com/b --clear title --clear max-clicks";
    assert_eq!(shell.run(update).code, 0);
    assert_eq!(shell.run("links disable id1").code, 0);
    assert_eq!(shell.run("links enable id1").code, 0);
    let asked = server.asked();
    assert_eq!(asked[1].line, "PATCH /api/v1/links/id1");
    let expected =
        json!({ "target_url": "https://example.com/b", "title": null, "max_clicks": null });
    assert_eq!(asked[1].json(), expected);
    assert_eq!(asked[3].json(), json!({ "status": "disabled" }));
    assert_eq!(asked[5].json(), json!({ "status": "active" }));
}

#[test]
fn an_update_without_changes_or_with_contradictions_is_a_usage_error() {
    let server = Server::answering(vec![]);
    let shell = Shell::signed_in(&server.url);
    assert_eq!(shell.run("links update id1").code, 2);
    assert_eq!(
        shell.run("links update id1 --title x --clear title").code,
        2
    );
    assert!(server.asked().is_empty());
}

#[test]
fn deleting_without_a_terminal_needs_a_yes() {
    let server = Server::answering(vec![(200, link("id1", "launch")), (204, Value::Null)]);
    let shell = Shell::signed_in(&server.url);
    let ended = shell.run("links delete launch");
    assert_eq!(ended.code, 2);
    assert!(server.asked().is_empty());
    let ended = shell.run("links delete launch --yes");
    assert_eq!((ended.code, ended.stdout.as_str()), (0, ""));
    assert_eq!(ended.stderr, "Deleted https://go.example/launch\n");
    assert_eq!(server.lines()[1], "DELETE /api/v1/links/id1");
}
