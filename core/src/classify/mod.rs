//! Who clicked, as far as a request tells: its kind with the reason, and what is worth counting.

mod agent;
mod browser;
mod facts;
mod known;
mod source;
mod visitor;

use std::net::IpAddr;

pub use agent::{Agent, Agents};
pub(crate) use facts::push_fact;
pub use facts::{Facts, MalformedFacts, encode_facts};
pub(crate) use source::without_qr_mark;
pub use visitor::visitor_hash;

use crate::place::Place;

/// What a request says about itself, as it came: nothing here is trusted or decoded yet,
/// but the place.
#[derive(Clone, Copy, Debug)]
pub struct RequestFacts<'a> {
    /// Whether only the headers were asked for.
    pub head: bool,
    /// The visitor's address, past trusted proxies.
    pub client: IpAddr,
    /// The query of the short URL, without the question mark.
    pub query: Option<&'a str>,
    pub user_agent: &'a [u8],
    pub accept_language: &'a [u8],
    pub referer: &'a [u8],
    /// `Sec-Purpose`, or else `Purpose`, `X-Purpose` or `X-Moz`.
    pub purpose: &'a [u8],
    /// `Sec-Fetch-Mode`.
    pub fetch_mode: &'a [u8],
    /// `Sec-Fetch-Dest`.
    pub fetch_dest: &'a [u8],
    /// Where a trusted proxy says that the visitor is: it is believed before any file.
    pub place: Place<'a>,
}

impl RequestFacts<'_> {
    /// A GET from this address that says nothing more about itself.
    pub const fn of(client: IpAddr) -> Self {
        Self {
            head: false,
            client,
            query: None,
            user_agent: b"",
            accept_language: b"",
            referer: b"",
            purpose: b"",
            fetch_mode: b"",
            fetch_dest: b"",
            place: Place::UNKNOWN,
        }
    }
}

/// What a click was. Decided once, at the click; the numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Somebody followed the link.
    Human = 0,
    /// A crawler, a tool, a script.
    Bot = 1,
    /// A link preview or a browser's prefetch: nobody has looked yet.
    Preview = 2,
}

impl Kind {
    /// The stored number.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// The kind of a stored number.
    pub const fn from_code(code: i16) -> Self {
        match code {
            0 => Self::Human,
            2 => Self::Preview,
            _ => Self::Bot,
        }
    }

    /// The kind of a name.
    pub(crate) fn from_name(name: &str) -> Self {
        match name {
            "human" => Self::Human,
            "preview" => Self::Preview,
            _ => Self::Bot,
        }
    }

    /// The name used in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::Bot => "bot",
            Self::Preview => "preview",
        }
    }
}

/// Why a click is of its kind. The numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    /// Nothing speaks against a person with a browser.
    Browser = 0,
    /// The browser says that it fetches ahead.
    Prefetch = 1,
    /// The agent is known to draw link previews.
    LinkPreview = 2,
    /// The agent is known to crawl.
    Crawler = 3,
    /// The agent is a command or a library.
    Tool = 4,
    /// A browser without a person in front of it.
    Headless = 5,
    /// No user agent was sent.
    NoUserAgent = 6,
    /// The user agent is nothing that browsers send.
    UnknownAgent = 7,
    /// The browser says that a page or a script fetched this, not a person who follows a link.
    NotNavigation = 8,
}

impl Reason {
    const ALL: [Self; 9] = [
        Self::Browser,
        Self::Prefetch,
        Self::LinkPreview,
        Self::Crawler,
        Self::Tool,
        Self::Headless,
        Self::NoUserAgent,
        Self::UnknownAgent,
        Self::NotNavigation,
    ];

    /// The reason of a stored number.
    pub fn from_code(code: i16) -> Self {
        Self::ALL
            .into_iter()
            .find(|reason| i16::from(*reason as u8) == code)
            .unwrap_or(Self::UnknownAgent)
    }

    /// The reason of a name.
    pub(crate) fn from_name(name: &str) -> Self {
        Self::ALL
            .into_iter()
            .find(|reason| reason.as_str() == name)
            .unwrap_or(Self::UnknownAgent)
    }

    /// The name used in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Browser => "browser",
            Self::Prefetch => "prefetch",
            Self::LinkPreview => "link_preview",
            Self::Crawler => "crawler",
            Self::Tool => "tool",
            Self::Headless => "headless",
            Self::NoUserAgent => "no_user_agent",
            Self::UnknownAgent => "unknown_agent",
            Self::NotNavigation => "not_navigation",
        }
    }
}

/// The kind of one click.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Classified {
    pub kind: Kind,
    pub reason: Reason,
}

/// Decides what a click is: by its agent, unless a person's browser says that it fetches ahead or
/// that it doesn't navigate.
///
/// To be asked once, at the click. What it says is stored with the click and read back ever after, so
/// that figures of the past stay what they were when a later release knows more agents.
pub fn classify(agent: &Agent, facts: &RequestFacts<'_>) -> Classified {
    let (kind, reason) = if agent.kind != Kind::Human {
        (agent.kind, agent.reason)
    } else if source::is_prefetch(facts.purpose) {
        (Kind::Preview, Reason::Prefetch)
    } else if source::is_no_navigation(facts.fetch_mode, facts.fetch_dest) {
        (Kind::Bot, Reason::NotNavigation)
    } else {
        (agent.kind, agent.reason)
    };
    Classified { kind, reason }
}
