//! What knowing the caller takes, and what signing in does to redirects.
//!
//! `cargo bench -p terse-benches --bench accounts -- [check] [sign-in]`; both when nothing is named.
//! From the environment: `ROUNDS` (5), `SECONDS` per slot (3), `RATE` of redirects per second during
//! sign-ins (a quarter of the baseline's), `QUICK=1` for a short look.
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

#[path = "accounts/check.rs"]
mod check;
#[path = "accounts/sign_in.rs"]
mod sign_in;
#[path = "redirect/stage.rs"]
mod stage;

use anyhow::Result;
use terse_benches::baseline;
use terse_benches::settings::Sections;

use stage::Stage;

/// The real server's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SECTIONS: [&str; 2] = ["check", "sign-in"];

fn main() -> Result<()> {
    if baseline::is_asked_for() {
        return baseline::serve();
    }
    let sections = Sections::asked_for(&SECTIONS)?;
    if sections.wants("check") {
        check::run()?;
    }
    if sections.wants("sign-in") {
        let stage = Stage::prepare()?;
        stage.describe();
        sign_in::run(&stage)?;
    }
    Ok(())
}
