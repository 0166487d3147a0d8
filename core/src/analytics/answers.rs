//! Answers about many clicks.

use crate::model::{Dimension, Timestamp};

/// Figures over one period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Of the kinds asked for; people only, unless bots or previews are included.
    pub clicks: i64,
    /// Distinct visitors among `clicks`; `None` when the question leaves visitors out, or when their
    /// detail is past its retention. One who comes again counts once per epoch of the workspace: over
    /// several days or months it is their sum.
    pub visitors: Option<i64>,
    pub bots: i64,
    pub previews: i64,
    /// The last of `clicks`; of those past their retention, the last of whatever kind and link.
    pub last_clicked_at: Option<Timestamp>,
    /// The period before, equally long, when it was asked for.
    pub previous: Option<PreviousPeriod>,
    /// When the figures were read.
    pub as_of: Timestamp,
    /// Clicks recorded on this node that are not in the figures yet.
    pub pending: u64,
}

/// What the figures of a summary are compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviousPeriod {
    pub from: Timestamp,
    /// Exclusive.
    pub to: Timestamp,
    pub clicks: i64,
    pub visitors: Option<i64>,
    pub bots: i64,
    pub previews: i64,
}

/// Figures over equal steps of time, without gaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeseries {
    /// `15min`, `hour`, `day`, `week` or `month`.
    pub interval: &'static str,
    /// The IANA zone whose hours and days these are.
    pub tz: String,
    pub points: Vec<Point>,
    pub as_of: Timestamp,
    pub pending: u64,
}

/// One step of a timeseries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// When the step begins: RFC 3339 with the zone's offset at that moment.
    pub start: String,
    pub clicks: i64,
    pub visitors: Option<i64>,
}

/// Figures per value of one dimension, the largest first.
#[derive(Clone, Debug, PartialEq)]
pub struct Breakdown {
    pub dimension: Dimension,
    /// All clicks of the question, also those without a row here. A click of a link with several
    /// tags is in several rows of a breakdown by tag, and once in the total.
    pub total: i64,
    pub rows: Vec<BreakdownRow>,
    /// Clicks whose value has no row here.
    pub other: i64,
    pub as_of: Timestamp,
    pub pending: u64,
}

/// One value of a dimension.
#[derive(Clone, Debug, PartialEq)]
pub struct BreakdownRow {
    /// As filters take it.
    pub value: String,
    pub clicks: i64,
    pub visitors: Option<i64>,
    /// Of the total, from 0 to 1.
    pub share: f64,
}
