//! What was counted so far; figures of several batches add up.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher as _};

use foldhash::quality::RandomState;

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

/// Which keys are counted that have no cell yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    None,
    /// As many as that, of the keys that belong to a part of all.
    Cells {
        most: usize,
        part: Part,
    },
}

/// One of several parts of all keys, of about the same size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::analytics) struct Part {
    pub(in crate::analytics) number: u64,
    pub(in crate::analytics) of: u64,
    /// Of this question alone: nobody can choose values that fall into one part.
    pub(in crate::analytics) key: u64,
}

impl Part {
    pub(in crate::analytics) const WHOLE: Self = Self {
        number: 0,
        of: 1,
        key: 0,
    };

    fn holds(self, key: &(impl Hash + ?Sized)) -> bool {
        if self.of == 1 {
            return true;
        }
        let mut hasher = DefaultHasher::new();
        self.key.hash(&mut hasher);
        key.hash(&mut hasher);
        hasher.finish() % self.of == self.number
    }
}

#[derive(Clone, Debug)]
pub(in crate::analytics) struct Figures {
    /// Clicks of every kind that the filters select.
    pub(in crate::analytics) kinds: KindCounts,
    cells: Vec<Cell>,
    /// Only so many cells, the first ones, have sets of visitors.
    sets: usize,
    texts: HashMap<Box<str>, usize, RandomState>,
    numbers: HashMap<i64, usize, RandomState>,
    room: Room,
    /// Whether a key was met that there was no room for.
    pub(in crate::analytics) is_full: bool,
    /// Chunks with counted clicks, as indexes into the snapshot.
    pub(in crate::analytics) matched: Vec<usize>,
    /// Clicks whose visitors are past their retention.
    pub(in crate::analytics) visitors_lost: bool,
}

/// What was counted, as numbers.
#[derive(Clone, Debug, Default)]
pub(in crate::analytics) struct Counted {
    pub(in crate::analytics) kinds: KindCounts,
    /// Clicks of all cells together.
    pub(in crate::analytics) in_cells: u64,
    pub(in crate::analytics) matched: Vec<usize>,
    pub(in crate::analytics) visitors_lost: bool,
    cells: HashMap<Key, (u64, u64)>,
}

impl Counted {
    /// Clicks and visitors of a key.
    pub(in crate::analytics) fn get(&self, key: &Key) -> (u64, u64) {
        self.cells.get(key).copied().unwrap_or_default()
    }

    /// Takes what another scan of the same clicks counted of some keys.
    pub(in crate::analytics) fn replace(&mut self, other: Self) {
        self.cells.extend(other.cells);
    }
}

impl Default for Figures {
    /// Figures with room for every key.
    fn default() -> Self {
        Self::with_room(usize::MAX, Part::WHOLE)
    }
}

impl Figures {
    /// Figures of at most so many keys, and only of a part of them.
    pub(in crate::analytics) fn with_room(most: usize, part: Part) -> Self {
        Self {
            kinds: KindCounts::default(),
            cells: Vec::new(),
            sets: usize::MAX,
            texts: HashMap::default(),
            numbers: HashMap::default(),
            room: Room::Cells { most, part },
            is_full: false,
            matched: Vec::new(),
            visitors_lost: false,
        }
    }

    /// Figures of these keys and no others.
    pub(in crate::analytics) fn of(keys: impl IntoIterator<Item = Key>) -> Self {
        let mut figures = Self::default();
        for key in keys {
            figures.cell(key);
        }
        figures.room = Room::None;
        figures
    }

    /// Figures of at most so many keys, of which these alone have their visitors counted.
    pub(in crate::analytics) fn with_sets_of(
        keys: impl IntoIterator<Item = Key>,
        most: usize,
    ) -> Self {
        let mut figures = Self::with_room(most, Part::WHOLE);
        for key in keys {
            figures.cell(key);
        }
        figures.sets = figures.cells.len();
        figures
    }

