//! Slugs: the path part of a short URL.

use std::fmt;

use percent_encoding::percent_decode_str;

use crate::model::{Entropy, FieldError};

/// Longest slug in bytes.
pub const MAX_SLUG_BYTES: usize = 64;

/// Slugs that nobody gets: what the server routes itself, and what browsers and crawlers ask for.
pub const RESERVED: &[&str] = &[
    "admin",
    "api",
    "apple-touch-icon.png",
    "assets",
    "dashboard",
    "docs",
    "favicon.ico",
    "health",
    "invite",
    "login",
    "logout",
    "metrics",
    "redoc",
    "register",
    "reset",
    "robots.txt",
    "signup",
    "sitemap.xml",
    "static",
    "verify",
];

// 32 symbols, so that five random bits are one symbol; without 0, o, 1, l and i, which people mix up.
const ALPHABET: [char; 32] = [
    '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'j', 'k', 'm',
    'n', 'p', 'q', 'r', 's', 't', 'u', 'v', 'w', 'x', 'y', 'z', '-',
];

/// A slug as its owner wrote it. Two slugs are the same when their [`keys`](Slug::key) are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slug(Box<str>);

impl Slug {
    /// Accepts 1 to 64 ASCII letters, digits, `-`, `_` and `.` (neither first nor last), unless reserved.
    pub fn parse(field: &'static str, text: &str) -> Result<Self, FieldError> {
        let refuse = |code, message: &'static str| Err(FieldError::new(field, code, message));
        if text.is_empty() {
            return refuse(
                "slug_empty",
                "must not be empty; leave it out to get a generated one",
            );
        }
        if text.len() > MAX_SLUG_BYTES {
            return refuse("slug_too_long", "must be at most 64 characters long");
        }
        if !text.bytes().all(is_slug_byte) {
            return refuse(
                "slug_character",
                "may hold only letters a to z, digits, hyphens, underscores and dots",
            );
        }
        if text.starts_with('.') || text.ends_with('.') {
            return refuse("slug_dot", "must not begin or end with a dot");
        }
        if is_reserved(text) {
            return refuse("slug_reserved", "is reserved; choose another one");
        }
        Ok(Self(text.into()))
    }

    /// A random slug of `length` symbols that people can read to each other, by nanoid.
    pub fn generate(length: u8, entropy: &dyn Entropy) -> Self {
        loop {
            let random = |size: usize| {
                let mut bytes = vec![0; size];
                entropy.fill(&mut bytes);
                bytes
            };
            let text = nanoid::format(random, &ALPHABET, usize::from(length.clamp(1, 64)));
            // A hyphen at either end is lost when a link is read aloud or selected.
            if !text.starts_with('-') && !text.ends_with('-') && !is_reserved(&text) {
                return Self(text.into());
            }
        }
    }

    /// The slug with the case that its owner chose.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What makes a slug unique: its ASCII letters in lower case.
    pub fn key(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A slug that was asked for, in lower case, on the stack.
#[derive(Clone, Copy)]
pub struct FoldedSlug {
    bytes: [u8; MAX_SLUG_BYTES],
    len: usize,
}

impl FoldedSlug {
    /// The slug's key.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.len]).unwrap_or_default()
    }
}

impl fmt::Debug for FoldedSlug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The slug that a URL's path asks for: one leading slash, one trailing slash at most, percent-decoded
/// once. `None` when the path cannot be a slug. Allocates nothing.
pub fn slug_from_path(path: &str) -> Option<FoldedSlug> {
    let text = path.strip_prefix('/')?;
    let text = text.strip_suffix('/').unwrap_or(text);
    let mut folded = FoldedSlug {
        bytes: [0; MAX_SLUG_BYTES],
        len: 0,
    };
    for byte in percent_decode_str(text) {
        if !is_slug_byte(byte) || folded.len == MAX_SLUG_BYTES {
            return None;
        }
        folded.bytes[folded.len] = byte.to_ascii_lowercase();
        folded.len += 1;
    }
    let bytes = &folded.bytes[..folded.len];
    let plausible = bytes.first().is_some_and(|byte| *byte != b'.') && bytes.last() != Some(&b'.');
    plausible.then_some(folded)
}

const fn is_slug_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

fn is_reserved(text: &str) -> bool {
    RESERVED.iter().any(|word| word.eq_ignore_ascii_case(text))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::model::SeededEntropy;

    fn code(text: &str) -> &'static str {
        Slug::parse("slug", text).unwrap_err().code
    }

