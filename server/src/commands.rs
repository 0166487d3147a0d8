//! What each subcommand does.

mod backup;
mod spool;

use std::error::Error;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use secrecy::SecretString;
use terse_core::accounts::AccountError;
use terse_core::model::{Actor, InstanceRole, NewUser};
use terse_core::{MigrationState, StoreError, TerseBuilder, Tools, VerifyReport};
use tracing_subscriber::EnvFilter;

use crate::api;
use crate::args::{Arguments, Command, Migrate, Spool, User};
use crate::config::{Config, LogFormat, Sources, load};
use crate::run;

/// Findings of one kind that `verify` names.
const MOST_TOLD: usize = 20;

/// Runs the command; errors are told in one line.
pub fn run(arguments: Arguments) -> ExitCode {
    run_adapted(arguments, |builder| builder)
}

/// As [`run`], serving an installation that `adapt` has changed: with another clock, say.
pub fn run_adapted(
    arguments: Arguments,
    adapt: impl FnOnce(TerseBuilder) -> TerseBuilder,
) -> ExitCode {
    let command = arguments.command.unwrap_or(Command::Serve);
    if matches!(command, Command::Openapi) {
        return print(&api::document());
    }
    let config = match load(&Sources::of_process(arguments.flags)) {
        Ok(config) => config,
        Err(error) => return fail(&error.into()),
    };
    if matches!(command, Command::Config) {
        return print(&shown(&config));
    }
    if let Err(error) = log(&config) {
        return fail(&error);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    let outcome = runtime.block_on(perform(command, config, adapt));
    // Nothing is worth waiting for any more: a hung query must not hold the process.
    runtime.shutdown_background();
    match outcome {
        Ok(code) => code,
        Err(error) => fail(&error),
    }
}

async fn perform(
    command: Command,
    config: Config,
    adapt: impl FnOnce(TerseBuilder) -> TerseBuilder,
) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve => {
            let healthy = run::serve(config, adapt).await?;
            Ok(if healthy {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        }
        Command::Migrate { direction } => migrate(direction, &config).await,
        Command::User { action } => create_user(action, &config).await,
        Command::Verify => verify(&config).await,
        Command::Spool {
            action: Spool::AcceptGap { stream },
        } => spool::accept_gap(&stream, &config).await,
        Command::Spool {
            action: Spool::Ship { dir },
        } => spool::ship(&dir, &config).await,
        Command::Backup { to } => backup::backup(&to, &config).await,
        Command::Config | Command::Openapi => Ok(ExitCode::SUCCESS),
    }
}

/// The data, which has to be there already unless this is the command that may make it.
async fn tools(config: &Config, may_make: bool) -> anyhow::Result<Tools> {
    if config.database_url.is_none() && !config.data_dir.join("terse.db").exists() {
        if !may_make {
            bail!(
                "there is no data in {}; is data_dir right?",
                config.data_dir.display()
            );
        }
        crate::secrets::data_dir(&config.data_dir)?;
    }
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    run::builder(config)?
        .tools()
        .await
        .context("cannot open the data")
}

async fn migrate(direction: Migrate, config: &Config) -> anyhow::Result<ExitCode> {
    let tools = tools(config, matches!(direction, Migrate::Up)).await?;
    match direction {
        Migrate::Up => tools.migrate_up().await?,
        Migrate::Down { yes_delete_data } => {
            if !yes_delete_data {
                bail!(
                    "this deletes the data of the latest migration; add --yes-delete-data if you mean it"
                );
            }
            let applied: Vec<i64> = tools
                .migrations()
                .await?
                .into_iter()
                .filter(|migration| migration.state == MigrationState::Applied)
                .map(|migration| migration.version)
                .collect();
            let target = applied.iter().rev().nth(1).copied().unwrap_or(0);
            tools.migrate_down(target).await?;
        }
        Migrate::Status => {}
    }
    let mut text = String::new();
    for migration in tools.migrations().await? {
        let state = match migration.state {
            MigrationState::Applied => "applied",
            MigrationState::Pending => "pending",
            MigrationState::Unknown => "of a newer release",
        };
        text.push_str(&format!(
            "{}  {}  {state}\n",
            migration.version, migration.name
        ));
    }
    tools.close().await;
    Ok(print(&text))
}

async fn create_user(action: User, config: &Config) -> anyhow::Result<ExitCode> {
    let User::Create {
        email,
        admin,
        name,
        password_stdin,
    } = action;
    let password = read_password(password_stdin)?;
    let tools = tools(config, true).await?;
    tools.migrate_up().await?;
    let made = tools
        .accounts()
        .create_user(
            NewUser {
                email,
                password,
                role: if admin {
                    InstanceRole::Admin
                } else {
                    InstanceRole::User
                },
                name,
            },
            &Actor::system(),
        )
        .await;
    tools.close().await;
    match made {
        Ok(user) => Ok(print(&format!(
            "Made {} ({}).\n",
            user.email,
            user.role.as_str()
        ))),
        Err(AccountError::Refused(errors)) => {
            let reasons: Vec<String> = errors.iter().map(ToString::to_string).collect();
            bail!("{}", reasons.join("; "))
        }
        Err(error) => Err(error.into()),
    }
}

/// Never from the command line: other users of the machine can read that.
fn read_password(from_stdin: bool) -> anyhow::Result<SecretString> {
    if !from_stdin {
        let typed = rpassword::prompt_password("Password: ")
            .context("cannot ask for the password; use --password-stdin")?;
        return Ok(SecretString::from(typed));
    }
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(SecretString::from(line.trim_end_matches(['\r', '\n'])))
}

async fn verify(config: &Config) -> anyhow::Result<ExitCode> {
    let tools = tools(config, false).await?;
    let report = tools.verify().await?;
    tools.close().await;
    print(&(told(&report) + &told_of_losses(&report)));
    Ok(if report.is_consistent() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What agrees, and what does not.
fn told(report: &VerifyReport) -> String {
    let verdict = match (report.damaged.is_empty(), report.differences.is_empty()) {
        (true, true) => "rows and counters agree",
        (true, false) => "rows and counters DIFFER",
        (false, true) => "clicks are DAMAGED",
        (false, false) => "clicks are DAMAGED, rows and counters DIFFER",
    };
    let mut text = format!(
        "{} links, {} clicks, {} chunks: {verdict}\n",
        report.links, report.clicks, report.chunks
    );
    for damage in report.damaged.iter().take(MOST_TOLD) {
        let place = match (damage.chunk, damage.day) {
            (Some(chunk), Some(day)) => format!("chunk {chunk} of {:.10}", day.to_string()),
            (Some(chunk), None) => format!("chunk {chunk}"),
            (None, _) => "the tail".to_owned(),
        };
        text.push_str(&format!(
            "  workspace {}, {place}: {}\n",
            damage.workspace, damage.what
        ));
    }
    for difference in report.differences.iter().take(MOST_TOLD) {
        text.push_str(&format!(
            "  link {}: rows {:?}, counters {:?} (humans, bots, previews)\n",
            difference.link, difference.rows, difference.counters
        ));
    }
    for (kind, all) in [
        ("places of damage", report.damaged.len()),
        ("links that differ", report.differences.len()),
    ] {
        if let Some(more @ 1..) = all.checked_sub(MOST_TOLD) {
            text.push_str(&format!("  and {more} more {kind}\n"));
        }
    }
    text
}

/// What is known to be missing, which is no disagreement.
fn told_of_losses(report: &VerifyReport) -> String {
    let mut text = String::new();
    if report.open_gaps + report.accepted_gaps > 0 {
        text.push_str(&format!(
            "  gaps in the spool: {} open, {} accepted\n",
            report.open_gaps, report.accepted_gaps
        ));
    }
    if report.dead_records > 0 {
        text.push_str(&format!(
            "  records that do not decode: {}\n",
            report.dead_records
        ));
    }
    if report.unrecorded > 0 {
        text.push_str(&format!(
            "  answered without a record: {}\n",
            report.unrecorded
        ));
    }
    text
}

fn shown(config: &Config) -> String {
    let width = config
        .shown
        .iter()
        .map(|setting| setting.key.len())
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    for setting in &config.shown {
        text.push_str(&format!(
            "{:width$} = {:<28} # {}\n",
            setting.key, setting.value, setting.source
        ));
    }
    text
}

fn log(config: &Config) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&config.log).context("log")?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        // It would tell of them on standard error with a macro that panics when that fails too.
        .log_internal_errors(false)
        .with_ansi(io::stderr().is_terminal());
    match config.log_format {
        LogFormat::Text => lines.with_target(false).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
    Ok(())
}

fn print(text: &str) -> ExitCode {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn fail(error: &anyhow::Error) -> ExitCode {
    let mut text = format!("terse-server: {error:#}\n");
    let store = |cause: &(dyn Error + 'static)| cause.downcast_ref().map(StoreError::lacks_tables);
    if error.chain().any(|cause| store(cause) == Some(true)) {
        text.push_str(
            "terse-server: this database has not the tables of this release. Is it the right one (terse-server config)? \
             A server makes them when it starts, or terse-server migrate up.\n",
        );
    }
    let _ = io::stderr().lock().write_all(text.as_bytes());
    ExitCode::FAILURE
}
