//! What the domain promises, on both databases: each body is written once and run on SQLite and on
//! PostgreSQL (`TERSE_TEST_POSTGRES_URL`; `scripts/test` starts one).

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod accounts;
mod analytics;
mod clicks;
mod deleted_clicks;
mod fixture;
mod invitations;
mod jobs;
mod limited;
mod links;
mod listing;
mod live;
mod mail;
mod members;
mod migrations;
#[path = "../common/mmdb.rs"]
mod mmdb;
mod nodes;
mod oracle;
mod people;
mod places;
mod redirects;
mod redis;
mod registration;
mod retention;
mod roles;
mod silent;
mod stalled;
mod verified;
mod visitor_epochs;
mod workspaces;
