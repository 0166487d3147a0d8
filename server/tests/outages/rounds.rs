//! Two servers and their PostgreSQL, killed at random, again and again.

use std::time::Duration;

use terse_core::model::{OsEntropy, random_bytes};

use crate::scene::{Scene, long};

/// Rounds of killing: few in the suite, more by `TERSE_TEST_ROUNDS`.
fn rounds() -> usize {
    let rounds = std::env::var("TERSE_TEST_ROUNDS").ok();
    let rounds = rounds.and_then(|rounds| rounds.parse().ok());
    rounds.unwrap_or(if long() { 100 } else { 4 })
}

fn a_moment(milliseconds: std::ops::Range<u64>) {
    let random = u64::from_le_bytes(random_bytes(&OsEntropy));
    let length = milliseconds.end - milliseconds.start;
    std::thread::sleep(Duration::from_millis(milliseconds.start + random % length));
}

/// One of so many.
fn one_of(choices: u64) -> u64 {
    u64::from_le_bytes(random_bytes(&OsEntropy)) % choices
}

#[derive(Default)]
struct Kills {
    servers: usize,
    recovering: usize,
    databases: usize,
}

impl Kills {
    fn server(&mut self, scene: &mut Scene, number: usize) {
        let node = &mut scene.nodes[number];
        node.kill();
        self.servers += 1;
        if one_of(3) == 0 {
            // Once more, while it recovers.
            node.spawn();
            a_moment(1..200);
            node.kill();
            self.recovering += 1;
        }
    }

    /// The database, while a server may be dead, or about to die.
    fn database(&mut self, scene: &mut Scene, victim: Option<usize>) {
        scene.cluster.kill();
        self.databases += 1;
        a_moment(0..300);
        if let Some(victim) = victim {
            self.server(scene, victim);
        }
        scene.cluster.restart();
    }
}

#[test]
fn two_servers_and_their_postgresql_killed_at_random_lose_and_double_no_answered_click() {
    let Some(mut scene) = Scene::set_with(&[("TERSE_TEST_SEALING", "small")]) else {
        return;
    };
    scene.click(300);
    let mut kills = Kills::default();
    let rounds = rounds();
    for round in 0..rounds {
        a_moment(50..600);
        let victim = usize::try_from(one_of(2)).unwrap();
        let both = one_of(4) == 0;
        // The database falls in every second round: before the server, after it, or alone.
        match (round % 2, one_of(3)) {
            (0, _) => kills.server(&mut scene, victim),
            (_, 0) => kills.database(&mut scene, Some(victim)),
            (_, 1) => {
                kills.server(&mut scene, victim);
                kills.database(&mut scene, None);
            }
            _ => kills.database(&mut scene, None),
        }
        if both && scene.nodes[1 - victim].is_started() {
            kills.server(&mut scene, 1 - victim);
        }
        for node in scene.nodes.iter_mut().filter(|node| !node.is_started()) {
            node.start();
        }
        scene.wait_for_clicks(20);
    }
    let told = format!(
        "rounds={rounds} killed_servers={} while_recovering={} killed_databases={}",
        kills.servers, kills.recovering, kills.databases
    );
    scene.settle("F1 (two servers)", &told);
}