    #[test]
    fn a_refused_slug_says_why() {
        assert_eq!(code(""), "slug_empty");
        assert_eq!(code(&"a".repeat(65)), "slug_too_long");
        for text in ["a b", "a/b", "ä", "a\0", "a%62", "a+b", "a?b", "🙂"] {
            assert_eq!(code(text), "slug_character", "{text}");
        }
        for text in [".well-known", "a.", "."] {
            assert_eq!(code(text), "slug_dot", "{text}");
        }
        for text in ["api", "API", "Robots.TXT", "docs", "Metrics"] {
            assert_eq!(code(text), "slug_reserved", "{text}");
        }
    }

    #[test]
    fn the_same_slug_is_found_however_it_is_spelled() {
        for path in ["/launch", "/launch/", "/LAUNCH", "/l%61unch", "/%4Caunch"] {
            assert_eq!(slug_from_path(path).unwrap().as_str(), "launch", "{path}");
        }
    }

    #[test]
    fn path_tricks_are_no_slugs() {
        for path in [
            "",
            "/",
            "//",
            "//abc",
            "/abc//",
            "/..%2fapi%2fv1",
            "/%2e%2e/admin",
            "/abc%00",
            "/abc%0d%0a",
            "/abc;x=1",
            "/%2561bc",
            "/.hidden",
            "/a.",
            "abc",
            "/ä",
            "/%zz",
        ] {
            assert!(slug_from_path(path).is_none(), "{path}");
        }
    }

    #[test]
    fn ten_thousand_generated_slugs_are_all_different_and_valid() {
        let entropy = SeededEntropy::new(1);
        let slugs: HashSet<String> = (0..10_000)
            .map(|_| Slug::generate(7, &entropy).to_string())
            .collect();
        assert_eq!(slugs.len(), 10_000);
        assert!(slugs.iter().all(|slug| Slug::parse("slug", slug).is_ok()));
        assert!(
            slugs
                .iter()
                .all(|slug| !slug.contains(['0', 'o', '1', 'l', 'i']))
        );
    }

    #[test]
    fn every_symbol_of_generated_slugs_is_equally_likely() {
        let entropy = SeededEntropy::new(2);
        let mut counts = [0_u32; 256];
        for _ in 0..10_000 {
            // Inner symbols only: the ends are never hyphens.
            for byte in &Slug::generate(7, &entropy).as_str().as_bytes()[1..6] {
                counts[usize::from(*byte)] += 1;
            }
        }
        let expected = 50_000.0 / 32.0;
        let chi_square: f64 = ALPHABET
            .iter()
            .map(|symbol| (f64::from(counts[*symbol as usize]) - expected).powi(2) / expected)
            .sum();
        // 31 degrees of freedom: 61.1 is exceeded once in a thousand.
        assert!(chi_square < 61.1, "{chi_square}");
    }

    proptest! {
        #[test]
        fn an_accepted_slug_is_found_under_its_own_path(text in "[A-Za-z0-9._-]{1,64}") {
            if let Ok(slug) = Slug::parse("slug", &text) {
                let found = slug_from_path(&format!("/{slug}")).unwrap();
                prop_assert_eq!(found.as_str(), slug.key());
            }
        }

        #[test]
        fn no_path_makes_the_reader_panic(path in "\\PC{0,200}") {
            let _ = slug_from_path(&path);
        }
    }
}
