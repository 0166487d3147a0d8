//! Two servers on one PostgreSQL, clicks on both, and what became of them.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use reqwest::blocking::Response;
use serde_json::{Value, json};

use crate::cluster::{Cluster, comes_true};
use crate::common::{Node, client};
use crate::load::Load;
use crate::proxy::Proxy;

const SECRET: &str = "a secret of more than thirty-two bytes for tests alone";
/// The link that everybody clicks.
pub(crate) const LINK: &str = "/x";

/// Whether tests may take minutes, as root if they need it. Without `scripts/faults --all` they are short.
pub(crate) fn long() -> bool {
    std::env::var_os("TERSE_TEST_ALL").is_some()
}

pub(crate) fn seconds(short: u64, in_the_long_version: u64) -> Duration {
    Duration::from_secs(if long() { in_the_long_version } else { short })
}

pub(crate) struct Scene {
    pub(crate) nodes: Vec<Node>,
    pub(crate) loads: Vec<Load>,
    tokens: Vec<String>,
    pub(crate) proxy: Proxy,
    pub(crate) cluster: Cluster,
}

impl Scene {
    /// `None` only when this run was told to do without PostgreSQL.
    pub(crate) fn set() -> Option<Self> {
        Self::set_with(&[])
    }

    pub(crate) fn set_with(settings: &[(&str, &str)]) -> Option<Self> {
        Some(Self::set_each(Cluster::start()?, [settings, settings]))
    }

    /// Two servers that reach their database through a proxy, and a link that both know.
    pub(crate) fn set_each(cluster: Cluster, settings: [&[(&str, &str)]; 2]) -> Self {
        let proxy = Proxy::to(cluster.port());
        let mut scene = Self {
            nodes: Vec::new(),
            loads: Vec::new(),
            tokens: Vec::new(),
            proxy,
            cluster,
        };
        for settings in settings {
            let node = Self::node(scene.proxy.port(), settings);
            scene.enter(node);
        }
        scene.nodes[0].create_link(&LINK[1..]);
        for node in &scene.nodes {
            assert_eq!(node.get("/x?utm_content=before"), 302);
        }
        scene
    }

    pub(crate) fn enter(&mut self, mut node: Node) {
        node.start();
        self.tokens.push(node.token());
        self.nodes.push(node);
    }

    /// A server that is not started yet.
    pub(crate) fn node(database_port: u16, settings: &[(&str, &str)]) -> Node {
        let mut node = Node::new(settings);
        node.set("TERSE_DATABASE_URL", &Cluster::url_by(database_port));
        node.set("TERSE_JWT_SECRET", SECRET);
        node
    }

    /// Clicks on both servers, so many a second on each, until this is settled.
    pub(crate) fn click(&mut self, per_second: u32) {
        self.click_named("c", per_second);
    }

    pub(crate) fn click_named(&mut self, name: &str, per_second: u32) {
        for (number, node) in self.nodes.iter().enumerate() {
            let name = format!("{name}{number}-");
            let load = Load::paced(node.port(), 4, LINK, &name, per_second);
            self.loads.push(load);
        }
        self.wait_for_clicks(50);
    }

    /// Waits until every load has brought so many clicks more.
    pub(crate) fn wait_for_clicks(&self, more: usize) {
        let before: Vec<usize> = self.loads.iter().map(Load::count).collect();
        let mut loads = self.loads.iter().zip(before);
        let patience = Duration::from_mins(1);
        assert!(
            loads.all(|(load, before)| comes_true(patience, || load.count() >= before + more)),
            "redirects go on: {}",
            self.nodes[0].logged()
        );
    }

    pub(crate) fn stop_clicking(&self) {
        for load in &self.loads {
            load.stop();
        }
    }

    /// Clicks a little more beside a database that is back, and returns how long it takes until everything
    /// is counted.
    pub(crate) fn counted_after_return(&self) -> Duration {
        let back = Instant::now();
        self.wait_for_clicks(100);
        self.stop_clicking();
        self.wait_until_folded();
        let back = back.elapsed();
        assert!(back < Duration::from_mins(1), "{back:?}");
        back
    }

