use serde_json::{Value, json};

use crate::common::{EMAIL, PASSWORD};
use crate::{Service, code, problem, shared};

fn token(service: &Service, form: &[(&str, &str)]) -> reqwest::blocking::Response {
    service
        .request("POST", "/api/v1/auth/token")
        .form(form)
        .send()
        .unwrap()
}

#[test]
fn signing_in_refreshing_and_signing_out() {
    let service = Service::new(&[("TERSE_RATE_LIMIT_AUTH", "off")]);
    let form = [
        ("grant_type", "password"),
        ("username", EMAIL),
        ("password", PASSWORD),
        ("scope", "ignored"),
    ];
    let answer = token(&service, &form);
    assert_eq!(
        (
            answer.status().as_u16(),
            answer.headers()["cache-control"].as_bytes()
        ),
        (200, &b"no-store"[..])
    );
    let first: Value = answer.json().unwrap();
    assert_eq!(
        (first["token_type"].as_str(), first["expires_in"].as_u64()),
        (Some("Bearer"), Some(900))
    );
    let refresh = |token_text: &Value| {
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", token_text.as_str().unwrap()),
        ];
        token(&service, &form)
    };
    let second: Value = refresh(&first["refresh_token"]).json().unwrap();
    let bearer = second["access_token"].as_str().unwrap();
    let list = |bearer: &str| {
        service
            .request("GET", "/api/v1/links")
            .bearer_auth(bearer)
            .send()
            .unwrap()
    };
    assert_eq!(list(bearer).status(), 200);
    // A used refresh token ends the session.
    let reused = problem(refresh(&first["refresh_token"]));
    assert_eq!(
        (reused["error"].as_str(), reused["status"].as_u64()),
        (Some("invalid_grant"), Some(400))
    );
    assert_eq!(code(list(bearer)), (401, "session_ended".to_owned()));
    assert_eq!(refresh(&second["refresh_token"]).status(), 400);

    let third: Value = token(&service, &form).json().unwrap();
    let bearer = third["access_token"].as_str().unwrap();
    let logout = service
        .request("POST", "/api/v1/auth/logout")
        .bearer_auth(bearer)
        .send()
        .unwrap();
    assert_eq!(logout.status(), 204);
    assert_eq!(list(bearer).status(), 401);
}

#[test]
fn token_errors_follow_the_oauth_rules() {
    let service = Service::new(&[("TERSE_RATE_LIMIT_AUTH", "off")]);
    for (form, error) in [
        (
            vec![
                ("grant_type", "password"),
                ("username", EMAIL),
                ("password", "wrong horse"),
            ],
            "invalid_grant",
        ),
        (
            vec![
                ("grant_type", "password"),
                ("username", "nobody@x.example"),
                ("password", PASSWORD),
            ],
            "invalid_grant",
        ),
        (
            vec![("grant_type", "client_credentials")],
            "unsupported_grant_type",
        ),
        (vec![("grant_type", "password")], "invalid_request"),
        (vec![("username", EMAIL)], "invalid_request"),
    ] {
        let answer = problem(token(&service, &form));
        assert_eq!(answer["error"], error);
        assert!(answer["error_description"].is_string());
    }
    // An API client's Basic header is ignored, as Swagger always sends one.
    let answer = service
        .request("POST", "/api/v1/auth/token")
        .basic_auth("x", Some("y"))
        .form(&[
            ("grant_type", "password"),
            ("username", EMAIL),
            ("password", PASSWORD),
        ])
        .send()
        .unwrap();
    assert_eq!(answer.status(), 200);
}

