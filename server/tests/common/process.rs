//! The server as a process: held up, and looked at.

use rustix::process::{Pid, Signal, kill_process};

use super::Node;

impl Node {
    /// Lets the server stand still, as if the machine were gone.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
        self.until("every thread stands still", |node| {
            let tasks = std::fs::read_dir(format!("/proc/{}/task", node.pid())).unwrap();
            tasks.flatten().all(|task| {
                let status = std::fs::read_to_string(task.path().join("status"));
                status.is_ok_and(|status| status.contains("State:\tT"))
            })
        });
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(self.process.as_ref().unwrap());
        kill_process(pid, signal).unwrap();
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.as_ref().unwrap().id()
    }

    /// The most memory that the process ever had, in MiB.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.unwrap().trim().trim_end_matches(" kB");
        kib.parse::<u64>().unwrap() / 1_024
    }

    /// The numbers of the threads whose name begins like this.
    pub(crate) fn threads(&self, name: &str) -> Vec<u32> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
        let named = tasks.filter_map(|task| {
            let task = task.unwrap();
            let comm = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
            let number = task.file_name().to_str()?.parse().ok()?;
            comm.starts_with(name).then_some(number)
        });
        named.collect()
    }
}
