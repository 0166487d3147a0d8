use std::collections::HashSet;
use std::time::Duration;

use terse_core::jobs::{JobError, LEASE, LeasedJob, MAX_ATTEMPTS};
use terse_core::model::{Actor, Job, JobFilter, JobState};

use crate::fixture::{Installation, on_both_databases};

on_both_databases![
    of_fifty_parallel_workers_each_job_has_one,
    a_lease_that_ran_out_is_taken_over_and_its_first_holder_changes_nothing,
    a_job_is_not_begun_before_its_time,
    a_failed_job_waits_longer_after_every_attempt,
    a_job_that_failed_eight_times_is_dead_until_an_administrator_retries_it,
    a_job_that_ends_whoever_does_it_is_dead_in_the_end,
    jobs_are_listed_newest_first_page_by_page,
    reasons_are_stored_short_and_on_one_line,
];

const HUNDRED_JOBS: &str = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100) \
     INSERT INTO jobs (id, kind, payload, state, attempts, run_at, created_at, updated_at) \
     SELECT i, 'errand', '{}', 'queued', 0, 0, i / 10, 0 FROM n";
const ONE_JOB: &str = "INSERT INTO jobs (id, kind, payload, state, attempts, run_at, created_at, updated_at) \
     VALUES (7, 'errand', '{}', 'queued', 0, 0, 0, 0)";

async fn leased(t: &Installation) -> Option<LeasedJob> {
    t.terse.jobs().lease().await.unwrap()
}

async fn listed(t: &Installation, state: &str) -> Vec<Job> {
    let filter = JobFilter {
        state: Some(state.to_owned()),
        ..JobFilter::default()
    };
    t.terse.jobs().list(&filter).await.unwrap().items
}

async fn of_fifty_parallel_workers_each_job_has_one(t: Installation) {
    t.sql(HUNDRED_JOBS).await;
    let workers = (0..50).map(|_| {
        let terse = t.terse.clone();
        tokio::spawn(async move {
            let mut done = Vec::new();
            while let Some(job) = terse.jobs().lease().await.unwrap() {
                assert_eq!(job.attempts(), 1);
                assert!(terse.jobs().finish(&job).await.unwrap());
                done.push(job.id());
            }
            done
        })
    });
    let mut done = Vec::new();
    for worker in workers.collect::<Vec<_>>() {
        done.extend(worker.await.unwrap());
    }
    assert_eq!(done.len(), 100);
    assert_eq!(done.into_iter().collect::<HashSet<_>>().len(), 100);
    let left = t.terse.jobs().list(&JobFilter::default()).await.unwrap();
    assert_eq!(left.items, []);
}

async fn a_lease_that_ran_out_is_taken_over_and_its_first_holder_changes_nothing(t: Installation) {
    t.sql(ONE_JOB).await;
    let jobs = t.terse.jobs();
    let first = leased(&t).await.unwrap();
    assert_eq!(first.until(), t.now().plus(LEASE));
    t.clock.set(first.until().minus(Duration::from_millis(1)));
    assert!(leased(&t).await.is_none(), "the lease still holds");
    t.clock.set(first.until());
    let second = leased(&t).await.unwrap();
    assert_eq!((second.id(), second.attempts()), (first.id(), 2));

    assert!(!jobs.fail(&first, "late").await.unwrap());
    assert!(!jobs.finish(&first).await.unwrap());
    let running = listed(&t, "running").await;
    assert_eq!(running.len(), 1);
    assert_eq!((running[0].attempts, &running[0].error), (2, &None));

    assert!(jobs.finish(&second).await.unwrap());
    assert!(!jobs.finish(&second).await.unwrap(), "it is done once");
}

async fn a_job_is_not_begun_before_its_time(t: Installation) {
    t.sql(ONE_JOB).await;
    let job = leased(&t).await.unwrap();
    t.terse.jobs().fail(&job, "not now").await.unwrap();
    let due = listed(&t, "queued").await[0].run_at;
    t.clock.set(due.minus(Duration::from_millis(1)));
    assert!(leased(&t).await.is_none());
    t.clock.set(due);
    assert!(leased(&t).await.is_some());
}

