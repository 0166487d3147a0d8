//! F17: a COMMIT succeeded, and its answer was lost. F18: it never arrived. F16: connections are reset.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::proxy::Mode;
use crate::scene::{Question, Scene, long, seconds};

/// Makes a link, with the same key again and again, until the server says that it is made.
fn create_once(scene: &Scene, number: usize) -> u32 {
    let (slug, key) = (format!("once-{number}"), format!("key-{number}"));
    let deadline = Instant::now() + Duration::from_mins(1);
    for attempt in 1.. {
        let (answer, _) = scene.ask(number % 2, &Question::CreateOnce(&slug, &key));
        let status = answer.status().as_u16();
        if status == 201 {
            return attempt;
        }
        // What came before may still be under way.
        assert!(matches!(status, 409 | 503), "{status}");
        assert!(Instant::now() < deadline, "{status} for ever");
        std::thread::sleep(Duration::from_millis(50));
    }
    unreachable!()
}

/// How many links there are of those that `create_once` made.
fn links(scene: &Scene) -> usize {
    let (answer, _) = scene.ask(0, &Question::Get("/api/v1/links?search=once-&limit=200"));
    let links: Value = answer.json().unwrap();
    links["items"].as_array().unwrap().len()
}

fn spoil_commits(mode: Mode, fault: &str) {
    let Some(mut scene) = Scene::set() else {
        return;
    };
    let (wanted, posts) = if long() { (400, 60) } else { (16, 6) };
    scene.click(100);
    scene.proxy.set(mode);
    let mut attempts = 0;
    for number in 0..posts {
        attempts += create_once(&scene, number);
    }
    while scene.proxy.spoiled() < wanted {
        scene.wait_for_clicks(10);
    }
    scene.proxy.set(Mode::Pass);
    assert_eq!(links(&scene), posts, "each is there once");
    let told = format!(
        "spoiled_commits={} links={posts} asked_for={attempts}",
        scene.proxy.spoiled()
    );
    scene.settle(fault, &told);
}

#[test]
fn what_was_committed_although_nobody_heard_of_it_is_not_done_twice() {
    spoil_commits(Mode::LoseAnswers, "F17");
}

#[test]
fn what_was_never_committed_is_done_again() {
    spoil_commits(Mode::CutRequests, "F18");
}

#[test]
fn while_connections_to_postgresql_are_reset_every_now_and_then_nothing_is_lost_or_doubled() {
    let Some(mut scene) = Scene::set() else {
        return;
    };
    scene.click(100);
    let begun = Instant::now();
    let length = seconds(3, 60);
    let (mut flaps, mut attempts, mut posts) = (0, 0, 0);
    while begun.elapsed() < length {
        scene.proxy.set(Mode::Down);
        std::thread::sleep(Duration::from_millis(300));
        scene.proxy.set(Mode::Pass);
        std::thread::sleep(Duration::from_millis(300));
        flaps += 1;
    }
    scene.proxy.set(Mode::Down);
    let proxy = &scene.proxy;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for mode in [Mode::Pass, Mode::Down].into_iter().cycle().take(9) {
                std::thread::sleep(Duration::from_millis(300));
                proxy.set(mode);
            }
        });
        for number in 0..6 {
            attempts += create_once(&scene, number);
            posts += 1;
        }
    });
    assert_eq!(links(&scene), posts, "each is there once");
    assert!(scene.loads.iter().all(|load| load.refused() == 0));
    let told = format!("flaps={flaps} links={posts} asked_for={attempts}");
    scene.settle("F16", &told);
}
