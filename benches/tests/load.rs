//! The load generator against small servers whose behaviour is known.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use terse_benches::load::{Load, OnBreak, Pace};
use terse_benches::traffic::{Traffic, Visits};

const FOUND: &[u8] = b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 2\r\n\r\nok";

/// Serves each connection on a thread by `answer`, which gets the number of the request on its
/// connection; the connection is closed when that returns false.
fn serve(answer: fn(&mut TcpStream, usize) -> bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.expect("a connection");
            thread::spawn(move || {
                let mut request = [0; 4_096];
                let mut number = 0;
                while socket.read(&mut request).is_ok_and(|bytes| bytes > 0) {
                    number += 1;
                    if !answer(&mut socket, number) {
                        return;
                    }
                }
            });
        }
    });
    address
}

fn load(address: SocketAddr, pace: Pace, on_break: OnBreak) -> Load {
    Load {
        address,
        connections: 5,
        pace,
        on_break,
        cores: Vec::new(),
    }
}

fn visits(threads: u64) -> Vec<Visits> {
    let visits = Visits::new("localhost", &["/a".to_owned()], &["x".to_owned()], 0);
    (0..threads).map(|seed| visits.reseeded(seed)).collect()
}

#[test]
fn a_number_of_requests_is_sent_exactly_and_every_answer_counted() {
    let address = serve(|socket, _| socket.write_all(FOUND).is_ok());
    let load = load(address, Pace::Requests(1_001), OnBreak::Fail);
    let (outcome, _) = load.run(visits(2)).expect("a run");
    assert_eq!(outcome.only_redirects().expect("redirects"), 1_001);
    assert_eq!(outcome.latency.len(), 1_001);
}

#[test]
fn an_answer_that_arrives_in_pieces_counts_once() {
    let address = serve(|socket, _| {
        socket.set_nodelay(true).expect("nodelay");
        FOUND.chunks(7).all(|piece| {
            thread::sleep(Duration::from_micros(300));
            socket.write_all(piece).is_ok()
        })
    });
    let load = load(address, Pace::Requests(20), OnBreak::Fail);
    let (outcome, _) = load.run(visits(1)).expect("a run");
    assert_eq!(outcome.redirects(), 20);
}

#[test]
fn a_stall_shows_in_every_request_that_was_due_meanwhile() {
    let address = serve(|socket, number| {
        if number == 1 {
            thread::sleep(Duration::from_millis(300));
        }
        socket.write_all(FOUND).is_ok()
    });
    let pace = Pace::Open {
        rate: 1_000.0,
        duration: Duration::from_millis(600),
    };
    let (outcome, _) = load(address, pace, OnBreak::Fail)
        .run(visits(1))
        .expect("a run");
    assert_eq!(outcome.answers(), 600);
    // All five connections stall at first. Half of the requests were due before they went on, and
    // waited 150 ms on average.
    assert!(outcome.latency.permille(750) > Duration::from_millis(80));
    assert!(outcome.latency.max() >= Duration::from_millis(299));
}

#[test]
fn requests_that_a_server_is_too_slow_for_are_given_up_and_counted() {
    let address = serve(|socket, _| {
        thread::sleep(Duration::from_millis(10));
        socket.write_all(FOUND).is_ok()
    });
    let pace = Pace::Open {
        rate: 10_000.0,
        duration: Duration::from_millis(400),
    };
    let (outcome, _) = load(address, pace, OnBreak::Fail)
        .run(visits(2))
        .expect("a run");
    assert_eq!(outcome.answers() + outcome.missed, 4_000);
    assert!(outcome.answers() <= 5 * 52, "{}", outcome.answers());
}

#[test]
fn other_answers_than_redirects_are_told_apart() {
    let address = serve(|socket, number| {
        let status = if number == 2 {
            "404 Not Found"
        } else {
            "302 Found"
        };
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        socket.write_all(answer.as_bytes()).is_ok()
    });
    let load = Load {
        connections: 1,
        ..load(address, Pace::Requests(100), OnBreak::Fail)
    };
    let (outcome, _) = load.run(visits(1)).expect("a run");
    assert_eq!((outcome.by_class[3], outcome.by_class[4]), (99, 1));
    assert!(outcome.only_redirects().is_err());
}

/// Requests numbered in their path; remembers which were answered.
struct Numbered {
    sent: u64,
    answered: Vec<u64>,
}

impl Traffic for Numbered {
    fn next(&mut self, request: &mut Vec<u8>) -> u64 {
        self.sent += 1;
        let head = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", self.sent);
        request.extend_from_slice(head.as_bytes());
        self.sent
    }

    fn answered(&mut self, tag: u64, _status: u16) {
        self.answered.push(tag);
    }
}

#[test]
fn broken_connections_are_opened_again_and_their_requests_named() {
    let address = serve(|socket, number| number < 10 && socket.write_all(FOUND).is_ok());
    let load = load(address, Pace::Requests(200), OnBreak::Reconnect);
    let numbered = Numbered {
        sent: 0,
        answered: Vec::new(),
    };
    let (outcome, mut back) = load.run(vec![numbered]).expect("a run");
    let mut numbered = back.remove(0);
    assert_eq!(numbered.sent, 200);
    assert_eq!(outcome.answers() + outcome.broken, 200);
    assert!(outcome.broken >= 15, "{} broken", outcome.broken);
    numbered.answered.sort_unstable();
    numbered.answered.dedup();
    assert_eq!(numbered.answered.len() as u64, outcome.answers());
}

#[test]
fn a_broken_connection_fails_a_run_that_asks_for_it() {
    let address = serve(|_, _| false);
    let load = load(address, Pace::Requests(10), OnBreak::Fail);
    assert!(load.run(visits(1)).is_err());
}
