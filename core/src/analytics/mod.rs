//! Who clicked: answers over any period, any links and any filter, from the clicks themselves.
//!
//! A question is parsed (`query`), put to a snapshot of the tail and the chunks (`engine`) on threads of
//! their own (`scanners`), and counted in one pass (`scan`). `docs/analytics.md` follows one from the
//! request to the bytes.

mod answers;
mod breakdown;
mod calendar;
mod click;
mod engine;
mod export;
mod live;
mod query;
mod scan;
mod scanners;
mod visitors;

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::capture::Capture;
use crate::live::LiveHub;
use crate::model::{Clock, FieldError, Timestamp, WorkspaceId};
use crate::store::{Store, StoreError};
use calendar::Calendar;
use engine::{Engine, ScanError, Snapshot};
use query::Question;
use scan::{Counted, Figures, Grouping, Key, Scan};

pub use answers::{Breakdown, BreakdownRow, Point, PreviousPeriod, Summary, Timeseries};
pub use breakdown::MAX_ROWS;
pub use click::{Position, RecordedClick};
pub use export::Export;
pub use live::{Live, LiveClick};
pub use query::{AnalyticsQuery, ClicksPage, Filter};

/// Most points of one timeseries.
pub const MAX_POINTS: usize = 10_000;
const CATCHING_UP: usize = 4;
/// A chunk may be deleted while a question reads it; three times in a row it is not by chance.
const ATTEMPTS: usize = 3;

/// Asks again when a chunk was deleted in the middle of it.
macro_rules! attempt {
    ($ask:expr) => {{
        let mut answer = $ask.await;
        for _ in 1..$crate::analytics::ATTEMPTS {
            if !matches!(answer, Err(ScanError::ChunkGone)) {
                break;
            }
            answer = $ask.await;
        }
        answer?
    }};
}
use attempt;

/// Questions about the clicks of every workspace; each call names the one it asks about.
#[derive(Clone, Debug)]
pub struct Analytics {
    store: Store,
    engine: Engine,
    capture: Arc<Capture>,
    hub: LiveHub,
    /// Listeners that read what they missed, a few at a time.
    catching_up: Arc<Semaphore>,
    clock: Arc<dyn Clock>,
}

/// Why a question was not answered.
#[derive(Debug, thiserror::Error)]
pub enum AnalyticsError {
    #[error("the question was refused")]
    Refused(Vec<FieldError>),
    /// A link that is unknown or of another workspace.
    #[error("there is no such link")]
    NotFound,
    /// Of some clicks in the period only totals are kept, and the answer needs more.
    #[error("the detail of some clicks in the period is past its retention")]
    DetailLost,
    /// Too many questions wait for their answers.
    #[error("too many questions at once; ask again")]
    Busy,
    /// Clicks were deleted again and again while the question was answered.
    #[error("the question was interrupted; ask again")]
    Interrupted,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl AnalyticsError {
    fn refused(field: &'static str, code: &'static str, message: &'static str) -> Self {
        Self::Refused(vec![FieldError::new(field, code, message)])
    }
}

impl Analytics {
    pub(crate) fn new(
        store: Store,
        scanning: Store,
        capture: Arc<Capture>,
        hub: LiveHub,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            store,
            engine: Engine::new(scanning, tokio::runtime::Handle::current()),
            capture,
            hub,
            catching_up: Arc::new(Semaphore::new(CATCHING_UP)),
            clock,
        }
    }

    /// Closes the connections that questions are answered by.
    pub(crate) async fn close(&self) {
        self.engine.store().close().await;
    }

    /// Totals; over the last 30 days unless `from` or `to` is given. `compare` is `previous` or nothing.
    pub async fn summary(
        &self,
        workspace: &WorkspaceId,
        query: AnalyticsQuery,
        compare: Option<&str>,
    ) -> Result<Summary, AnalyticsError> {
        let as_of = self.clock.now();
        let question = self.question(*workspace, query, as_of).await?;
        let compare = match compare {
            None => false,
            Some("previous") => true,
            Some(_) => {
                return Err(AnalyticsError::refused(
                    "compare",
                    "compare_unknown",
                    "must be previous",
                ));
            }
        };
        let turn = self.engine.turn(0).await?;
        // Read before the figures: a click is never missing from both.
        let pending = self.pending();
        let (figures, newest, previous) = attempt!(self.sum_up(&question, compare));
        drop(turn);
        let [_, bots, previews] = figures.kinds.0.map(u64::cast_signed);
        Ok(Summary {
            clicks: signed(figures.kinds.of(question.kinds)),
            visitors: visitors(&question, &figures, &Key::Number(0)),
            bots,
            previews,
            last_clicked_at: newest.map(Timestamp::from_millis),
            previous: previous.map(|figures| {
                let [_, bots, previews] = figures.kinds.0.map(u64::cast_signed);
                PreviousPeriod {
                    from: question.before(),
                    to: question.from,
                    clicks: signed(figures.kinds.of(question.kinds)),
                    visitors: visitors(&question, &figures, &Key::Number(0)),
                    bots,
                    previews,
                }
            }),
            as_of,
            pending,
        })
    }

