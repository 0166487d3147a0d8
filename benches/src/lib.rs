//! What the benches share: a load generator, a baseline to compare with, and the real server as a
//! process.
//!
//! Everything here runs on one machine over loopback. The server under test and the generator are
//! kept on separate cores ([`machine::Cores`]), so that neither is measured through the other.

pub mod agents;
pub mod baseline;
mod connection;
pub mod histogram;
pub mod http;
pub mod load;
pub mod machine;
pub mod postgres;
pub mod server;
pub mod settings;
pub mod stats;
pub mod traffic;
pub mod valgrind;
