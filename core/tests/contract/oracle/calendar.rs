//! When hours, days, weeks and months begin, by asking jiff about every moment that may be one.

use std::collections::HashMap;
use std::sync::OnceLock;

use jiff::civil::{Date, date};
use jiff::tz::TimeZone;
use jiff::{RoundMode, Timestamp, ToSpan as _, Unit, ZonedRound};

pub(super) const ZONES: [&str; 6] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "America/St_Johns",
];
pub(super) const INTERVALS: [&str; 5] = ["15min", "hour", "day", "week", "month"];

const FIRST: Date = date(2026, 1, 1);
const LAST: Date = date(2027, 6, 1);

type Starts = HashMap<(&'static str, &'static str), Vec<i64>>;

/// When each step of an interval begins that covers the period.
pub(super) fn starts(zone: &str, interval: &str, from: i64, to: i64) -> &'static [i64] {
    static ALL: OnceLock<Starts> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        let mut all = Starts::new();
        for zone in ZONES {
            let tz = TimeZone::get(zone).unwrap();
            all.insert((zone, "15min"), clock_steps(&tz, Unit::Minute, 15));
            all.insert((zone, "hour"), clock_steps(&tz, Unit::Hour, 1));
            all.insert((zone, "day"), dates(&tz, |_| true));
            let is_monday = |date: Date| date.weekday() == jiff::civil::Weekday::Monday;
            all.insert((zone, "week"), dates(&tz, is_monday));
            all.insert((zone, "month"), dates(&tz, |date| date.day() == 1));
        }
        all
    });
    let (_, starts) = all
        .iter()
        .find(|(key, _)| **key == (zone, interval))
        .unwrap();
    let first = starts.partition_point(|start| *start <= from) - 1;
    let end = starts.partition_point(|start| *start < to);
    &starts[first..end]
}

/// A step's beginning as people read it.
pub(super) fn label(zone: &str, start: i64) -> String {
    let zoned = Timestamp::from_millisecond(start)
        .unwrap()
        .to_zoned(TimeZone::get(zone).unwrap());
    let seconds = zoned.offset().seconds();
    let offset = if seconds == 0 {
        "Z".to_owned()
    } else {
        let (sign, minutes) = (if seconds < 0 { '-' } else { '+' }, seconds.abs() / 60);
        format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    };
    format!("{}{offset}", zoned.datetime().strftime("%Y-%m-%dT%H:%M:%S"))
}

/// Local midnights, or the first moment of dates that have none.
fn dates(tz: &TimeZone, wanted: impl Fn(Date) -> bool) -> Vec<i64> {
    FIRST
        .series(1.day())
        .take_while(|date| *date < LAST)
        .filter(|date| wanted(*date))
        .map(|date| {
            let midnight = date.to_zoned(tz.clone()).unwrap();
            midnight.timestamp().as_millisecond()
        })
        .collect()
}

/// Every quarter of an hour is asked where its step began.
fn clock_steps(tz: &TimeZone, unit: Unit, increment: i64) -> Vec<i64> {
    const QUARTER: i64 = 15 * 60 * 1_000;
    let at = |date: Date| date.to_zoned(TimeZone::UTC).unwrap().timestamp();
    let round = ZonedRound::new()
        .smallest(unit)
        .increment(increment)
        .mode(RoundMode::Trunc);
    let mut starts: Vec<i64> = (at(FIRST).as_millisecond() / QUARTER
        ..at(LAST).as_millisecond() / QUARTER)
        .map(|quarter| {
            let moment = Timestamp::from_millisecond(quarter * QUARTER).unwrap();
            let start = moment.to_zoned(tz.clone()).round(round).unwrap();
            start.timestamp().as_millisecond()
        })
        .collect();
    starts.dedup();
    assert!(starts.is_sorted());
    starts
}
