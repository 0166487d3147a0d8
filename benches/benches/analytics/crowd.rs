//! Who clicks on what: the same people, links and places whenever the same numbers are asked for.

use std::net::{IpAddr, Ipv4Addr};

use terse_benches::agents::human_agents;
use terse_benches::traffic::SplitMix;
use terse_core::classify::RequestFacts;
use terse_core::place::Place;

pub(crate) const LINKS: usize = 1_000;
const SEED: u64 = 0x7e45_e000;
const VISITORS: usize = 3_000_000;
const CRAWLERS: usize = 5_000;
const REFERRERS: usize = 800;
const CAMPAIGNS: usize = 400;
const REGIONS: usize = 300;
const CITIES: usize = 2_000;
/// A quantile of a popularity is looked up, which takes no arithmetic.
const QUANTILES: usize = 1 << 16;
/// Links that have each tag.
const TAGGED: [usize; 10] = [10, 20, 30, 40, 50, 75, 100, 125, 150, 200];
/// The first is where most visitors are.
const COUNTRIES: [&str; 60] = [
    "US", "DE", "GB", "IN", "BR", "FR", "JP", "CA", "NL", "ES", "IT", "AU", "PL", "MX", "SE", "CH",
    "AT", "BE", "DK", "NO", "FI", "IE", "PT", "CZ", "RO", "HU", "GR", "TR", "UA", "IL", "ZA", "NG",
    "KE", "EG", "MA", "SA", "AE", "PK", "BD", "LK", "TH", "VN", "MY", "SG", "ID", "PH", "KR", "TW",
    "HK", "NZ", "AR", "CL", "CO", "PE", "EC", "UY", "BG", "HR", "SK", "LT",
];
const LANGUAGES: [&str; 12] = [
    "en-US,en;q=0.9",
    "en-GB,en;q=0.9",
    "de-DE,de;q=0.9,en;q=0.7",
    "fr-FR,fr;q=0.8",
    "es-ES,es;q=0.9",
    "ja,en-US;q=0.7",
    "pt-BR,pt;q=0.9",
    "nl-NL,nl;q=0.9",
    "it-IT,it;q=0.9",
    "pl-PL,pl;q=0.9",
    "hi-IN,hi;q=0.9",
    "",
];
const BOTS: [&str; 4] = [
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "curl/8.5.0",
    "python-requests/2.31.0",
];
const PREVIEWS: [&str; 2] = [
    "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
    "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
];

/// Everything that clicks are made of.
pub(crate) struct Crowd {
    agents: Vec<String>,
    referrers: Vec<String>,
    campaigns: Vec<String>,
    regions: Vec<String>,
    cities: Vec<String>,
    of_links: Vec<u16>,
    of_referrers: Vec<u16>,
    of_campaigns: Vec<u16>,
    of_cities: Vec<u16>,
    of_languages: Vec<u16>,
}

/// A click that is about to happen.
pub(crate) struct Visit<'a> {
    pub(crate) link: usize,
    pub(crate) facts: RequestFacts<'a>,
}

impl Crowd {
    pub(crate) fn new() -> Self {
        let country_of = |region: usize| COUNTRIES[region % COUNTRIES.len()];
        Self {
            agents: human_agents(),
            referrers: (0..REFERRERS)
                .map(|number| format!("https://www.site{number}.example/articles/{number}"))
                .collect(),
            campaigns: (0..CAMPAIGNS).map(campaign).collect(),
            regions: (0..REGIONS)
                .map(|region| format!("{}-R{}", country_of(region), region / COUNTRIES.len()))
                .collect(),
            cities: (0..CITIES).map(|city| format!("City {city}")).collect(),
            of_links: popularity(LINKS),
            of_referrers: popularity(REFERRERS),
            of_campaigns: popularity(CAMPAIGNS),
            of_cities: popularity(CITIES),
            of_languages: popularity(LANGUAGES.len()),
        }
    }

    /// The click of this number.
    pub(crate) fn visit(&self, number: u64) -> Visit<'_> {
        let mut random = SplitMix::seeded(SEED ^ number.wrapping_mul(0x9fb2_1c65_1e98_df25));
        let link = draw(&self.of_links, &mut random);
        let share = random.below(100);
        let (address, agent) = match share {
            0..6 => (
                0x0c00_0000 + random.below(CRAWLERS),
                BOTS[share % BOTS.len()],
            ),
            6..8 => (0x0d00_0000 + random.below(CRAWLERS), PREVIEWS[share % 2]),
            _ => {
                // The smaller of two: some come back more often than others.
                let visitor = random.below(VISITORS).min(random.below(VISITORS));
                (0x0b00_0000 + visitor, "")
            }
        };
        let mut who = SplitMix::seeded(address as u64);
        let agent = match agent {
            "" => self.agents[who.below(self.agents.len())].as_str(),
            robot => robot,
        };
        let referer = match random.below(100) {
            0..45 => "",
            _ => &self.referrers[draw(&self.of_referrers, &mut random)],
        };
        let query = match random.below(100) {
            0..2 => Some("qr=1"),
            2..70 => None,
            _ => Some(self.campaigns[draw(&self.of_campaigns, &mut random)].as_str()),
        };
        let city = draw(&self.of_cities, &mut who);
        let region = city % REGIONS;
        let address = Ipv4Addr::from_bits(u32::try_from(address).unwrap_or_default());
        Visit {
            link,
            facts: RequestFacts {
                query,
                user_agent: agent.as_bytes(),
                accept_language: LANGUAGES[draw(&self.of_languages, &mut who)].as_bytes(),
                referer: referer.as_bytes(),
                place: Place::new(
                    COUNTRIES[region % COUNTRIES.len()],
                    &self.regions[region],
                    &self.cities[city],
                ),
                ..RequestFacts::of(IpAddr::V4(address))
            },
        }
    }
}

/// The slug of a link; the first is the hottest.
pub(crate) fn slug(link: usize) -> String {
    format!("bench-{link:04}")
}

/// The tags of a link.
pub(crate) fn tags(link: usize) -> Vec<String> {
    let has = |tag: &usize| (link * 7_919 + tag * 131) % LINKS < TAGGED[*tag];
    (0..TAGGED.len()).filter(has).map(tag).collect()
}

/// The name of a tag.
pub(crate) fn tag(number: usize) -> String {
    format!("tag{number}")
}

fn campaign(number: usize) -> String {
    const MEDIA: [&str; 5] = ["email", "social", "cpc", "banner", "affiliate"];
    format!(
        "utm_source=source{}&utm_medium={}&utm_campaign=campaign-{number}",
        number % 25,
        MEDIA[number % MEDIA.len()]
    )
}

/// Zipf's law: the second is half as popular as the first, the third a third.
fn popularity(values: usize) -> Vec<u16> {
    let weight = |rank: usize| 1.0 / f64::from(u32::try_from(rank + 1).unwrap_or(u32::MAX));
    let all: f64 = (0..values).map(weight).sum();
    let mut quantiles = Vec::with_capacity(QUANTILES);
    let (mut rank, mut reached) = (0, weight(0) / all);
    for quantile in 0..QUANTILES {
        let here = (f64::from(u32::try_from(quantile).unwrap_or(0)) + 0.5) / 65_536.0;
        while here > reached && rank + 1 < values {
            rank += 1;
            reached += weight(rank) / all;
        }
        quantiles.push(u16::try_from(rank).unwrap_or(u16::MAX));
    }
    quantiles
}

fn draw(quantiles: &[u16], random: &mut SplitMix) -> usize {
    usize::from(quantiles[random.below(quantiles.len())])
}