    /// A request to the API of a server, and how long the answer took.
    pub(crate) fn ask(&self, node: usize, question: &Question) -> (Response, Duration) {
        let url = |path: &str| self.nodes[node].url(path);
        let request = match question {
            Question::Links => client().get(url("/api/v1/links")),
            Question::Create(slug) => client().post(url("/api/v1/links")).json(&target(slug)),
            Question::CreateOnce(slug, key) => client()
                .post(url("/api/v1/links"))
                .header("Idempotency-Key", *key)
                .json(&target(slug)),
            Question::Get(path) => client().get(url(path)),
            Question::Post(path, body) => client().post(url(path)).json(body),
            Question::Delete(path) => client().delete(url(path)),
            Question::Change(path, change) => client().patch(url(path)).json(change),
        };
        let begun = Instant::now();
        let answer = request.bearer_auth(&self.tokens[node]).send().unwrap();
        (answer, begun.elapsed())
    }

    /// Waits until the database has every click that was made until now.
    pub(crate) fn wait_for_folds(&self) {
        for node in &self.nodes {
            let made = node.metric("terse_spool_appended_total");
            node.wait_until("what was clicked is folded", |node| {
                node.metric("terse_clicks_folded_total") >= made
            });
        }
    }

    /// Waits until the database has every click, and nobody clicks; returns how long that took.
    pub(crate) fn wait_until_folded(&self) -> Duration {
        let begun = Instant::now();
        for node in &self.nodes {
            node.wait_until_folded();
        }
        begun.elapsed()
    }

    /// Ends the load and the servers in order, and looks at every click: each answered one is counted
    /// once, and beyond those at most what got no answer.
    pub(crate) fn settle(mut self, fault: &str, told: &str) {
        self.stop_clicking();
        let folded = self.wait_until_folded();
        let (code, text) = self.nodes[0].verify();
        assert_eq!(code, Some(0), "verify beside the running servers: {text}");
        for node in &mut self.nodes {
            assert_eq!(node.stop(), Some(0), "{}", node.logged());
        }
        let (code, text) = self.nodes[0].verify();
        assert_eq!(code, Some(0), "verify after the end: {text}");
        let reader = Self::node(self.cluster.port(), &[]);
        let mut times: HashMap<String, usize> = HashMap::new();
        for id in reader.counted_ids().into_iter().filter(|id| id != "before") {
            *times.entry(id).or_default() += 1;
        }
        self.compare(&times, fault, &format!("folded_after={folded:.1?} {told}"));
    }

    fn compare(&self, times: &HashMap<String, usize>, fault: &str, told: &str) {
        let loads = self.loads.iter();
        let answered: HashSet<String> = loads.clone().flat_map(Load::answered).collect();
        let sent: HashSet<String> = loads.clone().flat_map(Load::sent).collect();
        let refused: u64 = loads.clone().map(Load::refused).sum();
        let broken: u64 = loads.map(Load::broken).sum();
        let lost = answered.iter().filter(|id| !times.contains_key(*id));
        let lost = lost.count();
        let doubled = times.values().filter(|times| **times > 1).count();
        let beyond = times.keys().filter(|id| !answered.contains(*id));
        let beyond = beyond.count() as u64;
        println!(
            "{fault} answered={} counted={} lost={lost} doubled={doubled} beyond={beyond} refused={refused} broken={broken} verify=ok {told}",
            answered.len(),
            times.len(),
        );
        assert_eq!((lost, doubled), (0, 0), "{fault}");
        assert!(times.keys().all(|id| sent.contains(id)), "never sent");
        assert!(
            beyond <= broken,
            "{fault}: {beyond} refused clicks are counted"
        );
        assert!(answered.len() > 50, "there was hardly any load");
    }
}

pub(crate) enum Question<'a> {
    Links,
    Create(&'a str),
    /// With a key by which the server knows it again.
    CreateOnce(&'a str, &'a str),
    Get(&'a str),
    Post(&'a str, Value),
    Delete(&'a str),
    Change(&'a str, Value),
}

fn target(slug: &str) -> Value {
    json!({"target_url": "https://example.com/", "slug": slug})
}
