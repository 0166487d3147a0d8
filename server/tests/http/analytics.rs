//! Questions about clicks: the shape of every answer, and what is refused.

use reqwest::Method;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::server::{Server, run};

/// Every operation, with what it cannot do without.
const OPERATIONS: [&str; 6] = [
    "summary",
    "timeseries",
    "breakdown?dimension=os",
    "clicks",
    "export",
    "live",
];

/// Facts of every click, as the document names them.
const FACTS: [&str; 15] = [
    "country",
    "region",
    "city",
    "referrer",
    "browser",
    "browser_version",
    "os",
    "device",
    "language",
    "utm_source",
    "utm_medium",
    "utm_campaign",
    "utm_term",
    "utm_content",
    "trigger",
];

fn asked(server: &Server, operation: &str, query: &str) -> Answer {
    let joint = if operation.contains('?') { '&' } else { '?' };
    server.get(&format!("/analytics/{operation}{joint}{query}"))
}

fn members(value: &Value) -> Vec<&str> {
    let object = value.as_object().unwrap();
    object.keys().map(String::as_str).collect()
}

/// A link that a person and a bot have followed.
fn followed(server: &Server, slug: &str) -> String {
    let link = server.link(slug, &json!({}));
    server.visitor().get(&format!("/{slug}")).expect(302);
    let bot = server
        .visitor()
        .get_with(&format!("/{slug}"), "user-agent", "curl/8.5.0");
    bot.expect(302);
    assert_eq!(server.totals(&link), [1, 1, 0]);
    link["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_summary_has_every_member_and_the_period_before_when_it_is_asked_for() {
    let server = Server::shared();
    let id = followed(&server, "shape-summary");
    let summary = asked(&server, "summary", &format!("link_id={id}"));
    let summary = summary.expect(200).json();
    let all = [
        "clicks",
        "visitors",
        "bots",
        "previews",
        "last_clicked_at",
        "previous",
        "as_of",
        "pending",
    ];
    assert_eq!(members(&summary), all);
    assert_eq!(summary["previous"], Value::Null);
    assert_eq!(summary["visitors"], 1);
    let query = format!("link_id={id}&compare=previous");
    let compared = asked(&server, "summary", &query).expect(200).json();
    let before = ["from", "to", "clicks", "visitors", "bots", "previews"];
    assert_eq!(members(&compared["previous"]), before);
}

#[test]
fn a_timeseries_has_every_member() {
    let server = Server::shared();
    let id = followed(&server, "shape-series");
    let series = asked(&server, "timeseries", &format!("link_id={id}"));
    let series = series.expect(200).json();
    let all = ["interval", "tz", "points", "as_of", "pending"];
    assert_eq!(members(&series), all);
    assert_eq!(
        (&series["interval"], &series["tz"]),
        (&json!("day"), &json!("UTC"))
    );
    let last = series["points"].as_array().unwrap().last().unwrap();
    assert_eq!(members(last), ["start", "clicks", "visitors"]);
    assert_eq!(last["clicks"], 1);
}

#[test]
fn a_breakdown_has_every_member_and_a_row_for_each_value() {
    let server = Server::start(&[]);
    let id = followed(&server, "shape-rows");
    let query = format!("link_id={id}&include=bots");
    let rows = asked(&server, "breakdown?dimension=browser", &query);
    let rows = rows.expect(200).json();
    let all = ["dimension", "total", "rows", "other", "as_of", "pending"];
    assert_eq!(members(&rows), all);
    assert_eq!(
        (&rows["dimension"], &rows["total"]),
        (&json!("browser"), &json!(2))
    );
    for row in rows["rows"].as_array().unwrap() {
        assert_eq!(members(row), ["value", "clicks", "visitors", "share"]);
        assert_eq!(row["share"], 0.5);
    }
}

#[test]
fn a_click_has_every_fact_by_its_name_and_an_id_of_its_own() {
    let server = Server::start(&[]);
    let id = followed(&server, "shape-click");
    let page = asked(&server, "clicks", &format!("link_id={id}&include=bots"));
    let page = page.expect(200).json();
    assert_eq!(members(&page), ["items", "next_cursor"]);
    assert_eq!(page["next_cursor"], Value::Null);
    let clicks = page["items"].as_array().unwrap();
    assert_eq!(clicks.len(), 2);
    let own = ["id", "at", "link_id", "kind", "reason"];
    for click in clicks {
        assert_eq!(members(click), [&own[..], &FACTS].concat());
        assert_eq!(click["link_id"], *id);
        assert_eq!(
            (&click["city"], &click["trigger"]),
            (&json!("(none)"), &json!("link"))
        );
        assert!(click["at"].as_str().unwrap().ends_with('Z'));
    }
    assert_ne!(clicks[0]["id"], clicks[1]["id"]);
}

#[test]
fn an_export_is_a_file_that_nobody_stores_or_guesses_about() {
    let server = Server::start(&[]);
    followed(&server, "shape-file");
    let period = "include=bots&from=2020-02-01T00:00:00Z&to=2999-01-01T12:00:00%2B01:00";
    for (format, kind, name) in [
        (
            "",
            "text/csv; charset=utf-8",
            "clicks-2020-02-01-2999-01-01.csv",
        ),
        (
            "&format=csv",
            "text/csv; charset=utf-8",
            "clicks-2020-02-01-2999-01-01.csv",
        ),
        (
            "&format=json",
            "application/json",
            "clicks-2020-02-01-2999-01-01.json",
        ),
    ] {
        let file = asked(&server, "export", &format!("{period}{format}")).expect(200);
        assert_eq!(file.header("content-type"), kind);
        let disposition = format!("attachment; filename=\"{name}\"");
        assert_eq!(file.header("content-disposition"), disposition);
        assert_eq!(file.header("cache-control"), "private, no-store");
        assert_eq!(file.header("x-content-type-options"), "nosniff");
        if kind == "application/json" {
            let clicks = asked(&server, "clicks", "include=bots").json();
            let mut shown = clicks["items"].as_array().unwrap().clone();
            let mut exported = file.json().as_array().unwrap().clone();
            let id = |click: &Value| click["id"].as_str().unwrap().to_owned();
            shown.sort_by_key(id);
            exported.sort_by_key(id);
            assert_eq!(exported, shown);
        } else {
            assert_eq!(file.text().lines().count(), 3);
        }
    }
    let empty = Server::start(&[]);
    assert_eq!(asked(&empty, "export", "format=json").json(), json!([]));
    let headings = asked(&empty, "export", "").text();
    assert_eq!(headings.trim_end().split(',').count(), 5 + FACTS.len());
    let today = asked(&empty, "export", "");
    assert!(
        today
            .header("content-disposition")
            .starts_with("attachment; filename=\"clicks-20")
    );
}

#[test]
fn what_no_operation_knows_is_refused_by_its_name() {
    let server = Server::shared();
    for operation in OPERATIONS {
        for (query, field, code) in [
            ("browsers=Firefox", "browsers", "parameter_unknown"),
            ("Country=DE", "Country", "parameter_unknown"),
            ("link=x", "link", "parameter_unknown"),
            ("a%00%0Ab=1", "ab", "parameter_unknown"),
            ("=x", "", "parameter_unknown"),
            ("tz=UTC&tz=UTC", "tz", "parameter_repeated"),
            ("include=bots&include=bots", "include", "parameter_repeated"),
        ] {
            let refused = asked(&server, operation, query).refused(field);
            assert_eq!(refused, code, "{operation} {query}");
        }
    }
    for (operation, field) in [
        ("summary", "interval"),
        ("timeseries", "compare"),
        ("clicks", "metrics"),
        ("export", "limit"),
        ("live", "from"),
        ("live", "cursor"),
    ] {
        asked(&server, operation, &format!("{field}=x")).refused(field);
    }
}

#[test]
fn a_workspace_named_twice_is_refused_rather_than_guessed() {
    let server = Server::shared();
    let me = server.get("/me").expect(200).json();
    let id = me["workspace_id"]
        .as_str()
        .or(me["workspace"]["id"].as_str());
    let id = id.unwrap_or_else(|| panic!("{me}"));
    let query = format!("workspace={id}");
    asked(&server, "summary", &query).expect(200);
    asked(&server, "summary", &format!("{query}&{query}")).refused("workspace");
}

#[test]
fn values_that_make_no_sense_are_refused_by_their_name() {
    let server = Server::shared();
    for operation in [
        "summary",
        "timeseries",
        "breakdown?dimension=os",
        "clicks",
        "export",
    ] {
        for (query, field) in [
            ("tz=Mars/Base", "tz"),
            ("include=ghosts", "include"),
            ("from=yesterday", "from"),
            ("to=%00", "to"),
            ("from=2026-02-01T00:00:00Z&to=2026-01-01T00:00:00Z", "from"),
        ] {
            asked(&server, operation, query).refused(field);
        }
    }
    for (operation, query, field) in [
        ("timeseries", "interval=minute", "interval"),
        ("breakdown", "", "dimension"),
        ("breakdown", "dimension=", "dimension"),
        ("breakdown", "dimension=planet", "dimension"),
        ("breakdown?dimension=os", "limit=many", "limit"),
        ("clicks", "limit=1.5", "limit"),
        ("export", "format=xlsx", "format"),
    ] {
        asked(&server, operation, query).refused(field);
    }
}

#[test]
fn whatever_the_document_offers_is_understood_and_every_fact_is_offered() {
    let server = Server::shared();
    let document: Value = serde_json::from_slice(&run(&["openapi"], &[]).stdout).unwrap();
    let mut seen = 0;
    for operation in OPERATIONS {
        let path = operation.split('?').next().unwrap();
        let described = &document["paths"][&format!("/analytics/{path}")]["get"]["parameters"];
        let described = described.as_array().unwrap().iter();
        let names: Vec<&str> = described
            .map(|parameter| match parameter["$ref"].as_str() {
                Some(reference) => reference.rsplit('/').next().unwrap(),
                None => parameter["name"].as_str().unwrap(),
            })
            .collect();
        for fact in FACTS {
            assert!(names.contains(&fact), "{operation} {fact}");
            let parameter = &document["components"]["parameters"][fact];
            assert_eq!(parameter["schema"]["type"], "array");
            assert!(parameter["description"].as_str().unwrap().len() > 20);
        }
        for name in names {
            let path = format!("/analytics/{path}?{name}=x");
            let answer: Answer = server.request(Method::GET, &path).send().unwrap().into();
            let told = String::from_utf8_lossy(&answer.body).into_owned();
            assert!(!told.contains("parameter_unknown"), "{path}: {told}");
            seen += 1;
        }
    }
    assert!(seen >= 6 * 20);
}
