//! Single clicks: by pages, and all of them.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::sync::Arc;

use crate::analytics::engine::{Engine, ScanError, Snapshot, read_batch};
use crate::analytics::query::Question;
use crate::analytics::scan::{Grouping, Scan};
use crate::analytics::{
    Analytics, AnalyticsError, AnalyticsQuery, ClicksPage, Position, RecordedClick, attempt,
};
use crate::classify::{Kind, Reason};
use crate::columns::{Batch, Column, Damaged, Text};
use crate::model::{FieldError, LinkId, Page, Timestamp, WorkspaceId};
use crate::paging;
use crate::store::chunks::ChunkHead;
use crate::store::{Store, StoreError};

/// Clicks that [`Export::next`] gives at most.
const AT_ONCE: usize = 1_000;

/// In which order a page shows clicks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    NewestFirst,
    OldestFirst,
}

impl Order {
    fn parse(text: Option<&str>) -> Result<Self, FieldError> {
        match text {
            None | Some("desc") => Ok(Self::NewestFirst),
            Some("asc") => Ok(Self::OldestFirst),
            Some(_) => Err(FieldError::new(
                "order",
                "order_unknown",
                "must be desc or asc",
            )),
        }
    }

    fn sort<T>(self, clicks: &mut [T], position: impl Fn(&T) -> Position) {
        match self {
            Self::NewestFirst => clicks.sort_unstable_by_key(|click| Reverse(position(click))),
            Self::OldestFirst => clicks.sort_unstable_by_key(position),
        }
    }

    /// Whether a position comes after another.
    fn is_after(self, position: Position, other: Position) -> bool {
        match self {
            Self::NewestFirst => position < other,
            Self::OldestFirst => position > other,
        }
    }
}

/// A page on its way to be full.
struct Gathering {
    order: Order,
    after: Option<Position>,
    /// One more than the page shows.
    most: usize,
    clicks: Vec<RecordedClick>,
}

impl Gathering {
    /// Whether clicks of this time may still be on the page.
    fn may_hold(&self, chunk: &ChunkHead) -> bool {
        if self.clicks.len() < self.most {
            return true;
        }
        let Some(last) = self
            .clicks
            .last()
            .map(|click| click.position.at.as_millis())
        else {
            return true;
        };
        match self.order {
            Order::NewestFirst => chunk.last_at >= last,
            Order::OldestFirst => chunk.first_at <= last,
        }
    }

    fn add(&mut self, scan: &Scan, batch: &Batch) -> Result<(), Damaged> {
        let positions = Positions::of(batch)?;
        let mut found = Vec::new();
        scan.each_row(batch, |row| {
            let position = positions.get(batch, row);
            if self
                .after
                .is_none_or(|after| self.order.is_after(position, after))
            {
                found.push((position, row));
            }
        })?;
        self.order.sort(&mut found, |(position, _)| *position);
        found.truncate(self.most);
        for (position, row) in found {
            self.clicks.push(recorded(batch, row, position));
        }
        self.order.sort(&mut self.clicks, |click| click.position);
        self.clicks.truncate(self.most);
        Ok(())
    }
}

/// The streams of a batch as numbers.
struct Positions {
    streams: Vec<i64>,
}

impl Positions {
    fn of(batch: &Batch) -> Result<Self, Damaged> {
        let streams = batch.text(Text::Stream)?;
        let number = |value: &str| value.parse().map_err(|_| Damaged("a stream has no number"));
        Ok(Self {
            streams: streams
                .values
                .iter()
                .map(number)
                .collect::<Result<_, _>>()?,
        })
    }

    fn get(&self, batch: &Batch, row: usize) -> Position {
        let code = batch.texts[Text::Stream.index()]
            .as_ref()
            .map_or(0, |streams| streams.codes.get(row));
        Position {
            at: Timestamp::from_millis(batch.at[row]),
            stream: self.streams.get(code).copied().unwrap_or_default(),
            seq: batch.seq[row],
        }
    }
}

