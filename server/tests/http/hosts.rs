//! Which host a request is for.

use serde_json::json;

use crate::raw;
use crate::server::Server;

#[test]
fn links_answer_on_their_own_host_with_any_port_and_on_no_other() {
    let server = Server::shared();
    server.link("hosted", &json!({}));
    let visitor = server.visitor();
    for host in [
        "localhost",
        "LOCALHOST",
        "localhost:8080",
        "localhost:1",
        "localhost.",
    ] {
        let answer = visitor.get_with("/hosted", "host", host);
        assert_eq!(answer.status, 302, "{host}");
    }
    for host in [
        "evil.example",
        "evil.localhost",
        "localhost.evil.example",
        "127.0.0.1",
        "[::1]",
        "localhost@evil.example",
        "xlocalhost",
        "",
        "localhost, evil.example",
        "..",
        "localhost:x:y",
    ] {
        let answer = visitor.get_with("/hosted", "host", host);
        assert!(
            matches!(answer.status, 404 | 400),
            "{host}: {}",
            answer.status
        );
        answer.problem(answer.status);
        let preview = visitor.get_with("/hosted+", "host", host);
        assert!(
            matches!(preview.status, 404 | 400),
            "{host}: {}",
            preview.status
        );
    }
}

#[test]
fn another_host_in_a_forwarding_header_changes_nothing() {
    let server = Server::shared();
    server.link("forwarded", &json!({}));
    let visitor = server.visitor();
    for name in ["x-forwarded-host", "x-host", "x-original-host"] {
        visitor
            .get_with("/forwarded", name, "evil.example")
            .expect(302);
    }
    let request = visitor
        .request(reqwest::Method::GET, "/forwarded")
        .build()
        .unwrap();
    assert_eq!(request.headers()["host"], "localhost");
    let answer = raw::send(
        server.address,
        b"GET /forwarded HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: localhost\r\nConnection: close\r\n\r\n",
    );
    answer.problem(404);
}

#[test]
fn a_request_that_names_two_hosts_or_none_is_malformed() {
    let server = Server::shared();
    server.link("two-hosts", &json!({}));
    for head in [
        "GET /two-hosts HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n",
        "GET /two-hosts HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n",
        "GET /two-hosts HTTP/1.1\r\n",
        "GET http://evil.example/two-hosts HTTP/1.1\r\nHost: localhost\r\n",
        "GET http://localhost/two-hosts HTTP/1.1\r\nHost: evil.example\r\n",
    ] {
        let request = format!("{head}Connection: close\r\n\r\n");
        let answer = raw::send(server.address, request.as_bytes());
        assert_eq!(answer.status, 400, "{head}");
        answer.problem(400);
    }
    let absolute =
        b"GET http://localhost/two-hosts HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(raw::send(server.address, absolute).status, 302);
}

#[test]
fn the_api_refuses_two_hosts_as_well() {
    let server = Server::shared();
    for head in [
        "GET /api/v1/openapi.json HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n",
        "GET http://evil.example/api/v1/openapi.json HTTP/1.1\r\nHost: localhost\r\n",
        "GET /api/v1/openapi.json HTTP/1.1\r\n",
    ] {
        let request = format!("{head}Connection: close\r\n\r\n");
        raw::send(server.address, request.as_bytes()).problem(400);
    }
}

#[test]
fn the_servers_own_pages_answer_on_any_host() {
    let server = Server::shared();
    let visitor = server.visitor();
    for path in [
        "/",
        "/docs",
        "/redoc",
        "/health/live",
        "/health/ready",
        "/metrics",
        "/robots.txt",
        "/api/v1/openapi.json",
    ] {
        for host in ["localhost", "evil.example", "10.0.0.1:8080"] {
            let answer = visitor.get_with(path, "host", host);
            assert_eq!(answer.status, 200, "{path} on {host}");
        }
    }
}
