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
    if sets.is_empty() {
        return;
    }
    let mut grouped = Grouped::with_room_for(&sets, text.values.len());
    match &text.codes {
        Codes::Same => grouped.fill(visitors, selected, visitors, |_| 0),
        Codes::Bytes(codes) => grouped.fill(visitors, selected, codes, usize::from),
        Codes::Words(codes) => grouped.fill(visitors, selected, codes, usize::from),
        Codes::Longs(codes) => grouped.fill(visitors, selected, codes, |code| code as usize),
    }
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
    places: Vec<Place>,
}

/// Where the next visitor of a value goes.
#[derive(Clone, Copy, Default)]
struct Place {
    next: usize,
    /// 0 where nobody wants the value's visitors.
    step: usize,
}

impl Grouped {
    fn with_room_for(sets: &[Met], codes: usize) -> Self {
        let mut places = vec![Place::default(); codes];
        let mut ranges = Vec::with_capacity(sets.len());
        // The first place is for values that nobody wants.
        let mut end = 1;
        for set in sets {
            places[set.code] = Place { next: end, step: 1 };
            let last = end + usize::try_from(set.clicks).unwrap_or(0);
            ranges.push(end..last);
            // One more, for what is not selected.
            end = last + 1;
        }
        Self {
            hashes: vec![0; end],
            ranges,
            places,
        }
    }

    /// Neighbouring rows have different values: added one by one, each visitor would wait for another set to
    /// come near the processor. Moving them first is one pass without a jump that nobody can foresee: what is
    /// not selected goes where the next one overwrites it.
    fn fill<Code: Copy>(
        &mut self,
        visitors: &[u64],
        selected: &Selected,
        codes: &[Code],
        index: impl Fn(Code) -> usize,
    ) {
        for range in &selected.ranges {
            let rows = codes[range.clone()].iter();
            let rows = rows.zip(&selected.marks[range.clone()]);
            for ((code, mark), visitor) in rows.zip(&visitors[range.clone()]) {
                let place = &mut self.places[index(*code)];
                self.hashes[place.next] = *visitor;
                place.next += place.step & usize::from(*mark);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use proptest::prelude::*;

    use super::*;
    use crate::analytics::scan::Key;
    use crate::model::Fact;

    /// A dictionary of so many values; of few, two are shown as one.
    fn dictionary(values: usize) -> (Dimension, Vec<String>) {
        if values == 3 {
            let countries = ["DE", "US", "FR"].map(str::to_owned);
            return (Dimension::Continent, countries.to_vec());
        }
        let named = (0..values).map(|value| format!("v{value}"));
        (Dimension::Fact(Fact::City), named.collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]
        #[test]
        fn each_value_gets_what_looking_row_by_row_finds(
            values in prop::sample::select(vec![1_usize, 3, 20, 300, 70_000]),
            rows in prop::collection::vec((any::<u32>(), 0..2_u8, 1..40_u64), 0..500),
            (first, gap) in (0..300_usize, 0..50_usize),
            sets in 0..30_usize,
        ) {
            let (dimension, names) = dictionary(values);
            let code = |row: &(u32, u8, u64)| row.0 % u32::try_from(values).unwrap();
            let text = Coded {
                values: names.iter().map(String::as_str).collect(),
                codes: Codes::narrow(rows.iter().map(code).collect(), values),
            };
            let visitors: Vec<u64> = rows.iter().map(|row| row.2).collect();
            let end = first.min(rows.len());
            let selected = Selected {
                ranges: vec![0..end, (end + gap).min(rows.len())..rows.len()],
                marks: rows.iter().map(|row| row.1).collect(),
            };
            let key = |name: &str| Key::Text(shown(dimension, name).into());
            let with_sets: HashSet<Key> = names.iter().take(sets).map(|name| key(name)).collect();
            let mut expected: HashMap<Key, (u64, HashSet<u64>)> = HashMap::new();
            selected.each(|row| {
                let (clicks, people) = expected.entry(key(text.value(row))).or_default();
                *clicks += 1;
                people.insert(visitors[row]);
            });

            let mut figures = Figures::with_sets_of(with_sets.iter().cloned(), usize::MAX);
            count_values_with_visitors(&visitors, &selected, &text, dimension, &mut figures);
            let counted = figures.count();
            for name in &names {
                let key = key(name);
                let (clicks, people) = expected.get(&key).cloned().unwrap_or_default();
                let people = if with_sets.contains(&key) { people.len() as u64 } else { 0 };
                prop_assert_eq!(counted.get(&key), (clicks, people), "{:?}", key);
            }
        }
    }
}
