//! Every answer about clicks is the one that counting rows gives: while clicks arrive, are sealed and
//! merged, after that, and after a restart.

mod answers;
mod calendar;
mod questions;
mod random;
mod world;

use std::time::Duration;

use terse_core::classify::Kind;
use terse_core::model::Timestamp;

use crate::fixture::{Installation, SMALL, on_both_databases};
use questions::{Question, Times};
use random::Random;
use world::{Click, World, click};

on_both_databases![every_answer_is_the_one_that_counting_rows_gives];

const MINUTE: i64 = 60_000;
/// Where clocks are changed, and midnights of some zones beside them; clicks are made around each.
const SPECIAL: [&str; 16] = [
    "2026-03-15T18:15:00Z", // midnight in Kathmandu
    "2026-03-16T00:00:00Z",
    "2026-03-28T23:00:00Z", // midnight in Berlin
    "2026-03-29T01:00:00Z", // Berlin, forward
    "2026-04-04T13:00:00Z", // midnight on Lord Howe
    "2026-04-04T14:30:00Z",
    "2026-04-04T15:00:00Z", // Lord Howe, back by half an hour
    "2026-10-03T15:30:00Z", // Lord Howe, forward by half an hour
    "2026-10-03T16:00:00Z",
    "2026-10-25T00:00:00Z",
    "2026-10-25T01:00:00Z", // Berlin, back
    "2026-11-01T00:00:00Z", // midnight, and a new month of visitors
    "2026-11-01T04:30:00Z", // St. John's, back
    "2026-11-01T06:00:00Z", // New York, back
    "2027-03-14T05:30:00Z", // St. John's, forward
    "2027-03-14T07:00:00Z", // New York, forward
];
/// Periods with many clicks, and how many.
const BUSY: [(&str, i64, usize); 7] = [
    ("2026-03-15T12:30:00Z", 36, 500),
    ("2026-03-28T22:00:00Z", 24, 250),
    ("2026-04-04T12:00:00Z", 10, 250),
    ("2026-10-03T10:00:00Z", 12, 250),
    ("2026-10-24T20:00:00Z", 14, 200),
    ("2026-10-31T22:00:00Z", 14, 300),
    ("2027-03-14T03:00:00Z", 8, 250),
];
const BURST: usize = 55;
const QUESTIONS_AT_THE_END: usize = 900;
const AT_A_TIME: usize = 6;

fn at(text: &str) -> i64 {
    Timestamp::parse("at", text).unwrap().as_millis()
}

fn seed() -> u64 {
    let chosen = std::env::var("TERSE_TEST_SEED").ok();
    chosen.map_or(20_260_315, |seed| seed.parse().unwrap())
}

/// When there are clicks, in order.
fn times_of_clicks(random: &mut Random) -> Vec<i64> {
    let mut times = Vec::new();
    for (start, hours, clicks) in BUSY {
        let start = at(start);
        times.extend((0..clicks).map(|_| random.between(start, start + hours * 60 * MINUTE)));
    }
    for special in SPECIAL.map(at) {
        times.extend([-MINUTE, -1, 0, 0, 1, MINUTE].map(|near| special + near));
    }
    times.sort_unstable();
    times
}

fn month(at: i64) -> String {
    Timestamp::from_millis(at).to_string()[..7].to_owned()
}

async fn every_answer_is_the_one_that_counting_rows_gives(t: Installation) {
    let seed = seed();
    let mut random = Random::of(seed);
    let mut t = t.sealing(SMALL).await;
    let mut world = World::of(&t).await;
    let times = times_of_clicks(&mut random);
    let of_one_month = times.chunk_by(|a, b| month(*a) == month(*b));
    for burst in of_one_month.flat_map(|times| times.chunks(BURST)) {
        // Whoever runs through the end of a month has the next month's visitors ready; a clock that
        // leaps over it has not.
        if month(burst[0]) != month(t.now().as_millis()) {
            t.clock.set(Timestamp::from_millis(burst[0]));
            t = t.restarted().await;
        }
        let (mut visitors, mut curious) = (random.fork(), random.fork());
        let (clicks, ()) = tokio::join!(
            click_at(&t, &world, burst, &mut visitors),
            ask_meanwhile(&t, &world, burst[0], &mut curious, seed),
        );
        world.clicks.extend(clicks);
        t.folded().await;
    }
    give_links_another_domain(&t, &mut world).await;
    ask_everything(&t, &world, &mut random, seed).await;
    assert_sealed_and_merged(&t).await;
    let t = t.restarted().await;
    t.folded().await;
    ask_everything(&t, &world, &mut random, seed).await;
    assert_totals(&t, &world).await;
    assert_sealed_and_merged(&t).await;
}

