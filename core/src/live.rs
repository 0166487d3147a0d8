//! Telling those who listen what was just counted.

mod folded;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, broadcast};

use crate::analytics::RecordedClick;
use crate::classify::{Facts, Kind, Reason};
use crate::model::{Fact, Timestamp, WorkspaceId};
use crate::store::clicks::NewClicks;
pub(crate) use folded::FoldedClicks;
use folded::StreamEnd;

/// Folds that a listener may fall behind before it has to read the database.
const BEHIND: usize = 256;

/// What happened to the clicks of a workspace.
#[derive(Clone, Debug)]
pub(crate) enum News {
    /// These were folded.
    Folded(Arc<FoldedClicks>),
    /// Something is in the database that was not told.
    Written,
    /// Other nodes counted clicks, of whatever workspaces, out of these streams.
    Elsewhere(Arc<[i64]>),
}

/// Where news come from. Without listeners nothing is done for them, and those of one workspace are not
/// woken by clicks of others.
#[derive(Clone, Debug, Default)]
pub(crate) struct LiveHub {
    news: Arc<Mutex<HashMap<WorkspaceId, broadcast::Sender<News>>>>,
    /// Numbers of this node's streams, as far as somebody listened.
    own: Arc<Mutex<BTreeSet<i64>>>,
    listened: Arc<Notify>,
}

impl LiveHub {
    pub(crate) fn listen(&self, workspace: WorkspaceId) -> broadcast::Receiver<News> {
        let mut news = self.news();
        news.retain(|_, sender| sender.receiver_count() > 0);
        let sender = news.entry(workspace);
        let sender = sender.or_insert_with(|| broadcast::Sender::new(BEHIND));
        let receiver = sender.subscribe();
        self.listened.notify_one();
        receiver
    }

    /// Completes when somebody listens.
    pub(crate) async fn listeners(&self) {
        while !self.has_listeners() {
            self.listened.notified().await;
        }
    }

    pub(crate) fn has_listeners(&self) -> bool {
        let news = self.news();
        news.values().any(|sender| sender.receiver_count() > 0)
    }

    /// Tells of streams that others counted clicks of; those of this node are known already.
    pub(crate) fn moved(&self, streams: impl IntoIterator<Item = i64>) {
        let own = self.own().clone();
        let streams: Arc<[i64]> = streams
            .into_iter()
            .filter(|stream| !own.contains(stream))
            .collect();
        if !streams.is_empty() {
            for sender in self.news().values() {
                let _ = sender.send(News::Elsewhere(Arc::clone(&streams)));
            }
        }
    }

    fn news(&self) -> MutexGuard<'_, HashMap<WorkspaceId, broadcast::Sender<News>>> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn own(&self) -> MutexGuard<'_, BTreeSet<i64>> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of clicks of streams with these numbers, after their transaction.
    pub(crate) fn folded<'a>(&self, streams: impl IntoIterator<Item = (&'a NewClicks, i64)>) {
        // Copied: whoever begins to listen does not wait for what follows.
        let news = self.news().clone();
        if news.values().all(|sender| sender.receiver_count() == 0) {
            return;
        }
        let streams: Vec<_> = streams.into_iter().collect();
        self.own().extend(streams.iter().map(|(_, number)| *number));
        let mut told: HashMap<WorkspaceId, Vec<Arc<RecordedClick>>> = HashMap::new();
        for (clicks, stream) in streams {
            for (seq, head, facts) in clicks.iter() {
                if !news.contains_key(&head.workspace) {
                    continue;
                }
                let facts = Facts::decode(facts).unwrap_or_default();
                let click = RecordedClick::new(
                    head.link,
                    (head.at, stream, seq),
                    Kind::from_code(head.kind.into()),
                    Reason::from_code(head.reason.into()),
                    |fact: Fact| facts.get(fact),
                );
                told.entry(head.workspace)
                    .or_default()
                    .push(Arc::new(click));
            }
        }
        for (workspace, clicks) in told {
            if let Some(sender) = news.get(&workspace) {
                let _ = sender.send(News::Folded(FoldedClicks::new(clicks).into()));
            }
        }
    }

    /// Tells that clicks may have been counted that were not told.
    pub(crate) fn missed(&self) {
        for sender in self.news().values() {
            let _ = sender.send(News::Written);
        }
    }

    /// Tells that a click was written straight into the database.
    pub(crate) fn written(&self, workspace: WorkspaceId, stream: i64) {
        if self.has_listeners() {
            self.own().insert(stream);
            if let Some(sender) = self.news().get(&workspace) {
                let _ = sender.send(News::Written);
            }
        }
    }
}

/// What a listener has heard: nothing else has to be remembered to go on without a gap or a double.
///
/// A stream numbers its clicks in the order in which they are counted. Of a stream that the listener has
/// heard of, it has heard everything up to a number; of any other, nothing since `since`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    since: Timestamp,
    /// The last number of each stream, and its time.
    streams: std::collections::BTreeMap<i64, (i64, Timestamp)>,
}

