//! The server as its clients meet it: a real process, spoken to over HTTP.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod answer;
mod authorization;
mod bodies;
mod documentation;
mod hosts;
mod limits;
mod links;
mod listing;
mod logs;
mod pages;
mod process;
mod raw;
mod redirects;
mod server;
mod sign_in;
mod slugs;
mod targets;
mod text;
mod visits;
