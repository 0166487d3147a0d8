//! What a question wants of each batch of clicks, and counting it in one pass.

mod columns_wanted;
mod figures;
mod kernel;
mod selected;
mod values;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::analytics::RecordedClick;
use crate::analytics::calendar::Calendar;
use crate::columns::{KindCounts, Text};
use crate::model::{Dimension, Fact};
use crate::place::continent_of;

pub(super) use columns_wanted::Way;
pub(super) use figures::{Counted, Figures, Key, Part};

/// One question, ready to be put to batches.
#[derive(Clone, Debug)]
pub(super) struct Scan {
    /// Unix milliseconds.
    pub(super) from: i64,
    /// Exclusive.
    pub(super) to: i64,
    /// Only these, in order; every link when `None`.
    pub(super) links: Option<Arc<[i64]>>,
    /// Whether clicks of each kind count, by `KindCounts::slot`.
    pub(super) kinds: [bool; 3],
    pub(super) filters: Arc<[TextFilter]>,
    pub(super) grouping: Grouping,
    /// Whether visitors are counted too.
    pub(super) visitors: bool,
}

/// What clicks are counted by.
#[derive(Clone, Debug)]
pub(super) enum Grouping {
    /// All together.
    All,
    /// Steps of a calendar.
    Steps(Arc<Calendar>),
    /// Values of a dimension that is a text of the click.
    Values(Dimension, Text),
    Links,
    /// Names that links go by: each may have several.
    Names(Arc<HashMap<i64, Vec<Box<str>>>>),
}

impl Grouping {
    /// Whether there are few different values by nature.
    pub(super) const fn has_few_values(&self) -> bool {
        matches!(self, Self::Values(dimension, _) if dimension.has_few_values())
    }
}

/// A condition on a text of the click.
#[derive(Clone, Debug)]
pub(super) struct TextFilter {
    pub(super) dimension: Dimension,
    pub(super) text: Text,
    /// One of these, unless it is empty.
    pub(super) one_of: HashSet<String>,
    pub(super) none_of: HashSet<String>,
}

impl Scan {
    /// The same question about clicks alone.
    pub(super) fn without_visitors(&self) -> Self {
        Self {
            visitors: false,
            ..self.clone()
        }
    }

    /// Whether a single click counts, whenever it was.
    pub(super) fn takes(&self, click: &RecordedClick) -> bool {
        let takes_link = |links: &Arc<[i64]>| links.binary_search(&click.link.number()).is_ok();
        let value = |filter: &TextFilter| match filter.text {
            Text::Fact(fact) => click.fact(fact),
            Text::Kind => click.kind.as_str(),
            Text::Reason => click.reason.as_str(),
            Text::Stream => "",
        };
        self.kinds[KindCounts::slot(click.kind)]
            && self.links.as_ref().is_none_or(takes_link)
            && self
                .filters
                .iter()
                .all(|filter| filter.allows(value(filter)))
    }
}

impl TextFilter {
    fn allows(&self, value: &str) -> bool {
        let shown = shown(self.dimension, value);
        (self.one_of.is_empty() || self.one_of.contains(shown)) && !self.none_of.contains(shown)
    }
}

/// The text that holds a dimension; `None` when it depends on the link.
pub(super) const fn text_of(dimension: Dimension) -> Option<Text> {
    match dimension {
        Dimension::Fact(fact) => Some(Text::Fact(fact)),
        Dimension::Continent => Some(Text::Fact(Fact::Country)),
        Dimension::Reason => Some(Text::Reason),
        Dimension::Link | Dimension::Tag | Dimension::Domain => None,
    }
}

/// What people see of a stored value.
pub(super) fn shown(dimension: Dimension, value: &str) -> &str {
    match dimension {
        Dimension::Fact(fact) => fact.shown(value),
        Dimension::Continent => match continent_of(value) {
            "" => "(none)",
            continent => continent,
        },
        _ => value,
    }
}
