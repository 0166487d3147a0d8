//! Reading which jobs to list.

use crate::jobs::JobError;
use crate::model::{FieldError, Job, JobFilter, JobState, Page};
use crate::paging;
use crate::store::jobs::JobSelection;

pub(super) struct ListQuery {
    pub(super) selection: JobSelection,
    limit: usize,
}

impl ListQuery {
    pub(super) fn parse(filter: &JobFilter) -> Result<Self, JobError> {
        let mut refused = Vec::new();
        let mut keep = |error: FieldError| refused.push(error);
        let limit = paging::limit(filter.limit).map_err(&mut keep).ok();
        let state = filter
            .state
            .as_deref()
            .and_then(|state| JobState::parse("state", state).map_err(&mut keep).ok());
        let after = filter
            .cursor
            .as_deref()
            .and_then(|cursor| paging::read_cursor(cursor).map_err(&mut keep).ok());
        match limit.filter(|_| refused.is_empty()) {
            Some(limit) => Ok(Self {
                selection: JobSelection {
                    state,
                    after,
                    limit: paging::one_more(limit),
                },
                limit,
            }),
            None => Err(JobError::Refused(refused)),
        }
    }

    pub(super) fn page(&self, items: Vec<Job>) -> Page<Job> {
        paging::page(
            items,
            self.limit,
            |job| job,
            |last| paging::cursor(last.created_at, last.id),
        )
    }
}
