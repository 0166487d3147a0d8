//! The `terse-server` binary.

use std::process::ExitCode;

use clap::Parser;
use terse_server::args::Arguments;
use terse_server::commands;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    commands::run(Arguments::parse())
}
