//! A clock that jumps under a running server.

use std::path::PathBuf;
use std::time::Duration;

use crate::assert_nothing_missing;
use crate::common::Node;
use crate::load::Load;
use crate::root;

fn libfaketime() -> PathBuf {
    let found = ["x86_64", "aarch64"].map(|machine| {
        PathBuf::from(format!(
            "/usr/lib/{machine}-linux-gnu/faketime/libfaketime.so.1"
        ))
    });
    found
        .into_iter()
        .find(|path| path.exists())
        .expect("libfaketime is installed by scripts/test --all")
}

#[test]
fn a_clock_that_jumps_by_hours_loses_and_doubles_nothing() {
    if !root::wanted() {
        return;
    }
    let mut node = Node::new(&[]);
    let offset = node.dir().join("offset");
    std::fs::write(&offset, "+0s\n").unwrap();
    node.set("LD_PRELOAD", libfaketime().to_str().unwrap());
    node.set("FAKETIME_TIMESTAMP_FILE", offset.to_str().unwrap());
    node.set("FAKETIME_CACHE_DURATION", "1");
    node.set("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    node.start();
    node.create_link("x");
    let load = Load::start(node.port(), 4, "/x");
    for jump in ["-7200s", "+7200s", "+0s"] {
        std::fs::write(&offset, format!("{jump}\n")).unwrap();
        let before = load.answered().len();
        std::thread::sleep(Duration::from_millis(1_300));
        assert!(
            load.answered().len() > before + 50,
            "redirects go on at {jump}"
        );
        assert_eq!(node.get("/health/ready"), 200, "at {jump}");
    }
    // Killed while its clock is two hours behind, started while it is right again.
    std::fs::write(&offset, "-7200s\n").unwrap();
    std::thread::sleep(Duration::from_millis(1_300));
    node.kill();
    std::fs::write(&offset, "+0s\n").unwrap();
    node.start();
    std::thread::sleep(Duration::from_millis(300));
    load.stop();
    assert_nothing_missing(&mut node, &[&load], 8);
}
