//! Random questions, each put to the product and to the rows.

use std::collections::HashSet;

use terse_core::analytics::{
    AnalyticsError, AnalyticsQuery, ClicksPage, Filter, RecordedClick, Summary,
};
use terse_core::model::{Dimension, Fact, Timestamp};

use super::answers::Rows;
use super::calendar::{INTERVALS, ZONES};
use super::random::Random;
use super::world::{Click, TAGS, World};
use crate::fixture::Installation;

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// What is asked, about which clicks.
#[derive(Debug)]
pub(super) struct Question {
    workspace: usize,
    query: AnalyticsQuery,
    what: What,
}

#[derive(Debug)]
enum What {
    Summary {
        compare: bool,
    },
    Timeseries {
        interval: &'static str,
    },
    Breakdown {
        dimension: Dimension,
        limit: i64,
    },
    Clicks {
        order: Option<&'static str>,
        limit: i64,
    },
    Export,
}

/// Moments that a question may begin or end at.
pub(super) struct Times {
    pub(super) first: i64,
    pub(super) end: i64,
    /// Where something happened: midnights, changes of clocks.
    pub(super) special: Vec<i64>,
}

impl Times {
    fn moment(&self, world: &World, random: &mut Random) -> i64 {
        match random.below(4) {
            0 => random.between(self.first - DAY, self.end),
            1 => *random.pick(&self.special) + random.between(-1, 2),
            2 => random.pick(&world.clicks).at + random.between(0, 2),
            _ => random.pick(&world.clicks).at / HOUR * HOUR,
        }
    }

    /// A period that ends before `end`.
    fn period(&self, world: &World, random: &mut Random) -> (i64, i64) {
        let start = self.moment(world, random);
        let (from, to) = match random.below(5) {
            0 => (self.first - 40 * DAY, self.end),
            1 => (start, start + random.between(1, 2 * DAY)),
            2 => (
                start.div_euclid(DAY) * DAY,
                (start.div_euclid(DAY) + 1) * DAY,
            ),
            3 => (start, start + random.between(1, 40) * DAY),
            _ => {
                let other = self.moment(world, random);
                (start.min(other), start.max(other))
            }
        };
        let from = from.min(self.end - 1);
        (from, to.clamp(from + 1, self.end))
    }
}

fn text(millis: i64) -> String {
    Timestamp::from_millis(millis).to_string()
}

impl Question {
    pub(super) fn random(world: &World, times: &Times, random: &mut Random) -> Self {
        let workspace = usize::from(random.chance(25));
        let (from, to) = times.period(world, random);
        let mut query = AnalyticsQuery {
            from: Some(text(from)),
            to: Some(text(to)),
            tz: random.chance(80).then(|| (*random.pick(&ZONES)).to_owned()),
            include: match random.below(5) {
                0 => Some("bots".to_owned()),
                1 => Some("previews".to_owned()),
                2 => Some("bots, previews".to_owned()),
                _ => None,
            },
            metrics: match random.below(4) {
                0 => Some("clicks".to_owned()),
                1 => Some("clicks,visitors".to_owned()),
                _ => None,
            },
            filters: filters(world, random),
            ..AnalyticsQuery::default()
        };
        about_links(world, workspace, &mut query, random);
        let what = match random.below(100) {
            0..=29 => What::Summary {
                compare: random.chance(50),
            },
            30..=59 => What::Timeseries {
                interval: interval(to - from, random),
            },
            60..=89 => What::Breakdown {
                dimension: *random.pick(&Dimension::all().collect::<Vec<_>>()),
                limit: *random.pick(&[1, 3, 10, 1_000]),
            },
            90..=95 => What::Clicks {
                order: *random.pick(&[None, Some("asc"), Some("desc")]),
                limit: random.between(60, 201),
            },
            _ => What::Export,
        };
        Self {
            workspace,
            query,
            what,
        }
    }

    /// Asks without naming a period: the last thirty days.
    pub(super) fn about_now(mut self) -> Self {
        (self.query.from, self.query.to) = (None, None);
        if matches!(self.what, What::Timeseries { .. }) {
            self.what = What::Timeseries { interval: "hour" };
        }
        self
    }

    /// Compares the answer with the rows; `quiet` when nobody clicks meanwhile.
    pub(super) async fn check(&self, t: &Installation, world: &World, seed: u64, quiet: bool) {
        // A clock that leaps ahead takes chunks away from whoever reads them.
        for _ in 0..20 {
            match self.compare(t, world, seed, quiet).await {
                Ok(()) => return,
                Err(AnalyticsError::Interrupted) if !quiet => {}
                Err(error) => panic!("seed {seed}: {self:?}: {error:?}"),
            }
        }
        panic!("seed {seed}: {self:?} was interrupted again and again");
    }

