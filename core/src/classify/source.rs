//! Where a click came from: language, referrer, campaign, and whether a browser fetched ahead.

use percent_encoding::percent_decode;

use crate::classify::facts::MAX_VALUE_BYTES;
use crate::model::Fact;

/// Whether one of the purpose headers says that nobody looks yet (`prefetch`, `prefetch;prerender`, `preview`).
pub(super) fn is_prefetch(purpose: &[u8]) -> bool {
    let first = purpose
        .split(|byte| matches!(byte, b';' | b','))
        .next()
        .unwrap_or_default()
        .trim_ascii();
    [b"prefetch".as_slice(), b"preview", b"prerender"]
        .iter()
        .any(|word| first.eq_ignore_ascii_case(word))
}

/// The first language of `Accept-Language` as a code of two or three lower-case letters.
pub(super) fn language(header: &[u8]) -> Option<Vec3> {
    let first = header
        .split(|byte| matches!(byte, b',' | b';' | b'-' | b'_'))
        .next()?
        .trim_ascii();
    let plausible = matches!(first.len(), 2 | 3) && first.iter().all(u8::is_ascii_alphabetic);
    plausible.then(|| {
        let mut code = Vec3 {
            bytes: [0; 3],
            len: first.len(),
        };
        for (slot, byte) in code.bytes.iter_mut().zip(first) {
            *slot = byte.to_ascii_lowercase();
        }
        code
    })
}

/// Up to three bytes on the stack.
pub(super) struct Vec3 {
    bytes: [u8; 3],
    len: usize,
}

impl std::ops::Deref for Vec3 {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Hands over the referrer's host in lower case, without `www.`, port and user.
pub(super) fn referrer(header: &[u8], mut take: impl FnMut(&[u8])) {
    let Some(rest) = ["https://", "http://", "android-app://"]
        .iter()
        .find_map(|scheme| strip_prefix_ignoring_case(header, scheme.as_bytes()))
    else {
        return;
    };
    let end = rest
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?' | b'#' | b'\\'))
        .unwrap_or(rest.len());
    let authority = &rest[..end];
    let host = authority
        .rsplit(|byte| *byte == b'@')
        .next()
        .unwrap_or_default();
    let host = host.split(|byte| *byte == b':').next().unwrap_or_default();
    let host = strip_prefix_ignoring_case(host, b"www.").unwrap_or(host);
    let plausible = !host.is_empty()
        && host.len() <= MAX_VALUE_BYTES
        && host
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
    if !plausible {
        return;
    }
    let mut folded = [0; MAX_VALUE_BYTES];
    let folded = &mut folded[..host.len()];
    folded.copy_from_slice(host);
    folded.make_ascii_lowercase();
    take(folded);
}

fn strip_prefix_ignoring_case<'a>(text: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// Hands over each campaign parameter of a query, once, decoded.
pub(super) fn utm(query: &str, mut take: impl FnMut(Fact, &[u8])) {
    const NAMES: [(&str, Fact); 5] = [
        ("source", Fact::UtmSource),
        ("medium", Fact::UtmMedium),
        ("campaign", Fact::UtmCampaign),
        ("term", Fact::UtmTerm),
        ("content", Fact::UtmContent),
    ];
    if !query.contains("utm_") {
        return;
    }
    let mut seen = [false; NAMES.len()];
    for pair in query.split('&') {
        let Some((name, value)) = pair
            .strip_prefix("utm_")
            .and_then(|rest| rest.split_once('='))
        else {
            continue;
        };
        let Some(index) = NAMES.iter().position(|(known, _)| *known == name) else {
            continue;
        };
        if !std::mem::replace(&mut seen[index], true) {
            take(NAMES[index].1, decoded(value).as_bytes());
        }
    }
}

/// Percent-decoded, `+` as a space, without control characters, cut at 255 bytes.
fn decoded(value: &str) -> String {
    let spaced: Vec<u8> = value
        .bytes()
        .map(|byte| if byte == b'+' { b' ' } else { byte })
        // What is decoded gets at most three times shorter.
        .take(MAX_VALUE_BYTES * 4)
        .collect();
    let text = percent_decode(&spaced).decode_utf8_lossy();
    let mut clean = String::with_capacity(text.len().min(MAX_VALUE_BYTES));
    for character in text.chars().filter(|character| !character.is_control()) {
        if clean.len() + character.len_utf8() > MAX_VALUE_BYTES {
            break;
        }
        clean.push(character);
    }
    clean.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_that_fetch_ahead_are_recognised() {
        for purpose in [
            "prefetch",
            "prefetch;prerender",
            "Prefetch",
            " preview ",
            "prefetch;anonymous-client-ip",
        ] {
            assert!(is_prefetch(purpose.as_bytes()), "{purpose}");
        }
        for purpose in ["", "navigate", "xprefetch"] {
            assert!(!is_prefetch(purpose.as_bytes()), "{purpose}");
        }
    }

    #[test]
    fn only_the_host_of_a_referrer_is_kept() {
        let host = |text: &str| {
            let mut found = String::new();
            referrer(text.as_bytes(), |host| {
                found = String::from_utf8(host.to_vec()).unwrap();
            });
            found
        };
        assert_eq!(host("https://WWW.Example.com/secret?x"), "example.com");
        assert_eq!(host("http://user:pw@example.com:81/"), "example.com");
        assert_eq!(host("android-app://com.slack/"), "com.slack");
        for text in [
            "",
            "javascript:alert(1)",
            "https://x\"><svg onload=alert(1)>/",
            "about:blank",
            "https://",
            "nonsense",
        ] {
            assert_eq!(host(text), "", "{text}");
        }
    }
}
