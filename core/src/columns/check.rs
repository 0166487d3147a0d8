//! Whether what is stored of a chunk agrees with its rows.

use super::encoding::{is_intact_and_empty, link_counts_of, value_counts_of};
use super::{Batch, Column, Damaged, KindCounts, Text, decode_link_counts, decode_value_counts};

/// Recounts a column of texts, or the links, and compares it with the counts that are stored.
/// A batch without rows of its own (past their retention) is compared by its totals.
pub(crate) fn counts_agree(
    column: Column,
    counts: &[u8],
    batch: Option<&Batch>,
    totals: KindCounts,
) -> Result<bool, Damaged> {
    let sum_of = |counts: &mut dyn Iterator<Item = KindCounts>| {
        let mut sum = KindCounts::default();
        counts.for_each(|counts| sum.add(counts));
        sum
    };
    match column {
        Column::Link => {
            let stored = decode_link_counts(counts)?;
            let agree = sum_of(&mut stored.iter().map(|(_, counts)| *counts)) == totals;
            match batch {
                Some(batch) => Ok(agree && link_counts_of(batch)? == stored),
                None => Ok(agree),
            }
        }
        Column::Text(text) => {
            let stored = decode_value_counts(counts)?;
            let agree = sum_of(&mut stored.iter().map(|(_, counts)| *counts)) == totals;
            match batch {
                Some(batch) => Ok(agree && value_counts_of(batch, text)? == stored),
                None => Ok(agree),
            }
        }
        Column::At | Column::Visitor | Column::Seq => Ok(true),
    }
}

/// Clicks per kind of a batch that has the kinds.
pub(crate) fn kinds_of_batch(batch: &Batch) -> Result<KindCounts, Damaged> {
    let mut totals = KindCounts::default();
    for (_, counts) in value_counts_of(batch, Text::Kind)? {
        totals.add(counts);
    }
    Ok(totals)
}

/// Whether both blobs of a column are as they were stored, each with something in it or nothing as is
/// right for the column.
pub(crate) fn intact(column: Column, counts: &[u8], data: Option<&[u8]>) -> Result<(), Damaged> {
    let has_counts = matches!(column, Column::Link | Column::Text(_));
    let too_much = Damaged("a column holds too much");
    if is_intact_and_empty(counts)? == has_counts {
        return Err(too_much);
    }
    match data.map(is_intact_and_empty).transpose()? {
        Some(false) if column == Column::Link => Err(too_much),
        _ => Ok(()),
    }
}