/// One row of a batch that has every column but the visitors.
fn recorded(batch: &Batch, row: usize, position: Position) -> RecordedClick {
    let run = batch.runs.partition_point(|run| run.end <= row);
    let text = |text: Text| {
        let column = batch.texts[text.index()].as_ref();
        column.map_or("", |column| column.value(row))
    };
    RecordedClick::new(
        LinkId::from_number(batch.runs[run].link),
        (position.at, position.stream, position.seq),
        Kind::from_name(text(Text::Kind)),
        Reason::from_name(text(Text::Reason)),
        |fact| text(Text::Fact(fact)),
    )
}

/// Every column but the visitors, which nobody is shown.
fn shown_columns() -> Vec<Column> {
    Column::all()
        .filter(|column| *column != Column::Visitor)
        .collect()
}

impl Analytics {
    /// Single clicks by pages; the newest first unless the page says otherwise. Of clicks past their
    /// retention only figures are left: they are on no page.
    pub async fn clicks(
        &self,
        workspace: &WorkspaceId,
        query: AnalyticsQuery,
        page: ClicksPage,
    ) -> Result<Page<RecordedClick>, AnalyticsError> {
        let question = self.question(*workspace, query, self.clock.now()).await?;
        let refused = |error| AnalyticsError::Refused(vec![error]);
        let limit = paging::limit(page.limit).map_err(refused)?;
        let order = Order::parse(page.order.as_deref()).map_err(refused)?;
        let after = match page.cursor.as_deref() {
            None => None,
            Some(cursor) => Some(
                Position::from_cursor(cursor).ok_or_else(|| refused(paging::cursor_invalid()))?,
            ),
        };
        let _turn = self.engine.turn(0).await?;
        let gathering = || Gathering {
            order,
            after,
            most: limit + 1,
            clicks: Vec::new(),
        };
        let mut clicks = attempt!(self.gather(&question, gathering()));
        let more = clicks.len() > limit;
        clicks.truncate(limit);
        let last = clicks.last().filter(|_| more);
        Ok(Page {
            next_cursor: last.map(|click| click.position.to_cursor()),
            items: clicks,
        })
    }

    async fn gather(
        &self,
        question: &Question,
        mut gathering: Gathering,
    ) -> Result<Vec<RecordedClick>, ScanError> {
        let snapshot = self.snapshot(question, question.from).await?;
        let mut scan = question.scan(Grouping::All, snapshot.links.clone());
        if let Some(after) = gathering.after {
            let at = after.at.as_millis();
            match gathering.order {
                Order::NewestFirst => scan.to = scan.to.min(at.saturating_add(1)),
                Order::OldestFirst => scan.from = scan.from.max(at),
            }
        }
        let mut chunks: Vec<_> = snapshot
            .chunks
            .iter()
            .filter(|chunk| chunk.detail && chunk.first_at < scan.to && chunk.last_at >= scan.from)
            .copied()
            .collect();
        match gathering.order {
            Order::NewestFirst => chunks.sort_unstable_by_key(|chunk| Reverse(chunk.last_at)),
            Order::OldestFirst => chunks.sort_unstable_by_key(|chunk| chunk.first_at),
        }
        let store = self.engine.store().clone();
        let gathered = self.engine.scanners().run(move |runtime| {
            gathering
                .add(&scan, &snapshot.tail)
                .map_err(StoreError::from)?;
            for chunk in chunks {
                if !gathering.may_hold(&chunk) {
                    break;
                }
                let batch = runtime.block_on(read_batch(&store, &chunk, &shown_columns()))?;
                gathering.add(&scan, &batch).map_err(StoreError::from)?;
            }
            Ok(gathering.clicks)
        });
        gathered.await?
    }

    /// Every single click of the question, some at a time and in no promised order, at constant memory.
    pub async fn export(
        &self,
        workspace: &WorkspaceId,
        query: AnalyticsQuery,
    ) -> Result<Export, AnalyticsError> {
        let question = self.question(*workspace, query, self.clock.now()).await?;
        self.export_of(&question).await
    }

