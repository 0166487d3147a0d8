//! When clicks are sealed, and which chunks become one.

use std::ops::RangeInclusive;

use crate::store::chunks::ChunkHead;

/// When clicks are sealed, and how large chunks become. The defaults were measured
/// (`docs/performance.md`); smaller ones make tests short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealing {
    /// A tail of so many clicks is sealed: reading it would take a question longer than a chunk does.
    pub ripe_clicks: usize,
    /// So many parcels are packed into one, at least.
    pub ripe_parcels: usize,
    /// Clicks per sealing, so that its transaction stays short.
    pub at_once: usize,
    /// A day with fewer clicks stays in the tail: a chunk of few rows takes more room than they do.
    pub fewest: usize,
    /// Of a tail this large, every day that is over is sealed.
    pub large_tail: usize,
    /// Most clicks of one chunk.
    pub largest_chunk: usize,
}

impl Default for Sealing {
    fn default() -> Self {
        Self {
            ripe_clicks: 4_096,
            ripe_parcels: 256,
            at_once: 16_384,
            fewest: 1_024,
            large_tail: 16_384,
            largest_chunk: 262_144,
        }
    }
}

impl Sealing {
    /// Whether the clicks of a day become a chunk, in a tail of `tail` clicks.
    pub(super) fn is_ripe(&self, day: i64, clicks: usize, tail: usize, today: i64) -> bool {
        clicks >= self.fewest || (tail >= self.large_tail && day < today)
    }

    /// Which chunks of one day become one; `None` when they are fine as they are.
    ///
    /// Those of a day still under way are merged with others of about their size, when there are several:
    /// each click is rewritten a few times only.
    pub(super) fn merge_of_day(&self, chunks: &[ChunkHead], is_over: bool) -> Option<Vec<i64>> {
        let (small, middling) = (self.largest_chunk / 8, self.largest_chunk / 2);
        let tiers = if is_over {
            vec![(2, 0..=middling)]
        } else {
            vec![(8, 0..=small), (4, small + 1..=middling)]
        };
        tiers
            .into_iter()
            .find_map(|(several, sizes)| self.together(chunks, several, &sizes))
    }

    /// Chunks of these sizes that fit into one, the smallest first, if there are several.
    fn together(
        &self,
        chunks: &[ChunkHead],
        several: usize,
        sizes: &RangeInclusive<usize>,
    ) -> Option<Vec<i64>> {
        let of_size = |chunk: &&ChunkHead| chunk.detail && sizes.contains(&chunk.rows());
        let mut candidates: Vec<_> = chunks.iter().filter(of_size).collect();
        candidates.sort_by_key(|chunk| chunk.rows());
        let mut rows = 0;
        let together: Vec<_> = candidates
            .into_iter()
            .take_while(|chunk| {
                rows += chunk.rows();
                rows <= self.largest_chunk
            })
            .map(|chunk| chunk.id)
            .collect();
        (together.len() >= several).then_some(together)
    }
}

#[cfg(test)]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "the numbers of these tests are small"
)]
mod tests {
    use super::*;

    const PLAN: Sealing = Sealing {
        ripe_clicks: 4_096,
        ripe_parcels: 256,
        at_once: 16_384,
        fewest: 1_024,
        large_tail: 16_384,
        largest_chunk: 262_144,
    };

    fn chunks(rows: &[usize]) -> Vec<ChunkHead> {
        let head = |(id, rows): (usize, &usize)| ChunkHead {
            id: id as i64,
            day: 0,
            column_count: 22,
            row_count: *rows as i64,
            first_at: 0,
            last_at: 0,
            humans: *rows as i64,
            bots: 0,
            previews: 0,
            detail: true,
        };
        rows.iter().enumerate().map(head).collect()
    }

    #[test]
    fn a_day_under_way_keeps_few_chunks_and_merges_many() {
        assert_eq!(PLAN.merge_of_day(&chunks(&[5_000; 7]), false), None);
        let eight = PLAN.merge_of_day(&chunks(&[5_000; 8]), false).unwrap();
        assert_eq!(eight.len(), 8);
        assert_eq!(PLAN.merge_of_day(&chunks(&[60_000; 3]), false), None);
        assert_eq!(
            PLAN.merge_of_day(&chunks(&[60_000; 4]), false)
                .unwrap()
                .len(),
            4
        );
    }

    #[test]
    fn a_day_that_is_over_has_as_few_chunks_as_fit() {
        assert_eq!(PLAN.merge_of_day(&chunks(&[5_000, 200_000]), true), None);
        assert_eq!(
            PLAN.merge_of_day(&chunks(&[5_000, 100_000]), true)
                .unwrap()
                .len(),
            2
        );
        let many = chunks(&[100_000; 5]);
        assert_eq!(PLAN.merge_of_day(&many, true).unwrap().len(), 2);
        assert_eq!(PLAN.merge_of_day(&chunks(&[10]), true), None);
    }

    #[test]
    fn merging_comes_to_an_end_and_loses_no_row() {
        for is_over in [false, true] {
            let mut rows = vec![4_096; 150];
            while let Some(ids) = PLAN.merge_of_day(&chunks(&rows), is_over) {
                let merged = ids.iter().map(|id| rows[*id as usize]).sum();
                assert!(merged <= PLAN.largest_chunk);
                let kept = |(id, _): &(usize, &usize)| !ids.contains(&(*id as i64));
                rows = rows
                    .iter()
                    .enumerate()
                    .filter(kept)
                    .map(|(_, rows)| *rows)
                    .collect();
                rows.push(merged);
            }
            assert_eq!(rows.iter().sum::<usize>(), 150 * 4_096);
            assert!(rows.len() <= if is_over { 5 } else { 16 }, "{rows:?}");
        }
    }

    #[test]
    fn few_clicks_of_a_day_wait_unless_the_tail_is_large() {
        assert!(PLAN.is_ripe(9, 1_024, 1_024, 9));
        assert!(!PLAN.is_ripe(8, 1_023, 5_000, 9));
        assert!(PLAN.is_ripe(8, 3, 16_384, 9));
        assert!(!PLAN.is_ripe(9, 3, 16_384, 9));
    }
}
