//! The mails that the server wrote, as files: nobody configured a mail server.

use std::fs;
use std::path::PathBuf;

use crate::server::{Server, until};

impl Server {
    /// Each node's directory of mails, where it has one.
    pub(crate) fn outboxes(&self) -> Vec<PathBuf> {
        let outboxes = self.data_of_nodes().into_iter();
        let outboxes = outboxes.map(|data| data.join("outbox"));
        outboxes.filter(|outbox| outbox.exists()).collect()
    }

    /// Mails to this address, oldest first.
    pub(crate) fn mails_to(&self, email: &str) -> Vec<String> {
        let files = self.outboxes().into_iter().map(fs::read_dir);
        let files = files.filter_map(Result::ok);
        let mut paths: Vec<_> = files.flatten().map(|file| file.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|kind| kind == "eml"));
        paths.sort_by_key(|path| path.file_name().unwrap().to_owned());
        let mails = paths.iter().map(|path| fs::read_to_string(path).unwrap());
        let to = format!("To: {email}\r\n");
        mails.filter(|mail| mail.contains(&to)).collect()
    }

    /// Waits for the mail number `count` to this address.
    #[track_caller]
    pub(crate) fn mail_to(&self, email: &str, count: usize) -> String {
        until("a mail is written", || {
            self.mails_to(email).into_iter().nth(count - 1)
        })
    }
}

/// The token in a mail that leads to this page.
#[track_caller]
pub(crate) fn token_in(mail: &str, page: &str) -> String {
    let start = format!("http://localhost/{page}?token=");
    let (_, rest) = mail.split_once(&start).expect("a link with a token");
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_');
    rest[..end.unwrap_or(rest.len())].to_owned()
}
