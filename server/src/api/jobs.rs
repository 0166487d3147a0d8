//! Work that is done later, and what became of it.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi};
use terse_core::model::{Job, JobFilter};

use crate::api::Tag;
use crate::api::params::number;
use crate::api::schema::{Nullable, Time};
use crate::api::security::Caller;
use crate::app::App;
use crate::problem::Problem;

pub struct JobsApi;

/// Work that is done later. What it is about is not told: it may be somebody's e-mail address
#[derive(Object)]
#[oai(rename = "Job")]
struct JobBody {
    id: String,
    /// `mail`
    kind: String,
    /// `queued`, `running` or `dead`; what is done is not kept
    state: String,
    /// How often it has been begun
    attempts: i64,
    /// When it is tried next, at the earliest
    run_at: Time,
    /// Why the last attempt failed
    error: Nullable<String>,
    created_at: Time,
    updated_at: Time,
}

/// One page of jobs
#[derive(Object)]
struct JobPage {
    items: Vec<JobBody>,
    /// `null` on the last page
    next_cursor: Nullable<String>,
}

#[OpenApi(tag = "Tag::Administration")]
impl JobsApi {
    /// List jobs
    ///
    /// Those that wait, run or are dead, newest first.
    #[oai(path = "/jobs", method = "get", operation_id = "list_jobs")]
    async fn list(
        &self,
        app: Data<&Arc<App>>,
        _caller: Caller,
        /// `queued`, `running` or `dead`; all when absent
        state: Query<Option<String>>,
        /// 1 to 200, default 50
        limit: Query<Option<String>>,
        /// `next_cursor` of the page before
        cursor: Query<Option<String>>,
    ) -> Result<Json<JobPage>, Problem> {
        let mut refused = Vec::new();
        let filter = JobFilter {
            state: state.0,
            limit: number("limit", limit.0, &mut refused),
            cursor: cursor.0,
        };
        if !refused.is_empty() {
            return Err(Problem::refused(refused));
        }
        let page = app.terse.jobs().list(&filter).await?;
        Ok(Json(JobPage {
            items: page.items.into_iter().map(Into::into).collect(),
            next_cursor: Nullable(page.next_cursor),
        }))
    }

    /// Try a dead job again
    ///
    /// At once, and as often as if it were new. 409 when it is not dead.
    #[oai(path = "/jobs/:id/retry", method = "post", operation_id = "retry_job")]
    async fn retry(
        &self,
        app: Data<&Arc<App>>,
        caller: Caller,
        id: Path<String>,
    ) -> Result<Json<JobBody>, Problem> {
        let id = id.parse().map_err(|_| Problem::not_found())?;
        let job = app.terse.jobs().retry(id, &caller.0.actor()).await?;
        Ok(Json(job.into()))
    }
}

impl From<Job> for JobBody {
    fn from(job: Job) -> Self {
        Self {
            id: job.id.to_string(),
            kind: job.kind,
            state: job.state.as_str().to_owned(),
            attempts: job.attempts,
            run_at: job.run_at.into(),
            error: Nullable(job.error),
            created_at: job.created_at.into(),
            updated_at: job.updated_at.into(),
        }
    }
}
