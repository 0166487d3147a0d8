//! What is worth counting of a click, as bytes: the form in which the spool and the database keep it.
//!
//! A list of (tag, length, bytes), one byte each for tag and length. A missing fact is not written;
//! unknown tags are skipped, so that a newer release may add some. At most 2 KiB in all.

use crate::classify::source;
use crate::classify::{Agent, RequestFacts};
use crate::model::Fact;
use crate::place::Place;

/// Longest value in bytes.
pub(super) const MAX_VALUE_BYTES: usize = 255;

/// Facts read back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts<'a> {
    values: [&'a str; Fact::ALL.len()],
}

/// The bytes are no list of facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a list of facts")]
pub struct MalformedFacts;

/// Appends the facts of a click to `out`: at most 2 KiB, every value valid UTF-8 of at most 255 bytes.
pub fn encode_facts(agent: &Agent, facts: &RequestFacts<'_>, place: &Place<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(&agent.facts);
    if let Some(language) = source::language(facts.accept_language) {
        push_fact(out, Fact::Language, &language);
    }
    push_fact(out, Fact::Country, place.country().as_bytes());
    push_fact(out, Fact::Region, place.region().as_bytes());
    push_text(out, Fact::City, place.city());
    source::referrer(facts.referer, |host| push_fact(out, Fact::Referrer, host));
    if let Some(query) = facts.query {
        source::utm(query, |fact, value| push_fact(out, fact, value));
        if source::is_of_qr_code(query) {
            push_fact(out, Fact::Trigger, b"qr");
        }
    }
}

/// Appends one fact; an empty one is left out.
pub(crate) fn push_fact(out: &mut Vec<u8>, fact: Fact, value: &[u8]) {
    let value = &value[..value.len().min(MAX_VALUE_BYTES)];
    if value.is_empty() {
        return;
    }
    out.push(fact as u8);
    out.push(u8::try_from(value.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(value);
}

/// Appends one fact without control characters, cut where it would be too long.
fn push_text(out: &mut Vec<u8>, fact: Fact, value: &str) {
    let start = out.len();
    out.extend([fact as u8, 0]);
    let mut len = 0;
    for character in value.chars().filter(|character| !character.is_control()) {
        if len + character.len_utf8() > MAX_VALUE_BYTES {
            break;
        }
        let mut bytes = [0; 4];
        out.extend_from_slice(character.encode_utf8(&mut bytes).as_bytes());
        len += character.len_utf8();
    }
    if len == 0 {
        out.truncate(start);
    } else {
        out[start + 1] = u8::try_from(len).unwrap_or(u8::MAX);
    }
}

impl<'a> Facts<'a> {
    /// Reads what [`encode_facts`] wrote; any other bytes are an error, never a panic.
    pub fn decode(mut bytes: &'a [u8]) -> Result<Self, MalformedFacts> {
        let mut facts = Self::default();
        while let [tag, len, rest @ ..] = bytes {
            let (value, rest) = rest
                .split_at_checked(usize::from(*len))
                .ok_or(MalformedFacts)?;
            let value = std::str::from_utf8(value).map_err(|_| MalformedFacts)?;
            if let Some(fact) = Fact::from_number(*tag) {
                facts.values[fact.index()] = value;
            }
            bytes = rest;
        }
        if bytes.is_empty() {
            Ok(facts)
        } else {
            Err(MalformedFacts)
        }
    }

    /// The value of a fact. Empty text: unknown.
    pub fn get(&self, fact: Fact) -> &'a str {
        self.values[fact.index()]
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use proptest::prelude::*;

    use super::*;

    fn facts_of(request: &RequestFacts<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        encode_facts(
            &Agent::parse(request.user_agent),
            request,
            &request.place,
            &mut out,
        );
        out
    }

    const PLAIN: RequestFacts<'static> = RequestFacts::of(IpAddr::V4(Ipv4Addr::LOCALHOST));

    #[test]
    fn the_facts_of_a_click_are_read_back_as_they_were() {
        let bytes = facts_of(&RequestFacts {
            query: Some(
                "utm_source=news%20letter&x=1&utm_content=a+b&utm_source=second&UTM_TERM=no&qr=1",
            ),
            user_agent: b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
            accept_language: b"de-AT,de;q=0.9,en;q=0.5",
            referer: b"https://www.News.example:8443/story?id=1",
            place: Place::new("DE", "BE", "Ber\u{7}\nlin"),
            ..PLAIN
        });
        let facts = Facts::decode(&bytes).unwrap();
        let known = [
            (Fact::Country, "DE"),
            (Fact::Region, "DE-BE"),
            (Fact::City, "Berlin"),
            (Fact::Browser, "Firefox"),
            (Fact::BrowserVersion, "Firefox 140"),
            (Fact::Trigger, "qr"),
            (Fact::Os, "Linux"),
            (Fact::Device, "desktop"),
            (Fact::Language, "de"),
            (Fact::Referrer, "news.example"),
            (Fact::UtmSource, "news letter"),
            (Fact::UtmContent, "a b"),
        ];
        for fact in Fact::ALL {
            let known = known.iter().find(|(of, _)| *of == fact);
            assert_eq!(facts.get(fact), known.map_or("", |(_, value)| value));
        }
    }

    proptest! {
        #[test]
        fn hostile_requests_make_short_valid_facts(query in "\\PC{0,3000}", agent: Vec<u8>, language: Vec<u8>, referer: Vec<u8>, utm: Vec<u8>, city in "\\PC{0,400}") {
            let encoded = percent_encoding::percent_encode(&utm, percent_encoding::NON_ALPHANUMERIC);
            let query = format!("utm_source={encoded}&utm_term={query}&{query}");
            let bytes = facts_of(&RequestFacts {
                query: Some(&query),
                user_agent: &agent,
                accept_language: &language,
                referer: &referer,
                place: Place::new("GB", "ENG", &city),
                ..PLAIN
            });
            prop_assert!(bytes.len() <= 2_000);
            let facts = Facts::decode(&bytes).unwrap();
            prop_assert!(!facts.get(Fact::UtmSource).chars().any(char::is_control));
        }

        #[test]
        fn no_bytes_make_decoding_panic(bytes: Vec<u8>) {
            let _ = Facts::decode(&bytes);
        }
    }
}
