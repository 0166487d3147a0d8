//! What becomes of real user agents and headers: a person, a bot or a preview, and by which browser.

mod people;
mod programs;

use std::net::{IpAddr, Ipv4Addr};

use people::PEOPLE;
use programs::{BOTS, PREVIEWS};
use terse_core::classify::{
    Agent, Agents, Facts, Kind, Reason, RequestFacts, classify, encode_facts,
};
use terse_core::model::Fact;
use terse_core::place::Place;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

fn kind_of(facts: &RequestFacts<'_>) -> (Kind, Reason) {
    let classified = classify(&Agent::parse(facts.user_agent), facts);
    (classified.kind, classified.reason)
}

fn by(user_agent: &str) -> RequestFacts<'_> {
    RequestFacts {
        user_agent: user_agent.as_bytes(),
        ..RequestFacts::of(HERE)
    }
}

#[test]
fn people_are_people_and_their_browsers_have_names() {
    let mut wrong = Vec::new();
    for (text, browser, os, device) in PEOPLE {
        let agent = Agent::parse(text.as_bytes());
        let shown = if agent.browser_version.is_empty() {
            agent.browser
        } else {
            &agent.browser_version
        };
        let found = (kind_of(&by(text)), shown, agent.os, agent.device);
        let expected = ((Kind::Human, Reason::Browser), *browser, *os, *device);
        if found != expected {
            wrong.push(format!("{text}\n  is {found:?}\n not {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn bots_are_bots_for_a_reason() {
    let mut wrong = Vec::new();
    for (reason, text) in BOTS {
        let found = kind_of(&by(text));
        if found != (Kind::Bot, *reason) {
            wrong.push(format!("{text}\n  is {found:?}, not {reason:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn link_previews_are_previews() {
    let mut wrong = Vec::new();
    for text in PREVIEWS {
        let found = kind_of(&by(text));
        if found != (Kind::Preview, Reason::LinkPreview) {
            wrong.push(format!("{text}\n  is {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn headers_tell_prefetches_and_fetches_from_visits() {
    let person = by(FIREFOX);
    let visit = (Kind::Human, Reason::Browser);
    let prefetch = (Kind::Preview, Reason::Prefetch);
    let fetch = (Kind::Bot, Reason::NotNavigation);
    for (purpose, mode, dest, expected) in [
        ("", "", "", visit),
        ("", "navigate", "document", visit),
        ("", "navigate", "iframe", visit),
        ("", "navigate", "object", visit),
        ("prefetch", "", "", prefetch),
        ("prefetch;prerender", "navigate", "document", prefetch),
        ("prefetch", "no-cors", "empty", prefetch),
        ("preview", "", "", prefetch),
        ("", "no-cors", "image", fetch),
        ("", "no-cors", "script", fetch),
        ("", "cors", "empty", fetch),
        ("", "same-origin", "empty", fetch),
    ] {
        let found = kind_of(&RequestFacts {
            purpose: purpose.as_bytes(),
            fetch_mode: mode.as_bytes(),
            fetch_dest: dest.as_bytes(),
            ..person
        });
        assert_eq!(found, expected, "{purpose} {mode} {dest}");
    }
}

#[test]
fn who_is_no_person_stays_what_they_are_whatever_they_fetch() {
    for text in ["curl/8.5.0", "Slackbot 1.0 (+https://api.slack.com/robots)"] {
        let facts = RequestFacts {
            purpose: b"prefetch",
            fetch_mode: b"cors",
            ..by(text)
        };
        assert_eq!(kind_of(&facts), kind_of(&by(text)));
    }
}

#[test]
fn only_people_have_browsers_and_versions() {
    let facts = |text: &str| {
        let mut bytes = Vec::new();
        let agent = Agent::parse(text.as_bytes());
        encode_facts(&agent, &by(text), &Place::UNKNOWN, &mut bytes);
        let facts = Facts::decode(&bytes).unwrap();
        [Fact::Browser, Fact::BrowserVersion].map(|fact| facts.get(fact).to_owned())
    };
    assert_eq!(facts(FIREFOX), ["Firefox", "Firefox 140"]);
    for (_, text) in BOTS {
        assert_eq!(facts(text), ["", ""], "{text}");
    }
}

#[test]
fn what_is_remembered_of_an_agent_is_what_was_read() {
    let agents = Agents::new(16);
    for (text, ..) in PEOPLE.iter().chain(PEOPLE) {
        agents.with(text.as_bytes(), |known| {
            assert_eq!(*known, Agent::parse(text.as_bytes()));
        });
    }
}

#[test]
fn the_table_is_long_enough_to_mean_something() {
    assert!(PEOPLE.len() >= 40 && BOTS.len() >= 30 && PREVIEWS.len() >= 25);
}
