//! Delivering what a spool holds and the database does not have yet, from where its cursors say.
//!
//! Nothing here is remembered that the database does not know: after any failure the cursors are read
//! again. Two that deliver the same records at the same time apply each once.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::failpoint::failpoint;
use crate::folder::batch::{BatchReader, GapAt, StreamState};
use crate::model::{Clock, Timestamp};
use crate::spool::{Spool, StreamId};
use crate::store::clicks::{FoldOutcome, StreamPart};
use crate::store::{Store, StoreError, within};

const RECHECK_CURSORS_EVERY: Duration = Duration::from_mins(1);

/// What delivering one batch came to.
#[derive(Debug)]
pub(super) enum Step {
    /// There was nothing to deliver.
    Nothing,
    /// The batch is in the database now, its streams under these numbers.
    Applied(Vec<i64>),
    /// Somebody else had delivered some of it: nothing was written.
    Repeated,
}

/// The spool's records on their way into the database.
pub(super) struct Delivery {
    pub(super) spool: Spool,
    pub(super) store: Store,
    reader: BatchReader,
    streams: HashMap<StreamId, StreamState>,
    cursors_read: Instant,
}

impl Delivery {
    /// In batches of at most `max_records` clicks.
    pub(super) fn new(spool: Spool, store: Store, max_records: usize) -> Self {
        Self {
            spool,
            store,
            reader: BatchReader::new(max_records),
            streams: HashMap::new(),
            cursors_read: Instant::now(),
        }
    }

    /// What the last step read.
    pub(super) fn parts(&self) -> &[StreamPart] {
        self.reader.parts()
    }

    pub(super) fn reader(&mut self) -> &mut BatchReader {
        &mut self.reader
    }

    /// Has the cursors read again: a transaction may have been committed although its answer was lost.
    pub(super) fn forget_cursors(&mut self) {
        self.streams.clear();
        self.cursors_read = Instant::now();
    }

    /// How far each stream was delivered, and where it waits for a gap to be accepted.
    pub(super) fn cursors(&self) -> impl Iterator<Item = (StreamId, u64, Option<GapAt>)> {
        self.streams
            .iter()
            .map(|(id, state)| (*id, state.cursor, state.waits_at()))
    }

    /// Streams that wait for a gap to be accepted.
    pub(super) fn stopped_streams(&self) -> u64 {
        self.cursors().filter(|(_, _, gap)| gap.is_some()).count() as u64
    }

    /// Delivers one batch, with `patience` for whatever it asks of the database. Returns what came of it, and
    /// whether more may wait. What was applied is to be let go of.
    pub(super) async fn step(
        &mut self,
        clock: &dyn Clock,
        patience: Duration,
    ) -> Result<(Step, bool), StoreError> {
        if self.cursors_read.elapsed() >= RECHECK_CURSORS_EVERY {
            self.forget_cursors();
        }
        self.learn_cursors(patience).await?;
        let full = self.reader.fill(&self.spool, &mut self.streams, clock);
        let now = clock.now();
        // Behind a gap that was accepted just now, there is more to read.
        let full = self.handle_gaps(now, patience).await? || full;
        if self.reader.parts().is_empty() {
            return Ok((Step::Nothing, full));
        }
        failpoint("ship.after_read");
        let fold = self.store.fold(self.reader.parts(), now);
        match within(patience, fold).await? {
            FoldOutcome::Applied(numbers) => Ok((Step::Applied(numbers), full)),
            FoldOutcome::Moved(_) => {
                self.forget_cursors();
                Ok((Step::Repeated, true))
            }
        }
    }

    /// Tells the spool that the database has the batch. Whoever sees then that nothing waits sees also what
    /// was noted of the batch before.
    pub(super) fn let_go(&mut self) {
        for part in self.reader.parts() {
            let id = StreamId::from_bytes(part.stream);
            let cursor = u64::try_from(part.to).unwrap_or(0);
            if let Some(state) = self.streams.get_mut(&id) {
                state.cursor = cursor;
            }
            failpoint("ship.before_delete");
            self.spool.folded(id, cursor.into());
        }
    }

    /// Reads the cursors of streams that are new here.
    async fn learn_cursors(&mut self, patience: Duration) -> Result<(), StoreError> {
        let views = self.spool.streams();
        self.streams
            .retain(|id, _| views.iter().any(|view| view.id == *id));
        for view in views {
            if self.streams.contains_key(&view.id) {
                continue;
            }
            let stored = self.store.stream_cursor(view.id.as_bytes());
            let stored = within(patience, stored).await?;
            let cursor = stored.map_or(0, |cursor| u64::try_from(cursor.seq).unwrap_or(0));
            let limit = stored
                .and_then(|cursor| cursor.limit_seq)
                .and_then(|limit| u64::try_from(limit).ok());
            if let Some(limit) = limit {
                self.spool.limit(view.id, limit.into());
            }
            self.spool.folded(view.id, cursor.into());
            self.streams.insert(view.id, StreamState::at(cursor, limit));
        }
        Ok(())
    }

    /// Notes gaps that were met, and goes on after those that a person accepted. Returns whether one is
    /// accepted that was not before.
    async fn handle_gaps(
        &mut self,
        now: Timestamp,
        patience: Duration,
    ) -> Result<bool, StoreError> {
        let mut goes_on = false;
        for (id, state) in &mut self.streams {
            let Some(gap) = state.waits_at() else {
                continue;
            };
            let after = i64::try_from(gap.after).unwrap_or(i64::MAX);
            let next = gap.next.map(|next| i64::try_from(next).unwrap_or(i64::MAX));
            if !state.gap_noted {
                let noted = self.store.record_gap(id.as_bytes(), after, next, now);
                within(patience, noted).await?;
                state.gap_noted = true;
                tracing::error!(stream = %id, after = gap.after, next = ?gap.next,
                    "records are missing from a spool stream; it waits for `terse-server spool accept-gap`");
            }
            // An accepted gap lets reading go on; a stream that has nothing after it is done.
            let accepted = self.store.gap_is_accepted(id.as_bytes(), after);
            if within(patience, accepted).await? {
                goes_on = true;
                state.gap_accepted = true;
                self.spool.accept_gap(*id, gap.after.into());
            }
        }
        Ok(goes_on)
    }
}