    /// Counts per step of the zone asked for, every step present. `interval` is `15min`, `hour`,
    /// `day`, `week` or `month`.
    pub async fn timeseries(
        &self,
        workspace: &WorkspaceId,
        query: AnalyticsQuery,
        interval: &str,
    ) -> Result<Timeseries, AnalyticsError> {
        let as_of = self.clock.now();
        let question = self.question(*workspace, query, as_of).await?;
        let calendar = Calendar::new(&question.zone, interval, question.from, question.to)
            .map_err(|error| AnalyticsError::Refused(vec![error]))?;
        let calendar = Arc::new(calendar);
        // The clicks of a step are close together: one thread counts most of them.
        let sets = if question.visitors { calendar.len() } else { 0 };
        let turn = self.engine.turn(sets).await?;
        let pending = self.pending();
        let figures = attempt!(self.step_by_step(&question, &calendar));
        drop(turn);
        let points = calendar
            .starts()
            .zip(0..)
            .map(|(start, step)| {
                let key = Key::Number(step);
                Point {
                    start,
                    clicks: signed(figures.get(&key).0),
                    visitors: visitors(&question, &figures, &key),
                }
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

    /// All together; when the last of them was; and the period before.
    async fn sum_up(
        &self,
        question: &Question,
        compare: bool,
    ) -> Result<(Counted, Option<i64>, Option<Counted>), ScanError> {
        let start = if compare {
            question.before()
        } else {
            question.from
        };
        let snapshot = self.snapshot(question, start).await?;
        let scan = Arc::new(question.scan(Grouping::All, snapshot.links.clone()));
        let figures = self.figures(&scan, &snapshot).await?;
        let matched = figures.matched.clone();
        let newest = self.engine.newest(&scan, &snapshot, matched).await?;
        if !compare {
            return Ok((figures, newest, None));
        }
        let scan = Scan {
            from: start.as_millis(),
            to: scan.from,
            ..scan.as_ref().clone()
        };
        let previous = self.figures(&Arc::new(scan), &snapshot).await?;
        Ok((figures, newest, Some(previous)))
    }

    async fn step_by_step(
        &self,
        question: &Question,
        calendar: &Arc<Calendar>,
    ) -> Result<Counted, ScanError> {
        let snapshot = self.snapshot(question, question.from).await?;
        let grouping = Grouping::Steps(Arc::clone(calendar));
        let scan = Arc::new(question.scan(grouping, snapshot.links.clone()));
        self.figures(&scan, &snapshot).await
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
        let links = &question.condition.links;
        for link in links.one_of.iter().chain(&links.none_of) {
            if self.store.link(workspace, *link).await?.is_none() {
                return Err(AnalyticsError::NotFound);
            }
        }
        Ok(question)
    }

    async fn snapshot(
        &self,
        question: &Question,
        from: Timestamp,
    ) -> Result<Arc<Snapshot>, ScanError> {
        let (from, to) = (from.as_millis(), question.to.as_millis());
        self.engine
            .snapshot(question.workspace, from, to, question.condition.clone())
            .await
    }

    async fn figures(
        &self,
        scan: &Arc<Scan>,
        snapshot: &Arc<Snapshot>,
    ) -> Result<Counted, ScanError> {
        self.engine
            .figures(scan, snapshot, Figures::default(), Figures::count)
            .await
    }
}

fn signed(clicks: u64) -> i64 {
    i64::try_from(clicks).unwrap_or(i64::MAX)
}

fn visitors(question: &Question, counted: &Counted, key: &Key) -> Option<i64> {
    (question.visitors && !counted.visitors_lost).then(|| signed(counted.get(key).1))
}
