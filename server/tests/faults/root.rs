//! What needs root: file systems of our own, and tools that are installed for it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Whether tests that need root or minutes run. Without `scripts/test --all` they say so and pass.
pub(crate) fn wanted() -> bool {
    if !slow() {
        println!("not run: needs scripts/test --all, as root");
        return false;
    }
    assert!(
        rustix::process::geteuid().is_root(),
        "scripts/test --all must run as root: it mounts file systems"
    );
    true
}

/// Whether system calls can be tampered with here. `scripts/test --all` installs what that takes.
pub(crate) fn can_trace() -> bool {
    let strace = Command::new("strace")
        .args(["-f", "--seccomp-bpf", "-qq", "-e", "trace=fsync"])
        .args(["-e", "signal=none", "true"])
        .output();
    let can = strace.is_ok_and(|output| output.status.success());
    assert!(can || !slow(), "strace works, as root");
    if !can {
        println!("not run: needs strace");
    }
    can
}

/// Whether tests may take minutes.
pub(crate) fn slow() -> bool {
    std::env::var_os("TERSE_TEST_ALL").is_some()
}

pub(crate) fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {output:?}"
    );
}

/// A mounted file system; unmounted when dropped.
pub(crate) struct Mounted {
    at: PathBuf,
}

impl Mounted {
    /// A file system in memory with room for `mebibytes`.
    pub(crate) fn tmpfs(at: &Path, mebibytes: u32) -> Self {
        std::fs::create_dir_all(at).unwrap();
        let options = format!("size={mebibytes}M,mode=700");
        run(
            "mount",
            &["-t", "tmpfs", "-o", &options, "tmpfs", at.to_str().unwrap()],
        );
        Self { at: at.to_owned() }
    }

    /// An ext4 file system in a new image file, which keeps to itself what nobody synced.
    pub(crate) fn ext4(image: &Path, at: &Path, mebibytes: u64) -> Self {
        std::fs::create_dir_all(at).unwrap();
        std::fs::File::create(image)
            .unwrap()
            .set_len(mebibytes << 20)
            .unwrap();
        run("mkfs.ext4", &["-q", "-F", image.to_str().unwrap()]);
        let mounted = Self { at: at.to_owned() };
        mounted.mount_image(image);
        mounted
    }

    fn mount_image(&self, image: &Path) {
        // The kernel's own commit every 5 s must not rescue what nobody synced.
        let (image, at) = (image.to_str().unwrap(), self.at.to_str().unwrap());
        let options = "loop,commit=300,errors=remount-ro";
        run("mount", &["-o", options, image, at]);
    }

    /// The kernel finds an error in the file system, and takes no more writes: what it does instead
    /// of a `remount,ro`, which it refuses while somebody has a file open for writing.
    pub(crate) fn turn_read_only(&self) {
        let output = Command::new("findmnt")
            .args(["-n", "-o", "SOURCE"])
            .arg(&self.at)
            .output();
        let device = String::from_utf8(output.unwrap().stdout).unwrap();
        let device = Path::new(device.trim()).file_name().unwrap().to_owned();
        let trigger = Path::new("/sys/fs/ext4").join(device);
        std::fs::write(trigger.join("trigger_fs_error"), "a test").unwrap();
    }

    /// Somebody repairs it and makes it writable again. Nobody may have files open.
    pub(crate) fn repair(&self, image: &Path) {
        run("umount", &[self.at.to_str().unwrap()]);
        // Whoever copied the machine's mounts meanwhile keeps the broken one alive.
        let repaired = image.with_extension("repaired");
        let (from, to) = (image.to_str().unwrap(), repaired.to_str().unwrap());
        run("cp", &["--sparse=always", from, to]);
        let output = Command::new("e2fsck").args(["-f", "-y", to]).output();
        // 1 says that it repaired something.
        assert!(matches!(output.unwrap().status.code(), Some(0 | 1)));
        self.mount_image(&repaired);
    }

    /// Cuts the power: what is not on the disk now is gone.
    pub(crate) fn cut_power(&self) {
        run(
            "xfs_io",
            &["-x", "-c", "shutdown", self.at.to_str().unwrap()],
        );
    }

    /// The machine comes back.
    pub(crate) fn come_back(&self, image: &Path) {
        run("umount", &[self.at.to_str().unwrap()]);
        self.mount_image(image);
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.at).output();
    }
}

/// Takes all the room that is left.
pub(crate) fn fill(dir: &Path) -> PathBuf {
    let filler = dir.join("filler");
    let file = std::fs::File::create(&filler).unwrap();
    let mut at = 0;
    for step in [1 << 20, 1 << 12] {
        let mut block = vec![7; step];
        while let Ok(written) = std::os::unix::fs::FileExt::write_at(&file, &block, at) {
            at += written as u64;
            if written < block.len() {
                break;
            }
            block.fill(7);
        }
    }
    filler
}
