//! Clicks as they are counted.
//!
//! News of folds come by way of memory. Whatever may be missing there (before an id to go on from, after
//! falling behind, clicks written straight into the database or by other nodes) is read from the database,
//! and [`Heard`] tells what of it was told already.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use crate::analytics::query::Question;
use crate::analytics::scan::{Grouping, Scan};
use crate::analytics::{Analytics, AnalyticsError, AnalyticsQuery, Position, RecordedClick};
use crate::live::{FoldedClicks, Heard, News};
use crate::model::{Timestamp, WorkspaceId};
use crate::store::click_reports::LinkCondition;

/// Whoever missed more than that reads it page by page instead.
const MOST_MISSED: usize = 10_000;
/// Clicks of the workspace, told or not, that one looks through for them.
const MOST_LOOKED_THROUGH: usize = 1_000_000;
/// Links that were given a tag meanwhile are noticed after so long.
const LOOK_AT_LINKS_EVERY: Duration = Duration::from_secs(10);
/// What is read from the database is read together.
const GATHER: Duration = Duration::from_millis(100);

/// A click, and where its listener is after it.
#[derive(Clone, Debug)]
pub struct LiveClick {
    /// What [`Analytics::live`] goes on from.
    pub id: String,
    pub click: RecordedClick,
}

/// Clicks as they are counted.
#[derive(Debug)]
pub struct Live {
    analytics: Analytics,
    question: Question,
    scan: Scan,
    links_read: Instant,
    news: broadcast::Receiver<News>,
    heard: Heard,
    ready: VecDeque<(Arc<RecordedClick>, String)>,
    /// News that were received and not looked at yet: the waiting may be given up in between.
    folded: Option<Arc<FoldedClicks>>,
    /// When the database has to be read, if it has.
    read_at: Option<Instant>,
    /// The streams that moved, if it is known that no others did.
    moved: Option<BTreeSet<i64>>,
    /// How long the last reading took.
    reading_took: Duration,
}

impl Analytics {
    /// Clicks as they are counted from now on, or from after the event with the id `after`: none
    /// twice, none left out. `from` and `to` of the query mean nothing here.
    pub async fn live(
        &self,
        workspace: &WorkspaceId,
        query: AnalyticsQuery,
        after: Option<&str>,
    ) -> Result<Live, AnalyticsError> {
        let now = self.clock.now();
        let query = AnalyticsQuery {
            from: None,
            to: None,
            ..query
        };
        let mut question = self.question(*workspace, query, now).await?;
        let news = self.hub.listen(*workspace);
        let heard = match after {
            None => Heard::since(now),
            Some(id) => Heard::from_id(id).ok_or_else(|| {
                AnalyticsError::refused("after", "event_unknown", "must be the id of an event")
            })?,
        };
        question.from = heard.start();
        question.to = Timestamp::MAX;
        let mut live = Live {
            scan: question.scan(Grouping::All, None),
            analytics: self.clone(),
            question,
            links_read: Instant::now(),
            news,
            heard,
            ready: VecDeque::new(),
            folded: None,
            read_at: None,
            moved: None,
            reading_took: Duration::ZERO,
        };
        live.look_at_links().await?;
        if after.is_some() {
            live.catch_up().await?;
        }
        Ok(live)
    }
}

impl Live {
    /// What [`Analytics::live`] goes on from when no click was told since; `None` while one is ready.
    pub fn id(&self) -> Option<String> {
        let nothing_waits = self.ready.is_empty() && self.folded.is_none();
        nothing_waits.then(|| self.heard.to_id())
    }

    /// Waits for the next click. Nothing is lost when the waiting is given up.
    pub async fn next(&mut self) -> Result<LiveClick, AnalyticsError> {
        loop {
            if let Some((click, id)) = self.ready.pop_front() {
                let click = Arc::unwrap_or_clone(click);
                return Ok(LiveClick { id, click });
            }
            if let Some(clicks) = self.folded.clone() {
                let asks_for_some = !self.question.condition.is_empty();
                if asks_for_some && self.links_read.elapsed() >= LOOK_AT_LINKS_EVERY {
                    self.look_at_links().await?;
                }
                self.take(&clicks);
                self.folded = None;
                continue;
            }
            if let Some(at) = self.read_at {
                tokio::time::sleep_until(at).await;
                self.catch_up().await?;
                self.read_at = None;
                self.moved = None;
                continue;
            }
            match self.news.recv().await {
                Ok(News::Folded(clicks)) => self.folded = Some(clicks),
                Ok(News::Written) => self.read_everything_at(Instant::now() + GATHER),
                Ok(News::Elsewhere(streams)) => self.read_streams_soon(&streams),
                Err(RecvError::Lagged(_)) => self.read_everything_at(Instant::now()),
                Err(RecvError::Closed) => return Err(AnalyticsError::Interrupted),
            }
        }
    }

