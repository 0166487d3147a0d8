//! Limits per address, slow clients, and who counts as one address.

use std::io::Write as _;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::answer::Answer;
use crate::raw;
use crate::server::{OPEN_FILES, Server, Visitor};

/// Headers in which people claim addresses.
const CLAIMS: [&str; 6] = [
    "x-forwarded-for",
    "x-real-ip",
    "forwarded",
    "cf-connecting-ip",
    "true-client-ip",
    "x-client-ip",
];

#[track_caller]
fn assert_limited(answer: &Answer, quota: u32) {
    answer.problem_code(429, "rate_limited");
    let wait: u64 = answer.header("retry-after").parse().unwrap();
    assert!(wait >= 1);
    assert_eq!(
        answer.header("ratelimit"),
        format!("\"address\";r=0;t={wait}")
    );
    let policy = answer.header("ratelimit-policy");
    assert!(
        policy.starts_with(&format!("\"address\";q={quota};w=")),
        "{policy}"
    );
}

#[test]
fn an_untrusted_client_stays_one_client_whatever_addresses_it_claims() {
    let server = Server::start(&[("TERSE_RATE_LIMIT_REDIRECT", "20/h")]);
    server.link("limited", &json!({}));
    let visitor = server.visitor();
    let claim = |number: usize| {
        let name = CLAIMS[number % CLAIMS.len()];
        let value = if name == "forwarded" {
            "for=203.0.113."
        } else {
            "203.0.113."
        };
        visitor.get_with("/limited", name, &format!("{value}{number}"))
    };
    let answers: Vec<Answer> = (0..100).map(claim).collect();
    let (allowed, limited) = answers.split_at(20);
    assert!(allowed.iter().all(|answer| answer.status == 302));
    for answer in limited {
        assert_limited(answer, 20);
    }
}

#[test]
fn a_trusted_proxys_clients_are_told_apart_by_the_last_untrusted_hop() {
    let server = Server::start(&[
        ("TERSE_RATE_LIMIT_REDIRECT", "3/h"),
        ("TERSE_TRUSTED_PROXIES", "127.0.0.0/8, 10.0.0.0/8"),
    ]);
    server.link("proxied", &json!({}));
    let visitor = server.visitor();
    let from = |chain: &str| visitor.get_with("/proxied", "x-forwarded-for", chain);
    for chain in ["1.1.1.1, 9.9.9.9", "2.2.2.2, 9.9.9.9", "9.9.9.9, 10.1.1.1"] {
        from(chain).expect(302);
    }
    assert_limited(&from("3.3.3.3,9.9.9.9:4711"), 3);
    from("9.9.9.9, 8.8.8.8").expect(302);
    for host in 1..=3 {
        from(&format!("[2001:db8::{host}]:80")).expect(302);
    }
    // Whoever has one address of a /64 network has them all.
    assert_limited(&from("2001:db8::ffff"), 3);
    from("2001:db8:0:1::1").expect(302);
    let long = "1.1.1.1, ".repeat(450);
    for garbage in [
        "unknown",
        ",,,",
        "[::1",
        "::::",
        "999.1.1.1",
        "_hidden",
        "\u{e9}",
        &long,
    ] {
        let status = from(garbage).status;
        assert!(matches!(status, 302 | 429), "{garbage}: {status}");
    }
}

#[test]
fn a_client_that_waits_as_long_as_it_was_told_is_let_in_again() {
    let server = Server::start(&[("TERSE_RATE_LIMIT_REDIRECT", "2/s")]);
    server.link("patient", &json!({}));
    let visitor = server.visitor();
    let limited = std::iter::repeat_with(|| visitor.get("/patient"))
        .take(50)
        .find(|answer| answer.status == 429)
        .unwrap();
    assert_limited(&limited, 2);
    let wait: u64 = limited.header("retry-after").parse().unwrap();
    std::thread::sleep(Duration::from_secs(wait));
    visitor.get("/patient").expect(302);
}

#[test]
fn the_api_and_sign_ins_have_limits_of_their_own() {
    let server = Server::start(&[
        ("TERSE_RATE_LIMIT_API", "30/h"),
        ("TERSE_RATE_LIMIT_AUTH", "5/h"),
    ]);
    let wrong = [
        ("grant_type", "password"),
        ("username", "nobody@example.com"),
        ("password", "wrong horse battery"),
    ];
    for _ in 0..5 {
        server.token_request(&wrong).problem(400);
    }
    assert_limited(&server.token_request(&wrong), 5);
    let visitor = server.visitor();
    let limited = std::iter::repeat_with(|| visitor.get("/api/v1/links"))
        .take(40)
        .find(|answer| answer.status == 429)
        .unwrap();
    assert_limited(&limited, 30);
    // Pages and redirects go on.
    visitor.get("/health/live").expect(200);
    visitor.get("/nothing-here").problem(404);
}

