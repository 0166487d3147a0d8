//! How long answers take: every question that a dashboard asks, over short and long periods.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Result;
use terse_benches::settings;
use terse_benches::stats::{float, grouped, median};
use terse_core::analytics::{AnalyticsQuery, Filter};
use terse_core::model::{Dimension, Timestamp};

use crate::crowd;
use crate::dataset::{self, DAY, DAYS, Dataset, end, start};

/// A tag of a tenth of the links.
const TAG: usize = 6;
const DIMENSIONS: [&str; 9] = [
    "country",
    "referrer",
    "browser",
    "os",
    "device",
    "language",
    "city",
    "utm_source",
    "link",
];
/// Slow questions are asked less often.
const LONG: Duration = Duration::from_millis(1_500);
const RUNS: usize = 20;
const FEWEST_RUNS: usize = 11;
const SLOWEST_SHOWN: usize = 8;
const MOST_MILLIS_BY_COUNTS: f64 = 10.0;
const MANY: u64 = 50_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    Workspace,
    Link,
    Tag,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Summary,
    Hours,
    Days,
    LocalDays,
    Breakdown(&'static str),
}

/// One question.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
    pub(crate) subject: Subject,
    pub(crate) kind: Kind,
    /// Crossing filters: none, a country, or a browser and a system.
    pub(crate) filters: usize,
    pub(crate) visitors: bool,
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self.kind {
            Kind::Summary => "summary".to_owned(),
            Kind::Hours => "by hour".to_owned(),
            Kind::Days => "by day".to_owned(),
            Kind::LocalDays => "by day in New York".to_owned(),
            Kind::Breakdown(dimension) => format!("by {dimension}"),
        };
        let subject = match self.subject {
            Subject::Workspace => "workspace",
            Subject::Link => "hot link",
            Subject::Tag => "tag",
        };
        let filters = ["", ", one filter", ", two filters"][self.filters];
        let visitors = if self.visitors { "" } else { ", clicks only" };
        write!(f, "{subject} {kind}{filters}{visitors}")
    }
}

impl Case {
    fn query(&self, data: &Dataset) -> AnalyticsQuery {
        let is = |dimension: &str, value: &str| Filter {
            dimension: dimension.parse().unwrap_or(Dimension::Reason),
            values: vec![value.to_owned()],
        };
        let mut query = AnalyticsQuery {
            from: Some(self.from.to_string()),
            to: Some(self.to.to_string()),
            filters: match self.filters {
                0 => Vec::new(),
                1 => vec![is("country", "US")],
                _ => vec![is("browser", "Chrome"), is("os", "Windows")],
            },
            metrics: (!self.visitors).then(|| "clicks".to_owned()),
            ..AnalyticsQuery::default()
        };
        match self.subject {
            Subject::Workspace => {}
            Subject::Link => query.link_id = vec![data.hot.to_string()],
            Subject::Tag => query.tag = vec![crowd::tag(TAG)],
        }
        if self.kind == Kind::LocalDays {
            query.tz = Some("America/New_York".to_owned());
        }
        query
    }

    /// Asks, and returns how many clicks the answer has.
    pub(crate) async fn ask(&self, data: &Dataset) -> Result<i64> {
        let (analytics, workspace) = (data.terse.analytics(), &data.workspace);
        let query = self.query(data);
        let interval = match self.kind {
            Kind::Summary => return Ok(analytics.summary(workspace, query, None).await?.clicks),
            Kind::Breakdown(dimension) => {
                let answer = analytics.breakdown(workspace, query, dimension, None);
                return Ok(answer.await?.total);
            }
            Kind::Hours => "hour",
            Kind::Days | Kind::LocalDays => "day",
        };
        let answer = analytics.timeseries(workspace, query, interval).await?;
        Ok(answer.points.iter().map(|point| point.clicks).sum())
    }
}

/// How long one question took.
struct Timing {
    case: Case,
    p50: f64,
    p95: f64,
}

