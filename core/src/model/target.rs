//! Targets: where a link leads. Spelling that parsers read differently is refused, not guessed.

use std::borrow::Cow;
use std::collections::HashSet;

use percent_encoding::percent_decode_str;
use url::{Host, Url};

use crate::model::FieldError;

/// Longest target in bytes, as given and as stored.
pub const MAX_TARGET_BYTES: usize = 8_192;

// Never, not even by configuration: they run code or read files where the link is clicked.
const NEVER: [&str; 6] = ["javascript", "data", "vbscript", "file", "blob", "about"];

/// What this installation allows as a target.
#[derive(Clone, Debug, Default)]
pub struct TargetPolicy {
    /// Schemes beside `http` and `https`.
    pub extra_schemes: Vec<String>,
    /// Hosts that links answer on: a link to them could be a loop.
    pub own_hosts: Vec<String>,
}

/// A target in WHATWG-normal form: visible ASCII, so that it can be sent as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetUrl(Box<str>);

/// The target with the visitor's query would be longer than 8 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the target with this query is too long")]
pub struct QueryTooLong;

impl TargetUrl {
    /// Accepts an absolute URL with an allowed scheme and a host, spelled in a way that every parser
    /// reads alike.
    pub fn parse(
        field: &'static str,
        text: &str,
        policy: &TargetPolicy,
    ) -> Result<Self, FieldError> {
        let refusal = |(code, message): Refusal| FieldError::new(field, code, message);
        check_characters(text).map_err(refusal)?;
        let authority = check_scheme(text, policy).map_err(refusal)?;
        check_authority(authority).map_err(refusal)?;
        let url = Url::parse(text).map_err(|_| refusal(MALFORMED))?;
        check_host(&url, authority, policy).map_err(refusal)?;
        let normal = url.as_str();
        if normal.len() > MAX_TARGET_BYTES {
            return Err(refusal(TOO_LONG));
        }
        if !normal.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(refusal(MALFORMED));
        }
        Ok(Self(normal.into()))
    }

    /// A target that was accepted when it was stored.
    pub(crate) fn from_stored(text: String) -> Self {
        Self(text.into_boxed_str())
    }

    /// The normal form: visible ASCII.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The target with the visitor's query added. Keys that the target has keep the target's value;
    /// a fragment stays last; what cannot stand in a header is percent-encoded.
    pub fn with_query(&self, query: &str) -> Result<String, QueryTooLong> {
        if !self.0.starts_with("http://") && !self.0.starts_with("https://") {
            return Ok(self.0.to_string());
        }
        let (base, fragment) = match self.0.split_once('#') {
            Some((base, fragment)) => (base, Some(fragment)),
            None => (&*self.0, None),
        };
        // Also where most of it would be left out: what is long is not compared at all.
        if query.len() > MAX_TARGET_BYTES {
            return Err(QueryTooLong);
        }
        let own: HashSet<_> = base
            .split_once('?')
            .map_or("", |(_, own)| own)
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(key_of)
            .collect();
        let mut whole = String::with_capacity(self.0.len() + query.len() + 1);
        whole.push_str(base);
        let mut separator = match base.split_once('?') {
            None => "?",
            Some((_, "")) => "",
            Some(_) => "&",
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            if !own.is_empty() && own.contains(&key_of(pair)) {
                continue;
            }
            whole.push_str(separator);
            separator = "&";
            push_header_safe(&mut whole, pair);
            if whole.len() > MAX_TARGET_BYTES {
                return Err(QueryTooLong);
            }
        }
        if let Some(fragment) = fragment {
            whole.push('#');
            whole.push_str(fragment);
        }
        if whole.len() > MAX_TARGET_BYTES {
            return Err(QueryTooLong);
        }
        Ok(whole)
    }
}

/// The key as whoever reads the query sees it: `%75tm_source` is `utm_source`.
fn key_of(pair: &str) -> Cow<'_, [u8]> {
    let key = pair.split_once('=').map_or(pair, |(key, _)| key);
    let decoded: Cow<'_, [u8]> = percent_decode_str(key).into();
    if key.contains('+') {
        let spaced = key.replace('+', " ");
        return Cow::Owned(percent_decode_str(&spaced).collect());
    }
    decoded
}

