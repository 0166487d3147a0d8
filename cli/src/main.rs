//! `terse`: links and figures at a terminal, over a server's API.

mod args;
mod client;
mod commands;
mod error;
mod exit;
mod output;
mod profile;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let outcome = commands::run(args::Args::parse());
    let exit = outcome.map_or_else(|error| output::failure(&error), |()| exit::Exit::Success);
    exit.into()
}
