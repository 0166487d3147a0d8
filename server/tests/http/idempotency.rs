//! Requests that are sent again and must have their effect once.

use std::thread;

use reqwest::Method;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::person::Person;
use crate::server::Server;

fn create(person: &Person<'_>, server: &Server, key: &str, body: &Value) -> Answer {
    let request = server.visitor().request(Method::POST, "/api/v1/links");
    let request = request.bearer_auth(&person.token);
    request
        .header("Idempotency-Key", key)
        .json(body)
        .send()
        .unwrap()
        .into()
}

fn links(person: &Person<'_>) -> usize {
    let page = person.get("/links?limit=200").expect(200).json();
    page["items"].as_array().unwrap().len()
}

#[test]
fn the_same_request_again_gets_the_same_answer_and_makes_nothing_more() {
    let server = Server::shared();
    let ada = server.person("again@example.com", "user");
    let body = json!({"target_url": "https://example.com/again"});
    let first = create(&ada, &server, "order-1", &body).expect(201);
    let path = format!("/links/{}", first.json()["id"].as_str().unwrap());
    ada.patch(&path, &json!({"title": "Changed since"}))
        .expect(200);
    let second = create(&ada, &server, "order-1", &body).expect(201);
    assert_eq!(second.json(), first.json());
    assert_eq!(second.location(), first.location());
    assert_eq!(links(&ada), 1);
    create(&ada, &server, "order-2", &body).expect(201);
    assert_eq!(links(&ada), 2);
}

#[test]
fn of_fifty_parallel_requests_with_one_key_one_makes_a_link_and_all_are_answered_with_it() {
    let server = Server::shared();
    let ada = server.person("fifty@example.com", "user");
    let body = json!({"target_url": "https://example.com/fifty"});
    let answers: Vec<Value> = thread::scope(|scope| {
        let ask = || create(&ada, &server, "fifty", &body).expect(201).json();
        let tasks: Vec<_> = (0..50).map(|_| scope.spawn(ask)).collect();
        tasks.into_iter().map(|task| task.join().unwrap()).collect()
    });
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!(links(&ada), 1);
}

#[test]
fn a_key_is_its_owners_and_for_one_request() {
    let server = Server::shared();
    let ada = server.person("key-of-ada@example.com", "user");
    let grace = server.person("key-of-grace@example.com", "user");
    let body = json!({"target_url": "https://example.com/one"});
    let first = create(&ada, &server, "shared", &body).expect(201).json();
    let other = json!({"target_url": "https://example.com/two"});
    create(&ada, &server, "shared", &other).problem_code(422, "idempotency_key_reused");
    let foreign = create(&grace, &server, "shared", &body).expect(201).json();
    assert_ne!(foreign["id"], first["id"]);
    let (key, _) = ada.key(&["links:write"]);
    let program = create(&server.holder(&key), &server, "shared", &body);
    assert_ne!(program.expect(201).json()["id"], first["id"]);
    assert_eq!(links(&ada), 2);
}

#[test]
fn what_was_refused_may_be_asked_for_again_and_keys_have_bounds() {
    let server = Server::shared();
    let ada = server.person("bounds@example.com", "user");
    let bad = json!({"target_url": "javascript:alert(1)"});
    create(&ada, &server, "corrected", &bad).problem(422);
    let good = json!({"target_url": "https://example.com/"});
    create(&ada, &server, "corrected", &good).expect(201);
    for key in ["", "a b", "tab\there", &"k".repeat(256), "ümlaut"] {
        create(&ada, &server, key, &good).problem_code(400, "malformed_request");
    }
    create(&ada, &server, &"k".repeat(255), &good).expect(201);
}
