//! Mails as files, where no mail server is configured: for trying things out, and for whoever sends
//! them by other means. They hold links that open accounts, so they are their owner's alone.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lettre::message::Mailbox;
use terse_core::mail::{Mail, MailError, Mailer, Sending};
use terse_core::model::{Entropy, random_bytes};

use crate::mailer::message::message;
use crate::secrets::private_dir;

#[derive(Debug)]
pub(super) struct Outbox {
    dir: PathBuf,
    from: Mailbox,
    entropy: Arc<dyn Entropy>,
}

impl Outbox {
    pub(super) fn at(dir: PathBuf, from: Mailbox, entropy: Arc<dyn Entropy>) -> Self {
        Self { dir, from, entropy }
    }

    async fn put(&self, mail: &Mail) -> Result<(), MailError> {
        let bytes = message(mail, &self.from, &*self.entropy)?.formatted();
        let random = u64::from_le_bytes(random_bytes(&*self.entropy));
        // Sorted by name is sorted by time.
        let time = mail.written_at.to_string().replace(['-', ':'], "");
        let path = self.dir.join(format!("{time}-{random:016x}.eml"));
        let dir = self.dir.clone();
        let written = tokio::task::spawn_blocking(move || write(&dir, &path, &bytes)).await;
        match written.map_err(io::Error::other) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) | Err(error) => Err(MailError::new(format!(
                "the outbox cannot be written: {}",
                error.kind()
            ))),
        }
    }
}

impl Mailer for Outbox {
    fn send<'a>(&'a self, mail: &'a Mail) -> Sending<'a> {
        Box::pin(self.put(mail))
    }
}

/// The file gets its name when it is complete and on the disk: nobody meets half a mail.
fn write(dir: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    private_dir(dir)?;
    let unfinished = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&unfinished)?;
    let complete = file.write_all(bytes).and_then(|()| file.sync_all());
    let named = complete.and_then(|()| fs::rename(&unfinished, path));
    if named.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    named?;
    File::open(dir)?.sync_all()
}
