//! What was clicked, as the test remembers it, and the chance by which it clicks.

use std::net::{IpAddr, Ipv4Addr};

use terse_core::Resolution;
use terse_core::classify::{Agent, Kind, Reason, RequestFacts};
use terse_core::model::{Dimension, Fact, LinkId, NewLink, WorkspaceId};
use terse_core::place::Place;

use super::random::Random;
use crate::fixture::{CHROME, HOST, Installation, sign_up};

/// One click, as one row.
#[derive(Clone, Debug)]
pub(super) struct Click {
    pub(super) link: usize,
    pub(super) at: i64,
    pub(super) kind: Kind,
    pub(super) reason: Reason,
    /// Epoch, address and agent.
    pub(super) visitor: (i64, u8, usize),
    pub(super) facts: Vec<String>,
}

pub(super) struct WorldLink {
    pub(super) id: LinkId,
    pub(super) slug: &'static str,
    pub(super) workspace: usize,
    pub(super) tags: Vec<&'static str>,
    pub(super) host: &'static str,
}

pub(super) struct World {
    pub(super) workspaces: [WorkspaceId; 2],
    pub(super) links: Vec<WorldLink>,
    pub(super) clicks: Vec<Click>,
}

const LINKS: [(usize, &str, &[&str]); 9] = [
    (0, "a0", &["news"]),
    (0, "a1", &[]),
    (0, "a2", &["news", "summer"]),
    (0, "a3", &["print", "summer"]),
    (0, "a4", &["print"]),
    (0, "a5", &[]),
    (1, "b0", &["news"]),
    (1, "b1", &[]),
    (1, "b2", &["other"]),
];
pub(super) const TAGS: [&str; 5] = ["news", "summer", "print", "other", "(none)"];

const AGENTS: [(&str, Kind, Reason); 7] = [
    (CHROME, Kind::Human, Reason::Browser),
    (
        "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        Kind::Human,
        Reason::Browser,
    ),
    (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1",
        Kind::Human,
        Reason::Browser,
    ),
    ("curl/8.5.0", Kind::Bot, Reason::Tool),
    ("", Kind::Bot, Reason::NoUserAgent),
    (
        "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
        Kind::Preview,
        Reason::LinkPreview,
    ),
    (
        "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        Kind::Bot,
        Reason::Crawler,
    ),
];
/// Country, region as it is told and as it is shown, city, continent.
const PLACES: [(&str, &str, &str, &str, &str); 7] = [
    ("DE", "BE", "DE-BE", "Berlin", "EU"),
    ("FR", "", "", "Paris", "EU"),
    ("US", "CA", "US-CA", "", "NA"),
    ("", "", "", "", ""),
    ("XK", "", "", "", "EU"),
    ("JP", "13", "JP-13", "Tōkyō", "AS"),
    ("AQ", "", "", "", "AN"),
];
const LANGUAGES: [(&str, &str); 4] = [
    ("en-GB,en;q=0.9", "en"),
    ("de-AT", "de"),
    ("", ""),
    ("pt-BR,pt;q=0.8", "pt"),
];
/// As they stand in a query, and as they are shown.
const SOURCES: [(&str, &str); 6] = [
    ("mail", "mail"),
    ("%28none%29", "(none)"),
    ("!bang", "!bang"),
    ("Gr%C3%BC%C3%9Fe", "Grüße"),
    ("", ""),
    ("a+b", "a b"),
];

/// The month that a visitor is the same in.
fn epoch(at: i64) -> i64 {
    let moment = jiff::Timestamp::from_millisecond(at).unwrap();
    let date = moment.to_zoned(jiff::tz::TimeZone::UTC).date();
    i64::from(date.year()) * 12 + i64::from(date.month())
}

impl World {
    pub(super) async fn of(t: &Installation) -> Self {
        let workspaces = [t.workspace, sign_up(&t.terse, "eve@example.com").await];
        let mut links = Vec::new();
        for (workspace, slug, tags) in LINKS {
            let new = NewLink {
                tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
                ..NewLink::to("https://example.com/target").alias(slug)
            };
            let made = t.terse.links().create(&workspaces[workspace], new).await;
            links.push(WorldLink {
                id: made.unwrap().id,
                slug,
                workspace,
                tags: tags.to_vec(),
                host: HOST,
            });
        }
        Self {
            workspaces,
            links,
            clicks: Vec::new(),
        }
    }

    pub(super) fn of_workspace(&self, workspace: usize) -> impl Iterator<Item = &Click> {
        self.clicks
            .iter()
            .filter(move |click| self.links[click.link].workspace == workspace)
    }

    /// What a click is shown as in a breakdown.
    pub(super) fn shown<'a>(&'a self, click: &'a Click, dimension: Dimension) -> Vec<String> {
        let link = &self.links[click.link];
        let or = |value: &str, empty: &str| match value {
            "" => empty.to_owned(),
            value => value.to_owned(),
        };
        match dimension {
            Dimension::Fact(Fact::Trigger) => vec![or(click.fact(Fact::Trigger), "link")],
            Dimension::Fact(fact) => vec![or(click.fact(fact), "(none)")],
            Dimension::Continent => {
                let country = click.fact(Fact::Country);
                let place = PLACES.iter().find(|place| place.0 == country).unwrap();
                vec![or(place.4, "(none)")]
            }
            Dimension::Reason => vec![click.reason.as_str().to_owned()],
            Dimension::Link => vec![link.id.to_string()],
            Dimension::Domain => vec![link.host.to_owned()],
            Dimension::Tag if link.tags.is_empty() => vec!["(none)".to_owned()],
            Dimension::Tag => link.tags.iter().map(|tag| (*tag).to_owned()).collect(),
        }
    }
}

