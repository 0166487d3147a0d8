//! Counting a server's instructions with callgrind, where a machine has no performance counters.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

/// Whether valgrind is installed.
pub fn is_available() -> bool {
    Command::new("valgrind")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The words before a program's path that make callgrind count its instructions, with the total
/// going into `log` when the program ends.
pub fn instrument(log: &Path) -> Vec<OsString> {
    let mut log_file = OsString::from("--log-file=");
    log_file.push(log);
    vec![
        "valgrind".into(),
        "--tool=callgrind".into(),
        "--callgrind-out-file=/dev/null".into(),
        log_file,
    ]
}

/// The user-space instructions that callgrind counted into `log`.
pub fn instructions(log: &Path) -> Result<u64> {
    let text = fs::read_to_string(log).context("callgrind's log")?;
    parse(&text).with_context(|| format!("callgrind counted nothing: {text}"))
}

fn parse(log: &str) -> Option<u64> {
    log.lines()
        .filter_map(|line| line.split_once("Collected :"))
        .find_map(|(_, count)| count.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_found_among_other_lines() {
        let log =
            "==7== Callgrind, a call-graph\n==7== Events    : Ir\n==7== Collected : 12345\n==7==\n";
        assert_eq!(parse(log), Some(12_345));
        assert_eq!(parse("==7== Callgrind"), None);
    }
}
