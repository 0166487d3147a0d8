//! What the environment says about a run.

use anyhow::{Context, Result, ensure};

/// Those sections of a bench that the command line asks for.
#[derive(Clone, Debug)]
pub struct Sections(Vec<String>);

impl Sections {
    /// Reads the arguments; an error when one names no section of this bench.
    pub fn asked_for(known: &[&str]) -> Result<Self> {
        let asked: Vec<String> = std::env::args()
            .skip(1)
            .filter(|argument| !argument.starts_with('-'))
            .collect();
        let is_known = |name: &String| known.contains(&name.as_str());
        ensure!(asked.iter().all(is_known), "sections are {known:?}");
        Ok(Self(asked))
    }

    /// Whether a section was asked for; every one is when none is named.
    pub fn wants(&self, name: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|section| section == name)
    }
}

/// Whether only a short look is wanted: `QUICK=1`.
pub fn is_quick() -> bool {
    std::env::var_os("QUICK").is_some_and(|value| value != "0")
}

/// How often a measurement is repeated: `ROUNDS`, by default 5, or 2 for a short look.
pub fn rounds() -> Result<usize> {
    let default = if is_quick() { 2 } else { 5 };
    Ok(usize::try_from(number("ROUNDS", default)?.max(1))?)
}

/// How long one slot of load is: `SECONDS`, by default 3, or 1 for a short look.
pub fn slot_seconds() -> Result<u64> {
    let default = if is_quick() { 1 } else { 3 };
    Ok(number("SECONDS", default)?.max(1))
}

/// Requests to offer per second, where the bench need not find them out: `RATE`.
pub fn rate() -> Result<Option<u64>> {
    asked("RATE")
}

/// How long a load goes on, where the bench has a duration of its own: `SECONDS`.
pub fn seconds() -> Result<Option<u64>> {
    asked("SECONDS")
}

/// How many clicks a data set has: `CLICKS`, by default ten million, or 200,000 for a short look.
pub fn clicks() -> Result<u64> {
    let default = if is_quick() { 200_000 } else { 10_000_000 };
    Ok(number("CLICKS", default)?.max(1_000))
}

fn number(name: &str, default: u64) -> Result<u64> {
    Ok(asked(name)?.unwrap_or(default))
}

fn asked(name: &str) -> Result<Option<u64>> {
    let Ok(text) = std::env::var(name) else {
        return Ok(None);
    };
    let number = text
        .parse()
        .with_context(|| format!("{name} is not a number"))?;
    Ok(Some(number))
}
