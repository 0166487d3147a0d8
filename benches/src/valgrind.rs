//! Counting a server's instructions with callgrind, where a machine has no performance counters.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

/// Whether valgrind is installed.
pub fn is_available() -> bool {
    Command::new("valgrind")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// User-space instructions by the names of the threads that ran them.
pub type ByThread = BTreeMap<String, u64>;

/// Names of threads by callgrind's numbers.
pub type Names = BTreeMap<u32, String>;

/// What callgrind writes about one process, gone when dropped.
#[derive(Debug)]
pub struct Callgrind(TempDir);

impl Callgrind {
    /// Writes below `dir`.
    pub fn within(dir: &Path) -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("callgrind-")
            .tempdir_in(dir)?;
        Ok(Self(dir))
    }

    /// The words before a program's path that make callgrind count its instructions, thread by thread,
    /// until it ends.
    pub fn words(&self) -> Vec<OsString> {
        let into = |option: &str, name: &str| {
            let mut word = OsString::from(option);
            word.push(self.0.path().join(name));
            word
        };
        vec![
            "valgrind".into(),
            "--tool=callgrind".into(),
            "--separate-threads=yes".into(),
            into("--callgrind-out-file=", "counts"),
            into("--log-file=", "log"),
        ]
    }

    /// What a process that ended had its threads do; those without a name had ended before.
    pub fn instructions(&self, names: &Names) -> Result<ByThread> {
        let mut counted = ByThread::new();
        for entry in fs::read_dir(self.0.path())? {
            let text = fs::read_to_string(entry?.path())?;
            // The log, and the file of the whole process, which is empty.
            let Some((thread, instructions)) = parse(&text) else {
                continue;
            };
            let name = names.get(&thread).map_or("ended before", String::as_str);
            *counted.entry(name.to_owned()).or_default() += instructions;
        }
        ensure!(!counted.is_empty(), "callgrind counted nothing");
        Ok(counted)
    }
}

/// Thread and instructions of one of callgrind's files.
fn parse(text: &str) -> Option<(u32, u64)> {
    let number = |name| {
        let mut lines = text.lines();
        lines.find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok())
    };
    let thread = number("thread:")?.try_into().ok()?;
    Some((thread, number("totals:")?))
}

/// The threads that a process under valgrind has now, without the numbers that tell apart those of one
/// kind.
pub fn threads(pid: u32) -> Result<Names> {
    let output = Command::new("vgdb")
        .arg(format!("--pid={pid}"))
        .args(["v.info", "scheduler"])
        .stderr(Stdio::null())
        .output()
        .context("running vgdb, a part of valgrind")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let mut names = Names::new();
    for (thread, kernel_thread) in said.lines().filter_map(parse_thread) {
        let Ok(comm) = fs::read_to_string(format!("/proc/{pid}/task/{kernel_thread}/comm")) else {
            // It has ended since.
            continue;
        };
        // The first one has the name of the program: valgrind's own.
        let name = if kernel_thread == pid { "main" } else { &comm };
        let kind = name
            .trim()
            .trim_end_matches(|c: char| c == '-' || c.is_ascii_digit());
        names.insert(thread, kind.to_owned());
    }
    ensure!(!names.is_empty(), "vgdb named no threads: {said}");
    Ok(names)
}

/// `Thread 2: status = VgTs_WaitSys syscall 230 (lwpid 20054)`: callgrind's number and the kernel's.
fn parse_thread(line: &str) -> Option<(u32, u32)> {
    let (thread, rest) = line.strip_prefix("Thread ")?.split_once(':')?;
    let (_, kernel_thread) = rest.split_once("(lwpid ")?;
    Some((
        thread.parse().ok()?,
        kernel_thread.strip_suffix(')')?.parse().ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threads_count_is_found_among_other_lines() {
        let text =
            "# callgrind format\npid: 7\nthread: 3\n\nsummary: 12\nfn=(1) a\n1 12\ntotals: 12345\n";
        assert_eq!(parse(text), Some((3, 12_345)));
        assert_eq!(parse("# callgrind format\npid: 7\nsummary: 12\n"), None);
    }

    #[test]
    fn a_thread_is_found_by_the_kernels_number() {
        let line = "Thread 12: status = VgTs_WaitSys syscall 230 (lwpid 20054)";
        assert_eq!(parse_thread(line), Some((12, 20_054)));
        assert_eq!(
            parse_thread("==7==    at 0x4915545: nanosleep (nanosleep.c:25)"),
            None
        );
    }
}
