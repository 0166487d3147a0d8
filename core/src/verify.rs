//! The proof that the figures are true: every chunk is counted again and compared with what is stored of
//! it, and all clicks of each link with its counters.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::columns::{
    Batch, Column, Damaged, KindCounts, LinkCounts, counts_agree, decode_link_counts, intact,
    kinds_of_batch, open_parcel,
};
use crate::model::{LinkId, Timestamp, WorkspaceId};
use crate::sealer::decode_stored;
use crate::store::chunks::{ChunkHead, DAY_MILLIS, StoredColumn};
use crate::store::click_reports::{AllClicks, StoredParcel};
use crate::store::{Store, StoreError};

/// What a comparison of every chunk with its counts, and of every link's clicks with its counters found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyReport {
    pub links: u64,
    pub clicks: i64,
    pub chunks: u64,
    /// Links whose clicks and counters disagree.
    pub differences: Vec<Difference>,
    /// Chunks and parcels that disagree with themselves, the first first.
    pub damaged: Vec<Damage>,
    /// Places in the spool where records are missing and nobody accepted that yet.
    pub open_gaps: u64,
    pub accepted_gaps: u64,
    /// Records that no longer decode; they are kept.
    pub dead_records: i64,
    /// Answered redirects that no store took.
    pub unrecorded: i64,
}

/// A link whose clicks and counters disagree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub link: LinkId,
    /// Humans, bots and previews among the clicks.
    pub rows: [i64; 3],
    /// Humans, bots and previews in the counters.
    pub counters: [i64; 3],
}

/// Stored clicks that disagree with what is stored about them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    pub workspace: WorkspaceId,
    /// The chunk; `None` for a parcel of the tail.
    pub chunk: Option<i64>,
    /// Midnight of the chunk's day, in UTC.
    pub day: Option<Timestamp>,
    pub what: String,
}

impl VerifyReport {
    /// Whether everything agrees.
    pub fn is_consistent(&self) -> bool {
        self.differences.is_empty() && self.damaged.is_empty()
    }
}

/// Humans, bots and previews per link.
type ByLink = BTreeMap<i64, KindCounts>;

/// Chunks may be merged and deleted, and clicks deleted, again and again while they are counted.
const ATTEMPTS: usize = 20;

/// A chunk was deleted since its snapshot: another one has to be counted.
struct ChunkGone;

pub(crate) async fn verify(store: &Store) -> Result<VerifyReport, StoreError> {
    for _ in 0..ATTEMPTS {
        if let Ok(report) = verify_snapshot(store).await? {
            return Ok(report);
        }
    }
    Err(StoreError::Unreadable(
        "chunks are merged or deleted faster than they can be counted; try again later",
    ))
}

async fn verify_snapshot(store: &Store) -> Result<Result<VerifyReport, ChunkGone>, StoreError> {
    let all = store.all_clicks().await?;
    let (mut by_link, mut damaged) = count_tail(&all);
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let mut checked = stream::iter(all.chunks.clone())
        .map(|(workspace, chunk)| check(store, workspace, chunk))
        .buffered(cores);
    while let Some(checked) = checked.try_next().await? {
        match checked {
            Ok(Ok(links)) => add(&mut by_link, links),
            Ok(Err(damage)) => damaged.push(damage),
            Err(ChunkGone) => return Ok(Err(ChunkGone)),
        }
    }
    let clicks = by_link.values().map(|counts| counts.total()).sum::<u64>();
    let (links, differences) = compare(by_link, &all);
    let gaps = store.gaps().await?;
    let accepted = gaps.iter().filter(|gap| gap.accepted_at.is_some()).count() as u64;
    Ok(Ok(VerifyReport {
        links,
        clicks: clicks.cast_signed(),
        chunks: all.chunks.len() as u64,
        differences,
        damaged,
        open_gaps: gaps.len() as u64 - accepted,
        accepted_gaps: accepted,
        dead_records: store.dead_records().await?,
        unrecorded: store.unrecorded_clicks().await?,
    }))
}

fn add(by_link: &mut ByLink, links: impl IntoIterator<Item = (i64, KindCounts)>) {
    for (link, counts) in links {
        by_link.entry(link).or_default().add(counts);
    }
}

fn count_tail(all: &AllClicks) -> (ByLink, Vec<Damage>) {
    let (mut by_link, mut damaged) = (ByLink::new(), Vec::new());
    for parcel in &all.tail {
        if let Err(what) = count_parcel(parcel, &mut by_link) {
            damaged.push(Damage {
                workspace: parcel.workspace_id,
                chunk: None,
                day: None,
                what: format!("the parcel {}:{}: {what}", parcel.stream, parcel.seq),
            });
        }
    }
    (by_link, damaged)
}

fn count_parcel(parcel: &StoredParcel, by_link: &mut ByLink) -> Result<(), String> {
    let (mut clicks, mut times, mut first) = (0, None, None);
    open_parcel(&parcel.records, |row| {
        clicks += 1;
        first.get_or_insert((row.stream, row.seq));
        let (from, to) = times.unwrap_or((row.at, row.at));
        times = Some((from.min(row.at), to.max(row.at)));
        by_link.entry(row.link).or_default().0[KindCounts::slot(row.kind)] += 1;
    })
    .map_err(|damaged| damaged.0.to_owned())?;
    let known = parcel.click_count;
    if clicks != known {
        return Err(format!("it holds {clicks} clicks and should hold {known}"));
    }
    if times.is_some_and(|times| times != (parcel.first_at, parcel.last_at)) {
        return Err("its times are not those of its clicks".to_owned());
    }
    if first.is_some_and(|first| first != (parcel.stream, parcel.seq)) {
        return Err("its key is not its first click".to_owned());
    }
    Ok(())
}

