//! Steps of a zone's calendar: hours, days, weeks and months, with its odd days as they are.

use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use jiff::{RoundMode, SignedDuration, ToSpan, Unit, Zoned, ZonedRound};

use crate::analytics::MAX_POINTS;
use crate::model::{FieldError, Timestamp};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Interval {
    QuarterHour,
    Hour,
    Day,
    Week,
    Month,
}

/// The steps that cover a period; the first and the last may reach beyond it.
#[derive(Debug)]
pub(super) struct Calendar {
    interval: Interval,
    zone: TimeZone,
    starts: Vec<i64>,
}

impl Calendar {
    pub(super) fn new(
        zone: &TimeZone,
        interval: &str,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Self, FieldError> {
        let interval = Interval::parse(interval)?;
        let mut starts = Vec::new();
        let mut step = interval.start_of(&from.to_jiff().to_zoned(zone.clone()))?;
        while step.timestamp().as_millisecond() < to.as_millis() {
            if starts.len() == MAX_POINTS {
                return Err(FieldError::new(
                    "interval",
                    "too_many_points",
                    "must be longer, or the range shorter: at most 10,000 points are returned",
                ));
            }
            starts.push(step.timestamp().as_millisecond());
            step = interval.after(&step)?;
        }
        Ok(Self {
            interval,
            zone: zone.clone(),
            starts,
        })
    }

    /// The index of the step that holds this moment of the period, in unix milliseconds.
    pub(super) fn step_at(&self, at: i64) -> usize {
        let [first, .., last] = self.starts[..] else {
            return 0;
        };
        // Steps are of about the same length: one is near where it would be if they all were.
        let others = i64::try_from(self.starts.len() - 1).unwrap_or(i64::MAX);
        let length = (last - first) / others;
        let near = (at - first).max(0) / length.max(1);
        let mut step = usize::try_from(near)
            .unwrap_or(0)
            .min(self.starts.len() - 1);
        while step > 0 && self.starts[step] > at {
            step -= 1;
        }
        while self.starts.get(step + 1).is_some_and(|start| *start <= at) {
            step += 1;
        }
        step
    }

    /// The unix milliseconds that [`Self::step_at`] takes for this step.
    pub(super) fn moments_of(&self, step: usize) -> std::ops::RangeInclusive<i64> {
        let start = match step {
            0 => i64::MIN,
            _ => self.starts.get(step).copied().unwrap_or(i64::MAX),
        };
        let next = self.starts.get(step + 1);
        start..=next.map_or(i64::MAX, |next| next - 1)
    }

    /// How many steps there are.
    pub(super) fn len(&self) -> usize {
        self.starts.len()
    }

    /// The step that holds both moments, when it is one.
    pub(super) fn only_step(&self, first: i64, last: i64) -> Option<usize> {
        let step = self.step_at(first);
        (self.step_at(last) == step).then_some(step)
    }

    /// The first moments of all steps as text.
    pub(super) fn starts(&self) -> impl Iterator<Item = String> {
        self.starts.iter().map(|start| {
            let zoned = Timestamp::from_millis(*start)
                .to_jiff()
                .to_zoned(self.zone.clone());
            let offset = zoned.offset();
            if offset.is_zero() {
                zoned.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
            } else {
                zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
            }
        })
    }

    pub(super) fn interval(&self) -> &'static str {
        match self.interval {
            Interval::QuarterHour => "15min",
            Interval::Hour => "hour",
            Interval::Day => "day",
            Interval::Week => "week",
            Interval::Month => "month",
        }
    }
}

fn beyond(_: jiff::Error) -> FieldError {
    FieldError::new(
        "from",
        "time_invalid",
        "must be a time from 1970 to 9999 in the zone asked for",
    )
}

/// When the local quarter or hour began that holds this moment.
fn start_of_clock(moment: &Zoned, unit: Unit, increment: i64) -> Result<Zoned, FieldError> {
    let down = ZonedRound::new()
        .smallest(unit)
        .increment(increment)
        .mode(RoundMode::Trunc);
    moment.round(down).map_err(beyond)
}

impl Interval {
    fn parse(text: &str) -> Result<Self, FieldError> {
        match text {
            "15min" => Ok(Self::QuarterHour),
            "hour" => Ok(Self::Hour),
            "day" => Ok(Self::Day),
            "week" => Ok(Self::Week),
            "month" => Ok(Self::Month),
            _ => Err(FieldError::new(
                "interval",
                "interval_unknown",
                "must be 15min, hour, day, week or month",
            )),
        }
    }

    /// When the step that holds `moment` began.
    fn start_of(self, moment: &Zoned) -> Result<Zoned, FieldError> {
        let start_of_day = |zoned: &Zoned| zoned.start_of_day().map_err(beyond);
        match self {
            Self::QuarterHour => start_of_clock(moment, Unit::Minute, 15),
            Self::Hour => start_of_clock(moment, Unit::Hour, 1),
            Self::Day => start_of_day(moment),
            Self::Week => {
                let back = i64::from(moment.weekday().since(Weekday::Monday));
                start_of_day(&moment.checked_sub(back.days()).map_err(beyond)?)
            }
            Self::Month => moment
                .first_of_month()
                .map_err(beyond)
                .and_then(|first| start_of_day(&first)),
        }
    }

    /// When the step after the one beginning at `start` begins.
    fn after(self, start: &Zoned) -> Result<Zoned, FieldError> {
        match self {
            Self::QuarterHour => self.clock_after(start, 15),
            Self::Hour => self.clock_after(start, 60),
            Self::Day => self.start_after(start, 1.day()),
            Self::Week => self.start_after(start, 7.days()),
            Self::Month => self.start_after(start, 1.month()),
        }
    }

