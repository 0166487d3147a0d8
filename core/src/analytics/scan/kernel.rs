//! One pass over the rows of a batch. Work per value of a dictionary is done once, work per row is a
//! look-up in a small table.

use std::ops::Range;

use crate::analytics::calendar::Calendar;
use crate::analytics::scan::figures::Cell;
use crate::analytics::scan::selected::{Selected, sum};
use crate::analytics::scan::values::{count_values, count_values_with_visitors};
use crate::analytics::scan::{Figures, Grouping, Key, Scan};
use crate::classify::Kind;
use crate::columns::{Batch, Column, Damaged, KindCounts, Text};
use crate::store::chunks::ChunkHead;

impl Scan {
    /// Counts the rows of a batch: of a chunk with the columns that [`Scan::way`] names, or of the tail
    /// with all of them. Returns how many of them count.
    pub(in crate::analytics) fn count_rows(
        &self,
        batch: &Batch,
        chunk: Option<&ChunkHead>,
        figures: &mut Figures,
    ) -> Result<u64, Damaged> {
        let Some((selected, kinds)) = self.select(batch)? else {
            return Ok(0);
        };
        figures.kinds.add(kinds);
        let counted = kinds.of(self.kinds);
        if counted == 0 {
            return Ok(0);
        }
        match &self.grouping {
            Grouping::All => {
                self.count_together(batch, &selected, counted, Key::Number(0), figures);
            }
            Grouping::Steps(calendar) => {
                let only =
                    chunk.and_then(|chunk| calendar.only_step(chunk.first_at, chunk.last_at));
                match only {
                    Some(step) => {
                        let key = Key::Number(step.cast_signed() as i64);
                        self.count_together(batch, &selected, counted, key, figures);
                    }
                    None => self.count_steps(batch, &selected, calendar, figures),
                }
            }
            Grouping::Values(dimension, text) => {
                let text = batch.text(*text)?;
                if self.visitors {
                    count_values_with_visitors(
                        &batch.visitors,
                        &selected,
                        text,
                        *dimension,
                        figures,
                    );
                } else {
                    count_values(&selected, text, *dimension, figures);
                }
            }
            Grouping::Links | Grouping::Names(_) => self.count_links(batch, &selected, figures),
        }
        Ok(counted)
    }

    /// The latest time of a counted row.
    pub(in crate::analytics) fn newest(&self, batch: &Batch) -> Result<Option<i64>, Damaged> {
        let Some((selected, _)) = self.select(batch)? else {
            return Ok(None);
        };
        let mut newest = None;
        selected.each(|row| newest = newest.max(Some(batch.at[row])));
        Ok(newest)
    }

    /// Calls `take` with every counted row.
    pub(in crate::analytics) fn each_row(
        &self,
        batch: &Batch,
        take: impl FnMut(usize),
    ) -> Result<(), Damaged> {
        if let Some((selected, _)) = self.select(batch)? {
            selected.each(take);
        }
        Ok(())
    }

    /// Rows of the kinds that count, and how many of every kind the filters select.
    fn select(&self, batch: &Batch) -> Result<Option<(Selected, KindCounts)>, Damaged> {
        let mut ranges: Vec<Range<usize>> = Vec::new();
        for (link, rows) in batch.links() {
            if self.links.is_some() && !self.takes_link(link) {
                continue;
            }
            match ranges.last_mut() {
                Some(last) if last.end == rows.start => last.end = rows.end,
                _ => ranges.push(rows),
            }
        }
        if ranges.is_empty() {
            return Ok(None);
        }
        let mut selected = Selected {
            ranges,
            marks: vec![1; batch.rows()],
        };
        for filter in self.filters.iter() {
            let text = batch.text(filter.text)?;
            let table: Vec<_> = text
                .values
                .iter()
                .map(|value| u8::from(filter.allows(value)))
                .collect();
            if !table.contains(&1) {
                return Ok(None);
            }
            if table.contains(&0) {
                selected.keep_codes(&text.codes, &table);
            }
        }
        if batch.has(Column::At) && !batch.at.is_empty() {
            let within = self.from..self.to;
            selected.keep(|row| u8::from(within.contains(&batch.at[row])));
        }
        let kinds = self.keep_kinds(batch, &mut selected)?;
        Ok(Some((selected, kinds)))
    }

