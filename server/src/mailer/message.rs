//! A mail in the form in which it travels (RFC 5322).

use std::time::{Duration, UNIX_EPOCH};

use lettre::Message;
use lettre::message::header::{ContentTransferEncoding, HeaderName, HeaderValue};
use lettre::message::{Body, Mailbox, MultiPart};
use terse_core::mail::{Mail, MailError};
use terse_core::model::{Entropy, random_bytes};

/// `mail` from `from`, with a name of its own.
pub(super) fn message(
    mail: &Mail,
    from: &Mailbox,
    entropy: &dyn Entropy,
) -> Result<Message, MailError> {
    let to = mail
        .to
        .parse()
        .map_err(|_| MailError::new("the address is not one that mail can be sent to"))?;
    let name = u128::from_le_bytes(random_bytes(entropy));
    let millis = u64::try_from(mail.written_at.as_millis()).unwrap_or(0);
    // Keeps programs that answer by themselves from answering (RFC 3834).
    let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
    Message::builder()
        .from(from.clone())
        .to(Mailbox::new(None, to))
        .subject(&mail.subject)
        .date(UNIX_EPOCH + Duration::from_millis(millis))
        .message_id(Some(format!("<{name:032x}@{}>", from.email.domain())))
        .raw_header(HeaderValue::new(automatic, "auto-generated".to_owned()))
        .multipart(MultiPart::alternative_plain_html(
            body(&mail.text),
            body(&mail.html),
        ))
        .map_err(|_| MailError::new("the mail could not be put together"))
}

/// The longest line that may travel as it is (RFC 5322, section 2.1.1).
const LONGEST_LINE: usize = 998;

/// As it is wherever that is allowed, so that people can read it in the outbox: the library encodes
/// texts with lines of 76 characters already, which a link with a token is longer than.
fn body(text: &str) -> Body {
    let plain = text.is_ascii() && text.lines().all(|line| line.len() <= LONGEST_LINE);
    if plain {
        let lines = text.lines().map(|line| format!("{line}\r\n"));
        let bytes = lines.collect::<String>().into_bytes();
        Body::dangerous_pre_encoded(bytes, ContentTransferEncoding::SevenBit)
    } else {
        Body::new(text.to_owned())
    }
}
