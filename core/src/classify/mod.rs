//! Who clicked, as far as a request tells: its kind with the reason, and what is worth counting.

mod agent;
mod facts;
mod known;
mod source;
mod visitor;

use std::net::IpAddr;

pub use agent::{Agent, Agents};
pub use facts::{Facts, MalformedFacts, encode_facts};
pub use visitor::visitor_hash;

/// What a request says about itself, as it came: nothing here is trusted or decoded yet.
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
}

impl Reason {
    const ALL: [Self; 8] = [
        Self::Browser,
        Self::Prefetch,
        Self::LinkPreview,
        Self::Crawler,
        Self::Tool,
        Self::Headless,
        Self::NoUserAgent,
        Self::UnknownAgent,
    ];

    /// The reason of a stored number.
    pub fn from_code(code: i16) -> Self {
        Self::ALL
            .into_iter()
            .find(|reason| i16::from(*reason as u8) == code)
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
        }
    }
}

/// The kind of one click.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Classified {
    pub kind: Kind,
    pub reason: Reason,
}

/// Decides what a click is: by its agent, unless a person's browser says that it fetches ahead.
pub fn classify(agent: &Agent, facts: &RequestFacts<'_>) -> Classified {
    if agent.kind == Kind::Human && source::is_prefetch(facts.purpose) {
        return Classified {
            kind: Kind::Preview,
            reason: Reason::Prefetch,
        };
    }
    Classified {
        kind: agent.kind,
        reason: agent.reason,
    }
}
