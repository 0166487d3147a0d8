//! One pass over the rows of a batch. Work per value of a dictionary is done once, work per row is a
//! look-up in a small table.

use std::ops::Range;

use crate::analytics::calendar::Calendar;
use crate::analytics::scan::{Figures, Grouping, Key, Scan, shown};
use crate::classify::Kind;
use crate::columns::{Batch, Coded, Codes, Column, Damaged, KindCounts, Text};
use crate::model::Dimension;
use crate::store::chunks::ChunkHead;

/// Rows that are still in question: those of the links asked for whose mark is 1.
struct Selected {
    ranges: Vec<Range<usize>>,
    marks: Vec<u8>,
}

impl Selected {
    /// Keeps only rows that `keeps` gives 1 for.
    fn keep(&mut self, mut keeps: impl FnMut(usize) -> u8) {
        for range in &self.ranges {
            for (mark, row) in self.marks[range.clone()].iter_mut().zip(range.clone()) {
                *mark &= keeps(row);
            }
        }
    }

    /// Keeps only rows whose code has 1 in the table.
    fn keep_codes(&mut self, codes: &Codes, table: &[u8]) {
        let first = table.first().copied().unwrap_or(0);
        match codes {
            Codes::Same => self.keep(|_| first),
            Codes::Bytes(codes) => self.keep_bytes(codes, table),
            Codes::Words(codes) => self.keep(|row| table[usize::from(codes[row])]),
            Codes::Longs(codes) => self.keep(|row| table[codes[row] as usize]),
        }
    }

    /// One comparison for a whole vector of rows where a single code is kept, as most often; otherwise
    /// a look-up in a table that no code reaches beyond.
    fn keep_bytes(&mut self, codes: &[u8], table: &[u8]) {
        let kept = || (0..=u8::MAX).zip(table).filter(|(_, kept)| **kept != 0);
        let mut whole = [0; 256];
        whole[..table.len()].copy_from_slice(table);
        let only = kept().next().filter(|_| kept().count() == 1);
        for range in &self.ranges {
            let marks = self.marks[range.clone()].iter_mut();
            let rows = marks.zip(&codes[range.clone()]);
            match only {
                Some((only, _)) => rows.for_each(|(mark, code)| *mark &= u8::from(*code == only)),
                None => rows.for_each(|(mark, code)| *mark &= whole[usize::from(*code)]),
            }
        }
    }

    /// Hands over every row that is still selected.
    fn each(&self, mut take: impl FnMut(usize)) {
        for range in &self.ranges {
            for row in range.clone() {
                if self.marks[row] != 0 {
                    take(row);
                }
            }
        }
    }
}

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
                    count_values_with_visitors(batch, &selected, text, *dimension, figures);
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
            selected.each(|row| cell.visitors.insert(batch.visitors[row]));
        }
    }

    fn count_steps(
        &self,
        batch: &Batch,
        selected: &Selected,
        calendar: &Calendar,
        figures: &mut Figures,
    ) {
        // The rows of a link are in the order of time, and the next link begins anew: steps come and go.
        let mut cells: Vec<Option<Option<usize>>> = vec![None; calendar.len().max(1)];
        let mut current = (0..0, None);
        selected.each(|row| {
            let at = batch.at[row];
            if !current.0.contains(&at) {
                let step = calendar.step_at(at);
                let cell = *cells[step]
                    .get_or_insert_with(|| figures.cell(Key::Number(step.cast_signed() as i64)));
                current = (calendar.moments_of(step), cell);
            }
            if let Some(cell) = current.1 {
                let cell = figures.cell_mut(cell);
                cell.clicks += 1;
                if self.visitors {
                    cell.visitors.insert(batch.visitors[row]);
                }
            }
        });
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
                let cell = figures.cell_mut(cell);
                cell.clicks += clicks;
                if self.visitors {
                    for row in rows.clone().filter(|row| selected.marks[*row] != 0) {
                        cell.visitors.insert(batch.visitors[row]);
                    }
                }
            }
        }
    }
}

/// Rows of which so many marks add up to a byte.
const ROWS_PER_BYTE: usize = 255;

impl Selected {
    /// Selected rows with this code.
    fn count(&self, codes: &Codes, code: usize) -> u64 {
        let ranges = self.ranges.iter();
        match codes {
            Codes::Same => ranges.map(|range| sum(&self.marks[range.clone()])).sum(),
            Codes::Bytes(codes) => ranges
                .map(|range| {
                    // A dictionary of bytes has no other codes.
                    let code = u8::try_from(code).unwrap_or(u8::MAX);
                    let marks = self.marks[range.clone()].chunks(ROWS_PER_BYTE);
                    let parts = marks.zip(codes[range.clone()].chunks(ROWS_PER_BYTE));
                    parts
                        .map(|(marks, codes)| u64::from(matching(marks, codes, code)))
                        .sum::<u64>()
                })
                .sum(),
            _ => ranges
                .flat_map(Clone::clone)
                .map(|row| u64::from(self.marks[row] & u8::from(codes.get(row) == code)))
                .sum(),
        }
    }
}

/// Sums of bytes fit a vector of many; longer sums are made of those.
fn sum(marks: &[u8]) -> u64 {
    let parts = marks.chunks(ROWS_PER_BYTE);
    parts.map(|marks| u64::from(marks.iter().sum::<u8>())).sum()
}

fn matching(marks: &[u8], codes: &[u8], code: u8) -> u8 {
    let both = marks.iter().zip(codes);
    both.map(|(mark, is)| *mark & u8::from(*is == code)).sum()
}

/// Only values that some selected row has get a cell.
fn count_values(selected: &Selected, text: &Coded, dimension: Dimension, figures: &mut Figures) {
    let mut clicks = vec![0_u64; text.values.len()];
    for range in &selected.ranges {
        let marks = selected.marks[range.clone()]
            .iter()
            .map(|mark| u64::from(*mark));
        match &text.codes {
            Codes::Same => clicks[0] += marks.sum::<u64>(),
            Codes::Bytes(codes) => add_up(&mut clicks, &codes[range.clone()], marks),
            Codes::Words(codes) => add_up(&mut clicks, &codes[range.clone()], marks),
            Codes::Longs(codes) => {
                for (code, mark) in codes[range.clone()].iter().zip(marks) {
                    clicks[*code as usize] += mark;
                }
            }
        }
    }
    for (clicks, value) in clicks.into_iter().zip(&text.values) {
        if clicks > 0
            && let Some(cell) = figures.cell_of(shown(dimension, value))
        {
            figures.cell_mut(cell).clicks += clicks;
        }
    }
}

fn count_values_with_visitors(
    batch: &Batch,
    selected: &Selected,
    text: &Coded,
    dimension: Dimension,
    figures: &mut Figures,
) {
    let mut cells: Vec<Option<Option<usize>>> = vec![None; text.values.len()];
    selected.each(|row| {
        let code = text.codes.get(row);
        let cell = *cells[code]
            .get_or_insert_with(|| figures.cell_of(shown(dimension, &text.values[code])));
        if let Some(cell) = cell {
            let cell = figures.cell_mut(cell);
            cell.clicks += 1;
            cell.visitors.insert(batch.visitors[row]);
        }
    });
}

fn add_up<Code: Copy + Into<usize>>(
    clicks: &mut [u64],
    codes: &[Code],
    marks: impl Iterator<Item = u64>,
) {
    for (code, mark) in codes.iter().zip(marks) {
        clicks[(*code).into()] += mark;
    }
}
