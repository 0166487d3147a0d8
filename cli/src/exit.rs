//! What a script learns from the exit code.

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Done.
    Success = 0,
    /// The server refused, or something here did not work.
    Failure = 1,
    /// The command line asks for something that does not exist; clap uses the same number.
    Usage = 2,
    /// What was named does not exist, or the caller may not see it.
    NotFound = 3,
    /// Not signed in, or not permitted.
    NotAllowed = 4,
    /// The server did not answer.
    Unreachable = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
