//! The server: redirects on plain hyper, the API on poem, wired to the domain in `terse-core`.

pub mod accept;
pub mod args;
pub mod client_address;
pub mod config;
pub mod connection;
pub mod limits;
pub mod problem;
pub mod tokens;
