//! Deleting the clicks of a link, out of one chunk or parcel after the other. Whatever seals, merges or
//! folds meanwhile goes on: a step that finds its chunk gone does nothing, and the next pass looks again.

use std::collections::HashSet;

use crate::classify::Kind;
use crate::columns::{Column, KindCounts, LinkCounts, decode_link_counts, encode};
use crate::model::Timestamp;
use crate::sealer::merger::step;
use crate::sealer::{Tails, read_chunk};
use crate::store::chunks::ChunkHead;
use crate::store::erasure::{ErasableClicks, Erasure};
use crate::store::{Store, StoreError};

/// Each pass but the last takes clicks out, or meets chunks that were merged since it began.
const PASSES: usize = 100;
const COUNTS_PER_READ: usize = 256;
const PURGE_AT_ONCE: i64 = 16;

/// What is known of chunks, which never change.
#[derive(Default)]
struct Known {
    /// Those that hold nothing to be deleted.
    clean: HashSet<i64>,
    /// When the last click may have been whose link is known by its count only.
    last_counted: Option<i64>,
}

impl Known {
    /// Whether a chunk with these clicks per link may hold some as rows; notes what is learnt of it.
    fn may_hold(&mut self, chunk: &ChunkHead, links: Option<&LinkCounts>, link: i64) -> bool {
        // Gone since: the clicks are elsewhere, and another pass looks there.
        let Some(links) = links else {
            return true;
        };
        if let Ok(place) = links.binary_search_by_key(&link, |(link, _)| *link) {
            if chunk.detail {
                return true;
            }
            let humans = links[place].1.0[KindCounts::slot(Kind::Human)];
            if humans > 0 {
                self.last_counted = self.last_counted.max(Some(chunk.last_at));
            }
        }
        self.clean.insert(chunk.id);
        false
    }
}

/// Deletes every click that is there. One past its retention is not: only its count is left.
pub(super) async fn erase(
    store: &Store,
    tails: &Tails,
    erasure: Erasure,
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut known = Known::default();
    for _ in 0..PASSES {
        let found = step(store.erasable_clicks(&erasure)).await?;
        let chunks = chunks_with(store, &erasure, &found, &mut known).await?;
        for parcel in &found.parcels {
            let erased = step(store.erase_in_parcel(&erasure, *parcel)).await?;
            tails.taken(erasure.workspace, erased);
        }
        for chunk in &chunks {
            erase_in_chunk(store, &erasure, chunk, &mut known, now).await?;
        }
        if found.parcels.is_empty() && chunks.is_empty() {
            if let Some(seen) = found.last_clicked_at.filter(|seen| *seen <= erasure.until) {
                let left = known
                    .last_counted
                    .map(|at| Timestamp::from_millis(at).min(seen));
                step(store.settle_last_click(erasure.link, seen, left)).await?;
            }
            // Replaced chunks may hold them still.
            let purge = || store.purge_replaced_of(erasure.workspace, PURGE_AT_ONCE);
            while step(purge()).await? > 0 {}
            return Ok(());
        }
    }
    Err(sqlx::Error::PoolTimedOut.into())
}

/// Those chunks that may hold some of the clicks as rows.
async fn chunks_with(
    store: &Store,
    erasure: &Erasure,
    found: &ErasableClicks,
    known: &mut Known,
) -> Result<Vec<ChunkHead>, StoreError> {
    let unknown = |chunk: &&ChunkHead| !known.clean.contains(&chunk.id);
    let unknown: Vec<ChunkHead> = found.chunks.iter().filter(unknown).copied().collect();
    let mut chunks = Vec::new();
    for some in unknown.chunks(COUNTS_PER_READ) {
        let ids: Vec<i64> = some.iter().map(|chunk| chunk.id).collect();
        let mut counted = Vec::new();
        let count = store.chunk_columns(&ids, &[Column::Link], false, |id, columns| {
            for links in columns {
                counted.push((id, decode_link_counts(&links.counts)?));
            }
            Ok(())
        });
        step(count).await?;
        for chunk in some {
            let links = counted.iter().find(|(id, _)| *id == chunk.id);
            let links = links.map(|(_, links)| links);
            if known.may_hold(chunk, links, erasure.link.number()) {
                chunks.push(*chunk);
            }
        }
    }
    Ok(chunks)
}

async fn erase_in_chunk(
    store: &Store,
    erasure: &Erasure,
    chunk: &ChunkHead,
    known: &mut Known,
    now: Timestamp,
) -> Result<(), StoreError> {
    let Some(batch) = step(read_chunk(store, chunk)).await? else {
        return Ok(());
    };
    let (rest, removed) = batch.without(|link, at| erasure.takes(link, at))?;
    if removed == KindCounts::default() {
        known.clean.insert(chunk.id);
        return Ok(());
    }
    let rest = match rest.rows() {
        0 => None,
        _ => Some(encode(&rest)?),
    };
    step(store.swap_chunk(erasure, chunk, rest.as_ref(), removed, now)).await
}
