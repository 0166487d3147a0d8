//! One node and two on one PostgreSQL: what they fold, and what they take from each other.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use terse_benches::machine::Cores;
use terse_benches::postgres::Database;
use terse_benches::settings;
use terse_benches::stats::{float, grouped, median, range, ratios};
use terse_core::Terse;
use tokio::runtime::Runtime;

use crate::visiting::{create_links, drain, open, visit};

const LINKS: usize = 1_000;
const SEALING_PATIENCE: Duration = Duration::from_mins(2);
/// A backend tells the statistics what happened once a second.
const STATISTICS: Duration = Duration::from_millis(1_100);

/// Measures and prints every setup, in turn.
pub(crate) fn run(runtime: &Runtime, server: &str, home: &Path) -> Result<()> {
    let clicks = if settings::is_quick() {
        50_000
    } else {
        500_000
    };
    let database = Database::create(server)?;
    let node = |name| runtime.block_on(open(database.url().parse()?, &home.join(name)));
    let (one, two) = (node("one")?, node("two")?);
    let paths = runtime.block_on(create_links(&one, LINKS))?;
    let (hot, other) = (&paths[..1], &paths[1..2]);
    println!(
        "PostgreSQL, one node and two, {} clicks for each in each round",
        grouped(float(clicks as u64))
    );
    let mut setups = [
        Setup::new("one node, one hot link", [(&one, hot)]),
        Setup::new("two nodes, the same hot link", [(&one, hot), (&two, hot)]),
        Setup::new("two nodes, a hot link each", [(&one, hot), (&two, other)]),
        Setup::new("one node, 1,000 links", [(&one, &paths[..])]),
        Setup::new(
            "two nodes, the same 1,000 links",
            [(&one, &paths[..]), (&two, &paths[..])],
        ),
    ];
    let before = database.deadlocks()?;
    for round in 0..settings::rounds()? {
        for setup in &mut setups {
            setup.measure(runtime, clicks, 10 * round as u64)?;
        }
    }
    thread::sleep(STATISTICS);
    let deadlocks = database.deadlocks()? - before;
    print(&setups);
    println!("  deadlocks: {deadlocks}");
    ensure!(deadlocks == 0, "{deadlocks} deadlocks");
    check(runtime, &[&one, &two])
}

/// Whose clicks of which links wait to be folded.
struct Setup<'a> {
    name: &'static str,
    /// A node, and the links that are visited there.
    visited: Vec<(&'a Terse, &'a [String])>,
    rates: Vec<f64>,
}

impl<'a> Setup<'a> {
    fn new(name: &'static str, visited: impl Into<Vec<(&'a Terse, &'a [String])>>) -> Self {
        Self {
            name,
            visited: visited.into(),
            rates: Vec::new(),
        }
    }

    /// Fills the spools, and times how they become empty.
    fn measure(&mut self, runtime: &Runtime, clicks: usize, seed: u64) -> Result<()> {
        let nodes: Vec<&Terse> = self.visited.iter().map(|(node, _)| *node).collect();
        let folded =
            |nodes: &[&Terse]| -> u64 { nodes.iter().map(|node| node.status().folded).sum() };
        let before = folded(&nodes);
        self.fill(runtime, clicks, seed)?;
        let (waiting, took) = drain(&nodes)?;
        let (counted, answered) = (folded(&nodes) - before, (clicks * nodes.len()) as u64);
        ensure!(counted == answered, "{counted} of {answered} were folded");
        let rate = float(waiting) / took.as_secs_f64();
        println!(
            "    {:<30} {:>9} of {:>9} were waiting; folded at {:>7}/s",
            self.name,
            grouped(float(waiting)),
            grouped(float(answered)),
            grouped(rate)
        );
        self.rates.push(rate);
        wait_until_sealed(&nodes)
    }

    /// Visits every node at once.
    fn fill(&self, runtime: &Runtime, clicks: usize, seed: u64) -> Result<()> {
        let Cores { server, load } = Cores::divided()?;
        // Visitors on every core: what yields to them hardly folds meanwhile, and waits for what is timed.
        let cores = [server, load].concat();
        thread::scope(|scope| {
            let visits: Vec<_> = (seed..)
                .zip(&self.visited)
                .map(|(seed, (node, paths))| {
                    let cores = &cores;
                    scope.spawn(move || visit(runtime, node, paths, (clicks, seed), cores))
                })
                .collect();
            visits.into_iter().try_for_each(|visit| {
                visit
                    .join()
                    .map_err(|_| anyhow::anyhow!("a node's visitors panicked"))?
            })
        })
    }
}

/// Nothing of a round is left for the next one to do.
fn wait_until_sealed(nodes: &[&Terse]) -> Result<()> {
    let start = Instant::now();
    let mut before = None;
    loop {
        let sealed: u64 = nodes.iter().map(|node| node.status().sealed).sum();
        if before.replace(sealed) == Some(sealed) {
            return Ok(());
        }
        ensure!(start.elapsed() < SEALING_PATIENCE, "sealing takes too long");
        thread::sleep(Duration::from_secs(1));
    }
}

fn print(setups: &[Setup<'_>; 5]) {
    for setup in setups {
        let (lowest, highest) = range(&setup.rates);
        println!(
            "  {:<32} {:>9}/s in all ({} to {})",
            setup.name,
            grouped(median(&setup.rates)),
            grouped(lowest),
            grouped(highest)
        );
    }
    let [one_hot, two_hot, two_apart, one_wide, two_wide] = setups;
    let of = |setup: &Setup<'_>, other: &Setup<'_>| median(&ratios(&setup.rates, &other.rates));
    println!(
        "  the same hot link, beside a hot link each: {:.1} % lost; beside twice one node: {:.1} %",
        100.0 * (1.0 - of(two_hot, two_apart)),
        100.0 * (1.0 - of(two_hot, one_hot) / 2.0)
    );
    println!(
        "  a hot link each, beside twice one node: {:.1} % lost; 1,000 links, beside twice one node: {:.1} %",
        100.0 * (1.0 - of(two_apart, one_hot) / 2.0),
        100.0 * (1.0 - of(two_wide, one_wide) / 2.0)
    );
}

fn check(runtime: &Runtime, nodes: &[&Terse]) -> Result<()> {
    for node in nodes {
        let failures = node.status().fold_failures;
        ensure!(failures == 0, "{failures} batches failed");
        let report = runtime.block_on(node.verify())?;
        ensure!(report.is_consistent(), "rows and counters differ");
    }
    println!("  rows and counters agree");
    for node in nodes {
        runtime.block_on(node.close());
    }
    Ok(())
}
