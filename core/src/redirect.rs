//! A click's way: look the slug up, classify the visitor, record the click, say where to go.

use std::sync::Arc;

use bytes::Bytes;

use crate::capture::{Capture, SlotOutcome};
use crate::classify::{
    Agent, Agents, Classified, Kind, RequestFacts, classify, encode_facts, visitor_hash,
    without_qr_mark,
};
use crate::click::ClickHead;
use crate::failpoint::failpoint;
use crate::model::{Clock, LinkState, RedirectStatus, Timestamp, slug_from_path};
use crate::place::PlaceFinder;
use crate::resolver::{Destination, Resolver};
use crate::site::Site;
use crate::visitor_salts::VisitorSalts;

/// What a request for a short URL gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// The click is recorded at the level in force; answer with this.
    Redirect(Redirect),
    /// The link is open, but only people who follow it may learn where it leads: it has a limited
    /// number of clicks, and this was a HEAD request, a bot or a preview.
    Withheld,
    /// Unknown, disabled, not started yet, or a host that this server does not answer on.
    NotFound,
    Gone(GoneReason),
    /// Blocked by an administrator.
    Blocked,
    /// The target with the visitor's query would be longer than 8 KiB.
    QueryTooLong,
}

/// A redirect to answer with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    pub status: RedirectStatus,
    /// A valid HTTP field value: visible ASCII.
    pub location: Bytes,
}

/// Why a link that existed leads nowhere any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GoneReason {
    Expired,
    /// `max_clicks` are used up.
    Exhausted,
    Deleted,
}

/// Why a request for a short URL could not be decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// The database is needed for this one and cannot answer.
    #[error("the database is not available")]
    Unavailable,
    /// The click cannot be recorded, and the configuration says to refuse then.
    #[error("the click cannot be recorded")]
    Unrecordable,
}

/// What the `+` page of a short URL shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Preview {
    Open {
        target: String,
        title: Option<String>,
    },
    /// Open, but with a limited number of clicks.
    Withheld,
    NotFound,
    Gone(GoneReason),
    Blocked,
}

#[derive(Debug)]
pub(crate) struct Redirector {
    pub(crate) site: Arc<Site>,
    pub(crate) resolver: Arc<Resolver>,
    pub(crate) agents: Agents,
    pub(crate) places: PlaceFinder,
    pub(crate) salts: Arc<VisitorSalts>,
    pub(crate) capture: Arc<Capture>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// Whether a link can be followed now.
enum Access {
    Open,
    Limited,
    NotFound,
    Gone(GoneReason),
    Blocked,
}

fn access(destination: &Destination, now: Timestamp) -> Access {
    match destination.state {
        LinkState::Blocked => return Access::Blocked,
        LinkState::Deleted => return Access::Gone(GoneReason::Deleted),
        LinkState::Disabled => return Access::NotFound,
        LinkState::Active => {}
    }
    if destination.expires_at.is_some_and(|at| at <= now) {
        return Access::Gone(GoneReason::Expired);
    }
    if destination.is_used_up() {
        return Access::Gone(GoneReason::Exhausted);
    }
    if destination.starts_at.is_some_and(|at| at > now) {
        return Access::NotFound;
    }
    match destination.max_clicks {
        None => Access::Open,
        Some(_) => Access::Limited,
    }
}

impl Redirector {
    pub(crate) async fn resolve(
        &self,
        host: &str,
        path: &str,
        facts: &RequestFacts<'_>,
    ) -> Result<Resolution, ResolveError> {
        let now = self.clock.now();
        let Some(destination) = self.find(host, path, now).await? else {
            return Ok(Resolution::NotFound);
        };
        // Loading it may have taken a while.
        let now = self.clock.now();
        match access(&destination, now) {
            Access::Open => self.follow(&destination, facts, now).await,
            Access::Limited => self.follow_limited(&destination, facts, now).await,
            Access::NotFound => Ok(Resolution::NotFound),
            Access::Gone(reason) => Ok(Resolution::Gone(reason)),
            Access::Blocked => Ok(Resolution::Blocked),
        }
    }