    pub(super) async fn export_of(&self, question: &Question) -> Result<Export, AnalyticsError> {
        let snapshot = self.snapshot(question, question.from).await?;
        let scan = Arc::new(question.scan(Grouping::All, snapshot.links.clone()));
        let chunks = snapshot.chunks.iter().filter(|chunk| chunk.detail);
        let mut chunks: Vec<_> = chunks.copied().collect();
        // Those of today are merged soon, and gone some minutes after.
        chunks.sort_unstable_by_key(|chunk| Reverse(chunk.last_at));
        Ok(Export {
            engine: self.engine.clone(),
            chunks: chunks.into(),
            current: Some(Current::of(&scan, snapshot)?),
            scan,
        })
    }
}

/// Clicks on their way out.
#[derive(Debug)]
pub struct Export {
    engine: Engine,
    scan: Arc<Scan>,
    chunks: VecDeque<ChunkHead>,
    current: Option<Current>,
}

/// The batch that clicks are taken from.
#[derive(Debug)]
struct Current {
    source: Source,
    rows: Vec<u32>,
    next: usize,
}

#[derive(Debug)]
enum Source {
    Tail(Arc<Snapshot>),
    Chunk(Box<Batch>),
}

impl Source {
    fn batch(&self) -> &Batch {
        match self {
            Self::Tail(snapshot) => &snapshot.tail,
            Self::Chunk(batch) => batch,
        }
    }
}

impl Current {
    fn of(scan: &Scan, snapshot: Arc<Snapshot>) -> Result<Self, StoreError> {
        Ok(Self::new(scan, Source::Tail(snapshot))?)
    }

    fn new(scan: &Scan, source: Source) -> Result<Self, Damaged> {
        let mut rows = Vec::new();
        scan.each_row(source.batch(), |row| {
            rows.push(u32::try_from(row).unwrap_or(u32::MAX));
        })?;
        Ok(Self {
            source,
            rows,
            next: 0,
        })
    }

    fn take(&mut self) -> Result<Vec<RecordedClick>, Damaged> {
        let batch = self.source.batch();
        let positions = Positions::of(batch)?;
        let end = (self.next + AT_ONCE).min(self.rows.len());
        let rows = &self.rows[self.next..end];
        self.next = end;
        let clicks = rows.iter().map(|row| {
            let row = *row as usize;
            recorded(batch, row, positions.get(batch, row))
        });
        Ok(clicks.collect())
    }
}

/// `None` when the clicks of the chunk have gone past their retention meanwhile.
async fn read_unless_shrunk(store: &Store, chunk: &ChunkHead) -> Result<Option<Batch>, ScanError> {
    match read_batch(store, chunk, &shown_columns()).await {
        Err(ScanError::ChunkGone) if store.chunk_has_detail(chunk.id).await? == Some(false) => {
            Ok(None)
        }
        read => read.map(Some),
    }
}

impl Export {
    /// The next clicks, at least one; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<Vec<RecordedClick>>, AnalyticsError> {
        loop {
            if let Some(current) = &mut self.current {
                let clicks = current.take().map_err(StoreError::from)?;
                if !clicks.is_empty() {
                    return Ok(Some(clicks));
                }
            }
            // Before the next one is read: only one at a time is in memory.
            self.current = None;
            let Some(chunk) = self.chunks.pop_front() else {
                return Ok(None);
            };
            let (store, scan) = (self.engine.store().clone(), Arc::clone(&self.scan));
            let read = self.engine.scanners().run(move |runtime| {
                let batch = runtime.block_on(read_unless_shrunk(&store, &chunk))?;
                let source = |batch| Source::Chunk(Box::new(batch));
                let current = batch.map(|batch| Current::new(&scan, source(batch)));
                Ok::<_, ScanError>(current.transpose().map_err(StoreError::from)?)
            });
            self.current = read.await.map_err(ScanError::from)??;
        }
    }
}