async fn a_failed_job_waits_longer_after_every_attempt(t: Installation) {
    t.sql(ONE_JOB).await;
    for attempt in 1..MAX_ATTEMPTS {
        let job = leased(&t).await.unwrap();
        assert_eq!(job.attempts(), attempt);
        assert!(t.terse.jobs().fail(&job, "refused").await.unwrap());
        let queued = listed(&t, "queued").await;
        let pause = queued[0].run_at.since(t.now());
        let planned = Duration::from_secs(30) * 3_u32.pow(u32::try_from(attempt).unwrap() - 1);
        assert!(
            pause >= planned * 3 / 4 && pause <= planned * 5 / 4,
            "attempt {attempt}: {pause:?} instead of about {planned:?}"
        );
        t.clock.set(queued[0].run_at);
    }
}

async fn a_job_that_failed_eight_times_is_dead_until_an_administrator_retries_it(t: Installation) {
    t.sql(ONE_JOB).await;
    for _ in 0..MAX_ATTEMPTS {
        let job = leased(&t).await.unwrap();
        t.terse.jobs().fail(&job, "refused (550)").await.unwrap();
        t.clock.advance(Duration::from_hours(24));
    }
    assert!(leased(&t).await.is_none());
    let dead = listed(&t, "dead").await;
    assert_eq!(dead.len(), 1);
    assert_eq!(
        (dead[0].attempts, dead[0].error.as_deref()),
        (MAX_ATTEMPTS, Some("refused (550)"))
    );

    let actor = Actor::system();
    let retry = || t.terse.jobs().retry(dead[0].id, &actor);
    let retried = retry().await.unwrap();
    assert_eq!((retried.state, retried.attempts), (JobState::Queued, 0));
    assert_eq!(retried, listed(&t, "queued").await[0]);
    assert!(matches!(retry().await, Err(JobError::NotDead)));
    let job = leased(&t).await.unwrap();
    assert!(matches!(retry().await, Err(JobError::NotDead)));
    t.terse.jobs().finish(&job).await.unwrap();
    assert!(matches!(retry().await, Err(JobError::NotFound)));
}

async fn a_job_that_ends_whoever_does_it_is_dead_in_the_end(t: Installation) {
    t.sql(ONE_JOB).await;
    for _ in 0..MAX_ATTEMPTS {
        assert!(leased(&t).await.is_some());
        t.clock.advance(LEASE);
    }
    assert!(leased(&t).await.is_none());
    let dead = listed(&t, "dead").await;
    assert!(dead[0].error.as_ref().unwrap().contains("ended before"));
}

async fn jobs_are_listed_newest_first_page_by_page(t: Installation) {
    t.sql(HUNDRED_JOBS).await;
    let mut seen = Vec::new();
    let mut filter = JobFilter {
        limit: Some(7),
        ..JobFilter::default()
    };
    loop {
        let page = t.terse.jobs().list(&filter).await.unwrap();
        seen.extend(page.items.into_iter().map(|job| (job.created_at, job.id)));
        if page.next_cursor.is_none() {
            break;
        }
        filter.cursor = page.next_cursor;
    }
    assert_eq!(seen.len(), 100);
    assert!(seen.is_sorted_by(|earlier, later| earlier > later));

    for (state, limit, cursor, field) in [
        (Some("lost"), None, None, "state"),
        (None, Some(0), None, "limit"),
        (None, Some(201), None, "limit"),
        (None, None, Some("x"), "cursor"),
    ] {
        let filter = JobFilter {
            state: state.map(str::to_owned),
            limit,
            cursor: cursor.map(str::to_owned),
        };
        let Err(JobError::Refused(errors)) = t.terse.jobs().list(&filter).await else {
            panic!("{field} was taken");
        };
        assert_eq!(errors[0].field, field);
    }
}

async fn reasons_are_stored_short_and_on_one_line(t: Installation) {
    t.sql(ONE_JOB).await;
    let job = leased(&t).await.unwrap();
    let reason = format!("first\r\nsecond\0{}", "x".repeat(10_000));
    t.terse.jobs().fail(&job, &reason).await.unwrap();
    let stored = listed(&t, "queued").await[0].error.clone().unwrap();
    assert_eq!(stored.chars().count(), 200);
    assert!(stored.starts_with("firstsecondx"));
}