fn push_header_safe(whole: &mut String, text: &str) {
    for byte in text.bytes() {
        // A raw `#` cannot arrive in a query; if it did, it would begin a fragment.
        if byte.is_ascii_graphic() && byte != b'#' {
            whole.push(char::from(byte));
        } else {
            whole.push_str(percent_encoding::percent_encode_byte(byte));
        }
    }
}

type Refusal = (&'static str, &'static str);

const MALFORMED: Refusal = (
    "url_malformed",
    "must be a complete URL such as https://example.com/page",
);
const TOO_LONG: Refusal = ("url_too_long", "must be at most 8,192 bytes long");
const AMBIGUOUS: Refusal = (
    "url_host_ambiguous",
    "has a host that browsers and servers read differently; spell it plainly",
);

fn check_characters(text: &str) -> Result<(), Refusal> {
    if text.is_empty() {
        return Err(("url_empty", "must not be empty"));
    }
    if text.len() > MAX_TARGET_BYTES {
        return Err(TOO_LONG);
    }
    if text.chars().any(char::is_control) {
        return Err((
            "url_control_character",
            "must not contain control characters such as tabs and line breaks",
        ));
    }
    if text.chars().any(char::is_whitespace) {
        return Err(("url_space", "must not contain spaces; write %20 instead"));
    }
    let before_query = text.find(['?', '#']).unwrap_or(text.len());
    if text[..before_query].contains('\\') {
        return Err((
            "url_backslash",
            "must not contain backslashes; write / or %5C",
        ));
    }
    Ok(())
}

/// Checks the scheme; returns what stands between `//` and the path.
fn check_scheme<'a>(text: &'a str, policy: &TargetPolicy) -> Result<&'a str, Refusal> {
    let not_allowed = (
        "url_scheme_not_allowed",
        "must begin with http:// or https://",
    );
    let (scheme, rest) = text.split_once(':').ok_or(MALFORMED)?;
    let plain = scheme.bytes().enumerate().all(|(index, byte)| {
        byte.is_ascii_alphabetic()
            || (index > 0 && matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.'))
    });
    if scheme.is_empty() || !plain {
        return Err(MALFORMED);
    }
    let scheme = scheme.to_ascii_lowercase();
    let allowed = matches!(scheme.as_str(), "http" | "https")
        || policy
            .extra_schemes
            .iter()
            .any(|extra| extra.eq_ignore_ascii_case(&scheme));
    if NEVER.contains(&scheme.as_str()) || !allowed {
        return Err(not_allowed);
    }
    let rest = rest.strip_prefix("//").ok_or(MALFORMED)?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    Ok(&rest[..end])
}

fn check_authority(authority: &str) -> Result<(), Refusal> {
    if authority.contains('@') {
        return Err((
            "url_userinfo",
            "must not contain a user name or password before the host",
        ));
    }
    if authority.is_empty() || authority.starts_with(':') {
        return Err(MALFORMED);
    }
    if authority.contains('%') {
        return Err(AMBIGUOUS);
    }
    Ok(())
}

fn check_host(url: &Url, authority: &str, policy: &TargetPolicy) -> Result<(), Refusal> {
    let host = url.host_str().ok_or(MALFORMED)?;
    let given = given_host(authority);
    match url.host() {
        Some(Host::Ipv4(address)) if given != address.to_string() => return Err(AMBIGUOUS),
        // IDNA maps invisible and full-width characters away; lower-casing is all that we let it do.
        Some(Host::Domain(_)) if given.is_ascii() && given.to_ascii_lowercase() != host => {
            return Err(AMBIGUOUS);
        }
        Some(Host::Domain(domain)) if !given.is_ascii() && !is_plain_idn(given, domain) => {
            return Err(AMBIGUOUS);
        }
        _ => {}
    }
    let bare = |name: &str| name.trim_end_matches('.').to_ascii_lowercase();
    if policy.own_hosts.iter().any(|own| bare(own) == bare(host)) {
        return Err((
            "url_own_domain",
            "must not lead back to a domain of short links",
        ));
    }
    Ok(())
}

fn given_host(authority: &str) -> &str {
    if authority.starts_with('[') {
        return authority
            .find(']')
            .map_or(authority, |end| &authority[..=end]);
    }
    authority
        .split_once(':')
        .map_or(authority, |(host, _)| host)
}

