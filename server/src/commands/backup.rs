//! `backup`.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use secrecy::ExposeSecret as _;

use super::{print, tools};
use crate::config::Config;

/// What a shell takes for wrong usage.
const NOT_FOR_THIS_DATABASE: u8 = 2;

/// Copies the SQLite database beside a running server; of PostgreSQL it says how.
pub(super) async fn backup(to: &Path, config: &Config) -> anyhow::Result<ExitCode> {
    if let Some(url) = &config.database_url {
        let text = how_with_postgres(url.expose_secret(), to);
        let _ = io::stderr().lock().write_all(text.as_bytes());
        return Ok(ExitCode::from(NOT_FOR_THIS_DATABASE));
    }
    let tools = tools(config, false).await?;
    let copied = tools.backup(to).await;
    tools.close().await;
    let bytes = copied?;
    Ok(print(&format!(
        "Copied the database to {} ({bytes} bytes, without visitor salts). Clicks after this moment are in the spool for {}: \
         restore with it, see docs/operations.md.\n",
        to.display(),
        human(config.spool_retain),
    )))
}

fn human(time: std::time::Duration) -> String {
    let minutes = time.as_secs() / 60;
    if minutes >= 60 {
        format!("{} h {} min", minutes / 60, minutes % 60)
    } else {
        format!("{minutes} min")
    }
}

fn how_with_postgres(url: &str, to: &Path) -> String {
    let mut shown = "postgres://…".to_owned();
    if let Ok(mut url) = url::Url::parse(url) {
        // Neither the password nor what the query may hold of secrets.
        let _ = url.set_password(None);
        url.set_query(None);
        shown = url.into();
    }
    format!(
        "terse-server: PostgreSQL is backed up by its own programs; nothing was copied. For example:\n\n  \
         pg_dump --format=custom --exclude-table-data=visitor_salts --file={} '{shown}'\n\n\
         It asks for the password, or reads PGPASSFILE. For large databases and restoring to any moment take\n\
         pg_basebackup with WAL archiving. docs/operations.md has the steps, and how clicks after the backup\n\
         come back.\n",
        shell_word(to)
    )
}

fn shell_word(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "'\\''"))
}
