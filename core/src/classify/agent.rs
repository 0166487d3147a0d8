//! What a user agent stands for, remembered per user agent.

use std::cell::RefCell;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use moka::sync::Cache;
use woothee::parser::{Parser, WootheeResult};

use crate::classify::browser::browser;
use crate::classify::facts::push_fact;
use crate::classify::known::{CRAWLERS, HEADLESS, PREVIEWS, TOOLS};
use crate::classify::{Kind, Reason};
use crate::model::Fact;

// Longer ones are nobody's browser; the rest of them is not looked at.
const MAX_AGENT_BYTES: usize = 1_024;

/// What one user agent stands for. Empty text: unknown.
#[derive(Debug, PartialEq, Eq)]
pub struct Agent {
    pub kind: Kind,
    pub reason: Reason,
    /// `Chrome`, `Firefox`, `Safari`, `Edge`, `Opera`, … or the app whose own browser it is, as in
    /// `Instagram`.
    pub browser: &'static str,
    /// The browser with its major version, as in `Firefox 140`.
    pub browser_version: Box<str>,
    /// `Windows`, `macOS`, `Linux`, `Android`, `iOS`, `ChromeOS`, …
    pub os: &'static str,
    /// `desktop`, `mobile`, `tablet`, `tv`, `other`.
    pub device: &'static str,
    /// The above as a record carries them.
    pub(super) facts: Box<[u8]>,
}

/// Sets of agents that each thread has at hand, and agents in each.
const SETS: usize = 128;
const WAYS: usize = 4;

/// What a thread met last, so that a click by a common browser touches no memory that threads share.
struct Recent {
    entries: Vec<Option<(u64, Arc<Agent>)>>,
    next: u8,
}

thread_local! {
    static RECENT: RefCell<Recent> = const {
        RefCell::new(Recent { entries: Vec::new(), next: 0 })
    };
}

impl Recent {
    /// The agent with this key; `find` is asked when it is not at hand.
    fn get(&mut self, key: u64, find: impl FnOnce() -> Arc<Agent>) -> &Arc<Agent> {
        self.entries.resize(SETS * WAYS, None);
        let start = usize::try_from(key % SETS as u64).unwrap_or(0) * WAYS;
        let set = &self.entries[start..start + WAYS];
        let holds = |entry: &Option<(u64, Arc<Agent>)>| {
            entry.as_ref().is_some_and(|(known, _)| *known == key)
        };
        let way = set.iter().position(holds).unwrap_or_else(|| {
            self.next = self.next.wrapping_add(1);
            usize::from(self.next) % WAYS
        });
        let entry = &mut self.entries[start + way];
        if !holds(entry) {
            *entry = None;
        }
        &entry.get_or_insert_with(|| (key, find())).1
    }
}

/// Agents that were met before: bounded, so that made-up ones cost nothing but time.
#[derive(Debug)]
pub struct Agents {
    known: Cache<u64, Arc<Agent>, BuildIdentity>,
    keys: RandomState,
}

impl Agents {
    /// Remembers up to `capacity` user agents.
    pub fn new(capacity: u64) -> Self {
        Self {
            known: Cache::builder()
                .max_capacity(capacity)
                .build_with_hasher(BuildIdentity),
            keys: RandomState::new(),
        }
    }

    /// Hands over what this user agent stands for. Two that share a 64-bit keyed hash share an answer.
    pub fn with<T>(&self, user_agent: &[u8], take: impl FnOnce(&Agent) -> T) -> T {
        let user_agent = &user_agent[..user_agent.len().min(MAX_AGENT_BYTES)];
        let key = self.keys.hash_one(user_agent);
        RECENT.with_borrow_mut(|recent| take(recent.get(key, || self.find(key, user_agent))))
    }

    fn find(&self, key: u64, user_agent: &[u8]) -> Arc<Agent> {
        if let Some(agent) = self.known.get(&key) {
            return agent;
        }
        let agent = Arc::new(Agent::parse(user_agent));
        self.known.insert(key, Arc::clone(&agent));
        agent
    }
}

impl Agent {
    /// Reads a user agent without remembering it.
    pub fn parse(user_agent: &[u8]) -> Self {
        let text = String::from_utf8_lossy(user_agent);
        // Phones of that name are no bots, whatever the lists make of its end.
        let text = text.replace("Cubot", "").replace("CUBOT", "");
        let lower = text.to_ascii_lowercase();
        let parsed = Parser::new().parse(&text);
        let (kind, reason) = decide(&text, &lower, parsed.as_ref());
        let mut agent = Self {
            kind,
            reason,
            browser: "",
            browser_version: Box::default(),
            os: os(&lower, parsed.as_ref()),
            device: "other",
            facts: Box::default(),
        };
        if kind == Kind::Human {
            let browser = browser(&lower, parsed.as_ref());
            agent.browser = browser.name;
            agent.browser_version = browser.with_version().into();
            agent.device = device(&lower, parsed.as_ref());
        }
        agent.facts = agent.encoded();
        agent
    }

    fn encoded(&self) -> Box<[u8]> {
        let mut facts = Vec::new();
        push_fact(&mut facts, Fact::Browser, self.browser.as_bytes());
        push_fact(
            &mut facts,
            Fact::BrowserVersion,
            self.browser_version.as_bytes(),
        );
        push_fact(&mut facts, Fact::Os, self.os.as_bytes());
        push_fact(&mut facts, Fact::Device, self.device.as_bytes());
        facts.into()
    }
}

