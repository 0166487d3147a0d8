//! Where a click came from: language, referrer, campaign, and whether a browser fetched ahead.

use std::borrow::Cow;

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

/// Whether Fetch Metadata says that nobody navigates: the link was drawn as an image, loaded as a
/// script, fetched by one. Headers that are absent say nothing.
pub(super) fn is_no_navigation(mode: &[u8], dest: &[u8]) -> bool {
    const MODES: [&[u8]; 2] = [b"navigate", b"nested-navigate"];
    const DESTS: [&[u8]; 6] = [
        b"document",
        b"iframe",
        b"frame",
        b"embed",
        b"object",
        b"fencedframe",
    ];
    let (mode, dest) = (mode.trim_ascii(), dest.trim_ascii());
    let told = !mode.is_empty() || !dest.is_empty();
    told && !MODES.contains(&mode) && !DESTS.contains(&dest)
}

/// Whether the short URL came from a QR code: such codes carry `qr=1`.
pub(super) fn is_of_qr_code(query: &str) -> bool {
    query.contains(QR) && query.split('&').any(|pair| pair == QR)
}

/// The query without what only says that it came from a QR code; otherwise byte for byte as it was.
pub(crate) fn without_qr_mark(query: &str) -> Cow<'_, str> {
    if !is_of_qr_code(query) {
        return Cow::Borrowed(query);
    }
    let rest: Vec<&str> = query.split('&').filter(|pair| *pair != QR).collect();
    Cow::Owned(rest.join("&"))
}

const QR: &str = "qr=1";

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
    fn a_browser_that_does_not_navigate_says_so() {
        for (mode, dest) in [
            ("no-cors", "image"),
            ("no-cors", "script"),
            ("cors", "empty"),
            ("no-cors", ""),
            ("", "image"),
            ("", "empty"),
            ("websocket", "websocket"),
        ] {
            let said = is_no_navigation(mode.as_bytes(), dest.as_bytes());
            assert!(said, "{mode} {dest}");
        }
        for (mode, dest) in [
            ("", ""),
            ("navigate", ""),
            ("navigate", "document"),
            ("navigate", "empty"),
            ("nested-navigate", "nested-document"),
            ("", "document"),
            ("no-cors", "object"),
            ("navigate", "iframe"),
            ("navigate", "frame"),
            ("same-origin", "embed"),
        ] {
            let said = is_no_navigation(mode.as_bytes(), dest.as_bytes());
            assert!(!said, "{mode} {dest}");
        }
    }

    #[test]
    fn only_the_mark_of_a_qr_code_is_taken_out_of_a_query() {
        for (query, rest) in [
            ("qr=1", ""),
            ("qr=1&a=%20b", "a=%20b"),
            ("a=1&qr=1&&b", "a=1&&b"),
            ("a&qr=1", "a"),
            ("qr=1&qr=1", ""),
        ] {
            assert!(is_of_qr_code(query), "{query}");
            assert_eq!(without_qr_mark(query), rest, "{query}");
        }
        for query in ["", "qr", "qr=", "qr=12", "xqr=1", "QR=1", "a=qr=1"] {
            assert!(!is_of_qr_code(query), "{query}");
            assert_eq!(without_qr_mark(query), query);
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
