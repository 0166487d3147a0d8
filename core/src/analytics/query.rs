//! Reading a question: every parameter is looked at before the answer is given.

use std::time::Duration;

use jiff::tz::TimeZone;

use crate::analytics::AnalyticsError;
use crate::classify::Kind;
use crate::model::{FieldError, Timestamp, WorkspaceId};
use crate::store::click_reports::ClickSelection;

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
}

pub(super) struct Question {
    pub(super) selection: ClickSelection,
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
        let kinds = kinds(query.include.as_deref()).unwrap_or_else(|error| {
            refused.push(error);
            Vec::new()
        });
        for (field, values) in [
            ("link_id", &query.link_id),
            ("tag", &query.tag),
            ("domain", &query.domain),
        ] {
            refused.extend(values_error(field, values));
        }
        if !refused.is_empty() {
            return Err(AnalyticsError::Refused(refused));
        }
        let links = query
            .link_id
            .iter()
            .map(|id| id.parse().map_err(|_| AnalyticsError::NotFound))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            selection: ClickSelection {
                workspace,
                links,
                tags: query.tag,
                hosts: lower(query.domain),
                from,
                to,
                kinds,
            },
            zone,
            zone_name,
        })
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

fn kinds(include: Option<&str>) -> Result<Vec<Kind>, FieldError> {
    let mut kinds = vec![Kind::Human];
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
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
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