fn decide(text: &str, lower: &str, parsed: Option<&WootheeResult<'_>>) -> (Kind, Reason) {
    let holds = |list: &[&str]| list.iter().any(|word| lower.contains(word));
    if lower.trim().is_empty() {
        return (Kind::Bot, Reason::NoUserAgent);
    }
    if holds(PREVIEWS) && !is_in_app_browser(lower) {
        return (Kind::Preview, Reason::LinkPreview);
    }
    if holds(HEADLESS) {
        return (Kind::Bot, Reason::Headless);
    }
    let is_shell = lower.contains("powershell/") || lower == "node";
    if is_shell || (holds(TOOLS) && !lower.starts_with("mozilla/")) {
        return (Kind::Bot, Reason::Tool);
    }
    if parsed.is_some_and(|agent| agent.category == "crawler")
        || holds(CRAWLERS)
        || isbot_says(text)
        || is_merely_compatible(lower)
    {
        return (Kind::Bot, Reason::Crawler);
    }
    if !lower.starts_with("mozilla/") && !lower.starts_with("opera/") {
        return (Kind::Bot, Reason::UnknownAgent);
    }
    (Kind::Human, Reason::Browser)
}

/// Programs say that they are compatible; among browsers only old ones did.
fn is_merely_compatible(lower: &str) -> bool {
    lower.contains("compatible;")
        && !["msie ", "konqueror"]
            .iter()
            .any(|browser| lower.contains(browser))
}

/// A browser inside an app names the app; a person reads there.
fn is_in_app_browser(lower: &str) -> bool {
    lower.starts_with("mozilla/")
        && [
            "snapchat",
            "viber",
            "pinterest",
            "line/",
            "whatsapp/",
            "tumblr",
            "msteams",
            "ms-office",
        ]
        .iter()
        .any(|app| lower.contains(app))
        && (lower.contains("applewebkit") || lower.contains("gecko/"))
        && !lower.contains("bot")
        && !lower.contains("preview")
        && !lower.contains("safelinks")
}

fn isbot_says(text: &str) -> bool {
    use std::sync::LazyLock;
    static BOTS: LazyLock<isbot::Bots> = LazyLock::new(isbot::Bots::default);
    BOTS.is_bot(text)
}

fn os(lower: &str, parsed: Option<&WootheeResult<'_>>) -> &'static str {
    const MARKS: &[(&str, &str)] = &[
        ("windows phone", "Windows Phone"),
        ("xbox", "Xbox"),
        ("windows", "Windows"),
        ("cros ", "ChromeOS"),
        ("iphone", "iOS"),
        ("ipad", "iOS"),
        ("ipod", "iOS"),
        ("harmonyos", "HarmonyOS"),
        ("openharmony", "HarmonyOS"),
        ("android", "Android"),
        ("tizen", "Tizen"),
        ("web0s", "webOS"),
        ("webos", "webOS"),
        ("kaios", "KaiOS"),
        ("mac os x", "macOS"),
        ("macintosh", "macOS"),
        ("freebsd", "FreeBSD"),
        ("openbsd", "OpenBSD"),
        ("playstation", "PlayStation"),
        ("nintendo", "Nintendo"),
        ("linux", "Linux"),
        ("x11", "Linux"),
    ];
    if let Some((_, name)) = MARKS.iter().find(|(mark, _)| lower.contains(mark)) {
        return name;
    }
    match parsed.map(|agent| agent.os) {
        Some("Linux") => "Linux",
        _ => "",
    }
}

fn device(lower: &str, parsed: Option<&WootheeResult<'_>>) -> &'static str {
    const TVS: &[&str] = &[
        "smart-tv",
        "smarttv",
        "appletv",
        "googletv",
        "android tv",
        "hbbtv",
        "web0s",
        "bravia",
        "; aft",
        "roku",
        "crkey",
        "netcast",
        "; tv",
    ];
    let holds = |list: &[&str]| list.iter().any(|mark| lower.contains(mark));
    if holds(TVS) {
        return "tv";
    }
    if holds(&["xbox", "playstation ", "nintendo"]) {
        return "other";
    }
    if holds(&["ipad", "tablet", "kindle", "silk/", "playbook"])
        || (lower.contains("android") && !lower.contains("mobile") && !lower.contains("opera mini"))
    {
        return "tablet";
    }
    if holds(&[
        "iphone",
        "ipod",
        "mobile",
        "windows phone",
        "opera mini",
        "kaios",
    ]) {
        return "mobile";
    }
    match parsed.map(|agent| agent.category) {
        Some("pc") => "desktop",
        Some("smartphone" | "mobilephone") => "mobile",
        _ if holds(&["windows nt", "macintosh", "x11", "cros "]) => "desktop",
        _ => "other",
    }
}

/// Keys are keyed hashes already.
#[derive(Clone, Copy, Debug, Default)]
struct BuildIdentity;

impl BuildHasher for BuildIdentity {
    type Hasher = Identity;

    fn build_hasher(&self) -> Identity {
        Identity(0)
    }
}

struct Identity(u64);

impl std::hash::Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}