    async fn compare(
        &self,
        t: &Installation,
        world: &World,
        seed: u64,
        quiet: bool,
    ) -> Result<(), AnalyticsError> {
        let (analytics, id) = (t.terse.analytics(), &world.workspaces[self.workspace]);
        let rows = Rows::of(world, self.workspace, &self.query, t.now());
        let query = self.query.clone();
        let context = || format!("seed {seed}: {self:?}");
        match &self.what {
            What::Summary { compare } => {
                let got = analytics
                    .summary(id, query, compare.then_some("previous"))
                    .await?;
                let before = self.before(&rows);
                let before = Rows::of(world, self.workspace, &before, t.now());
                let expected = rows.summary(compare.then_some(&before));
                assert_eq!(steady(got, &expected, quiet), expected, "{}", context());
            }
            What::Timeseries { interval } => {
                let got = analytics.timeseries(id, query, interval).await?;
                let expected = rows.points(interval);
                let both = got.points.iter().zip(&expected);
                let differ = both.clone().find(|(got, expected)| got != expected);
                assert_eq!(
                    (differ, got.points.len()),
                    (None, expected.len()),
                    "{}",
                    context()
                );
            }
            What::Breakdown { dimension, limit } => {
                let got = analytics
                    .breakdown(id, query, dimension.name(), Some(*limit))
                    .await?;
                let expected = rows.breakdown(*dimension, usize::try_from(*limit).unwrap());
                assert_eq!((got.total, got.rows, got.other), expected, "{}", context());
            }
            What::Clicks { order, limit } => {
                let got = self.all_pages(t, id, *order, *limit).await?;
                let ascending = *order == Some("asc");
                let in_order =
                    |pair: &[RecordedClick]| (pair[0].position < pair[1].position) == ascending;
                assert!(got.windows(2).all(in_order), "{}", context());
                same_rows(world, &got, &rows, &context());
            }
            What::Export => {
                let mut export = analytics.export(id, query).await?;
                let mut got = Vec::new();
                while let Some(some) = export.next().await? {
                    got.extend(some);
                }
                same_rows(world, &got, &rows, &context());
            }
        }
        Ok(())
    }

    /// The same question about the period before.
    fn before(&self, rows: &Rows<'_>) -> AnalyticsQuery {
        AnalyticsQuery {
            from: Some(text(2 * rows.from - rows.to)),
            to: Some(text(rows.from)),
            ..self.query.clone()
        }
    }

    async fn all_pages(
        &self,
        t: &Installation,
        workspace: &terse_core::model::WorkspaceId,
        order: Option<&str>,
        limit: i64,
    ) -> Result<Vec<RecordedClick>, AnalyticsError> {
        let (mut clicks, mut cursor) = (Vec::new(), None);
        loop {
            let page = ClicksPage {
                cursor,
                limit: Some(limit),
                order: order.map(str::to_owned),
            };
            let page = t
                .terse
                .analytics()
                .clicks(workspace, self.query.clone(), page)
                .await?;
            cursor = page.next_cursor;
            clicks.extend(page.items);
            if cursor.is_none() {
                return Ok(clicks);
            }
        }
    }
}

/// Without what may be otherwise while others click.
fn steady(got: Summary, expected: &Summary, quiet: bool) -> Summary {
    if quiet {
        got
    } else {
        Summary {
            as_of: expected.as_of,
            pending: 0,
            ..got
        }
    }
}

/// Steps of which there are not too many.
fn interval(length: i64, random: &mut Random) -> &'static str {
    let interval = *random.pick(&INTERVALS);
    match interval {
        "15min" if length > 12 * DAY => "day",
        "hour" if length > 50 * DAY && random.chance(90) => "week",
        interval => interval,
    }
}

fn excluded(value: String, random: &mut Random) -> String {
    if random.chance(35) {
        format!("!{value}")
    } else {
        value
    }
}

fn about_links(world: &World, workspace: usize, query: &mut AnalyticsQuery, random: &mut Random) {
    let links: Vec<_> = world
        .links
        .iter()
        .filter(|link| link.workspace == workspace)
        .collect();
    if random.chance(25) {
        for _ in 0..=random.below(3) {
            let id = random.pick(&links).id.to_string();
            query.link_id.push(excluded(id, random));
        }
    }
    if random.chance(25) {
        for _ in 0..=random.below(2) {
            let tag = (*random.pick(&TAGS)).to_owned();
            query.tag.push(excluded(tag, random));
        }
    }
    if random.chance(20) {
        let host = *random.pick(&["GO.example", "go.example", "other.example", "x.example"]);
        query.domain.push(excluded(host.to_owned(), random));
    }
}

fn filters(world: &World, random: &mut Random) -> Vec<Filter> {
    let dimensions: Vec<_> = AnalyticsQuery::filterable().collect();
    let count = [0, 0, 1, 1, 1, 2, 3][random.below(7)];
    let filter = |random: &mut Random| {
        let dimension = *random.pick(&dimensions);
        let values = (0..=random.below(3)).map(|_| {
            let value = if random.chance(5) {
                "nobody".to_owned()
            } else {
                world.shown(random.pick(&world.clicks), dimension).remove(0)
            };
            excluded(value, random)
        });
        Filter {
            dimension,
            values: values.collect(),
        }
    };
    (0..count).map(|_| filter(random)).collect()
}

/// Single clicks are these rows, each once and as it was.
fn same_rows(world: &World, got: &[RecordedClick], rows: &Rows<'_>, context: &str) {
    let by_name = |name: &str| -> Option<&Click> {
        rows.counted()
            .find(|click| click.fact(Fact::UtmContent) == name)
    };
    let mut names = HashSet::new();
    for click in got {
        let name = click.fact(Fact::UtmContent);
        assert!(names.insert(name.to_owned()), "{name} twice: {context}");
        let row = by_name(name).unwrap_or_else(|| panic!("{click:?}: {context}"));
        let facts: Vec<_> = Fact::ALL.map(|fact| click.fact(fact).to_owned()).to_vec();
        assert_eq!(
            (
                click.link,
                click.at().as_millis(),
                click.kind,
                click.reason,
                &facts
            ),
            (
                world.links[row.link].id,
                row.at,
                row.kind,
                row.reason,
                &row.facts
            ),
            "{context}"
        );
    }
    let missing = rows
        .counted()
        .find(|click| !names.contains(click.fact(Fact::UtmContent)));
    assert!(missing.is_none(), "{missing:?} is missing: {context}");
}
