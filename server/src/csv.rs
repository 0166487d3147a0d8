//! The one writer of CSV, for every export: RFC 4180, and no text becomes a formula where a
//! spreadsheet opens it.

use std::borrow::Cow;
use std::io;

use csv::{Terminator, Writer, WriterBuilder};

/// What browsers and spreadsheets take it for.
pub const CSV: &str = "text/csv; charset=utf-8";

/// Rows of a table, collected in memory.
#[derive(Debug)]
pub struct Rows(Writer<Vec<u8>>);

impl Default for Rows {
    fn default() -> Self {
        let mut form = WriterBuilder::new();
        form.terminator(Terminator::CRLF);
        Self(form.from_writer(Vec::new()))
    }
}

impl Rows {
    /// A cell that people wrote, or might have: names of columns too.
    pub fn text(&mut self, text: &str) -> io::Result<()> {
        self.0
            .write_field(&*harmless(text))
            .map_err(io::Error::from)
    }

    /// A cell that is a number wherever it is opened.
    pub fn number(&mut self, number: i64) -> io::Result<()> {
        let text = number.to_string();
        self.0.write_field(text).map_err(io::Error::from)
    }

    /// The row is complete.
    pub fn end_row(&mut self) -> io::Result<()> {
        self.0.write_record(None::<&[u8]>).map_err(io::Error::from)
    }

    /// The bytes of all rows.
    pub fn into_bytes(self) -> io::Result<Vec<u8>> {
        self.0
            .into_inner()
            .map_err(|error| io::Error::other(error.to_string()))
    }
}

/// The text, with an apostrophe before it if a spreadsheet would calculate it. Quotes alone keep no
/// spreadsheet from that.
fn harmless(text: &str) -> Cow<'_, str> {
    if starts_formula(text) {
        Cow::Owned(format!("'{text}"))
    } else {
        Cow::Borrowed(text)
    }
}

fn starts_formula(text: &str) -> bool {
    let first_seen = text.chars().find(|c| !is_passed_over(*c));
    text.starts_with(['\t', '\r', '\n', '\0']) || first_seen.is_some_and(is_operator)
}

/// What spreadsheets drop or do not show at the beginning of a cell.
fn is_passed_over(c: char) -> bool {
    let is_invisible = matches!(
        c,
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}'
    );
    c.is_whitespace() || c.is_control() || is_invisible
}

/// What begins a formula, in all its widths.
fn is_operator(c: char) -> bool {
    matches!(
        c,
        '=' | '+' | '-' | '@' | '＝' | '＋' | '－' | '＠' | '﹦' | '﹢' | '﹣' | '﹫' | '−'
    )
}

#[cfg(test)]
mod tests {
    use csv::ReaderBuilder;
    use proptest::prelude::*;

    use super::*;

    fn written(cells: &[&str]) -> Vec<u8> {
        let mut rows = Rows::default();
        for cell in cells {
            rows.text(cell).unwrap();
        }
        rows.end_row().unwrap();
        rows.into_bytes().unwrap()
    }

    fn read(bytes: &[u8]) -> Vec<Vec<String>> {
        let mut reader = ReaderBuilder::new().has_headers(false).from_reader(bytes);
        let rows = reader.records().map(Result::unwrap);
        rows.map(|row| row.iter().map(str::to_owned).collect())
            .collect()
    }

    #[test]
    fn text_that_would_be_a_formula_begins_with_an_apostrophe() {
        for formula in [
            "=HYPERLINK(\"http://x\")",
            "@SUM(1)",
            "-2+3",
            "+1",
            "\t=1",
            "\t",
            "\r1",
            "\n1",
            "\0",
            " =1",
            "\u{a0}=1",
            "\u{feff}=1",
            "\u{200b}@x",
            "\u{1}=1",
            "＝1",
            "＋1",
            "－1",
            "＠x",
            "=cmd|'/C calc'!A0",
        ] {
            assert_eq!(read(&written(&[formula])), [[format!("'{formula}")]]);
        }
        for plain in ["", "a=1", "1-2", "'=1", "x", "ä", "(none)", "  a", "\u{a0}"] {
            assert_eq!(read(&written(&[plain, ""])), [[plain, ""]]);
        }
    }

    #[test]
    fn numbers_stay_numbers_and_lines_end_as_they_should() {
        let mut rows = Rows::default();
        rows.text("a,\"b\"\r\nc").unwrap();
        rows.number(-5).unwrap();
        rows.end_row().unwrap();
        rows.text("").unwrap();
        rows.number(0).unwrap();
        rows.end_row().unwrap();
        let text = String::from_utf8(rows.into_bytes().unwrap()).unwrap();
        assert_eq!(text, "\"a,\"\"b\"\"\r\nc\",-5\r\n,0\r\n");
    }

    proptest! {
        #[test]
        fn every_row_is_read_back_with_as_many_cells_and_without_formulas(
            cells in prop::collection::vec("[=+@\\-\t\r\n\0 ,;\"'a-c＝]{0,6}", 2..6)
        ) {
            let cells: Vec<&str> = cells.iter().map(String::as_str).collect();
            let rows = read(&written(&cells));
            prop_assert_eq!(rows.len(), 1);
            prop_assert_eq!(rows[0].len(), cells.len());
            for (cell, given) in rows[0].iter().zip(cells) {
                prop_assert!(!starts_formula(cell), "{:?}", cell);
                prop_assert_eq!(cell.strip_prefix('\'').filter(|_| starts_formula(given)).unwrap_or(cell), given);
            }
        }
    }
}
