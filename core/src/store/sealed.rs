//! Which clicks of a tail are sealed, and what that leaves of it.

use std::collections::BTreeMap;

use crate::columns::{BatchBuilder, Damaged, Parcel, open_parcel};
use crate::store::chunks::DAY_MILLIS;

/// What a sealing did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sealed {
    /// Clicks that are in chunks now.
    pub(crate) clicks: usize,
    /// Clicks that went back into the tail, as one parcel.
    pub(crate) left: usize,
    /// Clicks and parcels that the tail has now, whoever brought them.
    pub(crate) tail: (usize, usize),
    /// Days that have a new chunk.
    pub(crate) days: Vec<i64>,
}

/// The last of the first parcels that hold `most` clicks together.
pub(super) fn last_of(parcels: &[(i64, i64, i64)], most: i64) -> Option<(i64, i64)> {
    let mut clicks = 0;
    let enough = parcels.iter().find(|(_, _, count)| {
        clicks += count;
        clicks >= most
    });
    let (stream, seq, _) = enough.or(parcels.last())?;
    Some((*stream, *seq))
}

/// Clicks and parcels of a tail whose parcels up to `last` gave way to one of `rest` clicks.
pub(super) fn tail_after(
    parcels: &[(i64, i64, i64)],
    last: (i64, i64),
    rest: usize,
) -> (usize, usize) {
    let left = parcels
        .iter()
        .filter(|(stream, seq, _)| (*stream, *seq) > last);
    let clicks = left.clone().map(|(_, _, clicks)| *clicks).sum::<i64>();
    (
        usize::try_from(clicks).unwrap_or(0) + rest,
        left.count() + usize::from(rest > 0),
    )
}

/// The clicks of each ripe day, and all others.
pub(super) fn by_day(
    parcels: &[Vec<u8>],
    ripe: &impl Fn(i64, usize) -> bool,
) -> Result<(BTreeMap<i64, BatchBuilder>, Parcel), Damaged> {
    let mut counts: BTreeMap<i64, usize> = BTreeMap::new();
    for parcel in parcels {
        open_parcel(parcel, |row| {
            *counts.entry(row.at.div_euclid(DAY_MILLIS)).or_default() += 1;
        })?;
    }
    let mut days: BTreeMap<i64, BatchBuilder> = counts
        .into_iter()
        .filter(|(day, clicks)| ripe(*day, *clicks))
        .map(|(day, _)| (day, BatchBuilder::default()))
        .collect();
    let mut rest = Parcel::default();
    for parcel in parcels {
        open_parcel(parcel, |row| {
            match days.get_mut(&row.at.div_euclid(DAY_MILLIS)) {
                Some(day) => day.push(row),
                None => rest.push(row),
            }
        })?;
    }
    Ok((days, rest))
}