    fn keep_kinds(&self, batch: &Batch, selected: &mut Selected) -> Result<KindCounts, Damaged> {
        let text = batch.text(Text::Kind)?;
        let mut counts = KindCounts::default();
        let mut table = Vec::with_capacity(text.values.len());
        for (code, value) in text.values.iter().enumerate() {
            let slot = KindCounts::slot(Kind::from_name(value));
            table.push(u8::from(self.kinds[slot]));
            counts.0[slot] += selected.count(&text.codes, code);
        }
        if table.contains(&0) {
            selected.keep_codes(&text.codes, &table);
        }
        Ok(counts)
    }

    fn count_together(
        &self,
        batch: &Batch,
        selected: &Selected,
        counted: u64,
        key: Key,
        figures: &mut Figures,
    ) {
        let Some(cell) = figures.cell(key) else {
            return;
        };
        let cell = figures.cell_mut(cell);
        cell.clicks += counted;
        if self.visitors {
            add_visitors(batch, selected, cell);
        }
    }

    /// Step by step: what one has counted so far stays near the processor while all links add to it.
    fn count_steps(
        &self,
        batch: &Batch,
        selected: &Selected,
        calendar: &Calendar,
        figures: &mut Figures,
    ) {
        let mut runs = runs_of_steps(batch, selected, calendar);
        runs.sort_unstable_by_key(|run| run.step);
        for runs in runs.chunk_by(|one, next| one.step == next.step) {
            let key = Key::Number(runs[0].step.cast_signed() as i64);
            let Some(cell) = figures.cell(key) else {
                continue;
            };
            let cell = figures.cell_mut(cell);
            let clicks: u64 = runs.iter().map(|run| run.clicks).sum();
            cell.clicks += clicks;
            if self.visitors {
                cell.visitors.expect(clicks);
                for Run { rows, .. } in runs {
                    let marks = &selected.marks[rows.clone()];
                    cell.visitors
                        .insert_marked(&batch.visitors[rows.clone()], marks);
                }
            }
        }
    }

    fn count_links(&self, batch: &Batch, selected: &Selected, figures: &mut Figures) {
        for (link, rows) in batch.links() {
            if !self.takes_link(link) {
                continue;
            }
            let keys = self.keys_of_link(link).unwrap_or_default();
            let clicks = sum(&selected.marks[rows.clone()]);
            if clicks == 0 {
                continue;
            }
            for key in keys {
                let Some(cell) = figures.cell(key) else {
                    continue;
                };
                let visitors = self.visitors && figures.has_set(cell);
                let cell = figures.cell_mut(cell);
                cell.clicks += clicks;
                if visitors {
                    let marks = &selected.marks[rows.clone()];
                    cell.visitors
                        .insert_marked(&batch.visitors[rows.clone()], marks);
                }
            }
        }
    }
}

/// Neighbouring rows of one step.
struct Run {
    step: usize,
    rows: Range<usize>,
    /// How many of the rows count.
    clicks: u64,
}

/// The rows of a link are in the order of time, and the next link begins anew: steps come and go.
fn runs_of_steps(batch: &Batch, selected: &Selected, calendar: &Calendar) -> Vec<Run> {
    let mut runs = Vec::new();
    for range in &selected.ranges {
        let mut rest = range.clone();
        while let Some(at) = batch.at.get(rest.start).filter(|_| !rest.is_empty()) {
            let step = calendar.step_at(*at);
            let moments = calendar.moments_of(step);
            let mut in_step = batch.at[rest.clone()].iter();
            let end = in_step.position(|at| !moments.contains(at));
            let rows = rest.start..end.map_or(rest.end, |end| rest.start + end);
            rest.start = rows.end;
            let clicks = sum(&selected.marks[rows.clone()]);
            if clicks > 0 {
                runs.push(Run { step, rows, clicks });
            }
        }
    }
    runs
}

/// Of all selected rows.
fn add_visitors(batch: &Batch, selected: &Selected, cell: &mut Cell) {
    for range in &selected.ranges {
        let marks = &selected.marks[range.clone()];
        cell.visitors
            .insert_marked(&batch.visitors[range.clone()], marks);
    }
}
