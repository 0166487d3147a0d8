//! Latencies, counted in buckets whose width grows with the value.

use std::time::Duration;

/// Buckets per power of two: a quantile is at most 1/64 too high.
const STEP_BITS: u32 = 6;
const STEPS: u64 = 1 << STEP_BITS;
/// Everything from 2^40 ns (18 minutes) on shares the last bucket.
const MAX_BITS: u32 = 40;
const BUCKETS: usize = ((MAX_BITS - STEP_BITS + 1) as usize) << STEP_BITS;

/// Counts of durations, log-linear in nanoseconds. Recording allocates nothing.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max_ns: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: vec![0; BUCKETS],
            total: 0,
            max_ns: 0,
        }
    }
}

impl Histogram {
    /// Counts one duration.
    pub fn record(&mut self, duration: Duration) {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(ns)] += 1;
        self.total += 1;
        self.max_ns = self.max_ns.max(ns);
    }

    /// Adds all that `other` has counted.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.total += other.total;
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    /// Durations counted so far.
    pub fn len(&self) -> u64 {
        self.total
    }

    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// The longest duration, exactly.
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.max_ns)
    }

    /// The duration that this many in a thousand did not exceed, to within 1/64; zero when empty.
    pub fn permille(&self, permille: u64) -> Duration {
        let wanted = (self.total * permille).div_ceil(1_000).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Duration::from_nanos(upper_bound(index).min(self.max_ns));
            }
        }
        self.max()
    }
}

fn bucket(ns: u64) -> usize {
    let ns = ns.min((1 << MAX_BITS) - 1);
    if ns < STEPS {
        return to_index(ns);
    }
    let octave = ns.ilog2() - STEP_BITS;
    to_index(u64::from(octave + 1) * STEPS + (ns >> octave) - STEPS)
}

fn upper_bound(index: usize) -> u64 {
    let index = index as u64;
    if index < STEPS {
        return index;
    }
    let octave = index / STEPS - 1;
    let step = index % STEPS + STEPS;
    ((step + 1) << octave) - 1
}

fn to_index(bucket: u64) -> usize {
    usize::try_from(bucket).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_a_bucket_at_most_a_64th_wider_than_itself() {
        for ns in (0..2_000_000)
            .step_by(37)
            .chain((0..MAX_BITS).map(|bit| 1 << bit))
        {
            let upper = upper_bound(bucket(ns));
            assert!(
                upper >= ns && upper - ns <= ns / STEPS,
                "{ns} counted as {upper}"
            );
        }
    }

    #[test]
    fn quantiles_of_a_uniform_load_are_where_they_belong() {
        let mut histogram = Histogram::default();
        for us in 1..=1_000 {
            histogram.record(Duration::from_micros(us));
        }
        let p99 = histogram.permille(990).as_nanos();
        assert!((990_000..1_006_000).contains(&p99), "{p99}");
        assert_eq!(histogram.permille(1_000), Duration::from_millis(1));
    }

    #[test]
    fn merged_histograms_count_what_both_counted() {
        let (mut one, mut other) = (Histogram::default(), Histogram::default());
        one.record(Duration::from_micros(1));
        other.record(Duration::from_hours(2));
        one.merge(&other);
        assert_eq!(one.len(), 2);
        assert_eq!(one.max(), Duration::from_hours(2));
    }
}
