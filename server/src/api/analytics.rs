//! Figures of who clicked.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi};
use terse_core::analytics;

use crate::api::Tag;
use crate::api::question::Question;
use crate::api::schema::{Nullable, Time};
use crate::api::security::Caller;
use crate::app::App;
use crate::problem::Problem;

pub struct AnalyticsApi;

/// Figures over one period
#[derive(Object)]
struct Summary {
    /// Of the kinds asked for: people only, unless `include` says more
    clicks: i64,
    /// Distinct visitors among `clicks`; `null` when left out, or when some of the days are past the
    /// workspace's `retention_days`. One who comes again counts once per month, or with a
    /// `visitor_epoch` of `day` once per day: over several, this is their sum
    visitors: Nullable<i64>,
    bots: i64,
    previews: i64,
    /// Of days past the workspace's `retention_days`, when the last click of whatever kind and link was
    last_clicked_at: Nullable<Time>,
    /// The period before, when it was asked for
    previous: Nullable<PreviousPeriod>,
    /// When the figures were read
    as_of: Time,
    /// Clicks recorded on this node that are not in the figures yet
    pending: u64,
}

/// What the figures are compared with
#[derive(Object)]
struct PreviousPeriod {
    from: Time,
    /// Exclusive
    to: Time,
    clicks: i64,
    /// As in `Summary`
    visitors: Nullable<i64>,
    bots: i64,
    previews: i64,
}

/// Figures over equal steps of time, every step present
#[derive(Object)]
struct Timeseries {
    interval: String,
    tz: String,
    points: Vec<Point>,
    as_of: Time,
    pending: u64,
}

#[derive(Object)]
struct Point {
    /// When the step begins, with the zone's offset
    start: String,
    clicks: i64,
    /// As in `Summary`
    visitors: Nullable<i64>,
}

/// Figures per value of one dimension, the largest first
#[derive(Object)]
struct Breakdown {
    dimension: String,
    /// All clicks of the question, each once
    total: i64,
    rows: Vec<BreakdownRow>,
    /// Clicks whose value has no row here
    other: i64,
    as_of: Time,
    pending: u64,
}

#[derive(Object)]
struct BreakdownRow {
    /// As filters take it
    value: String,
    clicks: i64,
    /// As in `Summary`
    visitors: Nullable<i64>,
    /// Of the total, from 0 to 1
    share: f64,
}

impl From<analytics::Summary> for Summary {
    fn from(summary: analytics::Summary) -> Self {
        let previous = summary.previous.map(|previous| PreviousPeriod {
            from: previous.from.into(),
            to: previous.to.into(),
            clicks: previous.clicks,
            visitors: Nullable(previous.visitors),
            bots: previous.bots,
            previews: previous.previews,
        });
        Self {
            clicks: summary.clicks,
            visitors: Nullable(summary.visitors),
            bots: summary.bots,
            previews: summary.previews,
            last_clicked_at: Nullable(summary.last_clicked_at.map(Time)),
            previous: Nullable(previous),
            as_of: summary.as_of.into(),
            pending: summary.pending,
        }
    }
}

impl From<analytics::Timeseries> for Timeseries {
    fn from(series: analytics::Timeseries) -> Self {
        let points = series.points.into_iter().map(|point| Point {
            start: point.start,
            clicks: point.clicks,
            visitors: Nullable(point.visitors),
        });
        Self {
            interval: series.interval.to_owned(),
            tz: series.tz,
            points: points.collect(),
            as_of: series.as_of.into(),
            pending: series.pending,
        }
    }
}

impl From<analytics::Breakdown> for Breakdown {
    fn from(breakdown: analytics::Breakdown) -> Self {
        let rows = breakdown.rows.into_iter().map(|row| BreakdownRow {
            value: row.value,
            clicks: row.clicks,
            visitors: Nullable(row.visitors),
            share: row.share,
        });
        Self {
            dimension: breakdown.dimension.to_string(),
            total: breakdown.total,
            rows: rows.collect(),
            other: breakdown.other,
            as_of: breakdown.as_of.into(),
            pending: breakdown.pending,
        }
    }
}

#[OpenApi(tag = "Tag::Analytics")]
impl AnalyticsApi {
    /// Totals
    ///
    /// Over the last 30 days unless `from` or `to` is given.
    #[oai(
        path = "/analytics/summary",
        method = "get",
        operation_id = "get_summary"
    )]
    async fn summary(
        &self,
        app: Data<&Arc<App>>,
        caller: Caller,
        mut question: Question,
    ) -> Result<Json<Summary>, Problem> {
        let compare = question.take("compare");
        let analytics = app.terse.analytics();
        let summary = analytics.summary(&caller.0.workspace, question.query, compare.as_deref());
        Ok(Json(summary.await?.into()))
    }

    /// Counts per step of time
    #[oai(
        path = "/analytics/timeseries",
        method = "get",
        operation_id = "get_timeseries"
    )]
    async fn timeseries(
        &self,
        app: Data<&Arc<App>>,
        caller: Caller,
        mut question: Question,
    ) -> Result<Json<Timeseries>, Problem> {
        let interval = question.take("interval");
        let interval = interval.as_deref().unwrap_or("day");
        let analytics = app.terse.analytics();
        let series = analytics.timeseries(&caller.0.workspace, question.query, interval);
        Ok(Json(series.await?.into()))
    }

    /// Counts per value of a dimension
    ///
    /// A click of a link with several tags counts in several rows, and once in the total.
    #[oai(
        path = "/analytics/breakdown",
        method = "get",
        operation_id = "get_breakdown"
    )]
    async fn breakdown(
        &self,
        app: Data<&Arc<App>>,
        caller: Caller,
        mut question: Question,
    ) -> Result<Json<Breakdown>, Problem> {
        let dimension = question.take("dimension").unwrap_or_default();
        let limit = question.take_number("limit");
        let analytics = app.terse.analytics();
        let workspace = &caller.0.workspace;
        let breakdown = analytics.breakdown(workspace, question.query, &dimension, limit);
        Ok(Json(breakdown.await?.into()))
    }
}