    fn read_everything_at(&mut self, at: Instant) {
        self.read_at = Some(at);
        self.moved = None;
    }

    /// Has the clicks of other nodes read; a listener spends a fifth of its time on that at most.
    fn read_streams_soon(&mut self, streams: &[i64]) {
        self.read_at = Some(Instant::now() + GATHER.max(self.reading_took * 4));
        self.moved = Some(streams.iter().copied().collect());
    }

    /// Costs what there is to tell: a hundred listeners of one busy workspace would otherwise keep every
    /// core from redirecting while each looks at each click.
    fn take(&mut self, folded: &FoldedClicks) {
        let (scan, ready) = (&self.scan, &mut self.ready);
        folded.tell(
            &mut self.heard,
            scan.links.as_deref(),
            |click| scan.takes(click),
            |click, heard| ready.push_back((Arc::clone(click), heard.to_id())),
        );
        self.heard.forget_before(self.analytics.clock.now());
    }

    /// Reads what was counted since, and takes what is new of it.
    async fn catch_up(&mut self) -> Result<(), AnalyticsError> {
        let catching_up = Arc::clone(&self.analytics.catching_up);
        let _turn = catching_up.acquire_owned().await;
        let mut question = self.question.clone();
        let begun = Instant::now();
        question.from = match &self.moved {
            Some(streams) => self.heard.start_of(streams),
            None => self.heard.start(),
        };
        // What was heard is noted of all clicks of the workspace.
        question.filters = Arc::default();
        question.condition = LinkCondition::default();
        question.kinds = [true; 3];
        let mut export = self.analytics.export_of(&question).await?;
        let (mut missed, mut to_tell) = (Vec::new(), 0);
        while let Some(clicks) = export.next().await? {
            for click in clicks {
                let position = click.position;
                // A stream that did not move was not read from where it was heard last: its own news will.
                let moved = self.moved.as_ref();
                if moved.is_some_and(|moved| !moved.contains(&position.stream)) {
                    continue;
                }
                if self.heard.is_news(place(position)) {
                    let click = self.scan.takes(&click).then(|| Arc::new(click));
                    to_tell += usize::from(click.is_some());
                    missed.push(Missed { position, click });
                }
            }
            if to_tell > MOST_MISSED || missed.len() > MOST_LOOKED_THROUGH {
                return Err(AnalyticsError::refused(
                    "after",
                    "event_too_old",
                    "is followed by too many clicks; read them from /analytics/clicks",
                ));
            }
        }
        // All at once, so that nothing is half heard.
        for Missed { position, click } in in_order(missed) {
            let is_news = self.heard.hear(place(position));
            if let Some(click) = click.filter(|_| is_news) {
                self.ready.push_back((click, self.heard.to_id()));
            }
        }
        self.heard.forget_before(self.analytics.clock.now());
        self.reading_took = begun.elapsed();
        Ok(())
    }

    async fn look_at_links(&mut self) -> Result<(), AnalyticsError> {
        let store = &self.analytics.store;
        let (workspace, condition) = (self.question.workspace, &self.question.condition);
        let links = store.links_of(workspace, condition).await?;
        self.scan.links = links.map(Into::into);
        self.links_read = Instant::now();
        Ok(())
    }
}

/// A click that was not heard of in time.
struct Missed {
    position: Position,
    /// Only if it is to be told.
    click: Option<Arc<RecordedClick>>,
}

fn place(position: Position) -> (Timestamp, i64, i64) {
    (position.at, position.stream, position.seq)
}

/// By time, as far as the order in which each stream is counted allows.
fn in_order(mut clicks: Vec<Missed>) -> Vec<Missed> {
    clicks.sort_unstable_by_key(|click| std::cmp::Reverse(click.position.seq));
    let mut streams: BTreeMap<i64, Vec<Missed>> = BTreeMap::new();
    for click in clicks {
        streams
            .entry(click.position.stream)
            .or_default()
            .push(click);
    }
    let mut ordered = Vec::new();
    loop {
        let heads = streams.values_mut().filter(|stream| !stream.is_empty());
        let next = heads.min_by_key(|stream| stream.last().map(|click| click.position.at));
        match next.and_then(Vec::pop) {
            Some(click) => ordered.push(click),
            None => return ordered,
        }
    }
}
