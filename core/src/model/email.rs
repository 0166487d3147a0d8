//! E-mail addresses, as accounts and invitations know them.

use crate::model::FieldError;

const MAX_BYTES: usize = 254;

/// Addresses are equal when they are without their ASCII case: no Unicode folding, which has
/// collisions that let a stranger claim somebody's account.
pub(crate) fn email_key(email: &str) -> String {
    email.trim().to_ascii_lowercase()
}

/// Refuses what no mail can be sent to, and what could break out of a mail's head.
pub(crate) fn check_email(email: &str) -> Result<(), FieldError> {
    let email = email.trim();
    let plausible = email.len() <= MAX_BYTES
        && email.is_ascii()
        && email
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>' | b'"' | b','))
        && email.split_once('@').is_some_and(|(local, host)| {
            !local.is_empty() && !host.is_empty() && !host.contains('@')
        });
    if plausible {
        Ok(())
    } else {
        Err(FieldError::new(
            "email",
            "email_invalid",
            "must be an e-mail address such as ada@example.com",
        ))
    }
}
