//! Files that earlier releases wrote are read for ever.

use std::path::Path;
use std::sync::Arc;

use terse_core::model::SeededEntropy;
use terse_core::spool::{Spool, SpoolOptions};

use crate::{clock, read_all};

fn golden() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/spool-v1")
}

fn expected() -> Vec<Vec<u8>> {
    (0..5_u8)
        .map(|click| vec![click; 10 + usize::from(click)])
        .collect()
}

/// Writes the golden file when `UPDATE_GOLDEN` is set; a released one is never written again.
async fn write(dir: &Path) {
    let mut options = SpoolOptions::at(dir);
    options.lanes = 1;
    let spool = Spool::open(options, clock(), Arc::new(SeededEntropy::new(1))).unwrap();
    for payload in expected() {
        spool.append(&payload).await.unwrap();
    }
    spool.close();
}

#[tokio::test]
async fn a_spool_of_format_one_is_read() {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        write(&golden()).await;
    }
    // Opening takes a lock and may tidy up: on a copy.
    let copy = tempfile::tempdir().unwrap();
    for entry in golden().read_dir().unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    let spool = Spool::open(
        SpoolOptions::at(copy.path()),
        clock(),
        Arc::new(SeededEntropy::new(2)),
    )
    .unwrap();
    let (records, gaps) = read_all(&spool);
    assert_eq!(gaps, 0);
    let payloads: Vec<Vec<u8>> = records.into_iter().map(|(_, _, payload)| payload).collect();
    assert_eq!(payloads, expected());
    assert_eq!(spool.status().corrupt_files + spool.status().torn_tails, 0);
}
