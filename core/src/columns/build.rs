//! Making batches: out of rows of the tail, and out of other batches.

use std::collections::HashMap;

use super::{Batch, Coded, Codes, Column, Damaged, KindCounts, Run, TEXTS, Text, Values};
use crate::classify::{Facts, Kind, Reason};
use crate::model::Fact;

/// One click of the tail.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row<'a> {
    pub(crate) link: i64,
    pub(crate) at: i64,
    pub(crate) kind: Kind,
    pub(crate) reason: Reason,
    pub(crate) visitor: u64,
    pub(crate) stream: i64,
    pub(crate) seq: i64,
    pub(crate) facts: &'a [u8],
}

/// Clicks in the order in which they come.
#[derive(Debug, Default)]
pub(crate) struct BatchBuilder {
    links: Vec<i64>,
    at: Vec<i64>,
    visitors: Vec<u64>,
    seq: Vec<i64>,
    texts: [TextBuilder; TEXTS],
}

#[derive(Debug, Default)]
struct TextBuilder {
    values: Values,
    known: HashMap<Box<str>, u32>,
    /// Rows after the last that has a text are not here yet.
    codes: Vec<u32>,
}

/// Empty text has this code in every builder.
const NONE: u32 = 0;

impl TextBuilder {
    fn code(&mut self, value: &str) -> u32 {
        if self.values.is_empty() {
            self.values.push("");
        }
        if value.is_empty() {
            return NONE;
        }
        if let Some(code) = self.known.get(value) {
            return *code;
        }
        let code = u32::try_from(self.values.len()).unwrap_or(NONE);
        self.values.push(value);
        self.known.insert(value.into(), code);
        code
    }

    fn set(&mut self, row: usize, value: &str) {
        let code = self.code(value);
        self.codes.resize(row, NONE);
        self.codes.push(code);
    }

    /// These rows of the column in this order, without values that none of them has.
    fn finish(mut self, order: &[u32]) -> Coded {
        self.codes.resize(self.codes.len().max(order.len()), NONE);
        self.code("");
        let mut new_codes = vec![u32::MAX; self.values.len()];
        let mut used = 0;
        let codes = order
            .iter()
            .map(|row| {
                let code = &mut new_codes[self.codes[*row as usize] as usize];
                if *code == u32::MAX {
                    *code = used;
                    used += 1;
                }
                *code
            })
            .collect();
        let mut kept: Vec<_> = new_codes
            .into_iter()
            .zip(self.values.iter())
            .filter(|(code, _)| *code != u32::MAX)
            .collect();
        kept.sort_unstable_by_key(|(code, _)| *code);
        let values: Values = kept.into_iter().map(|(_, value)| value).collect();
        Coded {
            codes: Codes::narrow(codes, values.len()),
            values,
        }
    }
}

impl BatchBuilder {
    pub(crate) fn rows(&self) -> usize {
        self.links.len()
    }

    /// Adds a click. Facts that do not decode are left out: the click counts all the same.
    pub(crate) fn push(&mut self, row: &Row<'_>) {
        let index = self.rows();
        self.links.push(row.link);
        self.at.push(row.at);
        self.visitors.push(row.visitor);
        self.seq.push(row.seq);
        let mut digits = itoa::Buffer::new();
        let mut set = |text: Text, value: &str| self.texts[text.index()].set(index, value);
        set(Text::Stream, digits.format(row.stream));
        set(Text::Kind, row.kind.as_str());
        set(Text::Reason, row.reason.as_str());
        let facts = Facts::decode(row.facts).unwrap_or_default();
        for fact in Fact::ALL {
            let value = facts.get(fact);
            if !value.is_empty() {
                set(Text::Fact(fact), value);
            }
        }
    }

    /// Adds all clicks of a batch that has every column.
    pub(crate) fn append(&mut self, batch: &Batch) -> Result<(), Damaged> {
        if !Column::all().all(|column| batch.has(column)) {
            return Err(Damaged("a column is missing"));
        }
        let before = self.rows();
        for (link, rows) in batch.links() {
            self.links.resize(self.links.len() + rows.len(), link);
        }
        self.at.extend_from_slice(&batch.at);
        self.visitors.extend_from_slice(&batch.visitors);
        self.seq.extend_from_slice(&batch.seq);
        for text in Text::all() {
            let column = batch.text(text)?;
            let mine = &mut self.texts[text.index()];
            let new_codes: Vec<_> = column.values.iter().map(|value| mine.code(value)).collect();
            mine.codes.resize(before, NONE);
            let code_of = |row| new_codes.get(column.codes.get(row)).copied();
            mine.codes
                .extend((0..batch.rows()).map(|row| code_of(row).unwrap_or(NONE)));
        }
        Ok(())
    }

    /// The batch of all clicks added.
    pub(crate) fn finish(self) -> Batch {
        let rows = u32::try_from(self.rows()).unwrap_or(u32::MAX);
        let mut order: Vec<u32> = (0..rows).collect();
        order.sort_unstable_by_key(|row| {
            let row = *row as usize;
            (self.links[row], self.at[row], self.seq[row])
        });
        Batch {
            runs: runs(order.iter().map(|row| self.links[*row as usize])),
            at: in_order(&self.at, &order),
            visitors: in_order(&self.visitors, &order),
            seq: in_order(&self.seq, &order),
            texts: self.texts.map(|text| Some(text.finish(&order))),
        }
    }
}

impl Batch {
    /// The rows that `is_removed` does not take, given their link and time, and the kinds of the others.
    /// The batch has every column.
    pub(crate) fn without(
        &self,
        is_removed: impl Fn(i64, i64) -> bool,
    ) -> Result<(Self, KindCounts), Damaged> {
        let kinds = self.text(Text::Kind)?;
        let (mut kept, mut links) = (Vec::new(), Vec::new());
        let mut removed = KindCounts::default();
        for (link, rows) in self.links() {
            for row in rows {
                if is_removed(link, self.at[row]) {
                    let kind = Kind::from_name(kinds.value(row));
                    removed.0[KindCounts::slot(kind)] += 1;
                } else {
                    kept.push(u32::try_from(row).unwrap_or(u32::MAX));
                    links.push(link);
                }
            }
        }
        let text = |text: &Option<Coded>| {
            let text = text.as_ref()?;
            let code = |row| u32::try_from(text.codes.get(row)).unwrap_or(NONE);
            let builder = TextBuilder {
                values: text.values.clone(),
                known: HashMap::new(),
                codes: (0..self.rows()).map(code).collect(),
            };
            Some(builder.finish(&kept))
        };
        let rest = Self {
            runs: runs(links.into_iter()),
            at: in_order(&self.at, &kept),
            visitors: in_order(&self.visitors, &kept),
            seq: in_order(&self.seq, &kept),
            texts: self.texts.each_ref().map(text),
        };
        Ok((rest, removed))
    }
}

fn in_order<T: Copy>(values: &[T], order: &[u32]) -> Vec<T> {
    order.iter().map(|row| values[*row as usize]).collect()
}

fn runs(links: impl Iterator<Item = i64>) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (row, link) in links.enumerate() {
        match runs.last_mut() {
            Some(run) if run.link == link => run.end = row + 1,
            _ => runs.push(Run { link, end: row + 1 }),
        }
    }
    runs
}

/// All clicks of several batches, each of which has every column, as one.
pub(crate) fn merge(batches: &[Batch]) -> Result<Batch, Damaged> {
    let mut builder = BatchBuilder::default();
    for batch in batches {
        builder.append(batch)?;
    }
    Ok(builder.finish())
}
