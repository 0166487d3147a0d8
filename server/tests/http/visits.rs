//! What counts as a click, and who may use one up.

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::Method;
use serde_json::json;

use crate::answer::Answer;
use crate::raw;
use crate::server::{BROWSER, Server, path_of, until};

const PREVIEW: &str = "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)";

#[test]
fn ten_clicks_are_ten_redirects_under_two_hundred_parallel_requests() {
    let server = Server::shared();
    let link = server.link("ten", &json!({"max_clicks": 10}));
    let barrier = Barrier::new(200);
    let request = format!("User-Agent: {BROWSER}");
    let statuses: Vec<u16> = thread::scope(|scope| {
        let visit = || {
            barrier.wait();
            raw::get(server.address, b"/ten", &[request.as_bytes()]).status
        };
        let visits: Vec<_> = (0..200).map(|_| scope.spawn(visit)).collect();
        visits
            .into_iter()
            .map(|visit| visit.join().unwrap())
            .collect()
    });
    let count = |status| statuses.iter().filter(|other| **other == status).count();
    assert_eq!((count(302), count(410)), (10, 190), "{statuses:?}");
    assert_eq!(server.totals(&link), [10, 0, 0]);
    server
        .visitor()
        .get("/ten")
        .problem_code(410, "link_exhausted");
    assert_eq!(
        server.get(&path_of(&link)).expect(200).json()["status"],
        "exhausted"
    );
    server.change(&link, &json!({"max_clicks": 11}));
    server.visitor().get("/ten").expect(302);
    server.visitor().get("/ten").problem(410);
}

#[test]
fn heads_bots_and_previews_use_no_click_and_learn_no_target_of_a_limited_link() {
    let server = Server::shared();
    let target = "https://example.com/the-hidden-target";
    server.link("one-visit", &json!({"max_clicks": 1, "target_url": target}));
    let visitor = server.visitor();
    let head: Answer = visitor
        .request(Method::HEAD, "/one-visit")
        .send()
        .unwrap()
        .into();
    let answers = [
        head,
        visitor.get_with("/one-visit", "user-agent", "curl/8.5.0"),
        visitor.get_with("/one-visit", "user-agent", PREVIEW),
        visitor.get_with("/one-visit", "sec-purpose", "prefetch"),
        visitor.get_with("/one-visit", "sec-purpose", "prefetch;prerender"),
        visitor.get_with("/one-visit", "purpose", "preview"),
        visitor.get_with("/one-visit", "x-moz", "prefetch"),
        visitor.get("/one-visit+"),
    ];
    for answer in answers {
        assert_eq!(answer.location(), "");
        assert!(answer.status < 500 && answer.status != 410, "{answer:?}");
        assert!(!String::from_utf8_lossy(&answer.body).contains("hidden-target"));
    }
    assert_eq!(visitor.get("/one-visit").expect(302).location(), target);
    visitor.get("/one-visit").problem(410);
}

#[test]
fn heads_count_nothing_and_prefetches_and_bots_stand_beside_the_clicks() {
    let server = Server::shared();
    let link = server.link("kinds", &json!({}));
    let visitor = server.visitor();
    for _ in 0..3 {
        let head: Answer = visitor
            .request(Method::HEAD, "/kinds")
            .send()
            .unwrap()
            .into();
        assert_eq!(head.expect(302).location(), "https://example.com/");
    }
    visitor.get("/kinds+").expect(200);
    assert_eq!(server.totals(&link), [0, 0, 0]);
    visitor.get("/kinds").expect(302);
    visitor
        .get_with("/kinds", "sec-purpose", "prefetch")
        .expect(302);
    visitor.get_with("/kinds", "x-moz", "prefetch").expect(302);
    visitor
        .get_with("/kinds", "user-agent", PREVIEW)
        .expect(302);
    visitor
        .get_with("/kinds", "user-agent", "curl/8.5.0")
        .expect(302);
    visitor.get_with("/kinds", "user-agent", "").expect(302);
    assert_eq!(server.totals(&link), [1, 2, 3]);
    let id = link["id"].as_str().unwrap();
    let all = server.get(&format!(
        "/analytics/summary?link_id={id}&include=bots,previews"
    ));
    assert_eq!(all.expect(200).json()["clicks"], 6);
    let shown = server.get(&path_of(&link)).expect(200).json();
    assert_eq!(shown["clicks"], 1);
    assert!(shown["last_clicked_at"].is_string());
}

