//! Who clicked.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::param::Query;
use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi};
use terse_core::analytics::AnalyticsQuery;

use crate::api::Tag;
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
    /// Distinct visitors among `clicks`
    visitors: i64,
    bots: i64,
    previews: i64,
    last_clicked_at: Nullable<Time>,
    /// When the figures were read
    as_of: Time,
    /// Clicks recorded on this node that are not in the figures yet
    pending: u64,
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
    visitors: i64,
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
    #[expect(clippy::too_many_arguments, reason = "one per query parameter")]
    async fn summary(
        &self,
        app: Data<&Arc<App>>,
        caller: Caller,
        /// Repeatable
        link_id: Query<Vec<String>>,
        /// Repeatable
        tag: Query<Vec<String>>,
        /// Repeatable
        domain: Query<Vec<String>>,
        /// RFC 3339
        from: Query<Option<String>>,
        /// RFC 3339, exclusive
        to: Query<Option<String>>,
        /// IANA time zone, default UTC
        tz: Query<Option<String>>,
        /// `bots`, `previews` or `bots,previews`: counted in `clicks` too
        include: Query<Option<String>>,
    ) -> Result<Json<Summary>, Problem> {
        let query = AnalyticsQuery {
            link_id: link_id.0,
            tag: tag.0,
            domain: domain.0,
            from: from.0,
            to: to.0,
            tz: tz.0,
            include: include.0,
        };
        let summary = app
            .terse
            .analytics()
            .summary(&caller.0.workspace, query)
            .await?;
        Ok(Json(Summary {
            clicks: summary.clicks,
            visitors: summary.visitors,
            bots: summary.bots,
            previews: summary.previews,
            last_clicked_at: Nullable(summary.last_clicked_at.map(Time)),
            as_of: summary.as_of.into(),
            pending: summary.pending,
        }))
    }

    /// Counts per step of time
    #[oai(
        path = "/analytics/timeseries",
        method = "get",
        operation_id = "get_timeseries"
    )]
    #[expect(clippy::too_many_arguments, reason = "one per query parameter")]
    async fn timeseries(
        &self,
        app: Data<&Arc<App>>,
        caller: Caller,
        /// Repeatable
        link_id: Query<Vec<String>>,
        /// Repeatable
        tag: Query<Vec<String>>,
        /// Repeatable
        domain: Query<Vec<String>>,
        /// RFC 3339
        from: Query<Option<String>>,
        /// RFC 3339, exclusive
        to: Query<Option<String>>,
        /// IANA time zone, default UTC
        tz: Query<Option<String>>,
        /// `bots`, `previews` or `bots,previews`: counted in `clicks` too
        include: Query<Option<String>>,
        /// `hour`, `day` (default), `week` or `month`
        interval: Query<Option<String>>,
    ) -> Result<Json<Timeseries>, Problem> {
        let query = AnalyticsQuery {
            link_id: link_id.0,
            tag: tag.0,
            domain: domain.0,
            from: from.0,
            to: to.0,
            tz: tz.0,
            include: include.0,
        };
        let interval = interval.0.as_deref().unwrap_or("day");
        let analytics = app.terse.analytics();
        let series = analytics
            .timeseries(&caller.0.workspace, query, interval)
            .await?;
        Ok(Json(Timeseries {
            interval: series.interval.to_owned(),
            tz: series.tz,
            points: series
                .points
                .into_iter()
                .map(|point| Point {
                    start: point.start,
                    clicks: point.clicks,
                    visitors: point.visitors,
                })
                .collect(),
            as_of: series.as_of.into(),
            pending: series.pending,
        }))
    }
}
