//! Who clicked: figures straight from the clicks.

mod calendar;
mod query;

use std::collections::HashSet;
use std::sync::Arc;

use crate::capture::Capture;
use crate::classify::{Facts, Kind, Reason};
use crate::model::{Clock, Fact, FieldError, LinkId, Timestamp, WorkspaceId};
use crate::store::{Store, StoreError};
use calendar::Calendar;
use query::Question;

pub use query::AnalyticsQuery;

/// Most points of one timeseries.
pub const MAX_POINTS: usize = 10_000;

/// Questions about the clicks of every workspace; each call names the one it asks about.
#[derive(Clone, Debug)]
pub struct Analytics {
    store: Store,
    capture: Arc<Capture>,
    clock: Arc<dyn Clock>,
}

/// Figures over one period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Of the kinds asked for; people only, unless bots or previews are included.
    pub clicks: i64,
    /// Distinct visitors among `clicks`.
    pub visitors: i64,
    pub bots: i64,
    pub previews: i64,
    pub last_clicked_at: Option<Timestamp>,
    /// When the figures were read.
    pub as_of: Timestamp,
    /// Clicks recorded on this node that are not in the figures yet.
    pub pending: u64,
}

/// Figures over equal steps of time, without gaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeseries {
    /// `hour`, `day`, `week` or `month`.
    pub interval: &'static str,
    /// The IANA zone whose hours and days these are.
    pub tz: String,
    pub points: Vec<Point>,
    pub as_of: Timestamp,
    pub pending: u64,
}

/// One step of a timeseries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// When the step begins: RFC 3339 with the zone's offset at that moment.
    pub start: String,
    pub clicks: i64,
    pub visitors: i64,
}

/// One stored click.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedClick {
    pub link: LinkId,
    pub at: Timestamp,
    pub kind: Kind,
    pub reason: Reason,
    /// Which stream and which of its records: unique, and the order among equal times.
    pub position: (i64, i64),
    facts: [String; Fact::ALL.len()],
}

impl RecordedClick {
    /// The value of a fact. Empty text: unknown.
    pub fn fact(&self, fact: Fact) -> &str {
        &self.facts[fact.index()]
    }
}

/// Why a question was not answered.
#[derive(Debug, thiserror::Error)]
pub enum AnalyticsError {
    #[error("the question was refused")]
    Refused(Vec<FieldError>),
    /// A link that is unknown or of another workspace.
    #[error("there is no such link")]
    NotFound,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Analytics {
    pub(crate) fn new(store: Store, capture: Arc<Capture>, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            capture,
            clock,
        }
    }

    /// Totals; over the last 30 days unless `from` or `to` is given.
    pub async fn summary(
        &self,
        workspace: &WorkspaceId,
        query: AnalyticsQuery,
    ) -> Result<Summary, AnalyticsError> {
        let as_of = self.clock.now();
        let question = self.question(*workspace, query, as_of).await?;
        // Read before the figures: a click is never missing from both.
        let pending = self.pending();
        let totals = self.store.click_totals(&question.selection).await?;
        let count_of = |kind: &Kind| match kind {
            Kind::Human => totals.humans,
            Kind::Bot => totals.bots,
            Kind::Preview => totals.previews,
        };
        Ok(Summary {
            clicks: question.selection.kinds.iter().map(count_of).sum(),
            visitors: totals.visitors,
            bots: totals.bots,
            previews: totals.previews,
            last_clicked_at: totals.last_clicked_at,
            as_of,
            pending,
        })
    }

    /// Counts per `hour`, `day`, `week` or `month` of the zone asked for, every step present.
    pub async fn timeseries(
        &self,
        workspace: &WorkspaceId,
        query: AnalyticsQuery,
        interval: &str,
    ) -> Result<Timeseries, AnalyticsError> {
        let as_of = self.clock.now();
        let question = self.question(*workspace, query, as_of).await?;
        let selection = &question.selection;
        let calendar = Calendar::new(&question.zone, interval, selection.from, selection.to)
            .map_err(|error| AnalyticsError::Refused(vec![error]))?;
        let pending = self.pending();
        let mut counts = vec![(0_i64, HashSet::new()); calendar.len()];
        self.store
            .click_points(selection, |click| {
                if let Some((clicks, visitors)) = counts.get_mut(calendar.step_of(click.at)) {
                    *clicks += 1;
                    visitors.insert(click.visitor);
                }
            })
            .await?;
        let points = calendar
            .starts()
            .zip(counts)
            .map(|(start, (clicks, visitors))| Point {
                start,
                clicks,
                visitors: i64::try_from(visitors.len()).unwrap_or(i64::MAX),
            })
            .collect();
        Ok(Timeseries {
            interval: calendar.interval(),
            tz: question.zone_name,
            points,
            as_of,
            pending,
        })
    }

    /// Stored clicks in the order of (time, position), from after the given one; at most 1,000.
    pub async fn clicks(
        &self,
        workspace: &WorkspaceId,
        after: Option<(Timestamp, (i64, i64))>,
        limit: i64,
    ) -> Result<Vec<RecordedClick>, AnalyticsError> {
        let (at, (stream, seq)) = after.unwrap_or((Timestamp::MIN, (i64::MIN, i64::MIN)));
        let rows = self
            .store
            .click_rows(*workspace, (at, stream, seq), limit.clamp(1, 1_000))
            .await?;
        Ok(rows.iter().map(recorded).collect())
    }

    /// Answered redirects that no store took, ever: the gap in the figures.
    pub async fn unrecorded(&self) -> Result<i64, AnalyticsError> {
        Ok(self.store.unrecorded_clicks().await?)
    }

    fn pending(&self) -> u64 {
        self.capture
            .spool()
            .map_or(0, |spool| spool.status().pending)
    }

    async fn question(
        &self,
        workspace: WorkspaceId,
        query: AnalyticsQuery,
        now: Timestamp,
    ) -> Result<Question, AnalyticsError> {
        let question = Question::parse(workspace, query, now)?;
        for link in &question.selection.links {
            if self.store.link(workspace, *link).await?.is_none() {
                return Err(AnalyticsError::NotFound);
            }
        }
        Ok(question)
    }
}

fn recorded(row: &crate::store::click_reports::ClickRow) -> RecordedClick {
    let facts = Facts::decode(&row.facts).unwrap_or_default();
    RecordedClick {
        link: row.link_id,
        at: row.at,
        kind: Kind::from_code(row.kind),
        reason: Reason::from_code(row.reason),
        position: (row.stream, row.seq),
        facts: Fact::ALL.map(|fact| facts.get(fact).to_owned()),
    }
}