#[test]
fn someone_who_tries_slugs_is_stopped_before_the_hundredth() {
    let server = Server::shared();
    server.link("known", &json!({}));
    let scanner = server.visitor();
    let statuses: Vec<u16> = (0..100)
        .map(|number| scanner.get(&format!("/guess-{number}")).status)
        .collect();
    let misses = statuses.iter().filter(|status| **status == 404).count();
    assert!((60..=65).contains(&misses), "{misses}");
    assert_eq!(statuses.last(), Some(&429));
    // A hit is told no more than a miss, until the wait that is announced is over.
    let hit = (0..20)
        .map(|number| {
            scanner.get(&format!("/more-{number}"));
            scanner.get("/known")
        })
        .find(|answer| answer.status == 429)
        .expect("known links are not told either");
    assert_limited(&hit, 60);
    assert_eq!(hit.header("location"), "");
    server.visitor().get("/known").expect(302);
    server.visitor().get("/guess-1").problem(404);
    let wait: u64 = hit.header("retry-after").parse().unwrap();
    std::thread::sleep(Duration::from_secs(wait));
    scanner.get("/known").expect(302);
}

#[test]
fn a_crowd_behind_one_address_with_one_misprinted_link_can_follow_others() {
    let server = Server::shared();
    server.link("well-printed", &json!({}));
    let office = server.visitor();
    for _ in 0..100 {
        office.get("/misprinted");
        office.get("/well-printed").expect(302);
    }
    assert_limited(&office.get("/misprinted"), 60);
}

/// Whether tests that take many seconds are wanted.
fn patient() -> bool {
    std::env::var_os("TERSE_TEST_ALL").is_some()
}

#[test]
fn a_client_that_sends_its_request_byte_by_byte_is_cut_off() {
    if !patient() {
        return;
    }
    let server = Server::shared();
    let mut stream = raw::connect(server.address);
    let started = Instant::now();
    let head = format!(
        "GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: {}",
        "x".repeat(100)
    );
    for byte in head.bytes() {
        if stream.write_all(&[byte]).is_err() {
            break;
        }
        assert!(
            started.elapsed() < Duration::from_secs(15),
            "still connected"
        );
        std::thread::sleep(Duration::from_millis(250));
    }
    server.visitor().get("/health/live").expect(200);
}

#[test]
fn a_client_that_sends_nothing_after_its_first_bytes_is_cut_off() {
    if !patient() {
        return;
    }
    let server = Server::shared();
    let mut idle = raw::connect(server.address);
    let mut half = raw::connect(server.address);
    half.write_all(b"GET /x HTTP/1.1\r\nHo").unwrap();
    let started = Instant::now();
    assert!(raw::read(&mut half).is_none_or(|answer| answer.status == 408));
    assert!(raw::read(&mut idle).is_none_or(|answer| answer.status == 408));
    assert!(started.elapsed() < Duration::from_secs(15));
}

#[test]
fn many_slow_clients_do_not_slow_a_visitor() {
    let server = Server::shared();
    server.link("unhurried", &json!({}));
    let open = |_| {
        let mut stream = raw::connect(server.address);
        stream
            .write_all(b"GET /unhurried HTTP/1.1\r\nHost:")
            .unwrap();
        stream
    };
    let slow: Vec<_> = (0..300).map(open).collect();
    let visitor: Visitor = server.visitor();
    for _ in 0..20 {
        visitor.get("/unhurried").expect(302);
    }
    drop(slow);
}

#[test]
fn when_every_place_is_taken_an_idle_connection_makes_room_for_a_visitor() {
    let server = Server::start(&[("TERSE_MAX_CONNECTIONS", "20")]);
    let occupy = |_| {
        let mut stream = raw::connect(server.address);
        stream
            .write_all(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .unwrap();
        assert_eq!(raw::read(&mut stream).unwrap().status, 200);
        stream
    };
    // One place is the client's that waited for the server to be ready.
    let idle: Vec<_> = (0..19).map(occupy).collect();
    let started = Instant::now();
    let mut visitors: Vec<_> = (0..5).map(|_| raw::connect(server.address)).collect();
    for visitor in &mut visitors {
        visitor
            .write_all(b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .unwrap();
    }
    for visitor in &mut visitors {
        assert_eq!(raw::read(visitor).unwrap().status, 404);
    }
    assert!(started.elapsed() < Duration::from_secs(20));
    drop(idle);
}

#[test]
fn connections_never_take_the_files_that_the_database_and_the_spool_need() {
    // The larger the spool may grow, the more files it may need: 4 GiB are 256 of them.
    for (limit, spool, most) in [("300", "16MiB", 250), ("600", "4GiB", 340)] {
        let server = Server::start(&[(OPEN_FILES, limit), ("TERSE_SPOOL_MAX_BYTES", spool)]);
        server.link("crowded", &json!({}));
        let crowd: Vec<_> = (0..400).map(|_| raw::connect(server.address)).collect();
        let mut visitor = raw::connect(server.address);
        visitor
            .write_all(b"GET /crowded HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .unwrap();
        assert_eq!(raw::read(&mut visitor).unwrap().status, 302);
        let files = server.open_files();
        assert!(files < most, "{files} of {limit} are open");
        drop(crowd);
    }
}
