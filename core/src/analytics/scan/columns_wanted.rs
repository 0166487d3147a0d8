//! How a question is answered for one chunk: out of what is known of it, or by looking at its rows.

use crate::analytics::scan::{Figures, Grouping, Key, Scan, TextFilter, shown};
use crate::columns::{Column, Damaged, KindCounts, Text, decode_link_counts, each_value_count};
use crate::store::chunks::ChunkHead;

/// What has to be read of a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::analytics) enum Way {
    /// Nothing more than its head.
    Head,
    /// The counts of one column.
    Counts(Column),
    /// Rows of these columns.
    Rows(Vec<Column>),
    /// Rows that are past their retention.
    Lost,
}

impl Scan {
    /// What has to be read of a chunk. `visitors` says whether they are counted as well: past their
    /// retention only clicks can be.
    pub(in crate::analytics) fn way(&self, chunk: &ChunkHead, visitors: bool) -> Way {
        let is_whole = self.from <= chunk.first_at && chunk.last_at < self.to;
        if is_whole
            && !visitors
            && let Some(way) = self.way_by_counts(chunk)
        {
            return way;
        }
        if !chunk.detail {
            return Way::Lost;
        }
        let mut columns = vec![Column::Text(Text::Kind)];
        let mut want = |column| {
            if !columns.contains(&column) {
                columns.push(column);
            }
        };
        if self.links.is_some() {
            want(Column::Link);
        }
        if !is_whole {
            want(Column::At);
        }
        for filter in self.filters.iter() {
            want(Column::Text(filter.text));
        }
        match &self.grouping {
            Grouping::All => {}
            Grouping::Steps(calendar) => {
                if calendar.only_step(chunk.first_at, chunk.last_at).is_none() {
                    want(Column::At);
                }
            }
            Grouping::Values(_, text) => want(Column::Text(*text)),
            Grouping::Links | Grouping::Names(_) => want(Column::Link),
        }
        if visitors {
            want(Column::Visitor);
        }
        Way::Rows(columns)
    }

    /// For a chunk that is in the period as a whole.
    fn way_by_counts(&self, chunk: &ChunkHead) -> Option<Way> {
        let filter = match &self.filters[..] {
            [] => None,
            [one] if self.links.is_none() => Some(one.text),
            _ => return None,
        };
        let one_cell = match &self.grouping {
            Grouping::All => true,
            Grouping::Steps(calendar) => {
                calendar.only_step(chunk.first_at, chunk.last_at)?;
                true
            }
            _ => false,
        };
        if chunk.is_of_older_release() {
            // Its rows tell what is unknown of them.
            return (filter.is_none() && one_cell && self.links.is_none()).then_some(Way::Head);
        }
        match (&self.grouping, filter) {
            (_, None) if one_cell && self.links.is_none() => Some(Way::Head),
            (_, None) if one_cell => Some(Way::Counts(Column::Link)),
            (_, Some(text)) if one_cell => Some(Way::Counts(Column::Text(text))),
            (Grouping::Values(_, text), None) if self.links.is_none() => {
                Some(Way::Counts(Column::Text(*text)))
            }
            (Grouping::Values(_, text), Some(filter)) if *text == filter => {
                Some(Way::Counts(Column::Text(*text)))
            }
            (Grouping::Links | Grouping::Names(_), None) => Some(Way::Counts(Column::Link)),
            _ => None,
        }
    }

    /// Counts a chunk by its head alone.
    pub(in crate::analytics) fn count_head(&self, chunk: &ChunkHead, figures: &mut Figures) {
        let key = self.key_of_chunk(chunk).into_iter().collect();
        self.count_keys(chunk.kinds(), key, figures);
    }

    /// Counts a chunk by the counts of one column.
    pub(in crate::analytics) fn count_column(
        &self,
        chunk: &ChunkHead,
        column: Column,
        counts: &[u8],
        figures: &mut Figures,
    ) -> Result<(), Damaged> {
        match column {
            Column::Text(text) => each_value_count(counts, |value, counts| {
                let allows = |filter: &TextFilter| filter.text != text || filter.allows(value);
                if !self.filters.iter().all(allows) {
                    return;
                }
                figures.kinds.add(counts);
                let clicks = counts.of(self.kinds);
                let cell = match &self.grouping {
                    _ if clicks == 0 => None,
                    Grouping::Values(dimension, _) => figures.cell_of(shown(*dimension, value)),
                    _ => self.key_of_chunk(chunk).and_then(|key| figures.cell(key)),
                };
                if let Some(cell) = cell {
                    figures.cell_mut(cell).clicks += clicks;
                }
            })?,
            _ => {
                for (link, counts) in decode_link_counts(counts)? {
                    if self.takes_link(link) {
                        let keys = self
                            .keys_of_link(link)
                            .unwrap_or_else(|| self.key_of_chunk(chunk).into_iter().collect());
                        self.count_keys(counts, keys, figures);
                    }
                }
            }
        }
        Ok(())
    }

    fn count_keys(&self, counts: KindCounts, keys: Vec<Key>, figures: &mut Figures) {
        figures.kinds.add(counts);
        let clicks = counts.of(self.kinds);
        if clicks == 0 {
            return;
        }
        for key in keys {
            if let Some(cell) = figures.cell(key) {
                figures.cell_mut(cell).clicks += clicks;
            }
        }
    }

    /// The key of every click of a chunk, where they all have the same.
    fn key_of_chunk(&self, chunk: &ChunkHead) -> Option<Key> {
        match &self.grouping {
            Grouping::All => Some(Key::Number(0)),
            Grouping::Steps(calendar) => calendar
                .only_step(chunk.first_at, chunk.last_at)
                .map(|step| Key::Number(step.cast_signed() as i64)),
            _ => None,
        }
    }

    /// The keys that every click of a link has; `None` when they do not depend on the link.
    pub(super) fn keys_of_link(&self, link: i64) -> Option<Vec<Key>> {
        match &self.grouping {
            Grouping::Links => Some(vec![Key::Number(link)]),
            Grouping::Names(names) => Some(match names.get(&link) {
                Some(names) => names.iter().map(|name| Key::Text(name.clone())).collect(),
                None => vec![Key::Text("(none)".into())],
            }),
            _ => None,
        }
    }

    pub(super) fn takes_link(&self, link: i64) -> bool {
        self.links
            .as_ref()
            .is_none_or(|links| links.binary_search(&link).is_ok())
    }
}
