//! Lists and figures: filters, pages, and questions that make no sense.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::server::Server;

fn slugs(server: &Server, query: &str) -> Vec<String> {
    let page = server.get(&format!("/links?{query}")).expect(200).json();
    let slug = |link: &Value| link["slug"].as_str().unwrap().to_owned();
    page["items"].as_array().unwrap().iter().map(slug).collect()
}

#[test]
fn filters_find_what_they_name_and_nothing_else() {
    let server = Server::shared();
    let literal = server.link(
        "filter-a",
        &json!({"title": "50%_off \\ deal", "tags": ["filters"]}),
    );
    server.link(
        "filter-b",
        &json!({"title": "500 coffee deal", "tags": ["filters"]}),
    );
    let disabled = server.link("filter-c", &json!({"tags": ["filters"]}));
    server.change(&disabled, &json!({"status": "disabled"}));

    assert_eq!(slugs(&server, "tag=filters&search=50%25_off"), ["filter-a"]);
    assert_eq!(slugs(&server, "tag=filters&search=%5C"), ["filter-a"]);
    assert_eq!(slugs(&server, "tag=filters&search=COFFEE"), ["filter-b"]);
    assert_eq!(slugs(&server, "tag=filters&status=disabled"), ["filter-c"]);
    assert_eq!(
        slugs(&server, "tag=filters&sort=slug&order=asc"),
        ["filter-a", "filter-b", "filter-c"]
    );
    assert!(slugs(&server, "tag=filters&domain=other.example").is_empty());
    assert_eq!(slugs(&server, "tag=filters&domain=LOCALHOST").len(), 3);
    let created = literal["created_at"].as_str().unwrap();
    assert!(slugs(&server, &format!("tag=filters&created_before={created}")).is_empty());
    assert!(slugs(&server, "tag=filters&created_after=2999-01-01T00:00:00Z").is_empty());
    for hostile in [
        "'",
        "''||1",
        "%22a%20OR",
        "1;drop%20table%20links",
        "%25",
        "_",
    ] {
        let found = slugs(&server, &format!("tag=filters&search={hostile}"));
        let literally = matches!(hostile, "%25" | "_");
        assert_eq!(found.len(), usize::from(literally), "{hostile}: {found:?}");
    }
}

#[test]
fn pages_show_every_link_once_in_order() {
    let server = Server::shared();
    let mut made = HashSet::new();
    for number in 0..7 {
        let slug = format!("page-{number}");
        server.link(&slug, &json!({"tags": ["pages"]}));
        made.insert(slug);
    }
    for sort in ["created_at", "updated_at", "clicks", "slug"] {
        for order in ["asc", "desc"] {
            let query = format!("/links?tag=pages&limit=3&sort={sort}&order={order}");
            let (mut seen, mut sizes) = (HashSet::new(), Vec::new());
            let mut path = query.clone();
            loop {
                let page = server.get(&path).expect(200).json();
                let items = page["items"].as_array().unwrap();
                sizes.push(items.len());
                seen.extend(
                    items
                        .iter()
                        .map(|link| link["slug"].as_str().unwrap().to_owned()),
                );
                let Some(cursor) = page["next_cursor"].as_str() else {
                    assert_eq!(page["next_cursor"], Value::Null);
                    break;
                };
                path = format!("{query}&cursor={cursor}");
            }
            assert_eq!(sizes, [3, 3, 1], "{sort} {order}");
            assert_eq!(seen, made, "{sort} {order}");
        }
    }
}

#[test]
fn limits_sorts_and_cursors_that_make_no_sense_are_refused() {
    let server = Server::shared();
    for limit in [
        "0",
        "-1",
        "201",
        "1e9",
        "9223372036854775807",
        "9223372036854775808",
        "NaN",
        "",
        "%00",
        "1.5",
    ] {
        let answer = server.get(&format!("/links?limit={limit}"));
        assert_eq!(answer.status, 422, "{limit}");
        answer.refused("limit");
    }
    for limit in ["1", "200"] {
        server.get(&format!("/links?limit={limit}")).expect(200);
    }
    for sort in [
        "created_at;drop",
        "password_hash",
        "id",
        "CREATED_AT",
        "",
        "%00",
    ] {
        server.get(&format!("/links?sort={sort}")).refused("sort");
    }
    for order in ["up", "desc;", ""] {
        server
            .get(&format!("/links?order={order}"))
            .refused("order");
    }
    server.get("/links?status=gone").refused("status");
    for field in ["created_after", "created_before"] {
        for time in ["yesterday", "9999999-01-01T00:00:00Z", "%00", ""] {
            server.get(&format!("/links?{field}={time}")).refused(field);
        }
    }
    for field in ["search", "tag", "domain"] {
        server.get(&format!("/links?{field}=a%00b")).refused(field);
        let long = "a".repeat(300);
        server.get(&format!("/links?{field}={long}")).refused(field);
    }
}

#[test]
fn a_forged_or_foreign_cursor_is_refused() {
    let server = Server::shared();
    for slug in ["cursor-a", "cursor-b"] {
        server.link(slug, &json!({"tags": ["cursors"]}));
    }
    let page = server.get("/links?limit=1&tag=cursors").expect(200).json();
    let cursor = page["next_cursor"].as_str().unwrap();
    server
        .get(&format!("/links?limit=1&cursor={cursor}"))
        .expect(200);
    for query in [
        format!("sort=slug&cursor={cursor}"),
        format!("order=asc&cursor={cursor}"),
        format!("cursor={cursor}x"),
        format!("cursor={}", &cursor[1..]),
        "cursor=".to_owned(),
        "cursor=%00".to_owned(),
        "cursor=e30".to_owned(),
        format!("cursor={}", "A".repeat(5_000)),
    ] {
        let answer = server.get(&format!("/links?{query}"));
        assert_eq!(answer.status, 422, "{query}");
        answer.refused("cursor");
    }
}

#[test]
fn questions_about_clicks_that_make_no_sense_are_refused() {
    let server = Server::shared();
    for route in ["summary", "timeseries"] {
        for (query, field) in [
            ("from=2026-02-01T00:00:00Z&to=2026-01-01T00:00:00Z", "to"),
            ("from=9999999-01-01T00:00:00Z", "from"),
            ("to=tomorrow", "to"),
            ("from=%00", "from"),
            ("tz=Mars/Base", "tz"),
            ("tz=..%2f..%2fetc%2fpasswd", "tz"),
            ("tz=%00", "tz"),
            ("include=ghosts", "include"),
        ] {
            let answer = server.get(&format!("/analytics/{route}?{query}"));
            assert_eq!(answer.status, 422, "{route}?{query}");
            let errors = answer.problem(422)["errors"].clone();
            let fields: Vec<&str> = errors
                .as_array()
                .unwrap()
                .iter()
                .map(|error| error["field"].as_str().unwrap())
                .collect();
            assert!(
                fields.contains(&field) || (field == "to" && fields == ["from"]),
                "{query}: {fields:?}"
            );
        }
        for query in ["link_id=x", "link_id=%00", "tag=%00", "domain=%00"] {
            let status = server.get(&format!("/analytics/{route}?{query}")).status;
            assert!(
                matches!(status, 200 | 404 | 422),
                "{route}?{query}: {status}"
            );
        }
    }
    server
        .get("/analytics/timeseries?interval=minute")
        .refused("interval");
    let far =
        "/analytics/timeseries?interval=hour&from=1990-01-01T00:00:00Z&to=2026-01-01T00:00:00Z";
    let status = server.get(far).status;
    assert_eq!(status, 422, "more points than one answer holds");
}