/// Clicks that are counted this much later than they happened are not told to somebody who comes back.
pub(crate) const LATEST: std::time::Duration = std::time::Duration::from_mins(10);
/// How long a thread may take between looking at the clock and recording its click.
const OVERTAKING: std::time::Duration = std::time::Duration::from_secs(5);

impl Heard {
    pub(crate) fn since(now: Timestamp) -> Self {
        Self {
            since: now,
            streams: std::collections::BTreeMap::new(),
        }
    }

    /// No click before this moment is news.
    pub(crate) fn start(&self) -> Timestamp {
        self.since
    }

    /// No click of these streams that is news happened before this moment. A stream's clicks come in the
    /// order in which they happened, but for threads that overtake each other.
    pub(crate) fn start_of(&self, streams: &std::collections::BTreeSet<i64>) -> Timestamp {
        let of_stream = |stream: &i64| match self.streams.get(stream) {
            Some((_, at)) => at.minus(OVERTAKING),
            None => self.since,
        };
        streams.iter().map(of_stream).min().unwrap_or(self.since)
    }

    /// Whether something of this stream was heard.
    fn knows(&self, stream: i64) -> bool {
        self.streams.contains_key(&stream)
    }

    /// Whether a click was not told yet.
    pub(crate) fn is_news(&self, (at, stream, seq): (Timestamp, i64, i64)) -> bool {
        match self.streams.get(&stream) {
            Some((last, _)) => seq > *last,
            None => at >= self.since,
        }
    }

    /// Notes a click; returns whether it is news.
    pub(crate) fn hear(&mut self, (at, stream, seq): (Timestamp, i64, i64)) -> bool {
        let is_news = self.is_news((at, stream, seq));
        if is_news {
            // Clocks step back: what was told at the latest time must not be forgotten before it is old.
            let latest = self
                .streams
                .get(&stream)
                .map_or(at, |(_, last)| at.max(*last));
            self.streams.insert(stream, (seq, latest));
        }
        is_news
    }

    /// Notes that everything was told up to here, as far as it was to be told.
    fn pass(&mut self, end: StreamEnd) {
        self.hear((end.latest, end.stream, end.seq));
        // The last click of them may have been told, and an earlier one have happened later.
        if let Some((seq, latest)) = self.streams.get_mut(&end.stream)
            && *seq == end.seq
        {
            *latest = end.latest.max(*latest);
        }
    }

    /// Forgets streams that have been silent for long, so that this stays small.
    pub(crate) fn forget_before(&mut self, now: Timestamp) {
        let since = now.minus(LATEST);
        if since > self.since {
            self.since = since;
            self.streams.retain(|_, (_, at)| *at >= since);
        }
    }

    /// As the id of an event: digits, `.` and `-` only.
    pub(crate) fn to_id(&self) -> String {
        let mut id = self.since.as_millis().to_string();
        for (stream, (seq, at)) in &self.streams {
            id.push_str(&format!(".{stream}-{seq}-{}", at.as_millis()));
        }
        id
    }

    pub(crate) fn from_id(id: &str) -> Option<Self> {
        let mut parts = id.split('.');
        let since = Timestamp::from_millis(parts.next()?.parse().ok()?);
        let stream = |part: &str| {
            let mut numbers = part.splitn(3, '-').map(|number| number.parse().ok());
            let (stream, seq, at) = (numbers.next()??, numbers.next()??, numbers.next()??);
            Some((stream, (seq, Timestamp::from_millis(at))))
        };
        Some(Self {
            since,
            streams: parts.map(stream).collect::<Option<_>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    proptest! {
        #[test]
        fn whoever_comes_back_hears_every_click_once(
            clicks in prop::collection::vec((0..3_i64, 0..50_i64), 1..60),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut seqs = std::collections::BTreeMap::new();
            let clicks: Vec<_> = clicks.into_iter().map(|(stream, time)| {
                let seq = seqs.entry(stream).or_insert(0);
                *seq += 1;
                (at(time + 1_000), stream, *seq)
            }).collect();
            let cut = cut.index(clicks.len());
            let mut before = Heard::since(at(1_000));
            let mut heard: Vec<_> = clicks[..cut].iter().filter(|click| before.hear(**click)).collect();
            let mut after = Heard::from_id(&before.to_id()).unwrap();
            prop_assert_eq!(&after, &before);
            // Everything is read again from the database, in any order of streams.
            let mut all: Vec<_> = clicks.iter().collect();
            all.sort_by_key(|(_, stream, seq)| (*stream, *seq));
            heard.extend(all.into_iter().filter(|click| after.hear(**click)));
            heard.sort();
            let mut told = clicks.iter().collect::<Vec<_>>();
            told.sort();
            prop_assert_eq!(heard, told);
        }

        #[test]
        fn no_text_makes_reading_an_id_panic(text in ".{0,60}") {
            let _ = Heard::from_id(&text);
        }
    }
}
