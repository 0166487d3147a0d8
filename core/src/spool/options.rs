//! The spool's words: what it is opened with, what identifies a record, what can go wrong.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// What an answered click survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// The end of the process, however sudden. A power cut takes at most the last half second.
    #[default]
    Process,
    /// A power cut too: the answer waits for one sync, shared by all who wait.
    Power,
    /// Loss of the machine too: after the sync, the answer waits for the database.
    Node,
}

impl Durability {
    /// Whether only synced records may be read.
    pub(super) fn waits_for_sync(self) -> bool {
        self != Self::Process
    }
}

const SMALLEST_SEGMENT: u64 = 64 * 1024;

/// How a spool is opened.
#[derive(Clone, Debug)]
pub struct SpoolOptions {
    /// One process at a time.
    pub dir: PathBuf,
    pub durability: Durability,
    /// Files that are appended to at the same time, 1 to 64; one per core by default, at most 8.
    pub lanes: usize,
    /// Bytes per file, at least 64 KiB; 16 MiB by default.
    pub segment_bytes: u64,
    /// Bytes of unfolded records after which appending fails; 2 GiB by default.
    /// Looked at ten times a second and with each new file.
    pub max_bytes: u64,
    /// How long folded files are kept; 1 h by default.
    pub retain: Duration,
    /// How often files are synced at level `process`; 500 ms by default.
    pub sync_interval: Duration,
    /// Allows level `power` in a directory that does not survive a power cut.
    pub allow_volatile: bool,
}

impl SpoolOptions {
    /// The defaults, in `dir`.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            dir: dir.into(),
            durability: Durability::default(),
            lanes: cores.clamp(1, 8),
            segment_bytes: 16 * 1024 * 1024,
            max_bytes: 2 * 1024 * 1024 * 1024,
            retain: Duration::from_hours(1),
            sync_interval: Duration::from_millis(500),
            allow_volatile: false,
        }
    }

    /// Files that a spool with these options has open when its quota is used up: each file stays open
    /// until it is removed.
    pub fn most_files(&self) -> u64 {
        let appended_to_and_spare = 2 * self.lane_count();
        self.max_bytes.div_ceil(self.fitting_segment()) + appended_to_and_spare
    }

    /// Bytes per file: a quota of a few files only would be used up by rounding.
    pub(super) fn fitting_segment(&self) -> u64 {
        self.segment_bytes
            .min(self.max_bytes / (4 * self.lane_count()))
            .max(SMALLEST_SEGMENT)
    }

    fn lane_count(&self) -> u64 {
        u64::try_from(self.lanes.clamp(1, 64)).unwrap_or(1)
    }
}

/// The name of a stream: 128 random bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId([u8; 16]);

impl StreamId {
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// 32 hexadecimal digits.
impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The number of a record in its stream, from 1; 0 stands before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(u64);

impl From<u64> for Seq {
    fn from(seq: u64) -> Self {
        Self(seq)
    }
}

impl From<Seq> for u64 {
    fn from(seq: Seq) -> Self {
        seq.0
    }
}

/// Why a click was not recorded.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    #[error("the disk is full")]
    NoSpace,
    /// `max_bytes` of unfolded records.
    #[error("the spool's quota is used up")]
    Full,
    /// The record stands intact in `stream`, behind its `limit`. Whoever records it elsewhere must make
    /// that limit last in the same step, or it may be read again after a crash.
    #[error("the disk refused to sync twice in a row")]
    SyncFailed { stream: StreamId, limit: Seq },
    #[error("the payload is longer than 2,048 bytes")]
    TooLong,
    #[error("the spool is closed")]
    Closed,
    #[error("the spool cannot write")]
    Io(#[source] io::Error),
}

impl From<io::Error> for AppendError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => Self::NoSpace,
            _ => Self::Io(error),
        }
    }
}

/// Why the spool could not be opened or read.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// Two folders of one directory would count clicks twice.
    #[error("another process uses the spool directory {0}")]
    Locked(PathBuf),
    #[error(
        "the spool directory {0} is in memory and does not survive a power cut: choose another \
         one, or the durability level `process`"
    )]
    Volatile(PathBuf),
    #[error("there is no such stream")]
    UnknownStream,
    #[error("the spool directory cannot be used")]
    Io(#[from] io::Error),
}
