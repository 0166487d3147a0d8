use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use terse_core::mail::{Mail, Mailer};
use terse_core::model::{OsEntropy, Timestamp};
use terse_server::config::{Sources, load};
use terse_server::mailer;

use crate::post_office::{files, is_available, queue_reset};
use crate::{jobs, running};

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

fn outbox_in(data: &Path) -> Arc<dyn Mailer> {
    let data = data.to_str().unwrap().to_owned();
    let sources = Sources {
        variables: BTreeMap::from([("TERSE_DATA_DIR".to_owned(), data)]),
        ..Sources::default()
    };
    mailer::of(&load(&sources).unwrap(), Arc::new(OsEntropy)).unwrap()
}

fn mail(to: &str, second: u8) -> Mail {
    Mail {
        to: to.to_owned(),
        subject: "Gr\u{fc}\u{df}e".to_owned(),
        text: "Hello,\n\nhttp://localhost/reset?token=abc\n".to_owned(),
        html: "<p>Hello,</p>\n".to_owned(),
        written_at: Timestamp::parse("at", &format!("2026-03-15T12:00:{second:02}Z")).unwrap(),
    }
}

#[tokio::test]
async fn without_a_mail_server_mails_become_files_in_the_order_of_their_time() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = outbox_in(dir.path());
    for second in [2, 0, 1, 1] {
        outbox.send(&mail("ada@example.com", second)).await.unwrap();
    }
    let mut paths = files(&dir.path().join("outbox"), "eml");
    paths.sort();
    let seconds = paths.iter().map(|path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name["20260315T1200".len()..][..2].to_owned()
    });
    assert_eq!(seconds.collect::<Vec<_>>(), ["00", "01", "01", "02"]);
    assert_eq!(mode(&dir.path().join("outbox")), 0o700);
    assert_eq!(mode(&paths[0]), 0o600);
    assert!(files(&dir.path().join("outbox"), "new").is_empty());

    let text = std::fs::read_to_string(&paths[0]).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    for line in [
        "From: terse@localhost",
        "To: ada@example.com",
        "Subject: =?utf-8?b?R3LDvMOfZQ==?=",
        "Date: Sun, 15 Mar 2026 12:00:00 +0000",
    ] {
        assert!(head.lines().any(|found| found == line), "{line}: {head}");
    }
    assert!(body.contains("http://localhost/reset?token=abc\r\n"));
}

#[tokio::test]
async fn no_address_adds_a_line_to_a_mail() {
    let dir = tempfile::tempdir().unwrap();
    let outbox = outbox_in(dir.path());
    for address in [
        "ada@example.com\r\nBcc: eve@example.com",
        "ada@example.com, eve@example.com",
        "Ada",
        "",
    ] {
        let error = outbox.send(&mail(address, 0)).await.unwrap_err();
        assert!(!error.to_string().contains("example.com"));
    }
    let mut lured = mail("ada@example.com", 0);
    lured.subject = "Hello\r\nBcc: eve@example.com".to_owned();
    outbox.send(&lured).await.unwrap();
    let paths = files(&dir.path().join("outbox"), "eml");
    assert_eq!(paths.len(), 1);
    let text = std::fs::read_to_string(&paths[0]).unwrap();
    assert!(!text.lines().any(|line| line.starts_with("Bcc")), "{text}");
}

#[test]
fn a_running_server_puts_its_mails_there() {
    if !is_available() {
        return;
    }
    let node = running(&[]);
    let token = node.token();
    queue_reset(&node);
    let outbox = node.data().join("outbox");
    node.wait_until("the mail is written and done", |node| {
        !files(&outbox, "eml").is_empty() && jobs(node, &token).is_empty()
    });
    let paths = files(&outbox, "eml");
    assert_eq!(
        (paths.len(), mode(&outbox), mode(&paths[0])),
        (1, 0o700, 0o600)
    );
    let text = std::fs::read_to_string(&paths[0]).unwrap();
    assert!(text.contains("http://localhost/reset?token="));
}
