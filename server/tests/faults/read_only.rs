//! A file system that the kernel makes read-only under the server, because it found an error in it.

use std::path::PathBuf;

use crate::common::Node;
use crate::load::Load;
use crate::root::{self, Mounted};
use crate::{Outcome, outcome};

const CLIENTS: usize = 4;

struct Scene {
    // Unmounted before the node's directory is removed.
    disk: Mounted,
    image: PathBuf,
    node: Node,
    load: Load,
}

/// What became of the clicks, and what the server said.
struct Repaired {
    outcome: Outcome,
    unrecorded: usize,
    log: String,
}

impl Scene {
    /// A server under load, before the disk breaks.
    fn set(policy: &str, durability: &str, spool_alone: bool) -> Self {
        let mut node = Node::new(&[
            ("TERSE_ON_UNRECORDABLE", policy),
            ("TERSE_CLICK_DURABILITY", durability),
        ]);
        let (image, mut at) = (node.dir().join("disk"), node.data());
        if spool_alone {
            at = node.dir().join("other-disk");
            std::fs::create_dir(node.data()).unwrap();
            std::os::unix::fs::symlink(&at, node.data().join("spool")).unwrap();
        }
        let disk = Mounted::ext4(&image, &at, 512);
        node.start();
        node.create_link("x");
        let load = Load::start(node.port(), CLIENTS, "/x");
        node.wait_until("there is load", |_| load.count() > 500);
        Self {
            disk,
            image,
            node,
            load,
        }
    }

    /// Breaks the disk, and waits until clicks meet that.
    fn break_disk(&self) {
        // No sync is under way then, of which the system might say that it succeeded.
        self.node.freeze();
        self.disk.turn_read_only();
        self.node.thaw();
        self.node
            .wait_until("it says so", |node| node.get("/health/ready") == 503);
        assert_eq!(self.node.get("/health/live"), 200);
    }

    /// None is refused, and many more are answered.
    fn redirects_go_on(&self) {
        let before = self.load.count();
        self.node
            .wait_until("redirects go on", |_| self.load.count() > before + 500);
        assert_eq!(self.load.refused(), 0);
    }

    /// Goes on over a broken disk for a while, ends the server, repairs the disk, and goes on there.
    fn repaired(mut self) -> Repaired {
        self.load.stop();
        assert_eq!(self.load.broken(), 0, "every request was answered");
        let unrecorded = self.node.metric("terse_clicks_unrecorded_total");
        self.node.stop();
        self.disk.repair(&self.image);
        self.node.start();
        let later = Load::named(self.node.port(), CLIENTS, "/x", "later");
        self.node
            .wait_until("clicks are recorded again", |_| later.count() > 200);
        later.stop();
        assert_eq!(self.node.metric("terse_clicks_unrecorded_total"), 0);
        let under_way = CLIENTS + usize::try_from(self.load.refused()).unwrap();
        Repaired {
            outcome: outcome(&mut self.node, &[&self.load, &later], under_way),
            unrecorded: usize::try_from(unrecorded).unwrap(),
            log: self.node.logged(),
        }
    }
}

#[test]
fn on_a_disk_that_turns_read_only_redirects_go_on_and_the_missing_clicks_are_told() {
    if !root::wanted() {
        return;
    }
    let scene = Scene::set("serve", "power", false);
    scene.break_disk();
    scene.redirects_go_on();
    let Repaired {
        outcome,
        unrecorded,
        log,
    } = scene.repaired();
    println!("unrecorded={unrecorded}");
    assert!(unrecorded > 400, "{unrecorded}");
    // One that was under way may be on the disk although its sync failed.
    assert!((outcome.missing..=outcome.missing + CLIENTS).contains(&unrecorded));
    // The database was on that disk too: the log alone can say it.
    let told = format!("unrecorded={unrecorded}");
    assert!(log.lines().any(|line| line.ends_with(&told)), "{log}");
}

#[test]
fn on_a_disk_that_turns_read_only_a_server_told_to_refuse_answers_no_click_that_it_cannot_record() {
    if !root::wanted() {
        return;
    }
    let scene = Scene::set("refuse", "power", false);
    scene.break_disk();
    let refused = scene.load.refused();
    scene.node.wait_until("clicks are refused", |_| {
        scene.load.refused() > refused + 500
    });
    let repaired = scene.repaired();
    assert_eq!((repaired.outcome.missing, repaired.unrecorded), (0, 0));
}

#[test]
fn while_the_spools_disk_alone_is_read_only_a_click_is_in_the_database_or_told_as_missing() {
    if !root::wanted() {
        return;
    }
    let scene = Scene::set("serve", "process", true);
    scene.break_disk();
    scene.redirects_go_on();
    scene.node.wait_until_folded();
    let Repaired {
        outcome,
        unrecorded,
        ..
    } = scene.repaired();
    assert_eq!((outcome.missing, outcome.told), (unrecorded, unrecorded));
}
