//! F14: PostgreSQL is killed, and comes back.

use std::time::{Duration, Instant};

use crate::scene::{Question, Scene, long, seconds};

/// What a server without its database still does, and what it refuses. Ends when `outage` is over.
pub(crate) struct Outage {
    begun: Instant,
    asked: u32,
    pub(crate) slowest_api: Duration,
    pub(crate) slowest_unknown: Duration,
}

impl Outage {
    pub(crate) fn begin() -> Self {
        Self {
            begun: Instant::now(),
            asked: 0,
            slowest_api: Duration::ZERO,
            slowest_unknown: Duration::ZERO,
        }
    }

    pub(crate) fn is_over_after(&self, outage: Duration) -> bool {
        self.begun.elapsed() >= outage
    }

    pub(crate) fn look_at(&mut self, scene: &Scene) {
        for (number, node) in scene.nodes.iter().enumerate() {
            self.asked += 1;
            let slug = format!("unknown{}", self.asked);
            let before = scene.loads[number].count();
            let begun = Instant::now();
            assert_eq!(node.get(&format!("/{slug}")), 503, "not 404: nobody knows");
            self.slowest_unknown = self.slowest_unknown.max(begun.elapsed());
            for question in [Question::Links, Question::Create(&slug)] {
                let (answer, took) = scene.ask(number, &question);
                assert_eq!(answer.status(), 503);
                let kind = answer.headers()["content-type"].to_str().unwrap();
                assert_eq!(kind, "application/problem+json");
                self.slowest_api = self.slowest_api.max(took);
            }
            let load = &scene.loads[number];
            assert!(load.count() > before, "redirects go on");
            assert_eq!(node.get("/health/live"), 200, "nobody needs to restart it");
            let (ready, took) = scene.ask(number, &Question::Get("/health/ready"));
            assert_eq!(ready.status(), 200, "a balancer leaves it in");
            assert!(
                ready
                    .text()
                    .unwrap()
                    .contains("\"waiting_for\":\"database\"")
            );
            assert!(
                took < Duration::from_secs(1),
                "{took:?}: balancers wait for a second"
            );
        }
    }
}

/// A line per 10 s from each part of a server, however many requests meet the outage.
fn assert_few_complaints(scene: &Scene, length: Duration) {
    for node in &scene.nodes {
        let log = node.logged();
        let warnings = log.lines().filter(|line| line.contains(" WARN "));
        assert!(warnings.count() as u64 <= 10 + length.as_secs(), "{log}");
    }
}

#[test]
fn while_postgresql_is_dead_known_links_go_on_and_every_click_is_counted_after() {
    let Some(mut scene) = Scene::set() else {
        return;
    };
    scene.click(if long() { 1_000 } else { 100 });
    let mut outage = Outage::begin();
    let length = seconds(4, 300);
    scene.cluster.kill();
    while !outage.is_over_after(length) {
        outage.look_at(&scene);
    }
    let nodes = scene.nodes.iter();
    let pending: u64 = nodes.map(|node| node.metric("terse_spool_pending")).sum();
    scene.cluster.restart();
    let back = scene.counted_after_return();
    assert!(outage.slowest_api < Duration::from_secs(2));
    assert!(
        scene
            .loads
            .iter()
            .all(|load| load.refused() + load.broken() == 0)
    );
    assert_few_complaints(&scene, length);
    let told = format!(
        "pending={pending} all_counted_after={back:.1?} slowest_503_of_api={:.1?} of_redirect={:.1?}",
        outage.slowest_api, outage.slowest_unknown
    );
    scene.settle("F14", &told);
}
