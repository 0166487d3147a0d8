//! What goes into a batch comes out of it, whichever way it goes.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the numbers of these tests are small"
)]

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::classify::{Kind, Reason};

#[derive(Clone, Debug)]
struct Click {
    link: i64,
    at: i64,
    kind: i16,
    reason: i16,
    visitor: u64,
    stream: i64,
    seq: i64,
    values: Vec<(Fact, String)>,
}

impl Click {
    fn facts(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (fact, value) in &self.values {
            bytes.extend_from_slice(&[*fact as u8, value.len() as u8]);
            bytes.extend_from_slice(value.as_bytes());
        }
        bytes
    }

    fn row<'a>(&self, facts: &'a [u8]) -> Row<'a> {
        Row {
            link: self.link,
            at: self.at,
            kind: Kind::from_code(self.kind),
            reason: Reason::from_code(self.reason),
            visitor: self.visitor,
            stream: self.stream,
            seq: self.seq,
            facts,
        }
    }
}

fn clicks() -> impl Strategy<Value = Vec<Click>> {
    let value = (
        prop::sample::select(Fact::ALL.to_vec()),
        prop_oneof!["[a-c]{0,2}", "\\PC{0,8}"],
    );
    let click = (
        prop_oneof![0..4_i64, any::<i64>()],
        prop_oneof![0..86_400_000_i64, 0..4_000_000_000_000_i64],
        0..3_i16,
        0..8_i16,
        any::<u64>(),
        0..3_i64,
        any::<i64>(),
        prop::collection::vec(value, 0..4),
    );
    let click = click.prop_map(
        |(link, at, kind, reason, visitor, stream, seq, values)| Click {
            link,
            at,
            kind,
            reason,
            visitor,
            stream,
            seq,
            values,
        },
    );
    prop::collection::vec(click, 1..300)
}

fn batch_of(clicks: &[Click]) -> Batch {
    let mut builder = BatchBuilder::default();
    for click in clicks {
        builder.push(&click.row(&click.facts()));
    }
    builder.finish()
}

/// Every row as text, in no order.
fn rows_of(batch: &Batch) -> Vec<String> {
    let mut rows: Vec<_> = batch
        .links()
        .flat_map(|(link, rows)| rows.map(move |row| (link, row)))
        .map(|(link, row)| {
            let texts: Vec<_> = Text::all()
                .map(|text| batch.text(text).unwrap().value(row))
                .collect();
            let (at, visitor, seq) = (batch.at[row], batch.visitors[row], batch.seq[row]);
            format!("{link} {at} {visitor} {seq} {texts:?}")
        })
        .collect();
    rows.sort();
    rows
}

fn stored(chunk: &EncodedChunk) -> Batch {
    let columns = chunk.columns.iter().map(|column| {
        (
            column.column,
            column.counts.as_slice(),
            column.data.as_slice(),
        )
    });
    decode_batch(chunk.kinds.total() as usize, columns).unwrap()
}

proptest! {
    #[test]
    fn a_batch_is_sorted_by_link_and_time(clicks in clicks()) {
        let batch = batch_of(&clicks);
        prop_assert_eq!(batch.rows(), clicks.len());
        let links: Vec<_> = batch.links().map(|(link, _)| link).collect();
        let distinct: BTreeSet<_> = clicks.iter().map(|click| click.link).collect();
        prop_assert_eq!(links, distinct.into_iter().collect::<Vec<_>>());
        for (_, rows) in batch.links() {
            prop_assert!(batch.at[rows].is_sorted());
        }
    }

    #[test]
    fn a_chunk_holds_exactly_its_clicks(clicks in clicks()) {
        let batch = batch_of(&clicks);
        let chunk = encode(&batch).unwrap();
        prop_assert_eq!(chunk.kinds.total(), clicks.len() as u64);
        prop_assert_eq!(rows_of(&stored(&chunk)), rows_of(&batch));
        prop_assert_eq!(Some(chunk.first_at), clicks.iter().map(|click| click.at).min());
        prop_assert_eq!(Some(chunk.last_at), clicks.iter().map(|click| click.at).max());
    }

    #[test]
    fn counts_are_those_of_the_rows(clicks in clicks()) {
        let chunk = encode(&batch_of(&clicks)).unwrap();
        let of_kind = |kind: usize| clicks.iter().filter(|click| click.kind as usize == kind).count() as u64;
        prop_assert_eq!(chunk.kinds, KindCounts([of_kind(0), of_kind(1), of_kind(2)]));
        for column in &chunk.columns {
            let total = match column.column {
                Column::Link => decode_link_counts(&column.counts).unwrap().iter().map(|(_, counts)| counts.total()).sum(),
                Column::Text(_) => decode_value_counts(&column.counts).unwrap().iter().map(|(_, counts)| counts.total()).sum(),
                _ => clicks.len() as u64,
            };
            prop_assert_eq!(total, clicks.len() as u64);
        }
    }

    #[test]
    fn merged_batches_hold_the_clicks_of_all(clicks in clicks(), cut in any::<prop::sample::Index>()) {
        let (left, right) = clicks.split_at(cut.index(clicks.len()));
        let merged = merge(&[batch_of(left), batch_of(right)]).unwrap();
        prop_assert_eq!(rows_of(&merged), rows_of(&batch_of(&clicks)));
    }

    #[test]
    fn a_parcel_gives_its_clicks_back(clicks in clicks()) {
        let mut parcel = Parcel::default();
        for click in &clicks {
            parcel.push(&click.row(&click.facts()));
        }
        let mut builder = BatchBuilder::default();
        open_parcel(&parcel.seal(), |row| builder.push(row)).unwrap();
        prop_assert_eq!(parcel.clicks(), clicks.len());
        prop_assert_eq!(rows_of(&builder.finish()), rows_of(&batch_of(&clicks)));
    }

    #[test]
    fn damaged_columns_are_refused_and_never_panic(clicks in clicks(), flips in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1..=255_u8), 1..4)) {
        let mut chunk = encode(&batch_of(&clicks)).unwrap();
        for (column, at, bits) in flips {
            let column = column.index(chunk.columns.len());
            let data = &mut chunk.columns[column].data;
            let at = at.index(data.len());
            data[at] ^= bits;
        }
        let columns = chunk.columns.iter().map(|column| (column.column, column.counts.as_slice(), column.data.as_slice()));
        let _ = decode_batch(chunk.kinds.total() as usize, columns);
    }
}
