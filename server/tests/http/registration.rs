//! Registering, verifying, and getting back in, by the mails that the server writes.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::outbox::token_in;
use crate::server::{PASSWORD, Server, Visitor};

fn open() -> Server {
    Server::start(&[
        ("TERSE_REGISTRATION", "open"),
        ("TERSE_TRUSTED_PROXIES", "127.0.0.0/8"),
    ])
}

fn post(visitor: &Visitor, path: &str, body: &Value) -> Answer {
    let request = visitor.request(Method::POST, &format!("/api/v1{path}"));
    request.json(body).send().unwrap().into()
}

fn sign_in(server: &Server, email: &str, password: &str) -> Answer {
    server.token_request(&[
        ("grant_type", "password"),
        ("username", email),
        ("password", password),
    ])
}

/// An answer without what tells requests apart.
fn bytes(answer: &Answer) -> (u16, Vec<(String, String)>, Vec<u8>) {
    let mut headers: Vec<_> = answer
        .headers
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "x-request-id" | "date"))
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    headers.sort();
    (answer.status, headers, answer.body.clone())
}

#[test]
fn somebody_registers_verifies_signs_in_and_makes_a_link() {
    let server = open();
    let new = json!({"email": "Eve@example.com", "password": PASSWORD, "name": "Eve"});
    post(&server.visitor(), "/auth/register", &new).expect(202);
    sign_in(&server, "eve@example.com", PASSWORD).problem(400);
    let mail = server.mail_to("Eve@example.com", 1);
    let token = token_in(&mail, "verify");
    let body = json!({ "token": token });
    post(&server.visitor(), "/auth/verify-email", &body).expect(204);
    let again = post(&server.visitor(), "/auth/verify-email", &body);
    assert_eq!(again.refused("token"), "token_invalid");
    let granted = sign_in(&server, "eve@example.com", PASSWORD)
        .expect(200)
        .json();
    let eve = server.holder(granted["access_token"].as_str().unwrap());
    let link = json!({"target_url": "https://example.com/", "slug": "eves"});
    eve.post("/links", &link).expect(201);
    server.visitor().get("/eves").expect(302);
    assert_eq!(eve.get("/me").json()["role"], "user");
}

#[test]
fn the_page_in_the_mail_changes_nothing_until_its_button_is_pressed() {
    let server = open();
    let new = json!({"email": "page@example.com", "password": PASSWORD});
    post(&server.visitor(), "/auth/register", &new).expect(202);
    let token = token_in(&server.mail_to("page@example.com", 1), "verify");
    let path = format!("/verify?token={token}");
    for _ in 0..3 {
        let page = server.visitor().get(&path).expect(200);
        assert_eq!(page.header("referrer-policy"), "no-referrer");
        assert_eq!(page.header("cache-control"), "no-store");
        let policy = page.header("content-security-policy");
        assert!(policy.contains("form-action 'self'") && !policy.contains("script-src"));
        assert!(page.text().contains(&token));
    }
    sign_in(&server, "page@example.com", PASSWORD).problem(400);
    let press = |token: &str| -> Answer {
        let request = server.visitor().request(Method::POST, "/verify");
        request.form(&[("token", token)]).send().unwrap().into()
    };
    assert!(
        press(&token)
            .expect(200)
            .text()
            .contains("page@example.com")
    );
    press(&token).expect(422);
    press("\"><script>alert(1)</script>").expect(422);
    let page = server
        .visitor()
        .get("/verify?token=%22%3E%3Cscript%3Ealert(1)%3C/script%3E");
    assert!(!page.expect(200).text().contains("<script>"));
    sign_in(&server, "page@example.com", PASSWORD).expect(200);
}

#[test]
fn a_forgotten_password_is_reset_by_mail_and_every_session_ends() {
    let server = open();
    let ada = server.person("reset@example.com", "user");
    let body = json!({"email": "RESET@example.com"});
    post(&server.visitor(), "/auth/password/forgot", &body).expect(202);
    let token = token_in(&server.mail_to("reset@example.com", 1), "reset");
    server
        .visitor()
        .get(&format!("/reset?token={token}"))
        .expect(200);
    let press = |password: &str| -> Answer {
        let request = server.visitor().request(Method::POST, "/reset");
        let form = [("token", token.as_str()), ("new_password", password)];
        request.form(&form).send().unwrap().into()
    };
    let weak = press("password1").expect(422);
    assert!(weak.text().contains("guessed first") && weak.text().contains(&token));
    ada.get("/me").expect(200);
    press("entirely new staple").expect(200);
    press("another new staple").expect(422);
    ada.get("/me").problem_code(401, "session_ended");
    ada.refresh().problem(400);
    sign_in(&server, "reset@example.com", PASSWORD).problem(400);
    sign_in(&server, "reset@example.com", "entirely new staple").expect(200);
    let notice = server.mail_to("reset@example.com", 2);
    assert!(!notice.contains("token="));
}

