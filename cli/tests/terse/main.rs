//! The command as a process, against a scripted server.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod links;
mod server;
mod session;
mod stats;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

/// A person at a terminal-less shell with an empty home.
pub(crate) struct Shell {
    home: TempDir,
}

impl Shell {
    pub(crate) fn new() -> Self {
        Self {
            home: tempfile::tempdir().unwrap(),
        }
    }

    /// A shell that is signed in to the server at `url` already.
    pub(crate) fn signed_in(url: &str) -> Self {
        let shell = Self::new();
        let profile = json!({
            "url": url, "email": "ann@example.com", "access_token": "access-1", "refresh_token": "refresh-1",
        });
        std::fs::create_dir(shell.config()).unwrap();
        std::fs::write(shell.config().join("profile.json"), profile.to_string()).unwrap();
        shell
    }

    pub(crate) fn config(&self) -> std::path::PathBuf {
        self.home.path().join("config")
    }

    pub(crate) fn profile(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.config().join("profile.json")).unwrap()).unwrap()
    }

    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_terse"));
        command
            .args(line.split_whitespace())
            .env_clear()
            .env("TERSE_CONFIG_DIR", self.config())
            .current_dir(Path::new(self.home.path()))
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, line: &str) -> Ended {
        Ended::from(self.command(line).output().unwrap())
    }
}

/// What a process left behind.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ended {
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.code, 0, "{self:?}");
        serde_json::from_str(&self.stdout).unwrap()
    }
}

/// A link as the API shows it.
pub(crate) fn link(id: &str, slug: &str) -> Value {
    json!({
        "id": id, "short_url": format!("https://go.example/{slug}"), "domain": "go.example", "slug": slug,
        "target_url": "https://example.com/a", "title": null, "notes": null, "tags": ["x", "y"], "status": "active",
        "redirect_status": 302, "forward_query": true, "starts_at": null, "expires_at": null, "max_clicks": null,
        "clicks": 3, "last_clicked_at": null, "created_at": "2026-01-01T00:00:00Z",
        "updated_at": "2026-01-01T00:00:00Z", "created_by": null,
    })
}
