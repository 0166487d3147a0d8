//! Reading a question: every parameter is looked at before the answer is given.

use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;

use crate::analytics::AnalyticsError;
use crate::analytics::scan::{Grouping, Scan, TextFilter, text_of};
use crate::classify::Kind;
use crate::columns::KindCounts;
use crate::model::{Dimension, FieldError, Timestamp, WorkspaceId};
use crate::store::click_reports::{LinkCondition, Terms};

const DEFAULT_PERIOD: Duration = Duration::from_hours(30 * 24);
const MAX_VALUES: usize = 100;
const MAX_VALUE_CHARS: usize = 255;

/// A question about clicks, as somebody typed it.
#[derive(Clone, Debug, Default)]
pub struct AnalyticsQuery {
    /// Only these links; every link when empty.
    pub link_id: Vec<String>,
    /// Only links with one of these tags.
    pub tag: Vec<String>,
    /// Only links on one of these domains.
    pub domain: Vec<String>,
    /// RFC 3339; 30 days before `to` when absent.
    pub from: Option<String>,
    /// RFC 3339, exclusive; now when absent.
    pub to: Option<String>,
    /// An IANA zone such as `Europe/Berlin`; UTC when absent.
    pub tz: Option<String>,
    /// `bots`, `previews`, or both with a comma: counted in the figures too.
    pub include: Option<String>,
    /// Conditions on other dimensions, all of which must hold.
    pub filters: Vec<Filter>,
    /// `clicks` leaves visitors out, which is faster; `clicks,visitors` when absent.
    pub metrics: Option<String>,
}

/// A condition on one dimension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    pub dimension: Dimension,
    /// One of these, and none of those that begin with `!`.
    pub values: Vec<String>,
}

impl AnalyticsQuery {
    /// Dimensions that a [`Filter`] may name; links, tags and domains have fields of their own.
    pub fn filterable() -> impl Iterator<Item = Dimension> {
        Dimension::all().filter(|dimension| {
            !matches!(
                dimension,
                Dimension::Link | Dimension::Tag | Dimension::Domain
            )
        })
    }
}

/// Which page of single clicks.
#[derive(Clone, Debug, Default)]
pub struct ClicksPage {
    /// The `next_cursor` of the page before.
    pub cursor: Option<String>,
    /// 1 to 200; 50 when absent.
    pub limit: Option<i64>,
    /// `desc` (newest first, also when absent) or `asc`.
    pub order: Option<String>,
}

/// A question whose every parameter was looked at.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) workspace: WorkspaceId,
    pub(super) from: Timestamp,
    /// Exclusive.
    pub(super) to: Timestamp,
    pub(super) condition: LinkCondition,
    pub(super) filters: Arc<[TextFilter]>,
    /// Which kinds count, by `KindCounts::slot`.
    pub(super) kinds: [bool; 3],
    pub(super) visitors: bool,
    pub(super) zone: TimeZone,
    pub(super) zone_name: String,
}

impl Question {
    pub(super) fn parse(
        workspace: WorkspaceId,
        query: AnalyticsQuery,
        now: Timestamp,
    ) -> Result<Self, AnalyticsError> {
        let mut refused = Vec::new();
        let to = moment("to", query.to.as_deref(), &mut refused).unwrap_or_else(|| {
            // The click of this very millisecond counts.
            now.plus(Duration::from_millis(1))
        });
        let from = moment("from", query.from.as_deref(), &mut refused)
            .unwrap_or_else(|| to.minus(DEFAULT_PERIOD));
        if from >= to && refused.is_empty() {
            refused.push(FieldError::new(
                "from",
                "range_empty",
                "must be earlier than to",
            ));
        }
        let zone_name = query.tz.unwrap_or_else(|| "UTC".to_owned());
        let zone = zone(&zone_name).unwrap_or_else(|error| {
            refused.push(error);
            TimeZone::UTC
        });
        let kinds = kinds(query.include.as_deref());
        let visitors = wants_visitors(query.metrics.as_deref());
        refused.extend(kinds.as_ref().err().cloned());
        refused.extend(visitors.as_ref().err().cloned());
        let lists = [
            ("link_id", &query.link_id),
            ("tag", &query.tag),
            ("domain", &query.domain),
        ];
        let filters = query.filters.iter();
        let lists = lists
            .into_iter()
            .chain(filters.map(|filter| (filter.dimension.name(), &filter.values)));
        refused.extend(lists.filter_map(|(field, values)| values_error(field, values)));
        if !refused.is_empty() {
            return Err(AnalyticsError::Refused(refused));
        }
        let ids = terms(query.link_id);
        let id = |id: String| id.parse().map_err(|_| AnalyticsError::NotFound);
        Ok(Self {
            workspace,
            from,
            to,
            condition: LinkCondition {
                links: Terms {
                    one_of: ids.one_of.into_iter().map(id).collect::<Result<_, _>>()?,
                    none_of: ids.none_of.into_iter().map(id).collect::<Result<_, _>>()?,
                },
                tags: terms(query.tag),
                hosts: terms(lower(query.domain)),
            },
            filters: query.filters.into_iter().filter_map(text_filter).collect(),
            kinds: kinds.unwrap_or_default(),
            visitors: visitors.unwrap_or_default(),
            zone,
            zone_name,
        })
    }

