//! Clicks per kind.

use crate::classify::Kind;

/// Clicks per kind, by [`KindCounts::slot`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct KindCounts(pub(crate) [u64; 3]);

impl KindCounts {
    /// The place of a kind.
    pub(crate) const fn slot(kind: Kind) -> usize {
        kind as usize
    }

    pub(crate) fn total(self) -> u64 {
        self.0.iter().sum()
    }

    /// Those of the kinds that are counted.
    pub(crate) fn of(self, counted: [bool; 3]) -> u64 {
        let one = |(clicks, counted): (&u64, bool)| if counted { *clicks } else { 0 };
        self.0.iter().zip(counted).map(one).sum()
    }

    pub(crate) fn add(&mut self, other: Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }
}

/// Clicks per value of a column of texts, in the order of its dictionary.
pub(crate) type ValueCounts = Vec<(Box<str>, KindCounts)>;

/// Clicks per link, in the order of the links.
pub(crate) type LinkCounts = Vec<(i64, KindCounts)>;
