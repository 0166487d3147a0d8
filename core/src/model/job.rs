//! Work to be done later, as administrators see it.

use crate::model::{FieldError, JobId, Timestamp};

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "TEXT", rename_all = "snake_case")]
pub enum JobState {
    /// Waits for its time.
    Queued,
    /// Somebody does it, or did when they crashed: it is taken over then.
    Running,
    /// Failed so often that only an administrator tries it again.
    Dead,
}

impl JobState {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Dead => "dead",
        }
    }

    /// Reads a state by its name.
    pub fn parse(field: &'static str, text: &str) -> Result<Self, FieldError> {
        [Self::Queued, Self::Running, Self::Dead]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| {
                FieldError::new(field, "state_unknown", "must be queued, running or dead")
            })
    }
}

/// A job. What it is about is not told: it may be somebody's e-mail address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    pub id: JobId,
    pub kind: String,
    pub state: JobState,
    pub attempts: i64,
    /// When it is tried next, at the earliest.
    pub run_at: Timestamp,
    /// Why the last attempt failed.
    pub error: Option<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// Which jobs to list, as a client asked for them.
#[derive(Clone, Debug, Default)]
pub struct JobFilter {
    pub state: Option<String>,
    /// 1 to 200; 50 when absent.
    pub limit: Option<i64>,
    pub cursor: Option<String>,
}
