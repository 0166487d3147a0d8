//! Single clicks, as they are shown.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::classify::{Kind, Reason};
use crate::model::{Fact, LinkId, Timestamp};

/// Where a click is among all: its time, then which stream and which of its records. Unique.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    pub at: Timestamp,
    pub stream: i64,
    pub seq: i64,
}

impl Position {
    pub(super) fn to_cursor(self) -> String {
        let text = format!("{}:{}:{}", self.at.as_millis(), self.stream, self.seq);
        URL_SAFE_NO_PAD.encode(text)
    }

    pub(super) fn from_cursor(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let mut numbers = text.splitn(3, ':').map(|number| number.parse().ok());
        Some(Self {
            at: Timestamp::from_millis(numbers.next()??),
            stream: numbers.next()??,
            seq: numbers.next()??,
        })
    }
}

/// One stored click.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedClick {
    pub link: LinkId,
    pub position: Position,
    /// Decided at the click, and never changed.
    pub kind: Kind,
    pub reason: Reason,
    pub(super) facts: [String; Fact::ALL.len()],
}

impl RecordedClick {
    pub(crate) fn new<'a>(
        link: LinkId,
        (at, stream, seq): (Timestamp, i64, i64),
        kind: Kind,
        reason: Reason,
        value: impl Fn(Fact) -> &'a str,
    ) -> Self {
        Self {
            link,
            position: Position { at, stream, seq },
            kind,
            reason,
            facts: Fact::ALL.map(|fact| value(fact).to_owned()),
        }
    }

    pub fn at(&self) -> Timestamp {
        self.position.at
    }

    /// The value of a fact. Empty text: unknown.
    pub fn fact(&self, fact: Fact) -> &str {
        &self.facts[fact.index()]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_cursor_is_read_back(at in 0..4_000_000_000_000_i64, stream: i64, seq: i64) {
            let position = Position { at: Timestamp::from_millis(at), stream, seq };
            prop_assert_eq!(Position::from_cursor(&position.to_cursor()), Some(position));
        }

        #[test]
        fn no_text_makes_reading_a_cursor_panic(text in ".{0,60}") {
            let _ = Position::from_cursor(&text);
        }
    }
}
