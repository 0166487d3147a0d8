//! Somebody registers, by way of a real mail server.

use serde_json::{Value, json};

use crate::common::{Node, client};
use crate::post_office::{PostOffice, free_port, is_available};
use crate::running;

const EMAIL: &str = "eve@example.com";
const PASSWORD: &str = "entirely new staple";

fn post(node: &Node, path: &str, body: &Value, token: &str) -> u16 {
    let request = client().post(node.url(&format!("/api/v1{path}")));
    let request = request.header("Host", "localhost").bearer_auth(token);
    request.json(body).send().unwrap().status().as_u16()
}

fn sign_in(node: &Node) -> Option<String> {
    let form = [
        ("grant_type", "password"),
        ("username", EMAIL),
        ("password", PASSWORD),
    ];
    let request = client().post(node.url("/api/v1/auth/token"));
    let answer = request.header("Host", "localhost").form(&form).send();
    let granted: Value = answer.unwrap().json().unwrap();
    granted["access_token"].as_str().map(str::to_owned)
}

#[test]
fn somebody_registers_verifies_by_mail_makes_a_link_and_signs_out() {
    if !is_available() {
        return;
    }
    let port = free_port();
    let office = PostOffice::open(port, &[]);
    let url = format!("smtp://127.0.0.1:{port}");
    let node = running(&[("TERSE_SMTP_URL", &url), ("TERSE_REGISTRATION", "open")]);
    let new = json!({ "email": EMAIL, "password": PASSWORD });
    assert_eq!(post(&node, "/auth/register", &new, ""), 202);
    assert_eq!(sign_in(&node), None);
    node.wait_until("the mail is delivered", |_| !office.mails().is_empty());
    let mail = office.mails().remove(0);
    let mut links = mail
        .lines()
        .filter_map(|line| line.strip_prefix("http://localhost/verify?token="));
    let token = json!({ "token": links.next().unwrap() });
    assert_eq!(post(&node, "/auth/verify-email", &token, ""), 204);
    assert_eq!(post(&node, "/auth/verify-email", &token, ""), 422);
    let access = sign_in(&node).unwrap();
    let link = json!({"target_url": "https://example.com/", "slug": "eves"});
    assert_eq!(post(&node, "/links", &link, &access), 201);
    assert_eq!(node.get("/eves"), 302);
    assert_eq!(post(&node, "/auth/logout", &json!({}), &access), 204);
    assert_eq!(post(&node, "/links", &link, &access), 401);
}
