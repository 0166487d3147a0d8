//! Two real servers on a PostgreSQL that is killed, stopped, cut off, slow or older than it was. Every test
//! ends with the same question: is each answered click counted exactly once? It prints what it found.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::print_stdout, reason = "the figures belong into the log")]

mod answers;
mod busy;
mod cluster;
#[expect(dead_code, reason = "each test binary uses its part")]
#[path = "../common/mod.rs"]
mod common;
mod hung;
mod killed;
#[expect(dead_code, reason = "each test binary uses its part")]
#[path = "../common/load.rs"]
mod load;
mod names;
mod older;
mod partition;
mod proxy;
mod redis;
mod rounds;
mod scene;