async fn click_at(
    t: &Installation,
    world: &World,
    times: &[i64],
    random: &mut Random,
) -> Vec<Click> {
    let mut clicks = Vec::new();
    for (index, time) in times.iter().enumerate() {
        t.clock.set(Timestamp::from_millis(*time));
        let name = format!("n{}x{index}", world.clicks.len());
        clicks.extend(click(t, world, random, name).await);
        if index % 10 == 9 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    clicks
}

/// Figures of a period that is over are the same whatever arrives meanwhile.
async fn ask_meanwhile(t: &Installation, world: &World, end: i64, random: &mut Random, seed: u64) {
    // The last clicks of the burst before may be of the same millisecond.
    let first = at(BUSY[0].0);
    if world.clicks.is_empty() || end <= first + MINUTE {
        return;
    }
    let times = Times {
        first,
        end: world
            .clicks
            .last()
            .map_or(end, |last| last.at.min(end - 1) + 1),
        special: SPECIAL.map(at).to_vec(),
    };
    for _ in 0..12 {
        let question = Question::random(world, &times, random);
        question.check(t, world, seed, false).await;
    }
}

/// There is one domain so far; the database knows of another.
async fn give_links_another_domain(t: &Installation, world: &mut World) {
    t.sql("INSERT INTO domains (id, host, created_at) VALUES (7, 'other.example', 0)")
        .await;
    t.sql("UPDATE links SET domain_id = 7 WHERE slug IN ('a2', 'a4', 'b1')")
        .await;
    for link in &mut world.links {
        if ["a2", "a4", "b1"].contains(&link.slug) {
            link.host = "other.example";
        }
    }
}

async fn ask_everything(t: &Installation, world: &World, random: &mut Random, seed: u64) {
    let times = Times {
        first: at(BUSY[0].0),
        end: t.now().as_millis() + MINUTE,
        special: SPECIAL.map(at).to_vec(),
    };
    let askers = (0..AT_A_TIME).map(|_| {
        let mut random = random.fork();
        let times = &times;
        async move {
            for _ in 0..QUESTIONS_AT_THE_END / AT_A_TIME {
                let question = Question::random(world, times, &mut random);
                let question = if random.chance(5) {
                    question.about_now()
                } else {
                    question
                };
                question.check(t, world, seed, true).await;
            }
        }
    });
    futures_util::future::join_all(askers).await;
}

async fn assert_totals(t: &Installation, world: &World) {
    for (index, link) in world.links.iter().enumerate() {
        let workspace = &world.workspaces[link.workspace];
        let read = t.terse.links().get(workspace, link.id).await.unwrap();
        let of_link = |click: &&Click| click.link == index && click.kind == Kind::Human;
        let humans = world.clicks.iter().filter(of_link);
        let (count, last) = (humans.clone().count(), humans.map(|click| click.at).max());
        assert_eq!(read.clicks, i64::try_from(count).unwrap());
        assert_eq!(read.last_clicked_at, last.map(Timestamp::from_millis));
    }
    let report = t.terse.verify().await.unwrap();
    assert!(report.is_consistent(), "{report:?}");
    assert_eq!(report.clicks, i64::try_from(world.clicks.len()).unwrap());
}

async fn assert_sealed_and_merged(t: &Installation) {
    let sealed = t
        .number("SELECT CAST(SUM(row_count) AS BIGINT) FROM chunks WHERE replaced_at IS NULL")
        .await;
    assert!(sealed > 1_000, "{sealed} clicks are in chunks");
    let replaced = t
        .number("SELECT MAX(id) - COUNT(*) FROM chunks WHERE replaced_at IS NULL")
        .await;
    assert!(replaced > 20, "{replaced} chunks were replaced");
    let report = t.terse.verify().await.unwrap();
    assert!(report.is_consistent() && report.chunks > 10, "{report:?}");
}