async fn time(data: &Dataset, case: Case) -> Result<Timing> {
    case.ask(data).await?;
    let mut millis = Vec::with_capacity(RUNS);
    let began = Instant::now();
    while millis.len() < RUNS && (began.elapsed() < LONG || millis.len() < FEWEST_RUNS) {
        let start = Instant::now();
        case.ask(data).await?;
        millis.push(start.elapsed().as_secs_f64() * 1e3);
        if began.elapsed() > LONG * 4 {
            break;
        }
    }
    Ok(Timing {
        case,
        p50: median(&millis),
        p95: p95(&mut millis),
    })
}

fn p95(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let index = (values.len() * 95).div_ceil(100).max(1) - 1;
    values.get(index).copied().unwrap_or(f64::NAN)
}

fn kinds(days: u32) -> Vec<Kind> {
    let mut kinds = vec![Kind::Summary, Kind::Days, Kind::LocalDays];
    if days < DAYS {
        kinds.push(Kind::Hours);
    }
    kinds.extend(DIMENSIONS.map(Kind::Breakdown));
    kinds
}

fn cases(from: Timestamp, days: u32, filters: &[usize], visitors: bool) -> Vec<Case> {
    let mut cases = Vec::new();
    for subject in [Subject::Workspace, Subject::Link, Subject::Tag] {
        for kind in kinds(days) {
            cases.extend(filters.iter().map(|filters| Case {
                from,
                to: from.plus(DAY * days),
                subject,
                kind,
                filters: *filters,
                visitors,
            }));
        }
    }
    cases
}

/// Of the questions asked, those whose name contains `QUESTION`.
async fn time_all(data: &Dataset, cases: Vec<Case>) -> Result<Vec<Timing>> {
    let wanted = std::env::var("QUESTION").unwrap_or_default();
    let mut timings = Vec::with_capacity(cases.len());
    for case in cases {
        if !case.to_string().contains(&wanted) {
            continue;
        }
        timings.push(time(data, case).await?);
    }
    timings.sort_by(|a, b| b.p95.total_cmp(&a.p95));
    Ok(timings)
}

/// Milliseconds that 95 of 100 answers over so many days may take.
fn target(clicks: u64, days: u32) -> f64 {
    match (clicks > MANY, days == DAYS) {
        (false, false) => 15.0,
        (false, true) => 100.0,
        (true, false) => 80.0,
        (true, true) => 600.0,
    }
}

/// Asks everything, over 7, 30 and 365 days.
pub(crate) async fn run(data: &Dataset) -> Result<()> {
    println!(
        "Questions to {} clicks, {RUNS} runs each, {FEWEST_RUNS} when slow; milliseconds",
        grouped(float(data.clicks))
    );
    let periods: &[u32] = if settings::is_quick() {
        &[30]
    } else {
        &[7, 30, DAYS]
    };
    for days in periods {
        let from = end()?.minus(DAY * *days);
        let timings = time_all(data, cases(from, *days, &[0, 1, 2], true)).await?;
        print(
            &format!("{days} days"),
            &timings,
            target(data.clicks, *days),
        );
        print_by_subject(&timings);
        // Whole steps of UTC days are answered by counts; hours and days elsewhere are not.
        let mut by_counts = cases(from, *days, &[0], false);
        by_counts.retain(|case| !matches!(case.kind, Kind::Hours | Kind::LocalDays));
        let timings = time_all(data, by_counts).await?;
        print(
            &format!("{days} days, clicks only"),
            &timings,
            MOST_MILLIS_BY_COUNTS,
        );
    }
    Ok(())
}

fn print(name: &str, timings: &[Timing], target: f64) {
    let p95s: Vec<_> = timings.iter().map(|timing| timing.p95).collect();
    let p50s: Vec<_> = timings.iter().map(|timing| timing.p50).collect();
    let worst = p95s.first().copied().unwrap_or(f64::NAN);
    let missed = p95s.iter().filter(|p95| **p95 >= target).count();
    println!(
        "  {name}: {} questions, median p50 {:.1}, median p95 {:.1}, worst p95 {worst:.1} (target \
         {target}): {}",
        timings.len(),
        median(&p50s),
        median(&p95s),
        match missed {
            0 => "met".to_owned(),
            missed => format!("MISSED by {missed}"),
        }
    );
    for timing in timings.iter().take(SLOWEST_SHOWN) {
        println!("    {:8.1} {:8.1}  {}", timing.p50, timing.p95, timing.case);
    }
}

