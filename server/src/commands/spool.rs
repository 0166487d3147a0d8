//! `spool ship` and `spool accept-gap`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::bail;
use terse_core::{MigrationState, ShippedStream, Tools};

use super::{print, tools};
use crate::config::Config;

/// Ships the spool of a node that is gone; fails when a stream waits for a gap to be accepted.
pub(super) async fn ship(dir: &Path, config: &Config) -> anyhow::Result<ExitCode> {
    let tools = tools(config, false).await?;
    let shipped = match refuse_other_release(&tools).await {
        Ok(()) => tools.ship_spool(&spool_in(dir)).await.map_err(Into::into),
        Err(error) => Err(error),
    };
    tools.close().await;
    let streams = shipped?;
    let told = print(&told(&streams));
    let stopped = streams.iter().any(|stream| stream.stopped_after.is_some());
    Ok(if stopped { ExitCode::FAILURE } else { told })
}

/// A data directory has its spool in it.
fn spool_in(dir: &Path) -> PathBuf {
    let inside = dir.join("spool");
    if inside.is_dir() {
        inside
    } else {
        dir.to_owned()
    }
}

async fn refuse_other_release(tools: &Tools) -> anyhow::Result<()> {
    let migrations = tools.migrations().await?;
    if migrations
        .iter()
        .any(|migration| migration.state != MigrationState::Applied)
    {
        bail!("the database is of another release; see terse-server migrate status");
    }
    Ok(())
}

fn told(streams: &[ShippedStream]) -> String {
    let mut text = String::new();
    for stream in streams {
        text.push_str(&format!(
            "{}  {} clicks shipped, the database has it up to record {}",
            stream.stream, stream.shipped, stream.up_to
        ));
        if stream.dead > 0 {
            text.push_str(&format!(", {} records do not decode", stream.dead));
        }
        if let Some(after) = stream.stopped_after {
            text.push_str(&format!(
                "; STOPPED: records are missing after {after}. Run terse-server spool accept-gap {}, then ship again",
                stream.stream
            ));
        }
        text.push('\n');
    }
    let clicks: u64 = streams.iter().map(|stream| stream.shipped).sum();
    text.push_str(&format!(
        "{} streams, {clicks} clicks shipped\n",
        streams.len()
    ));
    text
}

pub(super) async fn accept_gap(stream: &str, config: &Config) -> anyhow::Result<ExitCode> {
    let tools = tools(config, false).await?;
    let accepted = tools.accept_gaps(stream).await?;
    tools.close().await;
    if accepted == 0 {
        bail!("no gap waits in the stream {stream}");
    }
    Ok(print(&format!(
        "Accepted {accepted} gap(s); the running server goes on after them.\n"
    )))
}
