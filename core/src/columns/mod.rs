//! Clicks as columns: the one form that the tail, the chunks, the sealer and every question share.
//!
//! A batch is sorted by (link, time, stream, seq). Its links are therefore runs, and a question about
//! some links skips all other rows. Texts are numbers of a small dictionary of the batch.
//! `docs/analytics.md` tells the way from a question to the bytes, `docs/adr/0006` why it is this one.

mod batch;
mod build;
mod bytes;
mod check;
mod counts;
mod encoding;
mod parcel;
#[cfg(test)]
mod tests;
mod values;

pub(crate) use batch::{Batch, Coded, Codes, Run};
pub(crate) use build::{BatchBuilder, Row, merge};
pub(crate) use check::{counts_agree, intact, kinds_of_batch};
pub(crate) use counts::{KindCounts, LinkCounts, ValueCounts};
pub(crate) use encoding::{
    EncodedChunk, decode_batch, decode_link_counts, decode_value_counts, each_value_count, encode,
};

pub(crate) use parcel::{Parcel, open_parcel};
use values::Values;

use crate::model::Fact;

/// A column of clicks. The numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Column {
    /// Which link: runs of rows, in the order of the links.
    Link,
    /// Unix milliseconds.
    At,
    /// Visitor hashes.
    Visitor,
    /// Which number the sequence has in its stream.
    Seq,
    /// A text out of a dictionary.
    Text(Text),
}

/// A column of texts: few different ones, many times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Text {
    /// The number of the stream.
    Stream,
    Kind,
    Reason,
    Fact(Fact),
}

/// How many columns of texts there are.
pub(crate) const TEXTS: usize = 3 + Fact::ALL.len();

impl Text {
    /// Every column of texts, by [`Text::index`].
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        [Self::Stream, Self::Kind, Self::Reason]
            .into_iter()
            .chain(Fact::ALL.into_iter().map(Self::Fact))
    }

    pub(crate) fn index(self) -> usize {
        match self {
            Self::Stream => 0,
            Self::Kind => 1,
            Self::Reason => 2,
            Self::Fact(fact) => 3 + fact.index(),
        }
    }
}

impl Column {
    /// Every column.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        [Self::Link, Self::At, Self::Visitor, Self::Seq]
            .into_iter()
            .chain(Text::all().map(Self::Text))
    }

    /// The stored number: below 64.
    pub(crate) const fn number(self) -> i64 {
        match self {
            Self::Link => 0,
            Self::At => 1,
            Self::Visitor => 2,
            Self::Seq => 3,
            Self::Text(Text::Stream) => 4,
            Self::Text(Text::Kind) => 5,
            Self::Text(Text::Reason) => 6,
            Self::Text(Text::Fact(fact)) => 16 + fact as i64,
        }
    }

    /// The column of a stored number; `None` when this release knows none.
    pub(crate) fn from_number(number: i64) -> Option<Self> {
        Self::all().find(|column| column.number() == number)
    }
}

/// Bytes that are no columns of this release, or not of the batch that they are read into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a chunk of clicks is damaged: {0}")]
pub(crate) struct Damaged(pub(crate) &'static str);

#[cfg(test)]
mod numbers {
    use super::*;

    #[test]
    fn every_column_has_a_number_of_its_own() {
        for column in Column::all() {
            assert!((0..64).contains(&column.number()));
            assert_eq!(Column::from_number(column.number()), Some(column));
        }
        for (index, text) in Text::all().enumerate() {
            assert_eq!(text.index(), index);
        }
    }
}
