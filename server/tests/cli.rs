//! The `terse` command against the real server, from signing in to signing out.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[expect(dead_code, reason = "each test binary uses its part")]
mod common;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use common::{EMAIL, Node, PASSWORD, client};
use serde_json::Value;

const CHROME: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36";

/// The command, built beside this test by `cargo test --workspace`.
fn program() -> PathBuf {
    let here = std::env::current_exe().unwrap();
    let program = here.parent().unwrap().parent().unwrap().join("terse");
    assert!(
        program.exists(),
        "{} is missing: cargo build -p terse-cli",
        program.display()
    );
    program
}

struct Terminal {
    home: tempfile::TempDir,
    url: String,
}

impl Terminal {
    /// The exit code and what was printed.
    fn run(&self, arguments: &[&str], input: &str) -> (i32, String) {
        let mut child = Command::new(program())
            .args(arguments)
            .env_clear()
            .env("HOME", self.home.path())
            .env("TERSE_URL", &self.url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code().unwrap(), text + &told)
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let (code, text) = self.run(arguments, "");
        assert_eq!(code, 0, "{arguments:?}: {text}");
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{arguments:?}: {text}"))
    }
}

#[test]
fn a_link_is_made_followed_counted_changed_and_deleted_from_a_terminal() {
    let mut node = Node::new(&[]);
    node.start();
    let terminal = Terminal {
        home: tempfile::tempdir().unwrap(),
        url: node.url(""),
    };
    let login = ["login", "--email", EMAIL, "--password-stdin"];
    assert_eq!(terminal.run(&login, "not the password\n").0, 4);
    assert_eq!(terminal.run(&["links", "list"], "").0, 4);
    let (code, text) = terminal.run(&login, &format!("{PASSWORD}\n"));
    assert_eq!(code, 0, "{text}");

    let link = terminal.json(&[
        "links",
        "create",
        "https://example.com/a",
        "--slug",
        "Hello",
    ]);
    assert_eq!(link["slug"], "Hello");
    let refused = terminal.run(&["links", "create", "javascript:alert(1)"], "");
    assert_eq!(refused.0, 1, "{}", refused.1);
    assert!(refused.1.contains("target_url"), "{}", refused.1);
    assert_eq!(terminal.json(&["links", "get", "hello"])["id"], link["id"]);
    assert_eq!(terminal.run(&["links", "get", "nobody"], "").0, 3);

    let visit = |slug: &str| {
        let request = client().get(node.url(slug)).header("Host", "localhost");
        request
            .header("User-Agent", CHROME)
            .send()
            .unwrap()
            .status()
    };
    assert_eq!(visit("/hello"), 302);
    node.wait_until_folded();
    assert_eq!(terminal.json(&["stats", "summary", "hello"])["clicks"], 1);

    assert_eq!(terminal.run(&["links", "disable", "hello"], "").0, 0);
    assert_eq!(visit("/hello"), 404);
    assert_eq!(terminal.run(&["links", "enable", "hello"], "").0, 0);
    assert_eq!(visit("/hello"), 302);
    assert_eq!(
        terminal.run(&["links", "delete", "hello", "--yes"], "").0,
        0
    );
    assert_eq!(visit("/hello"), 410);
    assert_eq!(terminal.run(&["logout"], "").0, 0);
    assert_eq!(terminal.run(&["links", "list"], "").0, 4);
    node.kill();
    assert_eq!(terminal.run(&["whoami"], "").0, 4);
}
