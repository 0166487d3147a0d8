//! Every question answered by going through all rows, one by one.

use std::collections::{BTreeMap, HashSet};

use terse_core::analytics::{AnalyticsQuery, BreakdownRow, Point, PreviousPeriod, Summary};
use terse_core::classify::Kind;
use terse_core::model::{Dimension, Timestamp};

use super::calendar;
use super::world::{Click, World};

/// Rows that a question is about.
pub(super) struct Rows<'a> {
    world: &'a World,
    query: &'a AnalyticsQuery,
    /// Of every kind.
    clicks: Vec<&'a Click>,
    now: Timestamp,
    pub(super) from: i64,
    pub(super) to: i64,
}

fn millis(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

/// Whether something that goes by these names passes a list of values.
fn passes(values: &[String], names: &[String]) -> bool {
    let (none_of, one_of): (Vec<&String>, Vec<&String>) =
        values.iter().partition(|value| value.starts_with('!'));
    let any = |wanted: &String| names.contains(wanted);
    (one_of.is_empty() || one_of.into_iter().any(any))
        && !none_of
            .into_iter()
            .any(|value| names.contains(&value[1..].to_owned()))
}

fn visitors<'a>(query: &AnalyticsQuery, rows: impl Iterator<Item = &'a Click>) -> Option<i64> {
    let distinct: HashSet<_> = rows.map(|click| click.visitor).collect();
    let asked = query.metrics.as_deref() != Some("clicks");
    asked.then(|| i64::try_from(distinct.len()).unwrap())
}

fn len(count: usize) -> i64 {
    i64::try_from(count).unwrap()
}

impl<'a> Rows<'a> {
    pub(super) fn of(
        world: &'a World,
        workspace: usize,
        query: &'a AnalyticsQuery,
        now: Timestamp,
    ) -> Self {
        let to = query.to.as_deref().map_or(now.as_millis() + 1, millis);
        let month = 30 * 24 * 3_600_000;
        let from = query.from.as_deref().map_or(to - month, millis);
        let mut rows = Self {
            world,
            query,
            clicks: Vec::new(),
            now,
            from,
            to,
        };
        rows.clicks = world
            .of_workspace(workspace)
            .filter(|click| (from..to).contains(&click.at) && rows.selects(click))
            .collect();
        rows
    }

    fn selects(&self, click: &Click) -> bool {
        let link = &self.world.links[click.link];
        let tags: Vec<_> = link.tags.iter().map(|tag| (*tag).to_owned()).collect();
        let hosts = self.query.domain.iter().map(|host| host.to_lowercase());
        let hosts: Vec<_> = hosts.collect();
        passes(&self.query.link_id, &[link.id.to_string()])
            && passes(&self.query.tag, &tags)
            && passes(&hosts, &[link.host.to_owned()])
            && self
                .query
                .filters
                .iter()
                .all(|filter| passes(&filter.values, &self.world.shown(click, filter.dimension)))
    }

    /// Rows of the kinds that count.
    pub(super) fn counted(&self) -> impl Iterator<Item = &'a Click> {
        let include = self.query.include.as_deref().unwrap_or_default();
        let (bots, previews) = (include.contains("bots"), include.contains("previews"));
        self.clicks
            .iter()
            .copied()
            .filter(move |click| match click.kind {
                Kind::Human => true,
                Kind::Bot => bots,
                Kind::Preview => previews,
            })
    }

    fn of_kind(&self, kind: Kind) -> i64 {
        len(self
            .clicks
            .iter()
            .filter(|click| click.kind == kind)
            .count())
    }

    pub(super) fn summary(&self, before: Option<&Self>) -> Summary {
        let last = self.counted().map(|click| click.at).max();
        Summary {
            clicks: len(self.counted().count()),
            visitors: visitors(self.query, self.counted()),
            bots: self.of_kind(Kind::Bot),
            previews: self.of_kind(Kind::Preview),
            last_clicked_at: last.map(Timestamp::from_millis),
            previous: before.map(|before| PreviousPeriod {
                from: Timestamp::from_millis(before.from),
                to: Timestamp::from_millis(before.to),
                clicks: len(before.counted().count()),
                visitors: visitors(self.query, before.counted()),
                bots: before.of_kind(Kind::Bot),
                previews: before.of_kind(Kind::Preview),
            }),
            as_of: self.now,
            pending: 0,
        }
    }

    pub(super) fn points(&self, interval: &str) -> Vec<Point> {
        let zone = self.query.tz.as_deref().unwrap_or("UTC");
        let starts = calendar::starts(zone, interval, self.from, self.to);
        let mut steps: Vec<Vec<&Click>> = vec![Vec::new(); starts.len()];
        for click in self.counted() {
            steps[starts.partition_point(|start| *start <= click.at) - 1].push(click);
        }
        let point = |(start, clicks): (&i64, Vec<&Click>)| Point {
            start: calendar::label(zone, *start),
            clicks: len(clicks.len()),
            visitors: visitors(self.query, clicks.into_iter()),
        };
        starts.iter().zip(steps).map(point).collect()
    }

    /// The total, the first rows, and the clicks of all others.
    pub(super) fn breakdown(
        &self,
        dimension: Dimension,
        limit: usize,
    ) -> (i64, Vec<BreakdownRow>, i64) {
        let mut groups: BTreeMap<String, Vec<&Click>> = BTreeMap::new();
        for click in self.counted() {
            for value in self.world.shown(click, dimension) {
                groups.entry(value).or_default().push(click);
            }
        }
        let total = self.counted().count();
        let mut rows: Vec<_> = groups.into_iter().collect();
        // Stable: those that have as many stay in the order of their values.
        rows.sort_by_key(|(_, clicks)| std::cmp::Reverse(clicks.len()));
        let other = rows
            .iter()
            .skip(limit)
            .map(|(_, clicks)| clicks.len())
            .sum();
        rows.truncate(limit);
        let row = |(value, clicks): (String, Vec<&Click>)| BreakdownRow {
            value,
            clicks: len(clicks.len()),
            share: f64::from(u32::try_from(clicks.len()).unwrap())
                / f64::from(u32::try_from(total).unwrap()),
            visitors: visitors(self.query, clicks.into_iter()),
        };
        (len(total), rows.into_iter().map(row).collect(), len(other))
    }
}
