//! What figures can be asked for by: every dimension of a click, in one table.

use std::fmt;
use std::str::FromStr;

macro_rules! facts {
    ($($(#[doc = $doc:literal])+ $fact:ident = $number:literal, $name:literal, $empty:literal;)+) => {
        /// A text that is kept with every click. The numbers are stored, and never given to another
        /// fact.
        ///
        /// To add a dimension, add a line to this table and write the value where clicks are
        /// classified: queries, filters, exports and the API's document follow.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Fact {
            $($(#[doc = $doc])+ $fact = $number,)+
        }

        impl Fact {
            /// Every fact, in the order in which clicks are shown.
            pub const ALL: [Self; [$($number),+].len()] = [$(Self::$fact),+];

            /// The fact of a stored number; `None` when this release knows none.
            pub const fn from_number(number: u8) -> Option<Self> {
                match number {
                    $($number => Some(Self::$fact),)+
                    _ => None,
                }
            }

            /// The name in the API.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$fact => $name,)+ }
            }

            /// How a click without this fact is shown and asked for.
            pub const fn name_of_none(self) -> &'static str {
                match self { $(Self::$fact => $empty,)+ }
            }

            /// One line for people.
            pub const fn about(self) -> &'static str {
                match self { $(Self::$fact => concat!($($doc),+).trim_ascii(),)+ }
            }
        }
    };
}

facts! {
    /// ISO 3166-1 code of two letters
    Country = 11, "country", "(none)";
    /// ISO 3166-2 code, such as `DE-BE`
    Region = 12, "region", "(none)";
    /// English name of the city
    City = 13, "city", "(none)";
    /// Host that the visitor came from, without `www.`
    Referrer = 5, "referrer", "(none)";
    /// `Chrome`, `Firefox`, `Safari`, `Edge`, `Opera`, …
    Browser = 1, "browser", "(none)";
    /// Major version, after the browser's name: `Firefox 140`
    BrowserVersion = 14, "browser_version", "(none)";
    /// `Windows`, `macOS`, `Linux`, `Android`, `iOS`, `ChromeOS`, …
    Os = 2, "os", "(none)";
    /// `desktop`, `mobile`, `tablet`, `tv` or `other`
    Device = 3, "device", "(none)";
    /// ISO 639 code of the preferred language
    Language = 4, "language", "(none)";
    /// Campaign: where the link was placed
    UtmSource = 6, "utm_source", "(none)";
    /// Campaign: by which means
    UtmMedium = 7, "utm_medium", "(none)";
    /// Campaign: its name
    UtmCampaign = 8, "utm_campaign", "(none)";
    /// Campaign: the search term
    UtmTerm = 9, "utm_term", "(none)";
    /// Campaign: which of several links
    UtmContent = 10, "utm_content", "(none)";
    /// `link`, or `qr` for a QR code
    Trigger = 15, "trigger", "link";
}

impl Fact {
    /// The place in [`Fact::ALL`].
    pub fn index(self) -> usize {
        Self::ALL
            .iter()
            .position(|fact| *fact == self)
            .unwrap_or_default()
    }

    /// What is shown for a stored value.
    pub fn shown(self, value: &str) -> &str {
        if value.is_empty() {
            self.name_of_none()
        } else {
            value
        }
    }
}

/// What a breakdown groups clicks by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dimension {
    /// A text kept with the click.
    Fact(Fact),
    /// The continent of the country: `AF AN AS EU NA OC SA`.
    Continent,
    /// Why the click is a person's, a bot's or a preview's.
    Reason,
    /// The link's id.
    Link,
    /// Each tag of the link, as it is now.
    Tag,
    /// The domain of the link.
    Domain,
}

/// There is no dimension of this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such dimension")]
pub struct UnknownDimension;

impl Dimension {
    /// Every dimension, in the order in which they are shown.
    pub fn all() -> impl Iterator<Item = Self> {
        let facts = Fact::ALL.into_iter().map(Self::Fact);
        facts.chain([
            Self::Continent,
            Self::Reason,
            Self::Link,
            Self::Tag,
            Self::Domain,
        ])
    }

    /// Whether values come from a list of some dozens at most, so that one pass can count the visitors of
    /// each.
    pub(crate) const fn has_few_values(self) -> bool {
        match self {
            Self::Continent | Self::Reason => true,
            Self::Fact(fact) => matches!(
                fact,
                Fact::Browser | Fact::Os | Fact::Device | Fact::Trigger
            ),
            Self::Link | Self::Tag | Self::Domain => false,
        }
    }

    /// The name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fact(fact) => fact.name(),
            Self::Continent => "continent",
            Self::Reason => "reason",
            Self::Link => "link",
            Self::Tag => "tag",
            Self::Domain => "domain",
        }
    }
}

impl FromStr for Dimension {
    type Err = UnknownDimension;

    fn from_str(name: &str) -> Result<Self, UnknownDimension> {
        Self::all()
            .find(|dimension| dimension.name() == name)
            .ok_or(UnknownDimension)
    }
}

impl fmt::Display for Dimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_lead_back_to_their_facts() {
        for fact in Fact::ALL {
            assert_eq!(Fact::from_number(fact as u8), Some(fact));
            assert_eq!(fact.name().parse(), Ok(Dimension::Fact(fact)));
            assert_eq!(Fact::ALL[fact.index()], fact);
        }
        for dimension in Dimension::all() {
            assert_eq!(dimension.to_string().parse(), Ok(dimension));
        }
        assert_eq!("planet".parse::<Dimension>(), Err(UnknownDimension));
    }
}
