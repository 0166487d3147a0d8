//! The server as its clients meet it: a real process, spoken to over HTTP.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod accounts;
mod analytics;
mod answer;
mod authorization;
mod bodies;
mod cors;
mod documentation;
mod engine;
mod filters;
mod foreign_ids;
mod hostile;
mod hosts;
mod idempotency;
mod keys;
mod limits;
mod links;
mod listing;
mod live;
mod logs;
mod matrix;
#[path = "../../../core/tests/common/mmdb.rs"]
mod mmdb;
mod operations;
mod outbox;
mod pages;
mod person;
mod places;
mod process;
mod raw;
mod redirects;
mod redis;
mod registration;
mod roles;
mod server;
mod sign_in;
mod slugs;
mod targets;
mod text;
mod visits;
mod workspaces;