#[test]
fn location_headers_that_anybody_can_send_change_nothing() {
    let server = Server::start(&[]);
    let link = server.link("geo", &json!({}));
    let visitor = server.visitor();
    for name in [
        "cf-ipcountry",
        "x-vercel-ip-country",
        "x-country-code",
        "cloudfront-viewer-country",
        "x-appengine-country",
    ] {
        for value in ["XX", "DE", "\u{e9}", ""] {
            let answer = visitor.get_with("/geo", name, value).expect(302);
            assert_eq!(answer.location(), "https://example.com/");
        }
    }
    assert_eq!(server.totals(&link), [20, 0, 0]);
    let id = link["id"].as_str().unwrap();
    let summary = server
        .get(&format!("/analytics/summary?link_id={id}"))
        .json();
    assert_eq!(summary["visitors"], 1);
}

#[test]
fn a_link_leads_somewhere_only_between_its_start_and_its_end() {
    let server = Server::shared();
    let target = "https://example.com/timed-target";
    let timed = |slug: &str, members| {
        let link = server.link(slug, &members);
        let link = server.change(&link, &json!({"target_url": target}));
        let visitor = server.visitor();
        let answer = visitor.get(&format!("/{slug}"));
        let preview = visitor.get(&format!("/{slug}+"));
        if answer.status != 302 {
            assert_eq!(preview.status, answer.status);
            for answer in [&answer, &preview] {
                assert!(!String::from_utf8_lossy(&answer.body).contains("timed-target"));
            }
        }
        (answer.status, link["status"].as_str().unwrap().to_owned())
    };
    let (past, future) = ("2020-01-01T00:00:00Z", "2999-01-01T00:00:00Z");
    for (slug, members, status, shown) in [
        ("timed-1", json!({"starts_at": past}), 302, "active"),
        ("timed-2", json!({"starts_at": future}), 404, "scheduled"),
        ("timed-3", json!({"expires_at": past}), 410, "expired"),
        ("timed-4", json!({"expires_at": future}), 302, "active"),
        (
            "timed-5",
            json!({"starts_at": past, "expires_at": future}),
            302,
            "active",
        ),
        (
            "timed-6",
            json!({"starts_at": "2020-01-01T01:00:00+01:00"}),
            302,
            "active",
        ),
    ] {
        assert_eq!(timed(slug, members), (status, shown.to_owned()), "{slug}");
    }
}

#[test]
fn an_end_takes_effect_while_the_link_is_being_followed() {
    let server = Server::shared();
    let link = server.link("ending", &json!({}));
    let made: Timestamp = link["created_at"].as_str().unwrap().parse().unwrap();
    let end = made + Duration::from_millis(1_500);
    server.change(&link, &json!({"expires_at": end.to_string()}));
    let visitor = server.visitor();
    visitor.get("/ending").expect(302);
    let gone = until("the link expires", || {
        let answer = visitor.get("/ending");
        (answer.status != 302).then_some(answer)
    });
    gone.problem_code(410, "link_expired");
    let changed = server.change(&link, &json!({"title": "after its end"}));
    let changed_at: Timestamp = changed["updated_at"].as_str().unwrap().parse().unwrap();
    assert!(changed_at >= end, "not before its end");
    server.change(&link, &json!({"expires_at": null}));
    visitor.get("/ending").expect(302);
}

#[test]
fn only_get_and_head_follow_a_link() {
    let server = Server::shared();
    let link = server.link("get-only", &json!({}));
    let visitor = server.visitor();
    for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"] {
        let request = visitor.request(method.parse().unwrap(), "/get-only");
        let answer: Answer = request.send().unwrap().into();
        answer.problem_code(405, "method_not_allowed");
        assert_eq!(answer.header("allow"), "GET, HEAD");
    }
    assert_eq!(server.totals(&link), [0, 0, 0]);
}
