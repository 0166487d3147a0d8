//! F15: PostgreSQL says nothing any more. F35: a server is stopped then. F43: it says little at a time.

use std::time::{Duration, Instant};

use crate::cluster::comes_true;
use crate::killed::Outage;
use crate::load::Load;
use crate::proxy::Mode;
use crate::scene::{Scene, long, seconds};

/// What the servers do until `heal`, and that all is counted soon after.
fn endure(mut scene: Scene, fault: &str, hang: impl Fn(&Scene), heal: impl Fn(&Scene)) {
    scene.click(if long() { 500 } else { 100 });
    hang(&scene);
    let mut outage = Outage::begin();
    let length = seconds(3, 60);
    while !outage.is_over_after(length) {
        outage.look_at(&scene);
    }
    heal(&scene);
    let back = scene.counted_after_return();
    // A statement is waited for, for three seconds.
    assert!(outage.slowest_api < Duration::from_secs(5));
    assert!(outage.slowest_unknown < Duration::from_secs(5));
    let told = format!(
        "all_counted_after={back:.1?} slowest_503_of_api={:.1?} of_redirect={:.1?}",
        outage.slowest_api, outage.slowest_unknown
    );
    scene.settle(fault, &told);
}

#[test]
fn while_postgresql_stands_still_known_links_go_on_and_every_click_is_counted_after() {
    if let Some(scene) = Scene::set() {
        let (hang, heal) = (
            |scene: &Scene| scene.cluster.freeze(),
            |scene: &Scene| scene.cluster.thaw(),
        );
        endure(scene, "F15 (stopped)", hang, heal);
    }
}

#[test]
fn while_the_network_to_postgresql_is_silent_known_links_go_on_and_every_click_is_counted_after() {
    if let Some(scene) = Scene::set() {
        let (hang, heal) = (
            |scene: &Scene| scene.proxy.set(Mode::Blackhole),
            |scene: &Scene| scene.proxy.set(Mode::Pass),
        );
        endure(scene, "F15 (silent)", hang, heal);
    }
}

#[test]
fn a_server_stops_in_time_and_in_order_while_postgresql_stands_still() {
    let Some(mut scene) = Scene::set() else {
        return;
    };
    scene.click(100);
    scene.cluster.freeze();
    scene.wait_for_clicks(100);
    let mut slowest = Duration::ZERO;
    for node in &mut scene.nodes {
        let begun = Instant::now();
        assert_eq!(node.stop(), Some(0), "{}", node.logged());
        slowest = slowest.max(begun.elapsed());
    }
    assert!(slowest < Duration::from_secs(10), "{slowest:?}");
    scene.stop_clicking();
    scene.cluster.thaw();
    for node in &mut scene.nodes {
        node.start();
    }
    scene.settle("F35", &format!("stopped_after={slowest:.1?}"));
}

#[test]
fn while_postgresql_is_slow_redirects_are_not_and_clicks_wait_on_disk() {
    let Some(mut scene) = Scene::set() else {
        return;
    };
    scene.click(100);
    scene.wait_for_folds();
    for load in &scene.loads {
        load.p99();
    }
    scene.proxy.set(Mode::Slow(500));
    let pending = |scene: &Scene| -> u64 {
        let nodes = scene.nodes.iter();
        nodes.map(|node| node.metric("terse_spool_pending")).sum()
    };
    let begun = Instant::now();
    let length = seconds(4, 120);
    let mut most = 0;
    while begun.elapsed() < length {
        scene.wait_for_clicks(20);
        most = most.max(pending(&scene));
    }
    let p99 = scene.loads.iter().map(Load::p99).max().unwrap();
    assert!(p99 < Duration::from_millis(100), "{p99:?}");
    scene.proxy.set(Mode::Pass);
    scene.stop_clicking();
    let soon = comes_true(Duration::from_mins(1), || pending(&scene) == 0);
    assert!(soon, "the backlog is worked off");
    scene.settle("F43", &format!("most_pending={most} p99={p99:.1?}"));
}
