//! What was counted so far; figures of several batches add up.

use std::collections::HashMap;

use crate::analytics::visitors::Visitors;
use crate::columns::KindCounts;

/// What a cell counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::analytics) enum Key {
    /// A value, as it is shown.
    Text(Box<str>),
    /// A link, or a step of a calendar.
    Number(i64),
}

/// Counted clicks of one key.
#[derive(Clone, Debug, Default)]
pub(in crate::analytics) struct Cell {
    pub(in crate::analytics) clicks: u64,
    pub(in crate::analytics) visitors: Visitors,
}

#[derive(Clone, Debug, Default)]
pub(in crate::analytics) struct Figures {
    /// Clicks of every kind that the filters select.
    pub(in crate::analytics) kinds: KindCounts,
    cells: Vec<Cell>,
    index: HashMap<Key, usize>,
    /// Whether only the cells that are there already count.
    closed: bool,
    /// Chunks with counted clicks, as indexes into the snapshot.
    pub(in crate::analytics) matched: Vec<usize>,
    /// Clicks whose visitors are past their retention.
    pub(in crate::analytics) visitors_lost: bool,
}

impl Figures {
    /// Figures of these keys and no others.
    pub(in crate::analytics) fn of(keys: impl IntoIterator<Item = Key>) -> Self {
        let mut figures = Self::default();
        for key in keys {
            figures.cell(key);
        }
        figures.closed = true;
        figures
    }

    /// The place of a key's cell; `None` when it does not count.
    pub(super) fn cell(&mut self, key: Key) -> Option<usize> {
        if let Some(place) = self.index.get(&key) {
            return Some(*place);
        }
        if self.closed {
            return None;
        }
        self.index.insert(key, self.cells.len());
        self.cells.push(Cell::default());
        Some(self.cells.len() - 1)
    }

    pub(super) fn cell_mut(&mut self, place: usize) -> &mut Cell {
        &mut self.cells[place]
    }

    pub(in crate::analytics) fn get(&self, key: &Key) -> Option<&Cell> {
        self.index.get(key).map(|place| &self.cells[*place])
    }

    pub(in crate::analytics) fn iter(&self) -> impl Iterator<Item = (&Key, &Cell)> {
        self.index
            .iter()
            .map(|(key, place)| (key, &self.cells[*place]))
    }

    /// Adds what was counted elsewhere.
    pub(in crate::analytics) fn merge(&mut self, other: Self) {
        self.kinds.add(other.kinds);
        self.matched.extend(other.matched);
        self.visitors_lost |= other.visitors_lost;
        let mut cells: Vec<_> = other.cells.into_iter().map(Some).collect();
        for (key, place) in other.index {
            let Some(theirs) = cells[place].take() else {
                continue;
            };
            if let Some(mine) = self.cell(key) {
                let mine = &mut self.cells[mine];
                mine.clicks += theirs.clicks;
                mine.visitors.merge(&theirs.visitors);
            }
        }
    }
}
