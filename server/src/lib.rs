//! The server: redirects on plain hyper, the API on poem, wired to the domain in `terse-core`.

pub mod accept;
pub mod api;
pub mod app;
pub mod args;
pub mod chain;
pub mod client_address;
pub mod commands;
pub mod config;
pub mod connection;
pub mod cors;
pub mod edge;
pub mod host;
pub mod limits;
pub mod mail_pages;
pub mod mailer;
pub mod metrics;
pub mod misses;
pub mod pages;
mod patrol;
pub mod problem;
pub mod redirect;
pub mod run;
pub mod secrets;
pub mod tokens;
pub mod told_place;
mod visitor_page;
