//! The example that embeds the crate runs, redirects and counts.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn get(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\nUser-Agent: Mozilla/5.0 \
         (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_embedding_example_redirects_and_counts() {
    let dir = tempfile::tempdir().unwrap();
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut example = Command::new(cargo)
        .args(["run", "-q", "-p", "terse-core", "--example", "embed", "--"])
        .arg(dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(example.stdout.take().unwrap()).lines();
    assert_eq!(
        lines.next().unwrap().unwrap(),
        "http://localhost/launch leads to https://example.com/a"
    );
    let url = lines.next().unwrap().unwrap();
    let port = url
        .trim_start_matches("http://localhost:")
        .trim_end_matches("/launch")
        .parse()
        .unwrap();
    let answer = get(port, "/launch");
    assert!(answer.starts_with("HTTP/1.1 302"), "{answer}");
    assert!(
        answer.contains("location: https://example.com/a\r\n"),
        "{answer}"
    );
    assert!(get(port, "/unknown").starts_with("HTTP/1.1 404"));
    let deadline = Instant::now() + Duration::from_secs(20);
    while !get(port, "/figures").contains("clicks: 1,") {
        assert!(Instant::now() < deadline, "the click was not counted");
        std::thread::sleep(Duration::from_millis(20));
    }
    // `cargo run` became the example itself.
    let _ = example.kill();
    let _ = example.wait();
}