#[test]
fn every_route_but_the_public_ones_asks_who_is_there() {
    let service = shared();
    let document: Value = service
        .request("GET", "/api/v1/openapi.json")
        .send()
        .unwrap()
        .json()
        .unwrap();
    let mut asked = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            if operation["security"].as_array().unwrap().is_empty() {
                continue;
            }
            let path = format!("/api/v1{}", path.replace("{id}", "0000000000000"));
            for authorization in [
                None,
                Some("Bearer nonsense"),
                Some("Basic eDp5"),
                Some("Bearer "),
            ] {
                let mut request = service.request(&method.to_uppercase(), &path);
                if let Some(authorization) = authorization {
                    request = request.header("Authorization", authorization);
                }
                let answer = request
                    .header("Content-Type", "application/json")
                    .body("{}")
                    .send()
                    .unwrap();
                assert_eq!(answer.status(), 401, "{method} {path} {authorization:?}");
                let challenge = answer.headers()["www-authenticate"]
                    .to_str()
                    .unwrap()
                    .to_owned();
                assert!(challenge.starts_with("Bearer"), "{challenge}");
                problem(answer);
                asked += 1;
            }
        }
    }
    assert!(asked >= 32);
}

#[test]
fn a_link_is_made_read_changed_and_deleted() {
    let service = shared();
    let made =
        service.create(json!({"slug": "Crud", "title": "T", "tags": ["b", "a"], "max_clicks": 5}));
    let location = made.headers()["location"].to_str().unwrap().to_owned();
    let link: Value = made.json().unwrap();
    assert_eq!(link["short_url"], "http://localhost/Crud");
    assert_eq!(
        (&link["tags"], &link["status"], &link["clicks"]),
        (&json!(["a", "b"]), &json!("active"), &json!(0))
    );
    assert!(
        link.as_object().unwrap().contains_key("expires_at"),
        "unset fields are present"
    );
    let read: Value = service
        .request("GET", &location)
        .bearer_auth(&service.token)
        .send()
        .unwrap()
        .json()
        .unwrap();
    assert_eq!(read, link);
    let found: Value = service
        .api("GET", "/links/lookup")
        .query(&[("short_url", "http://localhost/crud")])
        .send()
        .unwrap()
        .json()
        .unwrap();
    assert_eq!(found["id"], link["id"]);
    let path = format!("/links/{}", link["id"].as_str().unwrap());
    let change = |body: Value| service.api("PATCH", &path).json(&body).send().unwrap();
    let changed: Value = change(json!({"title": null, "max_clicks": null, "tags": null, "target_url": "https://example.com/b"})).json().unwrap();
    assert_eq!(
        (&changed["title"], &changed["max_clicks"], &changed["tags"]),
        (&Value::Null, &Value::Null, &json!([]))
    );
    assert_eq!(
        service.visit("/crud").headers()["location"],
        "https://example.com/b"
    );
    assert_eq!(
        change(json!({"status": "disabled"}))
            .json::<Value>()
            .unwrap()["status"],
        "disabled"
    );
    assert_eq!(service.visit("/crud").status(), 404);
    assert_eq!(
        change(json!({"clicks": 5})).status(),
        422,
        "unknown members are refused"
    );
    let gone = service.api("DELETE", &path).send().unwrap();
    assert_eq!(
        (gone.status().as_u16(), gone.text().unwrap().as_str()),
        (204, "")
    );
    assert_eq!(service.visit("/crud").status(), 410);
    assert_eq!(
        code(service.create(json!({"slug": "crud"}))),
        (409, "alias_retired".to_owned())
    );
}

#[test]
fn unknown_malformed_and_missing_ids_are_answered_alike() {
    let service = shared();
    let answer = |id: &str| {
        let mut problem = problem(service.api("GET", &format!("/links/{id}")).send().unwrap());
        problem["request_id"] = Value::Null;
        problem
    };
    let unknown = answer("0000000000000");
    for id in [
        "x",
        "nonsense",
        "0000000000001",
        "ZZZZZZZZZZZZZ",
        "1e9",
        "%27",
        "a%00b",
    ] {
        assert_eq!(answer(id), unknown, "{id}");
    }
}

