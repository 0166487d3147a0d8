//! Cores, and what a process takes of the machine.

use std::fs;
use std::process::Child;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::ClockId;

/// The cores of this machine, divided: one half serves, the other half asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cores {
    pub server: Vec<usize>,
    pub load: Vec<usize>,
}

impl Cores {
    /// Divides the cores this process may use. With a single core, both sides share it.
    pub fn divided() -> Result<Self> {
        let allowed = sched_getaffinity(None).context("reading the CPU affinity")?;
        let cores: Vec<usize> = (0..CpuSet::MAX_CPU)
            .filter(|&core| allowed.is_set(core))
            .collect();
        if cores.len() < 2 {
            return Ok(Self {
                server: cores.clone(),
                load: cores,
            });
        }
        let (server, load) = cores.split_at(cores.len() / 2);
        Ok(Self {
            server: server.to_vec(),
            load: load.to_vec(),
        })
    }
}

/// Keeps the calling thread, and what it starts from now on, on these cores.
pub fn pin_this_thread(cores: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    for &core in cores {
        set.set(core);
    }
    sched_setaffinity(None, &set).context("setting the CPU affinity")
}

/// Runs `start` with the calling thread on these cores, or anywhere when there are none: a process
/// started in it stays there.
pub fn on_cores<R>(cores: &[usize], start: impl FnOnce() -> R) -> Result<R> {
    if cores.is_empty() {
        return Ok(start());
    }
    let before = sched_getaffinity(None)?;
    pin_this_thread(cores)?;
    let result = start();
    sched_setaffinity(None, &before)?;
    Ok(result)
}

/// Anonymous memory of a process in bytes: what it has allocated, without mapped files.
pub fn anonymous_bytes(pid: u32) -> Result<u64> {
    status_bytes(pid, "RssAnon:")
}

/// The most memory that this process has had since the last [`forget_peak`], in bytes.
pub fn peak_bytes() -> Result<u64> {
    status_bytes(std::process::id(), "VmHWM:")
}

/// Begins to look for the most memory anew. Returns what this process has now, in bytes.
pub fn forget_peak() -> Result<u64> {
    fs::write("/proc/self/clear_refs", "5").context("resetting the peak of memory")?;
    status_bytes(std::process::id(), "VmRSS:")
}

fn status_bytes(pid: u32, name: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.trim().strip_suffix(" kB"))
        .with_context(|| format!("no {name} in the process status"))?
        .trim()
        .parse()?;
    Ok(kib * 1024)
}

/// CPU time that a process has used, in user space and in the kernel.
pub fn cpu_time(pid: u32) -> Result<(Duration, Duration)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The command in parentheses may hold spaces; user and system time are the 14th and 15th field.
    let (_, fields) = stat.rsplit_once(')').context("process status")?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let mut next = || -> Result<Duration> {
        let ticks: u64 = fields.next().context("process status")?.parse()?;
        let per_second = rustix::param::clock_ticks_per_second().max(1);
        Ok(Duration::from_millis(ticks * 1_000 / per_second))
    };
    Ok((next()?, next()?))
}

/// CPU time that this process has used on all its threads, to the nanosecond.
pub fn own_cpu_time() -> Result<Duration> {
    let time = rustix::time::clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).context("reading the CPU time")
}

/// Asks a process that this one started to end (SIGTERM).
pub fn terminate(child: &Child) -> Result<()> {
    let pid = Pid::from_child(child);
    kill_process(pid, Signal::TERM).context("ending a process")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_sees_its_own_memory_and_time() {
        let pid = std::process::id();
        assert!(anonymous_bytes(pid).expect("memory") > 0);
        assert!(cpu_time(pid).is_ok());
    }

    #[test]
    fn what_runs_on_given_cores_sees_only_those_and_the_thread_returns_to_its_own() {
        let before = Cores::divided().expect("cores");
        let within = on_cores(&before.server[..1], Cores::divided)
            .expect("pinned")
            .expect("cores");
        assert_eq!(within.server, before.server[..1]);
        assert_eq!(Cores::divided().expect("cores"), before);
    }
}
