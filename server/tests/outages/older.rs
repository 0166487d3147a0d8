//! F19: PostgreSQL crashes where it is told not to wait for its disk. F20: it is put back as it was before.

use crate::proxy::Mode;
use crate::scene::{Question, Scene, long};

#[test]
fn what_was_answered_survives_a_crash_of_a_postgresql_that_confirms_before_it_writes() {
    let Some(mut scene) = Scene::set() else {
        return;
    };
    for setting in ["synchronous_commit = off", "wal_writer_delay = '10s'"] {
        scene.cluster.ask(&format!("ALTER SYSTEM SET {setting}"));
    }
    scene.cluster.ask("SELECT pg_reload_conf()");
    scene.cluster.ask("CREATE TABLE control (round integer)");
    scene.click(100);
    let rounds = if long() { 20 } else { 3 };
    for round in 0..rounds {
        scene.wait_for_clicks(50);
        let slug = format!("kept{round}");
        // A fold that begins in between takes it to the disk with it.
        let control = format!("INSERT INTO control VALUES ({round})");
        let made = scene.ask(0, &Question::Create(&slug)).0.status();
        scene.cluster.ask(&control);
        scene.cluster.kill();
        scene.cluster.restart();
        assert_eq!(made, 201);
        let query = format!("SELECT count(*) FROM links WHERE slug = '{slug}'");
        assert_eq!(scene.cluster.ask(&query), "1", "a link that was made");
    }
    let kept: u32 = scene
        .cluster
        .ask("SELECT count(*) FROM control")
        .parse()
        .unwrap();
    assert!(
        kept < rounds,
        "the crash took nothing that was not waited for"
    );
    let told = format!("crashes={rounds} lost_of_others={}", rounds - kept);
    scene.settle("F19", &told);
}

#[test]
fn a_postgresql_put_back_from_an_older_copy_is_given_by_both_servers_what_it_lacks() {
    let Some(mut scene) = Scene::set() else {
        return;
    };
    scene.click(200);
    let more = if long() { 8_000 } else { 200 };
    scene.wait_for_folds();
    let copy = scene.cluster.copy();
    scene.wait_for_clicks(more);
    scene.wait_for_folds();
    let all = "SELECT sum(seq) FROM spool_streams";
    let before: u64 = scene.cluster.ask(all).parse().unwrap();
    // Nobody gives it anything before this has looked.
    scene.proxy.set(Mode::Down);
    scene.cluster.kill();
    scene.cluster.replace_by(&copy);
    let older: u64 = scene.cluster.ask(all).parse().unwrap();
    assert!(older < before, "{older} of {before}");
    scene.proxy.set(Mode::Pass);
    scene.wait_for_clicks(100);
    let told = format!("went_back_by={} of={before}", before - older);
    scene.settle("F20", &told);
}