    /// The place of a key's cell; `None` when it does not count.
    pub(super) fn cell(&mut self, key: Key) -> Option<usize> {
        match key {
            Key::Text(text) => self.cell_of(&text),
            Key::Number(number) => {
                let known = self.numbers.get(&number).copied();
                known.or_else(|| {
                    let place = self.new_cell(&number)?;
                    self.numbers.insert(number, place);
                    Some(place)
                })
            }
        }
    }

    /// The place of a text's cell; `None` when it does not count.
    pub(super) fn cell_of(&mut self, text: &str) -> Option<usize> {
        let known = self.texts.get(text).copied();
        known.or_else(|| {
            let place = self.new_cell(text)?;
            self.texts.insert(text.into(), place);
            Some(place)
        })
    }

    fn new_cell(&mut self, key: &(impl Hash + ?Sized)) -> Option<usize> {
        let Room::Cells { most, part } = self.room else {
            return None;
        };
        if !part.holds(key) {
            return None;
        }
        if self.cells.len() >= most {
            self.is_full = true;
            return None;
        }
        self.cells.push(Cell::default());
        Some(self.cells.len() - 1)
    }

    pub(super) fn cell_mut(&mut self, place: usize) -> &mut Cell {
        &mut self.cells[place]
    }

    /// Whether a cell has a set of visitors.
    pub(super) fn has_set(&self, place: usize) -> bool {
        place < self.sets
    }

    /// The keys that have clicks, with how many; the most first, and no more than `limit`.
    pub(in crate::analytics) fn top(&self, limit: usize) -> Vec<(Key, u64)> {
        let clicks = |place: &usize| self.cells[*place].clicks;
        let texts = self.texts.iter();
        let numbers = self.numbers.iter();
        let mut top: Vec<_> = texts
            .map(|(text, place)| (Key::Text(text.clone()), clicks(place)))
            .chain(numbers.map(|(number, place)| (Key::Number(*number), clicks(place))))
            .filter(|(_, clicks)| *clicks > 0)
            .collect();
        top.sort_unstable_by(|(a, a_clicks), (b, b_clicks)| {
            b_clicks.cmp(a_clicks).then_with(|| a.cmp(b))
        });
        top.truncate(limit);
        top
    }

    /// The figures as numbers.
    pub(in crate::analytics) fn count(self) -> Counted {
        let count = |cell: &Cell| (cell.clicks, cell.visitors.count());
        let cells =
            keys(self.texts, self.numbers).map(|(key, place)| (key, count(&self.cells[place])));
        Counted {
            kinds: self.kinds,
            in_cells: self.cells.iter().map(|cell| cell.clicks).sum(),
            matched: self.matched,
            visitors_lost: self.visitors_lost,
            cells: cells.collect(),
        }
    }

    /// Adds what was counted elsewhere.
    pub(in crate::analytics) fn merge(&mut self, other: Self) {
        self.kinds.add(other.kinds);
        self.matched.extend(other.matched);
        self.visitors_lost |= other.visitors_lost;
        self.is_full |= other.is_full;
        let mut cells: Vec<_> = other.cells.into_iter().map(Some).collect();
        for (key, place) in keys(other.texts, other.numbers) {
            let Some(theirs) = cells[place].take() else {
                continue;
            };
            if let Some(mine) = self.cell(key) {
                let mine = &mut self.cells[mine];
                mine.clicks += theirs.clicks;
                mine.visitors.merge(theirs.visitors);
            }
        }
    }
}

/// Every key with the place of its cell.
fn keys(
    texts: HashMap<Box<str>, usize, RandomState>,
    numbers: HashMap<i64, usize, RandomState>,
) -> impl Iterator<Item = (Key, usize)> {
    let texts = texts.into_iter();
    let numbers = numbers.into_iter();
    texts
        .map(|(text, place)| (Key::Text(text), place))
        .chain(numbers.map(|(number, place)| (Key::Number(number), place)))
}