    /// Where the period before begins that is as long.
    pub(super) fn before(&self) -> Timestamp {
        let length = self.to.as_millis() - self.from.as_millis();
        Timestamp::from_millis(self.from.as_millis() - length)
    }

    /// What of each batch is counted.
    pub(super) fn scan(&self, grouping: Grouping, links: Option<Arc<[i64]>>) -> Scan {
        Scan {
            from: self.from.as_millis(),
            to: self.to.as_millis(),
            links,
            kinds: self.kinds,
            filters: Arc::clone(&self.filters),
            grouping,
            visitors: self.visitors,
        }
    }
}

/// Values as they were typed: one that begins with `!` is excluded.
fn terms(values: Vec<String>) -> Terms<String> {
    let mut terms = Terms::default();
    for value in values {
        match value.strip_prefix('!') {
            Some(excluded) => terms.none_of.push(excluded.to_owned()),
            None => terms.one_of.push(value),
        }
    }
    terms
}

fn text_filter(filter: Filter) -> Option<TextFilter> {
    let terms = terms(filter.values);
    if terms.is_empty() {
        return None;
    }
    Some(TextFilter {
        dimension: filter.dimension,
        text: text_of(filter.dimension)?,
        one_of: terms.one_of.into_iter().collect(),
        none_of: terms.none_of.into_iter().collect(),
    })
}

fn wants_visitors(metrics: Option<&str>) -> Result<bool, FieldError> {
    let unknown = || {
        FieldError::new(
            "metrics",
            "metric_unknown",
            "must be clicks, or clicks,visitors",
        )
    };
    let Some(metrics) = metrics else {
        return Ok(true);
    };
    let words: Vec<_> = metrics.split(',').map(str::trim).collect();
    let known = words
        .iter()
        .all(|word| matches!(*word, "clicks" | "visitors"));
    if known {
        Ok(words.contains(&"visitors"))
    } else {
        Err(unknown())
    }
}

fn lower(values: Vec<String>) -> Vec<String> {
    values
        .into_iter()
        .map(|value| value.to_ascii_lowercase())
        .collect()
}

fn moment(
    field: &'static str,
    text: Option<&str>,
    refused: &mut Vec<FieldError>,
) -> Option<Timestamp> {
    Timestamp::parse(field, text?)
        .map_err(|error| refused.push(error))
        .ok()
}

fn zone(name: &str) -> Result<TimeZone, FieldError> {
    let unknown = || {
        FieldError::new(
            "tz",
            "time_zone_unknown",
            "must be an IANA time zone such as Europe/Berlin",
        )
    };
    if name.len() > 64 {
        return Err(unknown());
    }
    TimeZone::get(name).map_err(|_| unknown())
}

fn kinds(include: Option<&str>) -> Result<[bool; 3], FieldError> {
    let mut kinds = [false; 3];
    kinds[KindCounts::slot(Kind::Human)] = true;
    for word in include.unwrap_or_default().split(',') {
        let kind = match word.trim() {
            "" => continue,
            "bots" => Kind::Bot,
            "previews" => Kind::Preview,
            _ => {
                return Err(FieldError::new(
                    "include",
                    "include_unknown",
                    "must be bots, previews, or both with a comma between them",
                ));
            }
        };
        kinds[KindCounts::slot(kind)] = true;
    }
    Ok(kinds)
}

fn values_error(field: &'static str, values: &[String]) -> Option<FieldError> {
    let too_long = |value: &String| value.contains('\0') || value.chars().count() > MAX_VALUE_CHARS;
    (values.len() > MAX_VALUES || values.iter().any(too_long)).then(|| {
        FieldError::new(
            field,
            "filter_invalid",
            "must be at most 100 values of at most 255 characters, without NUL",
        )
    })
}