    /// Where clocks move by half an hour, the local hour at that moment is half as long, or half as long
    /// again: a step later may still be the same hour.
    fn clock_after(self, start: &Zoned, minutes: i64) -> Result<Zoned, FieldError> {
        let mut later = start.clone();
        loop {
            later = later
                .checked_add(SignedDuration::from_mins(minutes))
                .map_err(beyond)?;
            let aligned = self.start_of(&later)?;
            if aligned > *start {
                return Ok(aligned);
            }
        }
    }

    fn start_after(self, start: &Zoned, span: jiff::Span) -> Result<Zoned, FieldError> {
        let next = start.checked_add(span).map_err(beyond)?;
        let aligned = self.start_of(&next)?;
        Ok(if aligned > *start { aligned } else { next })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse("at", text).unwrap()
    }

    fn starts(zone: &str, interval: &str, from: &str, to: &str) -> Vec<String> {
        let zone = TimeZone::get(zone).unwrap();
        Calendar::new(&zone, interval, at(from), at(to))
            .unwrap()
            .starts()
            .collect()
    }

    #[test]
    fn a_day_that_loses_an_hour_has_twenty_three() {
        let hours = starts(
            "Europe/Berlin",
            "hour",
            "2026-03-28T23:00:00Z",
            "2026-03-29T22:00:00Z",
        );
        assert_eq!(hours.len(), 23);
        assert_eq!(hours[1], "2026-03-29T01:00:00+01:00");
        assert_eq!(hours[2], "2026-03-29T03:00:00+02:00");
    }

    #[test]
    fn days_begin_at_local_midnight_also_where_midnight_is_skipped() {
        let days = starts(
            "America/Santiago",
            "day",
            "2026-09-05T12:00:00Z",
            "2026-09-07T12:00:00Z",
        );
        assert_eq!(
            days,
            [
                "2026-09-05T00:00:00-04:00",
                "2026-09-06T01:00:00-03:00",
                "2026-09-07T00:00:00-03:00"
            ]
        );
    }

    #[test]
    fn zones_of_half_an_hour_have_hours_of_their_own() {
        let hours = starts(
            "Asia/Kolkata",
            "hour",
            "2026-01-01T00:00:00Z",
            "2026-01-01T01:00:00Z",
        );
        assert_eq!(
            hours,
            ["2026-01-01T05:00:00+05:30", "2026-01-01T06:00:00+05:30"]
        );
    }

    #[test]
    fn where_clocks_move_by_half_an_hour_one_hour_is_longer_or_shorter() {
        let hours = |from, to| starts("Australia/Lord_Howe", "hour", from, to);
        assert_eq!(
            hours("2026-04-04T13:00:00Z", "2026-04-04T16:00:00Z"),
            [
                "2026-04-05T00:00:00+11:00",
                // Ninety minutes: from half past one it is half past one again.
                "2026-04-05T01:00:00+11:00",
                "2026-04-05T02:00:00+10:30"
            ]
        );
        assert_eq!(
            hours("2026-10-03T14:00:00Z", "2026-10-03T16:30:00Z"),
            [
                "2026-10-04T00:00:00+10:30",
                "2026-10-04T01:00:00+10:30",
                // Thirty minutes: half past two comes after two.
                "2026-10-04T02:30:00+11:00",
                "2026-10-04T03:00:00+11:00"
            ]
        );
        // Whichever moment of an hour a period begins with.
        for from in [
            "2026-04-04T14:10:00Z",
            "2026-04-04T14:40:00Z",
            "2026-04-04T15:10:00Z",
        ] {
            let hours = hours(from, "2026-04-04T15:15:00Z");
            assert_eq!(hours, ["2026-04-05T01:00:00+11:00"]);
        }
        let quarters = starts(
            "Australia/Lord_Howe",
            "15min",
            "2026-04-04T14:00:00Z",
            "2026-04-04T15:30:00Z",
        );
        assert_eq!(quarters.len(), 6);
    }

    #[test]
    fn weeks_begin_on_monday_and_months_on_the_first() {
        assert_eq!(
            starts(
                "UTC",
                "week",
                "2026-11-21T00:00:00Z",
                "2026-11-24T00:00:00Z"
            ),
            ["2026-11-16T00:00:00Z", "2026-11-23T00:00:00Z"]
        );
        assert_eq!(
            starts(
                "UTC",
                "month",
                "2026-01-31T00:00:00Z",
                "2026-03-01T00:00:01Z"
            ),
            [
                "2026-01-01T00:00:00Z",
                "2026-02-01T00:00:00Z",
                "2026-03-01T00:00:00Z"
            ]
        );
    }

    #[test]
    fn every_moment_is_in_the_step_that_began_last() {
        let (from, to) = (at("2025-12-30T12:00:00Z"), at("2026-12-02T12:00:00Z"));
        for name in ["UTC", "America/New_York", "Australia/Lord_Howe"] {
            for interval in ["hour", "day", "week", "month"] {
                let zone = TimeZone::get(name).unwrap();
                let calendar = Calendar::new(&zone, interval, from, to).unwrap();
                for moment in (from.as_millis()..to.as_millis()).step_by(599_999) {
                    let began = calendar.starts.partition_point(|start| *start <= moment);
                    assert_eq!(calendar.step_at(moment), began.saturating_sub(1));
                }
                let first = calendar.starts[0];
                assert_eq!(calendar.step_at(first), 0);
                assert_eq!(calendar.step_at(first - 1), 0);
            }
        }
    }

    #[test]
    fn too_many_points_are_refused() {
        let zone = TimeZone::UTC;
        let error = Calendar::new(&zone, "hour", Timestamp::MIN, Timestamp::MAX).unwrap_err();
        assert_eq!(error.code, "too_many_points");
    }
}
