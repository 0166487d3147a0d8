//! Why a command failed.

use std::io;
use std::path::PathBuf;

use serde::Deserialize;

use crate::exit::Exit;

/// Every way to fail; its text is one sentence for people.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0}")]
    Usage(String),
    #[error("{}", .0.detail)]
    Refused(Box<Problem>),
    #[error("not signed in to {0}; run: terse login --url {0}")]
    NotSignedIn(String),
    #[error("{url} does not answer: {reason}")]
    Unreachable { url: String, reason: String },
    /// Something answered, but not as a Terse server does.
    #[error("{0}")]
    Unexpected(String),
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{0}")]
    Terminal(#[from] io::Error),
}

/// A server's refusal (RFC 9457).
#[derive(Debug, Deserialize)]
pub(crate) struct Problem {
    pub(crate) status: u16,
    #[serde(default)]
    pub(crate) detail: String,
    pub(crate) code: String,
    #[serde(default)]
    pub(crate) request_id: String,
    #[serde(default)]
    pub(crate) errors: Vec<RefusedField>,
}

/// One refused field.
#[derive(Debug, Deserialize)]
pub(crate) struct RefusedField {
    pub(crate) field: String,
    #[serde(default)]
    pub(crate) code: String,
    #[serde(default)]
    pub(crate) message: String,
}

impl Error {
    /// The exit code that tells scripts about this.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::NotSignedIn(_) => Exit::NotAllowed,
            Self::Unreachable { .. } => Exit::Unreachable,
            Self::Refused(problem) => problem.exit(),
            Self::Unexpected(_) | Self::File { .. } | Self::Terminal(_) => Exit::Failure,
        }
    }

    pub(crate) fn is_not_found(&self) -> bool {
        self.exit() == Exit::NotFound
    }
}

impl Problem {
    fn exit(&self) -> Exit {
        match self.status {
            401 | 403 => Exit::NotAllowed,
            404 => Exit::NotFound,
            // RFC 6749 answers wrong credentials with 400.
            400 if self.code == "invalid_grant" => Exit::NotAllowed,
            _ => Exit::Failure,
        }
    }
}
