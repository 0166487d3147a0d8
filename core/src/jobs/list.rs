//! Reading which jobs to list, and the cursors between pages.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::jobs::JobError;
use crate::model::{FieldError, Job, JobFilter, JobId, JobState, Page, Timestamp};
use crate::store::jobs::JobSelection;

const DEFAULT_LIMIT: i64 = 50;
const MAX_LIMIT: i64 = 200;

pub(super) struct ListQuery {
    pub(super) selection: JobSelection,
    limit: usize,
}

impl ListQuery {
    pub(super) fn parse(filter: &JobFilter) -> Result<Self, JobError> {
        let mut refused = Vec::new();
        let limit = filter.limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            refused.push(FieldError::new(
                "limit",
                "limit_out_of_range",
                "must be from 1 to 200",
            ));
        }
        let mut keep = |error: FieldError| refused.push(error);
        let state = filter
            .state
            .as_deref()
            .and_then(|state| JobState::parse("state", state).map_err(&mut keep).ok());
        let after = filter
            .cursor
            .as_deref()
            .and_then(|cursor| read_cursor(cursor).map_err(&mut keep).ok());
        if !refused.is_empty() {
            return Err(JobError::Refused(refused));
        }
        Ok(Self {
            selection: JobSelection {
                state,
                after,
                // One more than the page shows whether another follows.
                limit: limit + 1,
            },
            limit: usize::try_from(limit).unwrap_or(1),
        })
    }

    pub(super) fn page(&self, mut items: Vec<Job>) -> Page<Job> {
        let more = items.len() > self.limit;
        items.truncate(self.limit);
        let last = items.last().filter(|_| more);
        let next_cursor = last.map(|last| {
            URL_SAFE_NO_PAD.encode(format!("{}.{}", last.created_at.as_millis(), last.id))
        });
        Page { items, next_cursor }
    }
}

fn read_cursor(text: &str) -> Result<(Timestamp, JobId), FieldError> {
    let read = || -> Option<(Timestamp, JobId)> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (millis, id) = std::str::from_utf8(&bytes).ok()?.split_once('.')?;
        let created_at = Timestamp::from_millis(millis.parse().ok()?);
        Some((created_at, id.parse().ok()?))
    };
    read().ok_or_else(|| {
        FieldError::new(
            "cursor",
            "cursor_invalid",
            "must be the next_cursor of a list of jobs",
        )
    })
}
