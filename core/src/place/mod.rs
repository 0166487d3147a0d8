//! Where a visitor is: what a trusted proxy says, else what a file of addresses knows.

mod continent;
mod file;
mod finder;
#[cfg(test)]
#[path = "../../tests/common/mmdb.rs"]
mod mmdb;
mod record;

use std::fmt;

pub use continent::continent_of;
pub use finder::PlaceFileStatus;
pub(crate) use finder::PlaceFinder;

/// A place as far as it is known. Codes are well-formed; the city is as it came.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Place<'a> {
    country: Code,
    region: Code,
    city: &'a str,
}

impl<'a> Place<'a> {
    /// Nowhere in particular.
    pub const UNKNOWN: Self = Self {
        country: Code::NONE,
        region: Code::NONE,
        city: "",
    };

    /// The place of these names: `country` an ISO 3166-1 code of two capitals, `region` an ISO 3166-2
    /// code with or without the country, `city` a name. What is no such code is left out, and without a
    /// country everything is.
    pub fn new(country: &str, region: &str, city: &'a str) -> Self {
        let country = Code::of_country(country);
        if country == Code::NONE {
            return Self::UNKNOWN;
        }
        Self {
            country,
            region: Code::of_region(country, region),
            city: city.trim(),
        }
    }

    /// The ISO 3166-1 code of two letters; empty: unknown.
    pub fn country(&self) -> &str {
        self.country.as_str()
    }

    /// The ISO 3166-2 code, as in `DE-BE`; empty: unknown.
    pub fn region(&self) -> &str {
        self.region.as_str()
    }

    /// The city's name; empty: unknown.
    pub fn city(&self) -> &'a str {
        self.city
    }

    /// Whether nothing more can be learned about it.
    fn is_complete(&self) -> bool {
        self.region != Code::NONE && !self.city.is_empty()
    }

    /// This place, and what `other` knows beyond it where the two agree.
    fn or(self, other: Self) -> Self {
        if self.country == Code::NONE {
            return other;
        }
        let agree = |mine: Code, theirs: Code| mine == Code::NONE || mine == theirs;
        if self.country != other.country || !agree(self.region, other.region) {
            return self;
        }
        // Two sources seldom agree on a city's region: a city that is known stays without one.
        if self.city.is_empty() { other } else { self }
    }
}

impl fmt::Debug for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Place")
            .field(&self.country())
            .field(&self.region())
            .field(&self.city)
            .finish()
    }
}

const COUNTRY_BYTES: usize = 2;
const SUBDIVISION_BYTES: usize = 3;

/// A code of a country or region on the stack.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Code {
    bytes: [u8; COUNTRY_BYTES + 1 + SUBDIVISION_BYTES],
    len: u8,
}

impl Code {
    const NONE: Self = Self {
        bytes: [0; COUNTRY_BYTES + 1 + SUBDIVISION_BYTES],
        len: 0,
    };

    fn of_country(text: &str) -> Self {
        let plausible = text.len() == COUNTRY_BYTES
            && text.bytes().all(|byte| byte.is_ascii_uppercase())
            // By which proxies say that they don't know.
            && !matches!(text, "XX" | "ZZ");
        let mut code = Self::NONE;
        if plausible {
            code.push(text);
        }
        code
    }

    fn of_region(country: Self, text: &str) -> Self {
        let subdivision = text
            .strip_prefix(country.as_str())
            .and_then(|rest| rest.strip_prefix('-'))
            .unwrap_or(text);
        let plausible = (1..=SUBDIVISION_BYTES).contains(&subdivision.len())
            && subdivision
                .bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
        if !plausible {
            return Self::NONE;
        }
        let mut code = country;
        code.push("-");
        code.push(subdivision);
        code
    }

    /// What does not fit is left out.
    fn push(&mut self, text: &str) {
        for (slot, byte) in self
            .bytes
            .iter_mut()
            .skip(self.len.into())
            .zip(text.bytes())
        {
            *slot = byte;
            self.len += 1;
        }
    }

    fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..self.len.into()).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(country: &str, region: &str, city: &'static str) -> (String, String, String) {
        let place = Place::new(country, region, city);
        (
            place.country().to_owned(),
            place.region().to_owned(),
            place.city().to_owned(),
        )
    }

    #[test]
    fn only_codes_become_codes() {
        let text = |country: &str, region: &str, city: &str| {
            (country.to_owned(), region.to_owned(), city.to_owned())
        };
        assert_eq!(of("DE", "BE", "Berlin"), text("DE", "DE-BE", "Berlin"));
        assert_eq!(of("DE", "DE-BE", " Berlin "), text("DE", "DE-BE", "Berlin"));
        assert_eq!(of("GB", "ENG", ""), text("GB", "GB-ENG", ""));
        assert_eq!(of("FR", "75", "Paris"), text("FR", "FR-75", "Paris"));
        assert_eq!(of("DE", "Berlin", "Berlin"), text("DE", "", "Berlin"));
        for country in ["", "XX", "ZZ", "T1", "de", "DEU", "D", "D\u{c4}", "\u{e4}"] {
            assert_eq!(of(country, "BE", "Berlin"), text("", "", ""), "{country}");
        }
    }

    #[test]
    fn a_second_source_adds_only_to_what_it_agrees_with() {
        let berlin = Place::new("DE", "BE", "Berlin");
        for (first, place) in [
            (Place::UNKNOWN, berlin),
            (Place::new("DE", "", ""), berlin),
            (Place::new("DE", "BE", ""), berlin),
            (Place::new("FR", "", ""), Place::new("FR", "", "")),
            (Place::new("DE", "BY", ""), Place::new("DE", "BY", "")),
            (Place::new("DE", "", "Bonn"), Place::new("DE", "", "Bonn")),
        ] {
            assert_eq!(first.or(berlin), place, "{first:?}");
        }
    }
}
