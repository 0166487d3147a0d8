//! A real mail server on loopback, and looks into the database of a running Terse.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::common::Node;

/// The system's own: `scripts/test` installs aiosmtpd for it.
const PYTHON: &str = "/usr/bin/python3";

/// False only when this run was told to do without other services.
pub(crate) fn is_available() -> bool {
    std::env::var_os("TERSE_TEST_SQLITE_ONLY").is_none()
}

pub(crate) struct PostOffice {
    process: Child,
    dir: TempDir,
}

impl PostOffice {
    pub(crate) fn open(port: u16, options: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let mut process = Command::new(PYTHON)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mail/smtp.py"))
            .arg(port.to_string())
            .arg(dir.path())
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut out = BufReader::new(process.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        let said = std::fs::read_to_string(&log).unwrap();
        assert_eq!(line, "ready\n", "{said}");
        Self { process, dir }
    }

    /// The mails so far, in the order of their coming.
    pub(crate) fn mails(&self) -> Vec<String> {
        let mut paths = files(self.dir.path(), "eml");
        paths.sort();
        let read = |path: &PathBuf| std::fs::read_to_string(path).unwrap();
        paths.iter().map(read).collect()
    }
}

impl Drop for PostOffice {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Files of a directory with this ending.
pub(crate) fn files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let found = std::fs::read_dir(dir).into_iter().flatten();
    found
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == ending))
        .collect()
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A certificate for `localhost` and its key, vouched for by nobody but itself.
pub(crate) struct Certificate {
    dir: TempDir,
}

impl Certificate {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let settings = "[req]\ndistinguished_name = name\nx509_extensions = extensions\nprompt = no\n\
             [name]\nCN = localhost\n[extensions]\nsubjectAltName = DNS:localhost\n\
             basicConstraints = critical, CA:FALSE\n";
        std::fs::write(dir.path().join("settings"), settings).unwrap();
        let made = Command::new("openssl")
            .current_dir(dir.path())
            .args([
                "req", "-x509", "-config", "settings", "-days", "2", "-nodes",
            ])
            .args([
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-keyout",
                "key",
                "-out",
                "certificate",
            ])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "{said}");
        Self { dir }
    }

    pub(crate) fn certificate(&self) -> String {
        self.dir.path().join("certificate").display().to_string()
    }

    pub(crate) fn key(&self) -> String {
        self.dir.path().join("key").display().to_string()
    }
}

/// Runs statements in the database of a running server; returns the columns of the rows of the last
/// one, by the standard library of the language that the mail server is written in.
pub(crate) fn sql(node: &Node, statements: &[&str]) -> Vec<Vec<String>> {
    const SCRIPT: &str = "import json, sqlite3, sys
with sqlite3.connect(sys.argv[1], timeout=20) as database:
    for statement in sys.argv[2:]:
        rows = database.execute(statement).fetchall()
print(json.dumps([[str(column) for column in row] for row in rows]))";
    let output = Command::new(PYTHON)
        .args(["-c", SCRIPT])
        .arg(node.data().join("terse.db"))
        .args(statements)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Queues the mail by which the administrator chooses a new password.
pub(crate) fn queue_reset(node: &Node) {
    let users = sql(node, &["SELECT id FROM users"]);
    let number: u64 = users[0][0].parse().unwrap();
    let digit = |place: u32| {
        let digits = b"0123456789abcdefghjkmnpqrstvwxyz";
        char::from(digits[usize::try_from((number >> (5 * place)) & 31).unwrap()])
    };
    let user: String = (0..13).rev().map(digit).collect();
    let insert = format!(
        "INSERT INTO jobs (id, kind, payload, state, attempts, run_at, created_at, updated_at) VALUES \
         (5, 'mail', '{{\"about\":\"reset_password\",\"user\":\"{user}\"}}', 'queued', 0, 0, 0, 0)"
    );
    sql(node, &[&insert]);
}

/// Lets the time come at which what waits is tried again.
pub(crate) fn let_time_pass(node: &Node) {
    sql(node, &["UPDATE jobs SET run_at = 0 WHERE state = 'queued'"]);
}
