use crate::{Service, code, problem, shared};

#[test]
fn errors_of_the_framework_are_problems_too() {
    let service = shared();
    let post = |body: &'static str, kind: &str| {
        service
            .api("POST", "/links")
            .header("Content-Type", kind)
            .body(body)
            .send()
            .unwrap()
    };
    assert_eq!(post("{", "application/json").status(), 400);
    assert_eq!(
        code(post("[]", "application/json")),
        (400, "malformed_request".to_owned())
    );
    assert_eq!(code(post("x", "text/plain")).0, 415);
    assert_eq!(
        code(service.api("GET", "/nothing-here").send().unwrap()),
        (404, "not_found".to_owned())
    );
    assert_eq!(code(service.api("GET", "/links/").send().unwrap()).0, 404);
    let wrong = service.api("PUT", "/links").send().unwrap();
    assert_eq!(wrong.headers()["allow"], "GET, HEAD, POST");
    assert_eq!(code(wrong), (405, "method_not_allowed".to_owned()));
    let deep = "[".repeat(10_000);
    let answer = service
        .api("POST", "/links")
        .header("Content-Type", "application/json")
        .body(deep)
        .send()
        .unwrap();
    assert_eq!(answer.status(), 400);
}

#[test]
fn a_body_is_bounded_whatever_its_length_header_says() {
    let service = shared();
    let big = format!(
        "{{\"target_url\":\"https://example.com/{}\"}}",
        "a".repeat(70_000)
    );
    let answer = service
        .api("POST", "/links")
        .header("Content-Type", "application/json")
        .body(big)
        .send()
        .unwrap();
    assert_eq!(code(answer).0, 413);
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x1_0000));
    let chunked = format!(
        "POST /api/v1/links HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\
         Content-Type: application/json\r\nAuthorization: Bearer {}\r\n\r\n{}0\r\n\r\n",
        service.token,
        chunk.repeat(3)
    );
    assert!(service.raw(chunked.as_bytes()).starts_with("HTTP/1.1 413"));
}

#[test]
fn odd_requests_never_make_a_server_error() {
    let service = shared();
    let requests: [&[u8]; 9] = [
        b"GET /x HTTP/1.1\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET http://other.example/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET /x?\xff HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost: \xff\r\nConnection: close\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"CONNECT localhost:1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
    ];
    for request in requests {
        let answer = service.raw(request);
        let status = answer.split(' ').nth(1).unwrap_or("closed");
        assert!(
            !status.starts_with('5'),
            "{:?}: {answer}",
            String::from_utf8_lossy(request)
        );
    }
    let twice = service.raw(requests[1]);
    assert!(twice.starts_with("HTTP/1.1 400"), "{twice}");
}

#[test]
fn a_sender_that_never_finishes_its_head_is_cut_off() {
    let service = shared();
    let begun = std::time::Instant::now();
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", service.node.port())).unwrap();
    std::io::Write::write_all(&mut stream, b"GET /x HTTP/1.1\r\nHost: loc").unwrap();
    stream
        .set_read_timeout(Some(std::time::Duration::from_secs(30)))
        .unwrap();
    let read = std::io::Read::read(&mut stream, &mut [0; 512]);
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    assert!(
        begun.elapsed() < std::time::Duration::from_secs(16),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn limits_count_addresses_and_believe_only_trusted_proxies() {
    let direct = Service::new(&[("TERSE_RATE_LIMIT_REDIRECT", "10/m")]);
    direct.link(serde_json::json!({"slug": "limited"}));
    let from = |service: &Service, address: &str| {
        service
            .request("GET", "/limited")
            .header("X-Forwarded-For", address)
            .header("X-Real-IP", address)
            .header("Forwarded", format!("for={address}"))
            .header("CF-Connecting-IP", address)
            .send()
            .unwrap()
    };
    let answered = (0..30)
        .filter(|n| from(&direct, &format!("9.9.9.{n}")).status() == 302)
        .count();
    assert_eq!(answered, 10);
    let limited = from(&direct, "1.1.1.1");
    assert!(
        limited.headers()["retry-after"]
            .to_str()
            .unwrap()
            .parse::<u64>()
            .unwrap()
            >= 1
    );
    assert!(limited.headers().contains_key("ratelimit"));
    assert!(limited.headers().contains_key("ratelimit-policy"));
    assert_eq!(problem(limited)["code"], "rate_limited");

    let proxied = Service::new(&[
        ("TERSE_RATE_LIMIT_REDIRECT", "10/m"),
        ("TERSE_TRUSTED_PROXIES", "127.0.0.0/8"),
    ]);
    proxied.link(serde_json::json!({"slug": "limited"}));
    let answered = (0..30)
        .filter(|n| from(&proxied, &format!("9.9.9.{n}")).status() == 302)
        .count();
    assert_eq!(answered, 30);
    let spoofed = (0..30)
        .filter(|n| from(&proxied, &format!("8.8.8.{n}, 7.7.7.7")).status() == 302)
        .count();
    assert_eq!(spoofed, 10, "only the rightmost address counts");
}

#[test]
fn who_guesses_slugs_is_slowed_down() {
    let service = Service::new(&[]);
    let limited = (0..100).any(|n| service.visit(&format!("/guess{n}")).status() == 429);
    assert!(limited);
}