/// Whether an international name holds only what IDNA keeps: each character is its own lower case.
fn is_plain_idn(given: &str, ascii: &str) -> bool {
    let (unicode, result) = idna::domain_to_unicode(ascii);
    result.is_ok() && unicode == given.to_lowercase()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn policy() -> TargetPolicy {
        TargetPolicy {
            extra_schemes: Vec::new(),
            own_hosts: vec!["go.example".to_owned()],
        }
    }

    fn parse(text: &str) -> Result<TargetUrl, FieldError> {
        TargetUrl::parse("target_url", text, &policy())
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn hostile_spellings_are_refused_with_their_reason() {
        let cases: &[(&str, &[&str])] = &[
            ("url_empty", &[""]),
            (
                "url_scheme_not_allowed",
                &[
                    "javascript:alert(1)",
                    "JavaScript:alert(1)",
                    "javascript://%0aalert(1)",
                    "data:text/html,x",
                    "vbscript:x",
                    "file:///etc/passwd",
                    "blob:https://x/1",
                    "about:blank",
                    "ftp://example.com/",
                    "mailto:a@b.example",
                    "intent://x#Intent",
                    "view-source:https://example.com",
                    "ws://example.com",
                    "jar:http://x!/",
                    "gopher://x/",
                    "ssh://x",
                    "tel:123",
                    "chrome://settings",
                ],
            ),
            (
                "url_malformed",
                &[
                    "example.com",
                    "//example.com",
                    "/path",
                    "https:evil.example",
                    "https:/evil.example",
                    "https:///evil.example",
                    "https://",
                    "https://:80/",
                    "https://example.com:99999/",
                    "https://[::1",
                    "https://exa<mple.com/",
                    "://x",
                    "?x",
                    "#x",
                    "https",
                    "1http://x/",
                    "https://example.com:8a/",
                ],
            ),
            (
                "url_control_character",
                &[
                    "java\tscript:alert(1)",
                    "https://example.com/\r\nSet-Cookie:a=b",
                    "\u{0}https://x/",
                    "https://exam\u{0}ple.com/",
                    "https://example.com/\u{7f}",
                    "https://example.com/\n",
                    "https://example.com/\u{85}",
                ],
            ),
            (
                "url_space",
                &[
                    " https://example.com/",
                    "https://example.com/ ",
                    "https://example.com/a b",
                    "https://example.com/\u{a0}",
                    "https://exa mple.com/",
                    "https://example.com/\u{2003}x",
                    "https://example.com/\u{3000}",
                ],
            ),
            (
                "url_backslash",
                &[
                    "https:\\\\evil.example",
                    "https://evil.example\\@bank.example",
                    "https://a\\b",
                    "\\\\evil.example",
                    "https:/\\evil.example",
                    "https://example.com/a\\b",
                ],
            ),
            (
                "url_userinfo",
                &[
                    "https://bank.example@evil.example/",
                    "https://user:pass@evil.example/",
                    "https://@evil.example/",
                    "https://:@evil.example/",
                    "https://bank.example%2f@evil.example/",
                ],
            ),
            (
                "url_host_ambiguous",
                &[
                    "https://2130706433/",
                    "https://0x7f.1/",
                    "https://0177.0.0.1/",
                    "https://127.1/",
                    "https://exam%70le.com/",
                    "https://a..b%",
                    "https://ｅxample.com/",
                    "https://exa\u{ad}mple.com/",
                    "https://exa\u{200b}mple.com/",
                    "https://①.example/",
                    "https://0x7f000001/",
                    "https://１２７.0.0.1/",
                ],
            ),
            (
                "url_own_domain",
                &[
                    "https://go.example/x",
                    "http://GO.EXAMPLE:8080/x",
                    "https://go.example./x",
                ],
            ),
        ];
        for (code, texts) in cases {
            for text in *texts {
                let error = parse(text).expect_err(text);
                assert_eq!(error.code, *code, "{text:?}");
                assert_eq!(error.field, "target_url");
            }
        }
        assert_eq!(
            parse(&format!("https://example.com/{}", "a".repeat(8_192)))
                .unwrap_err()
                .code,
            "url_too_long"
        );
        // Each ä becomes six bytes in the normal form.
        assert_eq!(
            parse(&format!("https://example.com/{}", "ä".repeat(2_000)))
                .unwrap_err()
                .code,
            "url_too_long"
        );
    }

    #[test]
    fn dangerous_schemes_stay_refused_whatever_the_configuration_says() {
        let policy = TargetPolicy {
            extra_schemes: vec!["javascript".to_owned(), "ftp".to_owned()],
            own_hosts: Vec::new(),
        };
        assert!(TargetUrl::parse("t", "javascript://x/%0aalert(1)", &policy).is_err());
        assert!(TargetUrl::parse("t", "ftp://example.com/a", &policy).is_ok());
    }

    #[test]
    fn ordinary_targets_are_kept_in_normal_form() {
        for (given, stored) in [
            ("https://example.com", "https://example.com/"),
            (
                "HTTP://Example.COM:80/A?b=C#d",
                "http://example.com/A?b=C#d",
            ),
            (
                "https://bücher.example/ä?ö",
                "https://xn--bcher-kva.example/%C3%A4?%C3%B6",
            ),
            (
                "https://xn--bcher-kva.example/",
                "https://xn--bcher-kva.example/",
            ),
            ("https://example.com/a/../b", "https://example.com/b"),
            ("https://example.com/%0d%0aX", "https://example.com/%0d%0aX"),
            ("https://127.0.0.1:3000/x", "https://127.0.0.1:3000/x"),
            ("http://[2001:db8::1]/", "http://[2001:db8::1]/"),
            ("https://example.com/%zz", "https://example.com/%zz"),
            ("https://example.com/?a=b\\c", "https://example.com/?a=b\\c"),
        ] {
            assert_eq!(parse(given).unwrap().as_str(), stored, "{given}");
        }
    }

    #[test]
    fn a_visitors_query_is_added_and_never_overrides() {
        for (target, query, expected) in [
            ("https://x.example/", "a=1", "https://x.example/?a=1"),
            (
                "https://x.example/?a=1",
                "a=2&b=3",
                "https://x.example/?a=1&b=3",
            ),
            ("https://x.example/?", "b=3", "https://x.example/?b=3"),
            (
                "https://x.example/#top",
                "b=3",
                "https://x.example/?b=3#top",
            ),
            (
                "https://x.example/?a=1#top",
                "a=2",
                "https://x.example/?a=1#top",
            ),
            (
                "https://x.example/",
                "x=%0d%0aSet-Cookie:1",
                "https://x.example/?x=%0d%0aSet-Cookie:1",
            ),
            ("https://x.example/", "&&", "https://x.example/"),
            ("https://x.example/", "=x", "https://x.example/?=x"),
            // The same key, whoever spells it.
            (
                "https://x.example/?utm_source=us&a+b=1",
                "%75tm_source=them&a%20b=2&A+B=3",
                "https://x.example/?utm_source=us&a+b=1&A+B=3",
            ),
            (
                "https://x.example/",
                "q=ä b",
                "https://x.example/?q=%C3%A4%20b",
            ),
        ] {
            assert_eq!(parse(target).unwrap().with_query(query).unwrap(), expected);
        }
        let long = format!("a={}", "x".repeat(9_000));
        assert_eq!(
            parse("https://x.example/").unwrap().with_query(&long),
            Err(QueryTooLong)
        );
        // Nothing of it would be added, and comparing it all would take long.
        let repeated = "a=1&".repeat(10_000);
        assert_eq!(
            parse("https://x.example/?a").unwrap().with_query(&repeated),
            Err(QueryTooLong)
        );
    }

    proptest! {
        #[test]
        fn normalising_twice_changes_nothing(text in "https?://[a-zA-Z0-9äöü.-]{1,30}(:[0-9]{1,5})?[/?#a-zA-Z0-9%.äß&=-]{0,60}") {
            if let Ok(once) = parse(&text) {
                prop_assert_eq!(parse(once.as_str()).unwrap(), once);
            }
        }

        #[test]
        fn whatever_is_accepted_can_be_sent_in_a_header(text in "\\PC{0,80}", query in "\\PC{0,80}") {
            for text in [text.clone(), format!("https://example.com/{text}")] {
                if let Ok(target) = parse(&text) {
                    prop_assert!(target.as_str().bytes().all(|b| b.is_ascii_graphic()));
                    if let Ok(whole) = target.with_query(&query) {
                        prop_assert!(whole.bytes().all(|b| b.is_ascii_graphic()));
                    }
                }
            }
        }
    }
}
