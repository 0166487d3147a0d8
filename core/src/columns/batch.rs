//! A batch of clicks in memory.

use super::{Column, Damaged, TEXTS, Text, Values};

/// Clicks as columns, sorted by (link, time, stream, seq). Columns that nobody asked for are empty.
#[derive(Clone, Debug, Default)]
pub(crate) struct Batch {
    pub(crate) runs: Vec<Run>,
    pub(crate) at: Vec<i64>,
    pub(crate) visitors: Vec<u64>,
    pub(crate) seq: Vec<i64>,
    pub(crate) texts: [Option<Coded>; TEXTS],
}

/// The rows of one link: those before `end`, from where the run before ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) link: i64,
    pub(crate) end: usize,
}

/// A column of texts: a dictionary, and which of its values each row has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Coded {
    pub(crate) values: Values,
    pub(crate) codes: Codes,
}

/// Indexes into a dictionary, as narrow as it allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Codes {
    /// Every row has the first value.
    Same,
    Bytes(Vec<u8>),
    Words(Vec<u16>),
    Longs(Vec<u32>),
}

impl Batch {
    pub(crate) fn rows(&self) -> usize {
        self.runs.last().map_or(0, |run| run.end)
    }

    /// The rows of each link, in order.
    pub(crate) fn links(&self) -> impl Iterator<Item = (i64, std::ops::Range<usize>)> {
        let mut start = 0;
        self.runs.iter().map(move |run| {
            let rows = start..run.end;
            start = run.end;
            (run.link, rows)
        })
    }

    /// A column of texts that was asked for.
    pub(crate) fn text(&self, text: Text) -> Result<&Coded, Damaged> {
        self.texts[text.index()]
            .as_ref()
            .ok_or(Damaged("a column is missing"))
    }

    /// Whether the column is there.
    pub(crate) fn has(&self, column: Column) -> bool {
        let rows = self.rows();
        match column {
            Column::Link => true,
            Column::At => self.at.len() == rows,
            Column::Visitor => self.visitors.len() == rows,
            Column::Seq => self.seq.len() == rows,
            Column::Text(text) => self.texts[text.index()].is_some(),
        }
    }
}

impl Codes {
    /// Indexes below `values`, narrowed.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "an index is below the number of values"
    )]
    pub(crate) fn narrow(codes: Vec<u32>, values: usize) -> Self {
        match values {
            0 | 1 => Self::Same,
            2..=0x100 => Self::Bytes(codes.into_iter().map(|code| code as u8).collect()),
            0x101..=0x1_0000 => Self::Words(codes.into_iter().map(|code| code as u16).collect()),
            _ => Self::Longs(codes),
        }
    }

    /// The index of one row.
    pub(crate) fn get(&self, row: usize) -> usize {
        match self {
            Self::Same => 0,
            Self::Bytes(codes) => usize::from(codes[row]),
            Self::Words(codes) => usize::from(codes[row]),
            Self::Longs(codes) => codes[row] as usize,
        }
    }
}

impl Coded {
    /// A text that is known of no row.
    pub(crate) fn unknown() -> Self {
        Self {
            values: std::iter::once("").collect(),
            codes: Codes::Same,
        }
    }

    /// The text of one row.
    pub(crate) fn value(&self, row: usize) -> &str {
        self.values.get(self.codes.get(row)).unwrap_or("")
    }
}