async fn check(
    store: &Store,
    workspace: WorkspaceId,
    chunk: ChunkHead,
) -> Result<Result<Result<LinkCounts, Damage>, ChunkGone>, StoreError> {
    let mut counted = count_chunk(store, chunk).await?;
    if counted.is_err() {
        match store.chunk_has_detail(chunk.id).await? {
            None => return Ok(Err(ChunkGone)),
            // Shrunk since the snapshot: its clicks are the same.
            Some(false) if chunk.detail => {
                let detail = false;
                counted = count_chunk(store, ChunkHead { detail, ..chunk }).await?;
            }
            Some(_) => {}
        }
    }
    Ok(Ok(counted.map_err(|what| Damage {
        workspace,
        chunk: Some(chunk.id),
        day: Some(Timestamp::from_millis(chunk.day * DAY_MILLIS)),
        what,
    })))
}

async fn count_chunk(
    store: &Store,
    chunk: ChunkHead,
) -> Result<Result<LinkCounts, String>, StoreError> {
    let columns: Vec<_> = Column::all().collect();
    let mut stored = Vec::new();
    store
        .chunk_columns(&[chunk.id], &columns, true, |_, columns| {
            stored = columns.into_iter().map(StoredColumn::into_owned).collect();
            Ok(())
        })
        .await?;
    tokio::task::spawn_blocking(move || recount(&chunk, &stored))
        .await
        .map_err(|_| StoreError::Unreadable("a chunk cannot be counted"))
}

fn recount(chunk: &ChunkHead, stored: &[StoredColumn<'_>]) -> Result<LinkCounts, String> {
    let damaged = |damaged: Damaged| damaged.0.to_owned();
    if usize::try_from(chunk.column_count) != Ok(stored.len()) {
        let is_there = |column: &Column| stored.iter().any(|stored| stored.column == *column);
        return Err(match Column::all().find(|column| !is_there(column)) {
            Some(missing) => format!("it has no {missing:?}"),
            None => format!("it should have {} columns", chunk.column_count),
        });
    }
    for column in stored {
        let data = column.data.as_deref().filter(|_| chunk.detail);
        intact(column.column, &column.counts, data)
            .map_err(|damaged| format!("{:?}: {}", column.column, damaged.0))?;
    }
    if chunk.row_count != chunk.humans + chunk.bots + chunk.previews {
        return Err("its kinds are not as many as its rows".to_owned());
    }
    let columns: Vec<_> = Column::all().collect();
    let decode = || decode_stored(chunk, stored, &columns).map_err(|error| error.to_string());
    let batch = chunk.detail.then(decode).transpose()?.flatten();
    if chunk.detail && batch.is_none() {
        return Err("columns are missing".to_owned());
    }
    if let Some(batch) = &batch {
        check_rows(chunk, batch)?;
    }
    for column in stored {
        let agree = counts_agree(column.column, &column.counts, batch.as_ref(), chunk.kinds());
        if !agree.map_err(damaged)? {
            return Err(format!(
                "the counts of {:?} are not those of its rows",
                column.column
            ));
        }
    }
    let links = stored.iter().find(|stored| stored.column == Column::Link);
    let links = links.ok_or("it has no links")?;
    decode_link_counts(&links.counts).map_err(damaged)
}

fn check_rows(chunk: &ChunkHead, batch: &Batch) -> Result<(), String> {
    let (first, last) = (batch.at.iter().min(), batch.at.iter().max());
    if (first, last) != (Some(&chunk.first_at), Some(&chunk.last_at)) {
        return Err("its times are not those of its rows".to_owned());
    }
    let days = [chunk.first_at, chunk.last_at].map(|at| at.div_euclid(DAY_MILLIS));
    if days != [chunk.day; 2] {
        return Err("it holds clicks of another day".to_owned());
    }
    match kinds_of_batch(batch) {
        Ok(kinds) if kinds == chunk.kinds() => Ok(()),
        _ => Err("its kinds are not those of its rows".to_owned()),
    }
}

fn compare(mut by_link: ByLink, all: &AllClicks) -> (u64, Vec<Difference>) {
    let mut compared = 0;
    let mut found = Vec::new();
    for (link, humans, bots, previews) in &all.counters {
        compared += 1;
        let counters = [*humans, *bots, *previews];
        let rows = by_link.remove(&link.number()).unwrap_or_default();
        let rows = rows.0.map(u64::cast_signed);
        if rows != counters {
            found.push(Difference {
                link: *link,
                rows,
                counters,
            });
        }
    }
    // Clicks of links that have no counters at all.
    for (link, rows) in by_link {
        compared += 1;
        found.push(Difference {
            link: LinkId::from_number(link),
            rows: rows.0.map(u64::cast_signed),
            counters: [0; 3],
        });
    }
    found.sort_by_key(|difference| difference.link);
    (compared, found)
}
