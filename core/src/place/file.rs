//! A place file in memory: read whole, tried out, and asked.

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use maxminddb::{MaxMindDbError, Reader, WithinOptions};

use crate::model::Timestamp;
use crate::place::Place;
use crate::place::record::Record;

/// Longer than any such file is; memory is for other things too.
const MAX_BYTES: u64 = 4 << 30;
/// So many records are read before a file is believed: all of a small one.
const TRIED: usize = 10_000;

/// What tells one file, or one state of it, from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

impl Stamp {
    /// The stamp of what is at `path` now.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        std::fs::metadata(path).map(|metadata| Self::from(&metadata))
    }
}

impl From<&Metadata> for Stamp {
    fn from(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    #[error("it is not a file")]
    NoFile,
    #[error("it has more than 4 GiB")]
    TooLong,
    #[error("it is being written")]
    BeingWritten,
    /// That state of it will not get better.
    #[error("it is damaged, or not in MaxMind's format: {problem}")]
    Damaged {
        stamp: Stamp,
        problem: MaxMindDbError,
    },
    #[error("it knows no countries")]
    NoPlaces { stamp: Stamp },
}

impl Unusable {
    /// The state of the file that need not be tried again.
    pub(super) fn stamp(&self) -> Option<Stamp> {
        match self {
            Self::Damaged { stamp, .. } | Self::NoPlaces { stamp } => Some(*stamp),
            Self::Unreadable(_) | Self::NoFile | Self::TooLong | Self::BeingWritten => None,
        }
    }
}

/// A file that can be asked for places.
#[derive(Debug)]
pub(super) struct PlaceFile {
    reader: Reader<Vec<u8>>,
    pub(super) stamp: Stamp,
}

impl PlaceFile {
    /// Reads a file whole and tries it out; takes a moment.
    pub(super) fn read(path: &Path) -> Result<Self, Unusable> {
        // Asked before it is opened: opening a pipe would wait for a writer.
        if !std::fs::metadata(path)?.is_file() {
            return Err(Unusable::NoFile);
        }
        let mut file = File::open(path)?;
        let before = file.metadata()?;
        if before.len() > MAX_BYTES {
            return Err(Unusable::TooLong);
        }
        let mut bytes = Vec::new();
        let len = usize::try_from(before.len()).unwrap_or(usize::MAX);
        bytes.try_reserve_exact(len).map_err(io::Error::from)?;
        file.by_ref().take(before.len()).read_to_end(&mut bytes)?;
        let stamp = Stamp::from(&before);
        if Stamp::from(&file.metadata()?) != stamp {
            return Err(Unusable::BeingWritten);
        }
        let damaged = |problem| Unusable::Damaged { stamp, problem };
        let reader = Reader::from_source(bytes).map_err(damaged)?;
        let file = Self { reader, stamp };
        if file.knows_places().map_err(damaged)? {
            Ok(file)
        } else {
            Err(Unusable::NoPlaces { stamp })
        }
    }

    fn knows_places(&self) -> Result<bool, MaxMindDbError> {
        let mut any = false;
        for found in self.reader.networks(WithinOptions::default())?.take(TRIED) {
            let record = found?.decode::<Record<'_>>()?.unwrap_or_default();
            any |= record.place() != Place::UNKNOWN;
        }
        Ok(any)
    }

    /// When the file was made, as it says itself.
    pub(super) fn built_at(&self) -> Timestamp {
        let secs = i64::try_from(self.reader.metadata().build_epoch).unwrap_or(i64::MAX);
        Timestamp::from_millis(secs.saturating_mul(1_000))
    }

    /// The place of an address; unknown where the file has none or is damaged.
    pub(super) fn find(&self, client: IpAddr) -> Place<'_> {
        let found = self.reader.lookup(client).and_then(|found| found.decode());
        match found {
            Ok(Some(record)) => Record::place(&record),
            Ok(None) | Err(_) => Place::UNKNOWN,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::place::mmdb::{geoip2, mmdb};

    fn read(bytes: &[u8]) -> Result<PlaceFile, Unusable> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("places.mmdb");
        std::fs::write(&path, bytes).unwrap();
        PlaceFile::read(&path)
    }

    fn whole() -> Vec<u8> {
        mmdb(&[
            ("81.2.69.0/24", geoip2("GB", "ENG", "London")),
            ("2a02:ff40::/32", geoip2("FR", "75", "Paris")),
        ])
    }

    fn ask(file: &PlaceFile) {
        for address in ["81.2.69.1", "2a02:ff40::1", "8.8.8.8", "::", "ffff::"] {
            file.find(address.parse().unwrap());
        }
    }

    #[test]
    fn what_is_no_regular_file_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let refused = PlaceFile::read(dir.path());
        assert!(matches!(refused, Err(Unusable::NoFile)), "{refused:?}");
        let refused = PlaceFile::read(Path::new("/dev/zero"));
        assert!(matches!(refused, Err(Unusable::NoFile)), "{refused:?}");
    }

    #[test]
    fn a_file_that_would_fill_the_memory_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("places.mmdb");
        let sparse = File::create(&path).unwrap();
        sparse.set_len(MAX_BYTES + 1).unwrap();
        let refused = PlaceFile::read(&path);
        assert!(matches!(refused, Err(Unusable::TooLong)), "{refused:?}");
    }

    #[test]
    fn a_file_cut_off_anywhere_is_refused() {
        let whole = whole();
        let london = Place::new("GB", "ENG", "London");
        let file = read(&whole).unwrap();
        assert_eq!(file.find("81.2.69.1".parse().unwrap()), london);
        for len in (0..whole.len()).step_by(7) {
            read(&whole[..len]).unwrap_err();
        }
    }

    proptest! {
        #[test]
        fn no_damage_makes_a_question_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
            let mut bytes = whole();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if let Ok(file) = read(&bytes) {
                ask(&file);
            }
        }
    }
}
