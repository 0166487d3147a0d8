//! Counting rows by the value that they have in one text.

use std::ops::Range;

use crate::analytics::scan::selected::{Selected, sum};
use crate::analytics::scan::{Figures, shown};
use crate::columns::{Coded, Codes};
use crate::model::Dimension;

/// Counts clicks. Only values that some selected row has get a cell.
pub(super) fn count_values(
    selected: &Selected,
    text: &Coded,
    dimension: Dimension,
    figures: &mut Figures,
) {
    each_cell(selected, text, dimension, figures, |_, _| ());
}

/// Counts clicks and visitors.
pub(super) fn count_values_with_visitors(
    visitors: &[u64],
    selected: &Selected,
    text: &Coded,
    dimension: Dimension,
    figures: &mut Figures,
) {
    let mut sets = Vec::new();
    each_cell(selected, text, dimension, figures, |figures, set| {
        if figures.has_set(set.cell) {
            sets.push(set);
        }
    });
    let grouped = match &text.codes {
        Codes::Same => {
            for set in sets {
                let cell = figures.cell_mut(set.cell);
                for range in &selected.ranges {
                    let marks = &selected.marks[range.clone()];
                    cell.visitors.insert_marked(&visitors[range.clone()], marks);
                }
            }
            return;
        }
        Codes::Bytes(codes) => grouped(visitors, selected, codes, usize::from, &sets),
        Codes::Words(codes) => grouped(visitors, selected, codes, usize::from, &sets),
        Codes::Longs(codes) => grouped(visitors, selected, codes, |code| code as usize, &sets),
    };
    for (set, hashes) in sets.into_iter().zip(grouped.ranges) {
        let cell = figures.cell_mut(set.cell);
        cell.visitors.insert_all(&grouped.hashes[hashes]);
    }
}

/// A value that some selected row has.
struct Met {
    code: usize,
    cell: usize,
    clicks: u64,
}

/// Adds the clicks of each value to its cell, and hands it over.
fn each_cell(
    selected: &Selected,
    text: &Coded,
    dimension: Dimension,
    figures: &mut Figures,
    mut take: impl FnMut(&Figures, Met),
) {
    for (code, clicks) in clicks_of_codes(selected, text).into_iter().enumerate() {
        if clicks > 0
            && let Some(value) = text.values.get(code)
            && let Some(cell) = figures.cell_of(shown(dimension, value))
        {
            figures.cell_mut(cell).clicks += clicks;
            take(figures, Met { code, cell, clicks });
        }
    }
}

fn clicks_of_codes(selected: &Selected, text: &Coded) -> Vec<u64> {
    let mut clicks = vec![0; text.values.len()];
    for range in &selected.ranges {
        let marks = &selected.marks[range.clone()];
        let range = range.clone();
        match &text.codes {
            Codes::Same => clicks[0] += sum(marks),
            Codes::Bytes(codes) => add_up(&mut clicks, &codes[range], usize::from, marks),
            Codes::Words(codes) => add_up(&mut clicks, &codes[range], usize::from, marks),
            Codes::Longs(codes) => add_up(&mut clicks, &codes[range], |code| code as usize, marks),
        }
    }
    clicks
}

fn add_up<Code: Copy>(
    clicks: &mut [u64],
    codes: &[Code],
    index: impl Fn(Code) -> usize,
    marks: &[u8],
) {
    for (code, mark) in codes.iter().zip(marks) {
        clicks[index(*code)] += u64::from(*mark);
    }
}

/// Visitors of the selected rows, those of one value together.
struct Grouped {
    hashes: Vec<u64>,
    /// Of each set, in the order in which they were asked for.
    ranges: Vec<Range<usize>>,
}

/// Where the next visitor of a value goes.
#[derive(Clone, Copy, Default)]
struct Place {
    next: usize,
    /// 0 where nobody wants the value's visitors.
    step: usize,
}

/// Neighbouring rows have different values: added one by one, each visitor would wait for another set to
/// come near the processor. Moving them first is one pass without a jump that nobody can foresee: what is
/// not selected goes where the next one overwrites it.
fn grouped<Code: Copy>(
    visitors: &[u64],
    selected: &Selected,
    codes: &[Code],
    index: impl Fn(Code) -> usize,
    sets: &[Met],
) -> Grouped {
    let codes_in_all = sets.iter().map(|set| set.code + 1).max().unwrap_or(0);
    let mut places = vec![Place::default(); codes_in_all];
    // The first place is for values that nobody wants.
    let mut end = 1;
    let mut ranges = Vec::with_capacity(sets.len());
    for set in sets {
        places[set.code] = Place { next: end, step: 1 };
        let last = end + usize::try_from(set.clicks).unwrap_or(0);
        ranges.push(end..last);
        // One more, for what is not selected.
        end = last + 1;
    }
    let mut hashes = vec![0; end];
    for range in &selected.ranges {
        let rows = codes[range.clone()].iter();
        let rows = rows.zip(&selected.marks[range.clone()]);
        for ((code, mark), visitor) in rows.zip(&visitors[range.clone()]) {
            let Some(place) = places.get_mut(index(*code)) else {
                continue;
            };
            hashes[place.next] = *visitor;
            place.next += place.step & usize::from(*mark);
        }
    }
    Grouped { hashes, ranges }
}