    async fn follow(
        &self,
        destination: &Destination,
        facts: &RequestFacts<'_>,
        now: Timestamp,
    ) -> Result<Resolution, ResolveError> {
        let Some(redirect) = redirect(destination, facts.query) else {
            return Ok(Resolution::QueryTooLong);
        };
        if !facts.head {
            let (_, payload) = self.describe(destination, facts, now);
            failpoint("resolve.after");
            self.capture.record(&payload).await?;
            failpoint("answer.before");
        }
        Ok(Resolution::Redirect(redirect))
    }

    async fn follow_limited(
        &self,
        destination: &Destination,
        facts: &RequestFacts<'_>,
        now: Timestamp,
    ) -> Result<Resolution, ResolveError> {
        // Before anything that depends on the target: that a query is too long tells its length.
        if facts.head {
            return Ok(Resolution::Withheld);
        }
        let (classified, payload) = self.describe(destination, facts, now);
        if classified.kind != Kind::Human {
            return Ok(Resolution::Withheld);
        }
        let Some(redirect) = redirect(destination, facts.query) else {
            return Ok(Resolution::QueryTooLong);
        };
        match self.capture.record_limited(&payload).await? {
            SlotOutcome::Taken => Ok(Resolution::Redirect(redirect)),
            SlotOutcome::UsedUp => {
                destination.set_used_up();
                Ok(Resolution::Gone(GoneReason::Exhausted))
            }
        }
    }

    pub(crate) async fn preview(&self, host: &str, path: &str) -> Result<Preview, ResolveError> {
        let now = self.clock.now();
        let Some(destination) = self.find(host, path, now).await? else {
            return Ok(Preview::NotFound);
        };
        Ok(match access(&destination, now) {
            Access::Open => Preview::Open {
                target: destination.target.as_str().to_owned(),
                title: destination.title.as_deref().map(str::to_owned),
            },
            Access::Limited => Preview::Withheld,
            Access::NotFound => Preview::NotFound,
            Access::Gone(reason) => Preview::Gone(reason),
            Access::Blocked => Preview::Blocked,
        })
    }

    async fn find(
        &self,
        host: &str,
        path: &str,
        now: Timestamp,
    ) -> Result<Option<Arc<Destination>>, ResolveError> {
        let (Some(domain), Some(slug)) = (self.site.domain_of(host), slug_from_path(path)) else {
            return Ok(None);
        };
        self.resolver
            .find(domain, &slug, now)
            .await
            .map_err(|_| ResolveError::Unavailable)
    }

    /// The click as a record.
    fn describe(
        &self,
        destination: &Destination,
        facts: &RequestFacts<'_>,
        now: Timestamp,
    ) -> (Classified, Vec<u8>) {
        self.agents.with(facts.user_agent, |agent| {
            self.describe_by(agent, destination, facts, now)
        })
    }

    fn describe_by(
        &self,
        agent: &Agent,
        destination: &Destination,
        facts: &RequestFacts<'_>,
        now: Timestamp,
    ) -> (Classified, Vec<u8>) {
        let classified = classify(agent, facts);
        let head = ClickHead {
            link: destination.link,
            workspace: destination.workspace,
            at: now,
            visitor: visitor_hash(
                &self.salts.key(now, destination.visitor_epoch),
                destination.workspace.number(),
                facts.client,
                facts.user_agent,
            ),
            kind: classified.kind as u8,
            reason: classified.reason as u8,
        };
        let mut payload = Vec::with_capacity(256);
        head.encode(&mut payload);
        self.places.with(facts.client, facts.place, |place| {
            encode_facts(agent, facts, place, &mut payload);
        });
        (classified, payload)
    }
}

/// Where the visitor goes; `None` when it would not fit.
fn redirect(destination: &Destination, query: Option<&str>) -> Option<Redirect> {
    let location = match query {
        Some(query) if destination.forward_query && !query.is_empty() => {
            match &*without_qr_mark(query) {
                "" => destination.location.clone(),
                query => Bytes::from(destination.target.with_query(query).ok()?),
            }
        }
        _ => destination.location.clone(),
    };
    Some(Redirect {
        status: destination.status,
        location,
    })
}
