//! What filters, pages and options change in the figures.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::server::Server;

const SAFARI: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 \
                      (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1";

/// A server where somebody with Firefox followed a link three times, and somebody with Safari once.
fn visited() -> Server {
    let server = Server::start(&[]);
    let link = server.link("filtered", &json!({"tags": ["one"]}));
    for source in ["a", "b", "b"] {
        let path = format!("/filtered?utm_source={source}");
        server.visitor().get(&path).expect(302);
    }
    let path = "/filtered?utm_source=b";
    let phone = server.visitor().get_with(path, "user-agent", SAFARI);
    phone.expect(302);
    assert_eq!(server.totals(&link), [4, 0, 0]);
    server
}

fn ask(server: &Server, question: &str) -> Value {
    let path = format!("/analytics/{question}");
    server.get(&path).expect(200).json()
}

fn count(items: &Value) -> i64 {
    i64::try_from(items.as_array().unwrap().len()).unwrap()
}

#[test]
fn a_filter_means_the_same_to_every_operation() {
    let server = visited();
    for (query, clicks) in [
        ("browser=Firefox", 3),
        ("browser=!Firefox", 1),
        ("browser=Firefox&browser=Safari", 4),
        ("utm_source=b&browser=Firefox", 2),
        ("utm_source=b&utm_source=!b", 0),
        ("utm_source=a&device=desktop&tag=one", 1),
        ("tag=two", 0),
        ("city=(none)&trigger=link", 4),
        ("country=DE", 0),
        ("reason=browser", 4),
    ] {
        let summary = ask(&server, &format!("summary?{query}"));
        assert_eq!(summary["clicks"], clicks, "{query}");
        let rows = ask(&server, &format!("breakdown?dimension=link&{query}"));
        assert_eq!(rows["total"], clicks, "{query}");
        let series = ask(&server, &format!("timeseries?interval=15min&{query}"));
        let points = series["points"].as_array().unwrap().iter();
        let sum: i64 = points.map(|point| point["clicks"].as_i64().unwrap()).sum();
        assert_eq!(sum, clicks, "{query}");
        let page = ask(&server, &format!("clicks?{query}"));
        assert_eq!(count(&page["items"]), clicks, "{query}");
        let file = ask(&server, &format!("export?format=json&{query}"));
        assert_eq!(count(&file), clicks, "{query}");
    }
}

#[test]
fn visitors_are_null_when_nobody_asks_for_them() {
    let server = visited();
    let summary = ask(&server, "summary?metrics=clicks&compare=previous");
    assert_eq!(summary["visitors"], Value::Null);
    assert_eq!(summary["previous"]["visitors"], Value::Null);
    let rows = ask(
        &server,
        "breakdown?dimension=browser&limit=1&metrics=clicks",
    );
    assert_eq!((&rows["total"], &rows["other"]), (&json!(4), &json!(1)));
    let firefox = json!({"value": "Firefox", "clicks": 3, "visitors": null, "share": 0.75});
    assert_eq!(rows["rows"], json!([firefox]));
    let series = ask(&server, "timeseries?metrics=clicks");
    assert_eq!(series["points"][0]["visitors"], Value::Null);
}

#[test]
fn pages_show_every_click_once_in_either_order() {
    let server = visited();
    let mut orders = Vec::new();
    for order in ["asc", "desc"] {
        let (mut ids, mut times, mut cursor) = (Vec::new(), Vec::new(), String::new());
        loop {
            let page = ask(&server, &format!("clicks?limit=3&order={order}{cursor}"));
            for click in page["items"].as_array().unwrap() {
                ids.push(click["id"].as_str().unwrap().to_owned());
                times.push(click["at"].as_str().unwrap().to_owned());
            }
            let Some(next) = page["next_cursor"].as_str() else {
                break;
            };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 4, "{ids:?}");
        if order == "desc" {
            times.reverse();
            ids.reverse();
        }
        assert!(times.is_sorted(), "{times:?}");
        orders.push(ids);
    }
    assert_eq!(orders[0], orders[1]);
}

#[test]
fn options_that_make_no_sense_are_refused_by_their_name() {
    let server = Server::shared();
    for (question, field) in [
        ("summary?compare=year", "compare"),
        ("summary?metrics=visits", "metrics"),
        ("breakdown?dimension=os&limit=0", "limit"),
        ("breakdown?dimension=os&limit=1001", "limit"),
        ("clicks?limit=0", "limit"),
        ("clicks?limit=201", "limit"),
        ("clicks?order=up", "order"),
        ("clicks?cursor=forged", "cursor"),
        ("clicks?cursor=", "cursor"),
        (
            "timeseries?interval=15min&from=2020-01-01T00:00:00Z",
            "interval",
        ),
    ] {
        server.get(&format!("/analytics/{question}")).refused(field);
    }
    let many = "country=DE&".repeat(101);
    let refused = server.get(&format!("/analytics/summary?{many}"));
    refused.refused("country");
    let long = "x".repeat(300);
    server
        .get(&format!("/analytics/export?city={long}"))
        .refused("city");
}
