use serde_json::json;

use crate::{Service, code, shared};

#[test]
fn each_redirect_status_is_sent_with_one_location_and_its_cache_rule() {
    let service = shared();
    for (status, cache) in [
        (301, "private, max-age=60"),
        (302, "private, no-store"),
        (303, "private, no-store"),
        (307, "private, no-store"),
        (308, "private, max-age=60"),
    ] {
        service.link(json!({"slug": format!("s{status}"), "redirect_status": status}));
        let answer = service.visit(&format!("/s{status}"));
        assert_eq!(answer.status(), status);
        assert_eq!(answer.headers().get_all("location").iter().count(), 1);
        assert_eq!(answer.headers()["cache-control"], cache);
        assert_eq!(answer.headers()["x-robots-tag"], "noindex");
    }
}

#[test]
fn spellings_of_a_path_lead_to_the_link_or_nowhere() {
    let service = shared();
    service.link(json!({"slug": "paths"}));
    for path in ["/paths", "/paths/", "/PATHS", "/p%61ths"] {
        assert_eq!(service.visit(path).status(), 302, "{path}");
    }
    for path in [
        "//paths",
        "/paths//",
        "/..%2fpaths",
        "/paths%00",
        "/paths%0d%0a",
        "/paths;x=1",
        "/%2e%2e/paths",
        "/%25%37%30aths",
        "/.well-known/x",
        "/paths/more",
    ] {
        let raw = service.raw(
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                .as_bytes(),
        );
        assert!(
            raw.starts_with("HTTP/1.1 404") || raw.starts_with("HTTP/1.1 429"),
            "{path}: {raw}"
        );
    }
}

#[test]
fn only_our_own_host_has_links() {
    let service = shared();
    service.link(json!({"slug": "hosted"}));
    for (host, status) in [
        ("localhost", 302),
        ("LOCALHOST:99", 302),
        ("localhost.", 302),
        ("evil.example", 404),
        ("127.0.0.1", 404),
    ] {
        let answer = service
            .request("GET", "/hosted")
            .header("Host", host)
            .header("X-Forwarded-Host", "localhost")
            .send();
        // A header set twice is sent twice: take the one of this test alone.
        drop(answer);
        let raw = service.raw(format!("GET /hosted HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-Host: localhost\r\nConnection: close\r\n\r\n").as_bytes());
        assert!(
            raw.starts_with(&format!("HTTP/1.1 {status}")),
            "{host}: {raw}"
        );
    }
}

#[test]
fn reserved_words_are_what_the_server_routes() {
    let service = shared();
    for path in [
        "/api/v1/openapi.json",
        "/docs",
        "/redoc",
        "/health/live",
        "/health/ready",
        "/metrics",
        "/robots.txt",
        "/favicon.ico",
    ] {
        let answer = service.request("GET", path).send().unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        let first = path[1..].split('/').next().unwrap();
        for slug in [first.to_owned(), first.to_uppercase()] {
            let refused = service.create(json!({"slug": slug}));
            assert_eq!(refused.status(), 422, "{slug}");
        }
    }
}

#[test]
fn a_link_for_ten_gives_ten_of_two_hundred_parallel_visitors_a_redirect() {
    let service = Service::new(&[("TERSE_RATE_LIMIT_REDIRECT", "off")]);
    service
        .link(json!({"slug": "ten", "max_clicks": 10, "target_url": "https://example.com/secret"}));
    for request in [
        service.request("HEAD", "/ten"),
        service
            .request("GET", "/ten")
            .header("User-Agent", "curl/8"),
        service.request("GET", "/ten+"),
    ] {
        let answer = request.send().unwrap();
        assert_eq!(answer.status(), 200);
        assert!(!answer.headers().contains_key("location"));
        assert!(!answer.text().unwrap().contains("secret"));
    }
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let visits: Vec<_> = (0..200)
            .map(|_| scope.spawn(|| service.visit("/ten").status().as_u16()))
            .collect();
        visits
            .into_iter()
            .map(|visit| visit.join().unwrap())
            .collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 302).count(), 10);
    assert_eq!(
        statuses.iter().filter(|status| **status == 410).count(),
        190
    );
}

#[test]
fn timed_links_say_what_they_are() {
    let service = shared();
    service.link(json!({"slug": "past", "expires_at": "2020-01-01T00:00:00Z"}));
    service.link(json!({"slug": "future", "starts_at": "2999-01-01T00:00:00+01:00"}));
    assert_eq!(
        code(service.visit("/past")),
        (410, "link_expired".to_owned())
    );
    assert_eq!(service.visit("/future").status(), 404);
    assert!(
        !service
            .visit("/future+")
            .text()
            .unwrap()
            .contains("example.com")
    );
}

#[test]
fn hostile_text_is_shown_as_text() {
    let service = shared();
    service.link(json!({"slug": "hostile", "title": "\"><svg onload=alert(1)>", "target_url": "https://example.com/?q='\"><script>alert(1)</script>"}));
    let page = service.visit("/hostile+");
    assert!(
        page.headers()["content-security-policy"]
            .to_str()
            .unwrap()
            .contains("default-src 'none'")
    );
    let html = page.text().unwrap();
    assert!(
        !html.contains("<svg") && !html.contains("<script"),
        "{html}"
    );
    let browser = service
        .request("GET", "/no-such-link")
        .header("Accept", "text/html,*/*")
        .send()
        .unwrap();
    assert_eq!(browser.status(), 404);
    assert!(browser.text().unwrap().contains("There is no such link"));
}

#[test]
fn invalid_bytes_in_headers_do_not_stop_a_redirect() {
    let service = shared();
    service.link(json!({"slug": "bytes"}));
    let request = b"GET /bytes?utm_source=%ff%00 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nUser-Agent: \xff\xfe\r\nReferer: https://\xff/\r\nAccept-Language: \xff\r\n\r\n";
    assert!(service.raw(request).starts_with("HTTP/1.1 302"));
}

#[test]
fn a_query_is_forwarded_or_found_too_long() {
    let service = shared();
    service.link(json!({"slug": "query"}));
    let answer = service.visit("/query?utm=1&x=%0d%0aSet-Cookie:1");
    assert_eq!(
        answer.headers()["location"],
        "https://example.com/target?utm=1&x=%0d%0aSet-Cookie:1"
    );
    assert_eq!(
        service
            .visit(&format!("/query?{}", "x".repeat(9_000)))
            .status(),
        414
    );
}