#[test]
fn no_answer_tells_whether_an_account_exists() {
    let server = open();
    server.person("known@example.com", "user");
    let ask = |path: &str, body: &Value| bytes(&post(&server.visitor(), path, body));
    for path in ["/auth/password/forgot", "/auth/verify-email/resend"] {
        let known = ask(path, &json!({"email": "known@example.com"}));
        let unknown = ask(path, &json!({"email": "unknown@example.com"}));
        assert_eq!(known, unknown, "{path}");
        assert_eq!(known.0, 202);
    }
    let new = |email: &str| json!({"email": email, "password": "entirely new staple"});
    let known = ask("/auth/register", &new("known@example.com"));
    let unknown = ask("/auth/register", &new("fresh@example.com"));
    assert_eq!(known, unknown);
    server.mail_to("known@example.com", 3);
    server.mail_to("unknown@example.com", 2);
    server.mail_to("fresh@example.com", 1);
    sign_in(&server, "known@example.com", "entirely new staple").problem(400);
}

#[test]
fn an_unknown_address_takes_as_long_to_refuse_as_a_wrong_password() {
    let server = open();
    server.person("timed@example.com", "user");
    let time = |email: &str| {
        let begun = Instant::now();
        sign_in(&server, email, "wrong horse battery").problem(400);
        begun.elapsed()
    };
    let median = |mut times: Vec<Duration>| {
        times.sort();
        times[times.len() / 2]
    };
    time("warm@example.com");
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for number in 0..21 {
        known.push(time("timed@example.com"));
        unknown.push(time(&format!("nobody-{number}@example.com")));
    }
    let (known, unknown) = (median(known), median(unknown));
    // A machine under test is noisy; not hashing at all would be a hundred times faster.
    assert!(
        known < unknown * 2 && unknown < known * 2,
        "{known:?} {unknown:?}"
    );
}

#[test]
fn strangers_cause_few_mails_and_are_not_told_when_there_are_no_more() {
    let server = Server::start(&[
        ("TERSE_REGISTRATION", "open"),
        ("TERSE_TRUSTED_PROXIES", "127.0.0.0/8"),
        ("TERSE_RATE_LIMIT_AUTH", "1000/m"),
    ]);
    server.person("bombed@example.com", "user");
    let body = json!({"email": "Bombed@example.com"});
    for _ in 0..50 {
        post(&server.visitor(), "/auth/password/forgot", &body).expect(202);
    }
    server.mail_to("bombed@example.com", 3);
    let other = json!({"email": "other@example.com"});
    post(&server.visitor(), "/auth/password/forgot", &other).expect(202);
    server.mail_to("other@example.com", 1);
    assert_eq!(server.mails_to("bombed@example.com").len(), 3);
    let one = server.visitor();
    let statuses: Vec<u16> = (0..15)
        .map(|number| {
            let body = json!({ "email": format!("many-{number}@example.com") });
            post(&one, "/auth/password/forgot", &body).status
        })
        .collect();
    assert_eq!(statuses[..10], [202; 10]);
    assert!(
        statuses[10..].iter().all(|status| *status == 429),
        "{statuses:?}"
    );
}

#[test]
fn links_in_mails_lead_to_the_public_url_whatever_the_request_says() {
    let server = open();
    server.person("host@example.com", "user");
    let request = server
        .visitor()
        .request(Method::POST, "/api/v1/auth/password/forgot");
    let answer: Answer = request
        .header("X-Forwarded-Host", "evil.example")
        .header("Forwarded", "host=evil.example")
        .json(&json!({"email": "host@example.com"}))
        .send()
        .unwrap()
        .into();
    answer.expect(202);
    let mail = server.mail_to("host@example.com", 1);
    assert!(mail.contains("http://localhost/reset?token="));
    assert!(!mail.contains("evil.example"));
}

#[test]
fn where_registration_is_closed_nobody_registers() {
    let server = Server::shared();
    let new = json!({"email": "closed@example.com", "password": PASSWORD});
    let answer = post(&server.visitor(), "/auth/register", &new);
    answer.problem_code(403, "registration_closed");
}

#[test]
fn guessing_one_accounts_password_from_many_addresses_is_slowed_down_and_its_owner_gets_in() {
    let server = Server::start(&[
        ("TERSE_TRUSTED_PROXIES", "127.0.0.0/8"),
        ("TERSE_RATE_LIMIT_AUTH", "10/m"),
    ]);
    let body = json!({"email": "victim@example.com", "password": PASSWORD, "role": "user"});
    server.post("/users", &body).expect(201);
    let attempt = |visitor: &Visitor, password: &str| -> Answer {
        let request = visitor.request(Method::POST, "/api/v1/auth/token");
        let form = [
            ("grant_type", "password"),
            ("username", "victim@example.com"),
            ("password", password),
        ];
        request.form(&form).send().unwrap().into()
    };
    let home = server.visitor();
    attempt(&home, PASSWORD).expect(200);
    let limited = (0..30)
        .map(|_| attempt(&server.visitor(), "wrong horse battery"))
        .filter(|answer| answer.status == 429)
        .inspect(|answer| assert!(answer.header("ratelimit").starts_with("\"account\"")))
        .count();
    assert!(limited >= 15, "{limited} of 30 were slowed down");
    attempt(&home, PASSWORD).expect(200);
    let elsewhere = server.visitor();
    let first = attempt(&elsewhere, PASSWORD);
    if first.status == 429 {
        let wait = first.header("retry-after").parse().unwrap();
        std::thread::sleep(Duration::from_secs(wait));
        attempt(&elsewhere, PASSWORD).expect(200);
    }
}
