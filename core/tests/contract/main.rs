//! What the domain promises, on both databases: each body is written once and run on SQLite and on
//! PostgreSQL (`TERSE_TEST_POSTGRES_URL`; `scripts/test` starts one).

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod accounts;
mod analytics;
mod clicks;
mod fixture;
mod limited;
mod links;
mod listing;
mod migrations;
mod redirects;
mod stalled;