impl Click {
    pub(super) fn fact(&self, fact: Fact) -> &str {
        &self.facts[fact.index()]
    }
}

/// What one browser asks for.
struct Visit {
    agent: usize,
    address: u8,
    place: usize,
    language: usize,
    source: usize,
    referer: String,
    medium: &'static str,
    campaign: String,
    content: String,
    qr: bool,
    purpose: &'static str,
    fetch_mode: &'static str,
    head: bool,
}

impl Visit {
    fn by(random: &mut Random, name: String) -> Self {
        let one_of_many = |random: &mut Random, most| random.below(most).min(random.below(most));
        Self {
            agent: if random.chance(80) {
                random.below(3)
            } else {
                random.below(AGENTS.len())
            },
            address: u8::try_from(random.below(90)).unwrap(),
            place: random.below(PLACES.len()),
            language: random.below(LANGUAGES.len()),
            source: random.below(SOURCES.len()),
            referer: match random.below(3) {
                0 => String::new(),
                1 => "www.News.example".to_owned(),
                _ => format!("site{}.example", one_of_many(random, 40)),
            },
            medium: ["email", "social", ""][random.below(3)],
            campaign: format!("c{}", one_of_many(random, 300)),
            content: name,
            qr: random.chance(15),
            purpose: if random.chance(5) { "prefetch" } else { "" },
            fetch_mode: if random.chance(5) { "no-cors" } else { "" },
            head: random.chance(2),
        }
    }

    fn query(&self) -> String {
        let qr = if self.qr { "qr=1&" } else { "" };
        format!(
            "{qr}utm_source={}&utm_medium={}&utm_campaign={}&utm_content={}",
            SOURCES[self.source].0, self.medium, self.campaign, self.content
        )
    }

    /// How it has to be classified.
    fn class(&self) -> (Kind, Reason) {
        let (_, kind, reason) = AGENTS[self.agent];
        match (kind, self.purpose, self.fetch_mode) {
            (Kind::Human, "prefetch", _) => (Kind::Preview, Reason::Prefetch),
            (Kind::Human, _, "no-cors") => (Kind::Bot, Reason::NotNavigation),
            _ => (kind, reason),
        }
    }

    fn facts(&self) -> Vec<String> {
        let agent = Agent::parse(AGENTS[self.agent].0.as_bytes());
        let place = PLACES[self.place];
        let value = |fact| match fact {
            Fact::Country => place.0,
            Fact::Region => place.2,
            Fact::City => place.3,
            Fact::Referrer if self.referer.starts_with("www") => "news.example",
            Fact::Referrer => &self.referer,
            Fact::Browser => agent.browser,
            Fact::BrowserVersion => &agent.browser_version,
            Fact::Os => agent.os,
            Fact::Device => agent.device,
            Fact::Language => LANGUAGES[self.language].1,
            Fact::UtmSource => SOURCES[self.source].1,
            Fact::UtmMedium => self.medium,
            Fact::UtmCampaign => &self.campaign,
            Fact::UtmTerm => "",
            Fact::UtmContent => &self.content,
            Fact::Trigger => {
                if self.qr {
                    "qr"
                } else {
                    ""
                }
            }
        };
        Fact::ALL.map(|fact| value(fact).to_owned()).to_vec()
    }

    async fn follow(&self, t: &Installation, slug: &str) {
        let (query, place) = (self.query(), PLACES[self.place]);
        let referer = match self.referer.as_str() {
            "" => String::new(),
            host => format!("https://{host}/story"),
        };
        let facts = RequestFacts {
            head: self.head,
            query: Some(&query),
            user_agent: AGENTS[self.agent].0.as_bytes(),
            accept_language: LANGUAGES[self.language].0.as_bytes(),
            referer: referer.as_bytes(),
            purpose: self.purpose.as_bytes(),
            fetch_mode: self.fetch_mode.as_bytes(),
            place: Place::new(place.0, place.1, place.3),
            ..RequestFacts::of(IpAddr::V4(Ipv4Addr::new(192, 0, 2, self.address)))
        };
        let answer = t.terse.resolve(HOST, &format!("/{slug}"), &facts).await;
        assert!(matches!(answer, Ok(Resolution::Redirect(_))), "{answer:?}");
    }
}

/// Somebody clicks now. Returns the row that this makes, if any.
pub(super) async fn click(
    t: &Installation,
    world: &World,
    random: &mut Random,
    name: String,
) -> Option<Click> {
    let visit = Visit::by(random, name);
    let link = if random.chance(40) {
        0
    } else {
        random.below(world.links.len())
    };
    visit.follow(t, world.links[link].slug).await;
    let at = t.now().as_millis();
    let (kind, reason) = visit.class();
    (!visit.head).then(|| Click {
        link,
        at,
        kind,
        reason,
        visitor: (epoch(at), visit.address, visit.agent),
        facts: visit.facts(),
    })
}
