//! F26: a burst of clicks. F28: no file descriptor is left. F33: a link is deleted before its clicks are
//! folded. F44: many ask for figures of a link that many click.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cluster::{Cluster, until};
use crate::common::Node;
use crate::load::Load;
use crate::scene::{LINK, Question, Scene, long, seconds};

#[test]
fn a_burst_of_a_hundred_times_the_usual_is_answered_and_counted() {
    let Some(mut scene) = Scene::set() else {
        return;
    };
    scene.click(25);
    let begun = Instant::now();
    let length = seconds(3, 30);
    let bursts: Vec<Load> = scene
        .nodes
        .iter()
        .enumerate()
        .map(|(number, node)| {
            let name = format!("burst{number}-");
            Load::paced(node.port(), 16, LINK, &name, 2_500)
        })
        .collect();
    scene.loads.extend(bursts);
    until("the burst is over", || begun.elapsed() > length);
    for load in &scene.loads[2..] {
        load.stop();
    }
    let clicks: usize = scene.loads[2..].iter().map(Load::count).sum();
    let p99 = scene.loads.iter().map(Load::p99).max().unwrap();
    let drained = Instant::now();
    scene.wait_for_folds();
    let drained = drained.elapsed();
    let memory = scene.nodes.iter().map(Node::peak_memory).max().unwrap();
    assert!(memory < 256, "{memory} MiB");
    // Debug builds of much else run beside the short version.
    let patience = if long() { 250 } else { 1_000 };
    assert!(p99 < Duration::from_millis(patience), "{p99:?}");
    assert!(
        scene
            .loads
            .iter()
            .all(|load| load.refused() + load.broken() == 0)
    );
    let rate = clicks as u64 / length.as_secs();
    let told =
        format!("burst={rate}/s p99={p99:.1?} drained_after={drained:.1?} peak_mib={memory}");
    scene.settle("F26", &told);
}

#[test]
fn a_server_that_is_short_of_file_descriptors_goes_on_and_recovers() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let mut scene = Scene::set_each(cluster, [&[], &[]]);
    let few = "ulimit -n 192; exec \"$0\"";
    let mut tight = Scene::node(scene.cluster.port(), &[]);
    tight.launch_through(&["sh", "-c", few]);
    scene.enter(tight);
    let port = scene.nodes[2].port();
    scene.click(50);
    let idle: Vec<TcpStream> = (0..500)
        .filter_map(|_| TcpStream::connect(("127.0.0.1", port)).ok())
        .collect();
    assert!(idle.len() > 200);
    scene.wait_for_clicks(50);
    assert_eq!(scene.ask(2, &Question::Links).0.status(), 200);
    drop(idle);
    scene.wait_for_clicks(50);
    let log = scene.nodes[2].logged();
    let lines = log.lines().filter(|line| line.contains(" WARN ")).count();
    assert!(lines < 10, "{log}");
    scene.settle(
        "F28",
        &format!("idle_connections=500 descriptors=192 warnings={lines}"),
    );
}

#[test]
fn clicks_of_a_link_that_was_deleted_before_they_were_folded_are_counted() {
    let Some(mut scene) = Scene::set() else {
        return;
    };
    let (made, _) = scene.ask(1, &Question::Create("doomed"));
    let link: Value = made.json().unwrap();
    scene.click(50);
    let doomed = Load::paced(scene.nodes[0].port(), 4, "/doomed", "doomed", 100);
    scene.wait_for_folds();
    let hold = scene.cluster.hold("tail");
    let before = doomed.count();
    until("clicks wait", || doomed.count() > before + 50);
    let path = format!("/api/v1/links/{}", link["id"].as_str().unwrap());
    assert_eq!(scene.ask(1, &Question::Delete(&path)).0.status(), 204);
    assert_eq!(scene.nodes[1].get("/doomed"), 410);
    drop(hold);
    let waited = doomed.count() - before;
    doomed.stop();
    scene.loads.push(doomed);
    let told = format!("clicked_and_deleted_before_the_fold={waited}");
    scene.settle("F33", &told);
}

/// Asks one server for figures until it is `over`; returns how often.
fn ask_for_figures(scene: &Scene, asker: usize, over: &AtomicBool) -> u64 {
    let paths = [
        "/api/v1/analytics/summary",
        "/api/v1/analytics/timeseries?interval=hour",
        "/api/v1/analytics/breakdown?dimension=browser",
    ];
    let mut asked = 0;
    while !over.load(Ordering::Relaxed) {
        let question = Question::Get(paths[asker % paths.len()]);
        let (answer, _) = scene.ask(asker % 2, &question);
        assert_eq!(answer.status(), 200);
        asked += 1;
        std::thread::sleep(Duration::from_millis(20));
    }
    asked
}

#[test]
fn twenty_who_ask_for_figures_of_a_hot_link_disturb_no_fold_and_cause_no_deadlock() {
    let Some(mut scene) = Scene::set_with(&[("TERSE_TEST_SEALING", "small")]) else {
        return;
    };
    // Questions of a debug build beside more than that take longer than they are waited for.
    scene.click(200);
    let over = AtomicBool::new(false);
    let begun = Instant::now();
    let length = seconds(3, 60);
    let mut most = 0;
    let asked: u64 = std::thread::scope(|scope| {
        let (scene, over) = (&scene, &over);
        let askers = 0..20;
        let askers = askers.map(|asker| scope.spawn(move || ask_for_figures(scene, asker, over)));
        let askers: Vec<_> = askers.collect();
        while begun.elapsed() < length {
            let nodes = scene.nodes.iter();
            let pending = nodes.map(|node| node.metric("terse_spool_pending"));
            most = most.max(pending.max().unwrap());
            std::thread::sleep(Duration::from_millis(50));
        }
        over.store(true, Ordering::Relaxed);
        askers.into_iter().map(|asker| asker.join().unwrap()).sum()
    });
    let deadlocks = scene.cluster.log().matches("deadlock detected").count();
    assert_eq!(deadlocks, 0, "{}", scene.cluster.log());
    let told = format!("questions={asked} most_pending={most} deadlocks=0");
    scene.settle("F44", &told);
}
