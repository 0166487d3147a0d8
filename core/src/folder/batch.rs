//! Reading the next batch: some records of each stream, decoded into rows.

use std::collections::{BTreeSet, HashMap};

use crate::click::ClickHead;
use crate::model::{Clock, Timestamp, WorkspaceId};
use crate::spool::{Batch, ReadOutcome, Spool, StreamId};
use crate::store::clicks::{DeadRecord, StreamPart};

const MAX_BYTES: usize = 2 * 1024 * 1024;
/// A node's clock this far ahead is wrong; its clicks are taken as of now.
const MAX_AHEAD: std::time::Duration = std::time::Duration::from_mins(5);

/// A place where records are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GapAt {
    pub(super) after: u64,
    pub(super) next: Option<u64>,
}

/// How far one stream was folded, and whether it can go on.
#[derive(Debug)]
pub(super) struct StreamState {
    pub(super) cursor: u64,
    limit: Option<u64>,
    /// Every record was read; nothing more will come.
    ended: bool,
    gap: Option<GapAt>,
    pub(super) gap_noted: bool,
    pub(super) gap_accepted: bool,
}

impl StreamState {
    /// Where it waits for a gap to be accepted.
    pub(super) fn waits_at(&self) -> Option<GapAt> {
        self.gap.filter(|_| !self.gap_accepted)
    }

    pub(super) fn at(cursor: u64, limit: Option<u64>) -> Self {
        Self {
            cursor,
            limit,
            ended: false,
            gap: None,
            gap_noted: false,
            gap_accepted: false,
        }
    }
}

/// Reads batches into buffers that it keeps.
pub(super) struct BatchReader {
    /// Clicks per batch.
    max_records: usize,
    records: Batch,
    parts: Vec<StreamPart>,
    skewed: u64,
    /// Whether a stream of this batch could not be read.
    failed: bool,
}

impl BatchReader {
    /// Batches of at most `max_records` clicks.
    pub(super) fn new(max_records: usize) -> Self {
        Self {
            max_records,
            records: Batch::default(),
            parts: Vec::new(),
            skewed: 0,
            failed: false,
        }
    }

    pub(super) fn parts(&self) -> &[StreamPart] {
        &self.parts
    }

    /// Whether a stream could not be read the last time: more may be in it.
    pub(super) fn has_failed(&self) -> bool {
        self.failed
    }

    /// How many clicks of each workspace the batch has.
    pub(super) fn clicks_by_workspace(&self) -> HashMap<WorkspaceId, usize> {
        let mut clicks = HashMap::new();
        for (_, click, _) in self.parts.iter().flat_map(|part| part.clicks.iter()) {
            *clicks.entry(click.workspace).or_default() += 1;
        }
        clicks
    }

    pub(super) fn take_skewed(&mut self) -> u64 {
        std::mem::take(&mut self.skewed)
    }

    /// Reads the next records of all streams. Returns whether more may wait.
    pub(super) fn fill(
        &mut self,
        spool: &Spool,
        streams: &mut HashMap<StreamId, StreamState>,
        clock: &dyn Clock,
    ) -> bool {
        let more = self.read_streams(spool, streams, clock);
        // In one order: two that deliver the same streams never wait for each other in a circle.
        self.parts.sort_unstable_by_key(|part| part.stream);
        more
    }

    fn read_streams(
        &mut self,
        spool: &Spool,
        streams: &mut HashMap<StreamId, StreamState>,
        clock: &dyn Clock,
    ) -> bool {
        self.parts.clear();
        self.skewed = 0;
        self.failed = false;
        let mut left = self.max_records;
        let mut more = false;
        for (id, state) in streams {
            if left == 0 {
                return true;
            }
            if state.ended || state.waits_at().is_some() {
                continue;
            }
            match spool.read(*id, state.cursor.into(), left, MAX_BYTES, &mut self.records) {
                // The clock is read after the clicks: none of them can be ahead of it unless it is wrong.
                Ok(outcome) => more |= self.after_read(spool, *id, state, &outcome, clock.now()),
                Err(error) => {
                    self.failed = true;
                    tracing::warn!(error = &error as &dyn std::error::Error, stream = %id, "a spool stream could not be read");
                }
            }
            left = left.saturating_sub(self.records.len());
        }
        more
    }

    fn after_read(
        &mut self,
        spool: &Spool,
        id: StreamId,
        state: &mut StreamState,
        outcome: &ReadOutcome,
        now: Timestamp,
    ) -> bool {
        let before = state.cursor;
        if !self.records.is_empty() {
            let withdrawn = spool.withdrawn(id);
            let part = self.part(id, before, (state.limit, &withdrawn), now);
            if part.to > part.from {
                // A gap was accepted: the first record after it is not the next one.
                state.gap = None;
                state.gap_noted = false;
                state.gap_accepted = false;
                self.parts.push(part);
            } else {
                state.ended = true;
            }
        }
        match outcome {
            ReadOutcome::More => true,
            ReadOutcome::CaughtUp => false,
            ReadOutcome::End => {
                state.ended = true;
                false
            }
            ReadOutcome::Gap { after, next } => {
                if state.gap_accepted && next.is_none() {
                    state.ended = true;
                } else {
                    state.gap = Some(GapAt {
                        after: u64::from(*after),
                        next: next.map(u64::from),
                    });
                    state.gap_noted = false;
                    state.gap_accepted = false;
                }
                false
            }
        }
    }

    fn part(
        &mut self,
        id: StreamId,
        from: u64,
        (limit, withdrawn): (Option<u64>, &BTreeSet<u64>),
        now: Timestamp,
    ) -> StreamPart {
        let signed = |seq: u64| i64::try_from(seq).unwrap_or(i64::MAX);
        let mut part = StreamPart {
            stream: *id.as_bytes(),
            from: signed(from),
            to: signed(from),
            ..StreamPart::default()
        };
        let latest = now.plus(MAX_AHEAD);
        for record in self.records.records() {
            let seq = u64::from(record.seq);
            if limit.is_some_and(|limit| seq > limit) {
                break;
            }
            part.to = signed(seq);
            if withdrawn.contains(&seq) {
                continue;
            }
            match ClickHead::decode(record.version, record.payload) {
                Ok((mut head, facts)) => {
                    if head.at > latest {
                        head.at = now;
                        self.skewed += 1;
                    }
                    part.clicks.push(signed(seq), head, facts);
                }
                Err(_) => part.dead.push(DeadRecord {
                    seq: signed(seq),
                    version: record.version,
                    record: record.payload.to_vec(),
                }),
            }
        }
        part
    }
}