/// Which kinds of questions are slow: the median of their medians.
fn print_by_subject(timings: &[Timing]) {
    let mut groups: BTreeMap<(Subject, &str, usize), Vec<f64>> = BTreeMap::new();
    for timing in timings {
        let kind = match timing.case.kind {
            Kind::Summary => "summary",
            Kind::Breakdown(_) => "breakdown",
            _ => "timeseries",
        };
        let key = (timing.case.subject, kind, timing.case.filters);
        groups.entry(key).or_default().push(timing.p50);
    }
    println!(
        "    median p50 of              summary (0/1/2 filters)   timeseries               breakdown"
    );
    for subject in [Subject::Workspace, Subject::Link, Subject::Tag] {
        let group = |kind| {
            [0, 1, 2].map(|filters| {
                let millis = groups.get(&(subject, kind, filters));
                format!("{:6.1}", millis.map_or(f64::NAN, |millis| median(millis)))
            })
        };
        let columns = ["summary", "timeseries", "breakdown"].map(|kind| group(kind).join(" / "));
        println!("    {:<24} {}", format!("{subject:?}"), columns.join("   "));
    }
}

/// What answers over 30 days take at the end and the beginning of the year, and in a tenth of the clicks.
pub(crate) async fn growth(data: &Dataset) -> Result<()> {
    let ends = [
        ("the last 30 days", end()?.minus(DAY * 30)),
        ("the first 30 days", start()?),
    ];
    let mut columns = Vec::new();
    for (name, from) in ends {
        let name = format!("{name} of {} clicks", grouped(float(data.clicks)));
        columns.push((name, sample(data, from).await?));
    }
    let tenth = data.clicks / 10;
    if dataset::is_kept(tenth)? {
        let small = Dataset::open(dataset::sqlite(tenth)?, tenth).await?;
        let name = format!("the last 30 days of {} clicks", grouped(float(tenth)));
        columns.push((name, sample(&small, end()?.minus(DAY * 30)).await?));
        small.close().await;
    }
    println!("Growth: p50 in milliseconds over 30 days");
    for (column, (name, _)) in columns.iter().enumerate() {
        println!("  ({}) {name}", column + 1);
    }
    let rows = columns.first().map_or(0, |(_, timings)| timings.len());
    for row in 0..rows {
        let cells: Vec<_> = columns
            .iter()
            .map(|(_, timings)| format!("{:8.1}", timings[row].p50))
            .collect();
        println!("  {}  {}", cells.join(" "), columns[0].1[row].case);
    }
    Ok(())
}

async fn sample(data: &Dataset, from: Timestamp) -> Result<Vec<Timing>> {
    let wanted = [
        Kind::Summary,
        Kind::Days,
        Kind::Hours,
        Kind::Breakdown("country"),
    ];
    let mut timings = Vec::new();
    for case in cases(from, 30, &[0, 2], true) {
        if wanted.contains(&case.kind) {
            timings.push(time(data, case).await?);
        }
    }
    Ok(timings)
}

/// Questions that a dashboard of the last days asks when somebody looks at it.
pub(crate) fn dashboard(to: Timestamp, turn: usize) -> Vec<Case> {
    let subjects = [Subject::Workspace, Subject::Link, Subject::Tag];
    let kinds = [
        Kind::Summary,
        Kind::Days,
        Kind::Breakdown("country"),
        Kind::Breakdown("referrer"),
        Kind::Breakdown("device"),
        Kind::Breakdown("link"),
    ];
    let case = |kind| Case {
        from: to.minus(DAY * [7, 30][turn % 2]),
        to,
        subject: subjects[turn % subjects.len()],
        kind,
        filters: [0, 0, 1, 2][turn % 4],
        visitors: true,
    };
    kinds.map(case).to_vec()
}
