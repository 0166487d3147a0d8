//! A mail server that takes connections and says nothing.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::{EMAIL, Node, client};
use crate::post_office::{PostOffice, free_port, is_available, let_time_pass};
use crate::{jobs, running};

const PEOPLE: usize = 6;
const TOO_LONG: &str = "the mail server took too long";

/// Whether tests may take minutes.
fn long() -> bool {
    std::env::var_os("TERSE_TEST_ALL").is_some()
}

/// Asks for something that a mail follows; returns how long the answer took.
fn ask(node: &Node, path: &str, body: &Value) -> Duration {
    let request = client().post(node.url(&format!("/api/v1/auth/{path}")));
    let begun = Instant::now();
    let answer = request.header("Host", "localhost").json(body).send();
    assert_eq!(answer.unwrap().status(), 202);
    begun.elapsed()
}

#[test]
fn a_mail_server_that_says_nothing_holds_nobody_up_and_gets_each_mail_once_when_it_speaks() {
    if !is_available() {
        return;
    }
    let port = free_port();
    // The system takes connections for it.
    let silent = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let url = format!("smtp://127.0.0.1:{port}");
    let mut node = running(&[
        ("TERSE_SMTP_URL", &url),
        ("TERSE_REGISTRATION", "open"),
        ("TERSE_RATE_LIMIT_AUTH", "off"),
    ]);
    let token = node.token();
    let (begun, mut answers) = (Instant::now(), Vec::new());
    for number in 0..PEOPLE {
        let email = format!("person{number}@example.com");
        let new = json!({"email": email, "password": "entirely new staple"});
        answers.push(ask(&node, "register", &new));
    }
    answers.push(ask(&node, "password/forgot", &json!({"email": EMAIL})));
    answers.sort_unstable();
    let (usual, slowest) = (answers[PEOPLE / 2], answers[PEOPLE]);
    // Debug builds of much else run beside the short version.
    let (silence, patience) = if long() { (60, 300) } else { (2, 1_000) };
    assert!(usual < Duration::from_millis(patience), "{usual:?}");
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    while begun.elapsed() < Duration::from_secs(silence) {
        assert_eq!(jobs(&node, &token).len(), PEOPLE + 1, "none is given up");
        std::thread::sleep(Duration::from_millis(200));
    }
    let waiting = jobs(&node, &token);
    let given_up = waiting
        .iter()
        .filter(|job| job["error"] == TOO_LONG)
        .count();
    assert!(given_up > 0 || !long(), "a minute is too long: {waiting:?}");
    drop(silent);
    let office = PostOffice::open(port, &[]);
    let back = Instant::now();
    node.wait_until("every mail is delivered and done", |node| {
        let_time_pass(node);
        jobs(node, &token).is_empty()
    });
    let back = back.elapsed();
    assert_eq!(node.stop(), Some(0));
    let mails = office.mails();
    let mut of_each: BTreeMap<&str, usize> = BTreeMap::new();
    for mail in &mails {
        let to = mail.lines().find_map(|line| line.strip_prefix("To: "));
        *of_each.entry(to.unwrap()).or_default() += 1;
    }
    println!(
        "F41 mails={} of={} usual_answer={usual:.1?} slowest={slowest:.1?} silent_for={silence}s attempts_given_up={given_up} all_sent_after={back:.1?}",
        mails.len(),
        PEOPLE + 1
    );
    assert_eq!(of_each.len(), PEOPLE + 1);
    assert!(of_each.values().all(|mails| *mails == 1), "{of_each:?}");
}
