//! Which rows of a batch a question is about. Work per row is a comparison of a byte, many at once.

use std::ops::Range;

use crate::columns::Codes;

/// Rows of which so many marks add up to a byte.
const ROWS_PER_BYTE: usize = 255;

/// Rows that are still in question: those of the links asked for whose mark is 1.
pub(super) struct Selected {
    pub(super) ranges: Vec<Range<usize>>,
    pub(super) marks: Vec<u8>,
}

impl Selected {
    /// Keeps only rows that `keeps` gives 1 for.
    pub(super) fn keep(&mut self, mut keeps: impl FnMut(usize) -> u8) {
        for range in &self.ranges {
            for (mark, row) in self.marks[range.clone()].iter_mut().zip(range.clone()) {
                *mark &= keeps(row);
            }
        }
    }

    /// Keeps only rows whose code has 1 in the table.
    pub(super) fn keep_codes(&mut self, codes: &Codes, table: &[u8]) {
        let first = table.first().copied().unwrap_or(0);
        match codes {
            Codes::Same => self.keep(|_| first),
            Codes::Bytes(codes) => self.keep_bytes(codes, table),
            Codes::Words(codes) => self.keep(|row| table[usize::from(codes[row])]),
            Codes::Longs(codes) => self.keep(|row| table[codes[row] as usize]),
        }
    }

    /// One comparison for a whole vector of rows where a single code is kept, as most often; otherwise
    /// a look-up in a table that no code reaches beyond.
    fn keep_bytes(&mut self, codes: &[u8], table: &[u8]) {
        let kept = || (0..=u8::MAX).zip(table).filter(|(_, kept)| **kept != 0);
        let mut whole = [0; 256];
        whole[..table.len()].copy_from_slice(table);
        let only = kept().next().filter(|_| kept().count() == 1);
        for range in &self.ranges {
            let marks = self.marks[range.clone()].iter_mut();
            let rows = marks.zip(&codes[range.clone()]);
            match only {
                Some((only, _)) => rows.for_each(|(mark, code)| *mark &= u8::from(*code == only)),
                None => rows.for_each(|(mark, code)| *mark &= whole[usize::from(*code)]),
            }
        }
    }

    /// Hands over every row that is still selected.
    pub(super) fn each(&self, mut take: impl FnMut(usize)) {
        for range in &self.ranges {
            for row in range.clone() {
                if self.marks[row] != 0 {
                    take(row);
                }
            }
        }
    }

    /// Selected rows with this code.
    pub(super) fn count(&self, codes: &Codes, code: usize) -> u64 {
        let ranges = self.ranges.iter();
        match codes {
            Codes::Same => ranges.map(|range| sum(&self.marks[range.clone()])).sum(),
            Codes::Bytes(codes) => ranges
                .map(|range| {
                    // A dictionary of bytes has no other codes.
                    let code = u8::try_from(code).unwrap_or(u8::MAX);
                    let marks = self.marks[range.clone()].chunks(ROWS_PER_BYTE);
                    let parts = marks.zip(codes[range.clone()].chunks(ROWS_PER_BYTE));
                    parts
                        .map(|(marks, codes)| u64::from(matching(marks, codes, code)))
                        .sum::<u64>()
                })
                .sum(),
            _ => ranges
                .flat_map(Clone::clone)
                .map(|row| u64::from(self.marks[row] & u8::from(codes.get(row) == code)))
                .sum(),
        }
    }
}

/// Sums of bytes fit a vector of many; longer sums are made of those.
pub(super) fn sum(marks: &[u8]) -> u64 {
    let parts = marks.chunks(ROWS_PER_BYTE);
    parts.map(|marks| u64::from(marks.iter().sum::<u8>())).sum()
}

fn matching(marks: &[u8], codes: &[u8], code: u8) -> u8 {
    let both = marks.iter().zip(codes);
    both.map(|(mark, is)| *mark & u8::from(*is == code)).sum()
}
