use crate::common::{EMAIL, Node};
use crate::post_office::{
    Certificate, PostOffice, free_port, is_available, let_time_pass, queue_reset, sql,
};
use crate::{failure, jobs, running};

const PASSWORD: &str = "hunter2 & more";

fn delivered(node: &Node, token: &str, office: &PostOffice) -> String {
    node.wait_until("the mail is delivered and done", |node| {
        !office.mails().is_empty() && jobs(node, token).is_empty()
    });
    let mut mails = office.mails();
    assert_eq!(mails.len(), 1);
    mails.remove(0)
}

#[test]
fn a_mail_is_handed_over_with_a_link_that_is_nowhere_else() {
    if !is_available() {
        return;
    }
    let port = free_port();
    let office = PostOffice::open(port, &[]);
    let url = format!("smtp://127.0.0.1:{port}");
    let node = running(&[("TERSE_SMTP_URL", &url), ("TERSE_LOG", "trace")]);
    let token = node.token();
    queue_reset(&node);
    let mail = delivered(&node, &token, &office);
    for line in [
        &*format!("X-Envelope: terse@localhost -> {EMAIL}"),
        "X-Encrypted: no",
        "From: terse@localhost",
        &format!("To: {EMAIL}"),
        "Subject: Choose a new password for localhost",
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
    ] {
        assert!(mail.lines().any(|found| found == line), "{line}: {mail}");
    }
    let kinds: Vec<&str> = mail
        .lines()
        .filter(|line| line.starts_with("Content-Type: "))
        .collect();
    assert!(
        matches!(kinds[..], [all, text, html]
            if all.contains("multipart/alternative") && text.contains("text/plain") && html.contains("text/html")),
        "{kinds:?}"
    );
    let links: Vec<&str> = mail
        .lines()
        .filter_map(|line| line.strip_prefix("http://localhost/reset?token="))
        .collect();
    assert_eq!(links.len(), 1, "{mail}");
    assert_eq!(links[0].len(), 43);
    let log = node.logged();
    assert!(log.len() > 1_000 && !log.contains(links[0]));
    let stored = sql(
        &node,
        &["SELECT purpose, LENGTH(digest) FROM mailed_tokens"],
    );
    assert_eq!(stored, [["reset", "32"]]);
}

#[test]
fn starttls_and_a_password_are_used() {
    if !is_available() {
        return;
    }
    let (port, certificate) = (free_port(), Certificate::new());
    let (trusted, key) = (certificate.certificate(), certificate.key());
    let login = ["--starttls", &trusted, &key, "--login", "terse", PASSWORD];
    let office = PostOffice::open(port, &login);
    let url = format!("smtp://terse:hunter2%20%26%20more@localhost:{port}?tls=required");
    let node = running(&[("TERSE_SMTP_URL", &url), ("SSL_CERT_FILE", &trusted)]);
    let token = node.token();
    queue_reset(&node);
    let mail = delivered(&node, &token, &office);
    assert!(mail.starts_with("X-Envelope: "));
    assert!(
        mail.contains("X-Encrypted: yes\r\nX-Signed-In: yes\r\n"),
        "{mail}"
    );
}

#[test]
fn a_connection_is_encrypted_from_its_first_byte() {
    if !is_available() {
        return;
    }
    let (port, certificate) = (free_port(), Certificate::new());
    let (trusted, key) = (certificate.certificate(), certificate.key());
    let office = PostOffice::open(port, &["--immediate", &trusted, &key]);
    let url = format!("smtps://localhost:{port}");
    let node = running(&[("TERSE_SMTP_URL", &url), ("SSL_CERT_FILE", &trusted)]);
    let token = node.token();
    queue_reset(&node);
    let mail = delivered(&node, &token, &office);
    assert!(mail.contains("X-Encrypted: yes\r\n"), "{mail}");
}

#[test]
fn a_server_that_nobody_vouches_for_gets_nothing() {
    if !is_available() {
        return;
    }
    let (port, certificate) = (free_port(), Certificate::new());
    let (path, key) = (certificate.certificate(), certificate.key());
    let office = PostOffice::open(port, &["--starttls", &path, &key]);
    let url = format!("smtp://localhost:{port}?tls=required");
    let node = running(&[("TERSE_SMTP_URL", &url)]);
    let token = node.token();
    queue_reset(&node);
    let error = failure(&node, &token);
    assert!(error.contains("certificate"), "{error}");
    assert!(office.mails().is_empty());
}

#[test]
fn a_server_that_cannot_encrypt_gets_nothing() {
    if !is_available() {
        return;
    }
    let port = free_port();
    let office = PostOffice::open(port, &[]);
    let url = format!("smtp://terse:{}@localhost:{port}?tls=required", "secret");
    let node = running(&[("TERSE_SMTP_URL", &url)]);
    let token = node.token();
    queue_reset(&node);
    let error = failure(&node, &token);
    assert!(error.contains("STARTTLS is not supported"), "{error}");
    assert!(office.mails().is_empty());
}

#[test]
fn a_wrong_password_keeps_the_mail_until_it_is_right() {
    if !is_available() {
        return;
    }
    let port = free_port();
    let office = PostOffice::open(port, &["--login", "terse", PASSWORD]);
    let url = |password: &str| format!("smtp://terse:{password}@127.0.0.1:{port}");
    let mut node = running(&[("TERSE_SMTP_URL", &url("wrong-secret"))]);
    let token = node.token();
    queue_reset(&node);
    let error = failure(&node, &token);
    assert_eq!(error, "signing in: the mail server refused it (535)");
    assert!(office.mails().is_empty());
    assert_eq!(node.stop(), Some(0));
    assert!(!node.logged().contains("wrong-secret"));

    node.set("TERSE_SMTP_URL", &url("hunter2%20%26%20more"));
    node.start();
    let_time_pass(&node);
    let mail = delivered(&node, &token, &office);
    assert!(mail.contains("X-Signed-In: yes"), "{mail}");
}

#[test]
fn while_the_mail_server_is_down_mails_wait_and_then_go_out_once() {
    if !is_available() {
        return;
    }
    let port = free_port();
    let url = format!("smtp://127.0.0.1:{port}");
    let mut node = running(&[("TERSE_SMTP_URL", &url)]);
    let token = node.token();
    queue_reset(&node);
    let error = failure(&node, &token);
    assert!(error.starts_with("connecting: "), "{error}");
    node.kill();
    node.start();
    assert_eq!(jobs(&node, &token)[0]["attempts"], 1);

    let office = PostOffice::open(port, &[]);
    let_time_pass(&node);
    delivered(&node, &token, &office);
    assert_eq!(node.stop(), Some(0));
    assert_eq!(office.mails().len(), 1);
}
