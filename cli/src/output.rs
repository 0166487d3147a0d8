//! Everything that the command prints.

use std::io::{self, IsTerminal, Write};

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;

use crate::args::{Common, Format};
use crate::error::Error;
use crate::exit::Exit;

/// Terminals narrower than this get lines that they wrap themselves.
const MIN_WIDTH: u16 = 40;

/// Which members of a record become columns.
pub(crate) struct Columns {
    /// Of a table with many records.
    pub(crate) table: &'static [&'static str],
    /// Of CSV, and of one record on a terminal.
    pub(crate) all: &'static [&'static str],
}

/// Standard output in the format asked for.
pub(crate) struct Output {
    format: Format,
    quiet: bool,
}

impl Output {
    /// A table on a terminal, JSON otherwise, unless the options say more.
    pub(crate) fn new(common: &Common) -> Self {
        let usual = if io::stdout().is_terminal() {
            Format::Table
        } else {
            Format::Json
        };
        Self {
            format: common.output.unwrap_or(usual),
            quiet: common.quiet,
        }
    }

    /// One record.
    pub(crate) fn record(&self, record: &Value, columns: &Columns) -> Result<(), Error> {
        if let Some(ids) = self.ids(std::slice::from_ref(record)) {
            return print(&ids);
        }
        match self.format {
            Format::Json => print(&json(record)),
            Format::Csv => print(&csv(std::slice::from_ref(record), columns.all)),
            Format::Table => {
                let mut table = new_table();
                for name in columns.all {
                    table.add_row([(*name).to_owned(), shown(&record[*name])]);
                }
                print(&lines(&table))
            }
        }
    }

    /// The records under `member` of an answer; JSON shows the whole answer.
    pub(crate) fn records(
        &self,
        answer: &Value,
        member: &str,
        columns: &Columns,
    ) -> Result<(), Error> {
        let records = answer[member].as_array().map_or(&[][..], Vec::as_slice);
        if let Some(ids) = self.ids(records) {
            return print(&ids);
        }
        match self.format {
            Format::Json => print(&json(answer)),
            Format::Csv => print(&csv(records, columns.all)),
            Format::Table => {
                let mut table = new_table();
                table.set_header(columns.table.iter().map(|name| name.to_uppercase()));
                for record in records {
                    table.add_row(columns.table.iter().map(|name| shown(&record[*name])));
                }
                print(&lines(&table))
            }
        }
    }

    /// Prints the id of something that is gone, where only ids are wanted.
    pub(crate) fn gone(&self, id: &str) -> Result<(), Error> {
        if self.quiet {
            return print(&format!("{id}\n"));
        }
        Ok(())
    }

    /// A remark for people, beside the output.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            complain(&format!("{}\n", one_line(text)));
        }
    }

    /// Whether records are read by people here.
    pub(crate) fn is_table(&self) -> bool {
        self.format == Format::Table
    }

    /// One id a line, when only ids are wanted and these records have some.
    fn ids(&self, records: &[Value]) -> Option<String> {
        if !self.quiet {
            return None;
        }
        let mut ids = String::new();
        for record in records {
            ids += record["id"].as_str()?;
            ids.push('\n');
        }
        Some(ids)
    }
}

/// Explains a failure on standard error, and how to exit.
pub(crate) fn failure(error: &Error) -> Exit {
    let mut text = format!("terse: {}\n", one_line(&error.to_string()));
    if let Error::Refused(problem) = error {
        for refused in &problem.errors {
            let line = format!("{}: {} ({})", refused.field, refused.message, refused.code);
            text += &format!("  {}\n", one_line(&line));
        }
        let origin = format!("(code {}, request ID {})", problem.code, problem.request_id);
        text += &format!("{}\n", one_line(&origin));
    }
    complain(&text);
    error.exit()
}

/// Asks a yes-or-no question; anything but yes is a no.
pub(crate) fn ask(question: &str) -> Result<bool, Error> {
    let answer = prompt(&format!("{question} [y/N] "))?;
    Ok(matches!(answer.to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// Asks for a line of text.
pub(crate) fn prompt(question: &str) -> Result<String, Error> {
    complain(&one_line(question));
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(answer.trim().to_owned())
}

fn print(text: &str) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        // The reader, such as `head`, has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => Ok(outcome?),
    }
}

fn complain(text: &str) {
    // Nothing is left to tell it to when standard error is closed.
    let _ = io::stderr().write_all(text.as_bytes());
}

fn json(value: &Value) -> String {
    format!("{value:#}\n")
}

fn new_table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    // Terminals that do not know their width say 0.
    if table.width().is_some_and(|width| width >= MIN_WIDTH) {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    table
}

fn lines(table: &Table) -> String {
    let mut text = String::new();
    for line in table.lines() {
        text += line.trim_end();
        text.push('\n');
    }
    text
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        other => one_line(&plain(other)),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// Text from elsewhere may hold escape sequences that a terminal would obey.
fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect()
}

/// RFC 4180, but with bare line feeds between records, as shell tools expect.
fn csv(records: &[Value], columns: &[&str]) -> String {
    let mut text = columns.join(",") + "\n";
    for record in records {
        let cells: Vec<String> = columns.iter().map(|name| cell(&record[*name])).collect();
        text += &cells.join(",");
        text.push('\n');
    }
    text
}

fn cell(value: &Value) -> String {
    let text = if value.is_number() {
        value.to_string()
    } else {
        defused(plain(value))
    };
    if text.contains([',', '"', '\r', '\n']) {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text
}

/// Spreadsheets run cells that begin like a formula (OWASP, "CSV Injection"); a quote in front keeps them text.
fn defused(text: String) -> String {
    let is_blank = |c: char| c.is_whitespace() || c == '\u{FEFF}';
    let formula = text
        .trim_start_matches(is_blank)
        .starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠', '\0']);
    if formula || text.starts_with(['\t', '\r', '\n', '\0']) {
        return format!("'{text}");
    }
    text
}