#[test]
fn refused_fields_are_named_and_nothing_is_stored() {
    let service = shared();
    for (body, field, field_code) in [
        (
            json!({"target_url": "javascript:alert(1)"}),
            "target_url",
            "url_scheme_not_allowed",
        ),
        (
            json!({"target_url": "https://a@b.example"}),
            "target_url",
            "url_userinfo",
        ),
        (
            json!({"target_url": "http://localhost/x"}),
            "target_url",
            "url_own_domain",
        ),
        (json!({"slug": "api"}), "slug", "slug_reserved"),
        (json!({"slug": "ä"}), "slug", "slug_character"),
        (json!({"slug": "a\u{0}b"}), "slug", "slug_character"),
        (
            json!({"title": "a\u{0}b"}),
            "title",
            "text_control_character",
        ),
        (
            json!({"notes": "a\u{0}b"}),
            "notes",
            "text_control_character",
        ),
        (
            json!({"tags": ["a\u{0}b"]}),
            "tags",
            "text_control_character",
        ),
        (json!({"domain": "x.example"}), "domain", "domain_unknown"),
        (json!({"expires_at": "soon"}), "expires_at", "time_invalid"),
        (
            json!({"max_clicks": 0}),
            "max_clicks",
            "max_clicks_out_of_range",
        ),
        (
            json!({"redirect_status": 418}),
            "redirect_status",
            "redirect_status_unknown",
        ),
    ] {
        let answer = problem(service.create(body.clone()));
        assert_eq!(answer["status"], 422, "{body}");
        assert_eq!(
            (&answer["errors"][0]["field"], &answer["errors"][0]["code"]),
            (&json!(field), &json!(field_code))
        );
    }
    let hostile = service
        .api("POST", "/links")
        .header("Content-Type", "application/json");
    let answer = hostile
        .body(r#"{"target_url":"https://example.com","title":"\ud800"}"#)
        .send()
        .unwrap();
    assert_eq!(answer.status(), 400);
}

#[test]
fn lists_and_figures_refuse_bad_parameters_by_name() {
    let service = shared();
    for (path, field) in [
        ("/links?limit=0", "limit"),
        ("/links?limit=201", "limit"),
        ("/links?limit=9223372036854775808", "limit"),
        ("/links?limit=NaN", "limit"),
        ("/links?sort=created_at;drop", "sort"),
        ("/links?cursor=forged", "cursor"),
        ("/links?created_after=x", "created_after"),
        ("/links/lookup?short_url=x", "short_url"),
        ("/analytics/summary?from=x", "from"),
        ("/analytics/summary?tz=Mars/Base", "tz"),
        ("/analytics/summary?include=ghosts", "include"),
        ("/analytics/timeseries?interval=second", "interval"),
        (
            "/analytics/timeseries?interval=hour&from=1990-01-01T00:00:00Z",
            "interval",
        ),
    ] {
        let answer = problem(service.api("GET", path).send().unwrap());
        assert_eq!(
            (&answer["status"], &answer["errors"][0]["field"]),
            (&json!(422), &json!(field)),
            "{path}"
        );
    }
}

#[test]
fn clicks_of_people_bots_and_previews_are_counted_apart() {
    let service = Service::new(&[]);
    let link = service.link(json!({"slug": "count"}));
    service.visit("/count");
    service
        .request("GET", "/count")
        .header("User-Agent", "curl/8.5.0")
        .send()
        .unwrap();
    service.request("HEAD", "/count").send().unwrap();
    let prefetch = service
        .request("GET", "/count")
        .header("User-Agent", crate::CHROME);
    prefetch
        .header("Sec-Purpose", "prefetch;prerender")
        .send()
        .unwrap();
    service.node.wait_until_folded();
    let id = link["id"].as_str().unwrap();
    let summary: Value = service
        .api("GET", "/analytics/summary")
        .query(&[("link_id", id)])
        .send()
        .unwrap()
        .json()
        .unwrap();
    assert_eq!(
        (&summary["clicks"], &summary["bots"], &summary["previews"]),
        (&json!(1), &json!(1), &json!(1))
    );
    assert_eq!(summary["pending"], 0);
    let series: Value = service
        .api("GET", "/analytics/timeseries?interval=day")
        .send()
        .unwrap()
        .json()
        .unwrap();
    assert_eq!(
        series["points"].as_array().unwrap().last().unwrap()["clicks"],
        1
    );
}
