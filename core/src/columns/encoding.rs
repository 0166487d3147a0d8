//! Columns as they are stored.
//!
//! Each column of a chunk is two blobs. `counts` is what is known without looking at rows: of a column
//! of texts its dictionary with the clicks of each value per kind, of the links the same per link, which
//! is also which rows are whose. `data` is one value per row, and is given up after the retention.

use super::bytes::{
    Reader, open, pack, pack_numbers, push_number, seal, unpack, unpack_numbers, unzigzag, zigzag,
};
use super::{
    Batch, Coded, Codes, Column, Damaged, KindCounts, LinkCounts, Run, Text, ValueCounts, Values,
};
use std::ops::Range;

use super::check::kinds_of_batch;
use crate::classify::Kind;

/// A chunk, ready to be stored.
#[derive(Debug)]
pub(crate) struct EncodedChunk {
    pub(crate) first_at: i64,
    pub(crate) last_at: i64,
    pub(crate) kinds: KindCounts,
    pub(crate) columns: Vec<EncodedColumn>,
}

/// A column, ready to be stored.
#[derive(Clone, Debug)]
pub(crate) struct EncodedColumn {
    pub(crate) column: Column,
    pub(crate) counts: Vec<u8>,
    pub(crate) data: Vec<u8>,
}

/// Encodes a batch that has every column, and at least one row.
pub(crate) fn encode(batch: &Batch) -> Result<EncodedChunk, Damaged> {
    let columns = Column::all()
        .map(|column| {
            let (counts, data) = match column {
                Column::Link => (encode_link_counts(&link_counts_of(batch)?), Vec::new()),
                Column::At => (Vec::new(), steps(&batch.at)),
                Column::Visitor => (Vec::new(), hashes(&batch.visitors)),
                Column::Seq => (Vec::new(), sequences(batch)?),
                Column::Text(text) => (
                    encode_value_counts(&value_counts_of(batch, text)?),
                    codes(batch.text(text)?, batch.rows()),
                ),
            };
            Ok(EncodedColumn {
                column,
                counts: seal(&counts),
                data: seal(&data),
            })
        })
        .collect::<Result<_, _>>()?;
    Ok(EncodedChunk {
        first_at: batch.at.iter().copied().min().unwrap_or_default(),
        last_at: batch.at.iter().copied().max().unwrap_or_default(),
        kinds: kinds_of_batch(batch)?,
        columns,
    })
}

/// The slot of each row's kind.
fn kinds_of(kinds: &Coded, rows: usize) -> Vec<u8> {
    let slots: Vec<u8> = kinds
        .values
        .iter()
        .map(|name| Kind::from_name(name) as u8)
        .collect();
    (0..rows).map(|row| slots[kinds.codes.get(row)]).collect()
}

fn push_counts(out: &mut Vec<u8>, counts: KindCounts) {
    for clicks in counts.0 {
        push_number(out, clicks);
    }
}

/// Clicks per link of a batch that has the kinds.
pub(super) fn link_counts_of(batch: &Batch) -> Result<LinkCounts, Damaged> {
    let kinds = kinds_of(batch.text(Text::Kind)?, batch.rows());
    let count = |(link, rows): (i64, Range<usize>)| {
        let mut counts = KindCounts::default();
        for kind in &kinds[rows] {
            counts.0[usize::from(*kind)] += 1;
        }
        (link, counts)
    };
    Ok(batch.links().map(count).collect())
}

/// Clicks per value of a text, of a batch that has it and the kinds.
pub(super) fn value_counts_of(batch: &Batch, text: Text) -> Result<ValueCounts, Damaged> {
    let kinds = kinds_of(batch.text(Text::Kind)?, batch.rows());
    let text = batch.text(text)?;
    let mut counts = vec![KindCounts::default(); text.values.len()];
    for (row, kind) in kinds.iter().enumerate() {
        counts[text.codes.get(row)].0[usize::from(*kind)] += 1;
    }
    let values = text.values.iter().map(Into::into);
    Ok(values.zip(counts).collect())
}

fn encode_link_counts(links: &LinkCounts) -> Vec<u8> {
    let mut out = Vec::new();
    push_number(&mut out, links.len() as u64);
    let mut before = 0;
    for (link, counts) in links {
        push_number(&mut out, zigzag(link.wrapping_sub(before)));
        before = *link;
        push_counts(&mut out, *counts);
    }
    out
}

fn encode_value_counts(values: &ValueCounts) -> Vec<u8> {
    let mut out = Vec::new();
    push_number(&mut out, values.len() as u64);
    for (value, counts) in values {
        push_number(&mut out, value.len() as u64);
        out.extend_from_slice(value.as_bytes());
        push_counts(&mut out, *counts);
    }
    out
}

/// How far each number is from the one before.
fn steps(numbers: &[i64]) -> Vec<u8> {
    let mut before = 0_i64;
    let steps: Vec<_> = numbers
        .iter()
        .map(|number| zigzag(number.wrapping_sub(std::mem::replace(&mut before, *number))))
        .collect();
    pack_numbers(&steps)
}

fn hashes(visitors: &[u64]) -> Vec<u8> {
    visitors
        .iter()
        .flat_map(|hash| hash.to_le_bytes())
        .collect()
}

/// The distance to the row before that is of the same stream.
fn sequences(batch: &Batch) -> Result<Vec<u8>, Damaged> {
    let streams = batch.text(Text::Stream)?;
    let mut last = vec![0_i64; streams.values.len()];
    let steps: Vec<_> = batch
        .seq
        .iter()
        .enumerate()
        .map(|(row, seq)| {
            let last = &mut last[streams.codes.get(row)];
            zigzag(seq.wrapping_sub(std::mem::replace(last, *seq)))
        })
        .collect();
    Ok(pack_numbers(&steps))
}

/// Bits of a code in a dictionary of so many values.
const fn bits(values: usize) -> u32 {
    match values {
        0..=1 => 0,
        2..=4 => 2,
        5..=16 => 4,
        17..=0x100 => 8,
        0x101..=0x1_0000 => 16,
        _ => 32,
    }
}

fn codes(text: &Coded, rows: usize) -> Vec<u8> {
    let bits = bits(text.values.len());
    match &text.codes {
        Codes::Same => Vec::new(),
        Codes::Bytes(codes) => pack(codes, bits),
        Codes::Words(codes) => codes.iter().flat_map(|code| code.to_le_bytes()).collect(),
        Codes::Longs(codes) => {
            let bytes: Vec<u8> = codes.iter().flat_map(|code| code.to_le_bytes()).collect();
            debug_assert_eq!(bytes.len(), rows * 4);
            bytes
        }
    }
}

/// Whether a blob that says nothing is still the one that was stored.
pub(super) fn is_intact_and_empty(blob: &[u8]) -> Result<bool, Damaged> {
    Ok(open(blob)?.is_empty())
}

/// Reads `counts` of the links.
pub(crate) fn decode_link_counts(blob: &[u8]) -> Result<LinkCounts, Damaged> {
    let payload = open(blob)?;
    let mut reader = Reader::new(&payload);
    let mut link = 0_i64;
    let links = (0..reader.count()?)
        .map(|_| {
            link = link.wrapping_add(unzigzag(reader.number()?));
            Ok((link, read_counts(&mut reader)?))
        })
        .collect::<Result<_, Damaged>>()?;
    reader.end()?;
    Ok(links)
}

/// Reads `counts` of a column of texts.
pub(crate) fn decode_value_counts(blob: &[u8]) -> Result<ValueCounts, Damaged> {
    let mut values = Vec::new();
    each_value_count(blob, |value, counts| values.push((value.into(), counts)))?;
    Ok(values)
}

/// Hands over what `counts` of a column of texts say of each value, in the order of the dictionary.
pub(crate) fn each_value_count(
    blob: &[u8],
    mut each: impl FnMut(&str, KindCounts),
) -> Result<(), Damaged> {
    let payload = open(blob)?;
    let mut reader = Reader::new(&payload);
    for _ in 0..reader.count()? {
        let len = reader.count()?;
        let value =
            std::str::from_utf8(reader.bytes(len)?).map_err(|_| Damaged("a text is no UTF-8"))?;
        each(value, read_counts(&mut reader)?);
    }
    reader.end()
}

fn read_counts(reader: &mut Reader<'_>) -> Result<KindCounts, Damaged> {
    Ok(KindCounts([
        reader.number()?,
        reader.number()?,
        reader.number()?,
    ]))
}

/// Decodes the columns given, of a chunk of `rows` clicks. Streams are needed for sequences. Whoever
/// leaves the links out gets all rows as one run.
pub(crate) fn decode_batch<'a>(
    rows: usize,
    columns: impl Iterator<Item = (Column, &'a [u8], &'a [u8])> + Clone,
) -> Result<Batch, Damaged> {
    let mut batch = Batch {
        runs: vec![Run { link: 0, end: rows }],
        ..Batch::default()
    };
    for (column, counts, data) in columns.clone() {
        match column {
            Column::Link => batch.runs = read_runs(&decode_link_counts(counts)?, rows)?,
            Column::Visitor => batch.visitors = read_hashes(&open(data)?, rows)?,
            Column::Text(text) => {
                let mut values = Values::default();
                each_value_count(counts, |value, _| values.push(value))?;
                batch.texts[text.index()] = Some(read_codes(values, &open(data)?, rows)?);
            }
            Column::At => batch.at = read_steps(&open(data)?, rows)?,
            Column::Seq => {}
        }
    }
    for (_, _, data) in columns.filter(|(column, _, _)| *column == Column::Seq) {
        batch.seq = read_sequences(&batch, &open(data)?, rows)?;
    }
    Ok(batch)
}

fn read_runs(links: &LinkCounts, rows: usize) -> Result<Vec<Run>, Damaged> {
    let mut end = 0;
    let runs = links
        .iter()
        .map(|(link, counts)| {
            end += usize::try_from(counts.total()).unwrap_or(usize::MAX / 4);
            Run { link: *link, end }
        })
        .collect();
    if end == rows {
        Ok(runs)
    } else {
        Err(Damaged("the links have other rows"))
    }
}

fn read_hashes(payload: &[u8], rows: usize) -> Result<Vec<u64>, Damaged> {
    let (hashes, rest) = payload.as_chunks::<8>();
    if hashes.len() != rows || !rest.is_empty() {
        return Err(Damaged("a column has another length"));
    }
    Ok(hashes
        .iter()
        .map(|hash| u64::from_le_bytes(*hash))
        .collect())
}

fn read_codes(values: Values, payload: &[u8], rows: usize) -> Result<Coded, Damaged> {
    let wrong = Damaged("a column has another length");
    let codes = match bits(values.len()) {
        0 => Codes::Same,
        8 => Codes::Bytes(payload.to_vec()),
        16 => {
            let (words, rest) = payload.as_chunks::<2>();
            if !rest.is_empty() {
                return Err(wrong);
            }
            Codes::Words(words.iter().map(|word| u16::from_le_bytes(*word)).collect())
        }
        32 => {
            let (longs, rest) = payload.as_chunks::<4>();
            if !rest.is_empty() {
                return Err(wrong);
            }
            Codes::Longs(longs.iter().map(|long| u32::from_le_bytes(*long)).collect())
        }
        few => Codes::Bytes(unpack(payload, few, rows)?),
    };
    // Folds, which become a few instructions per vector; `max` compares one by one.
    let (len, largest) = match &codes {
        Codes::Same => (rows, 0),
        Codes::Bytes(codes) => (
            codes.len(),
            codes
                .iter()
                .fold(0, |most: u8, code| most.max(*code))
                .into(),
        ),
        Codes::Words(codes) => (
            codes.len(),
            codes
                .iter()
                .fold(0, |most: u16, code| most.max(*code))
                .into(),
        ),
        Codes::Longs(codes) => (
            codes.len(),
            codes.iter().fold(0, |most: u32, code| most.max(*code)) as usize,
        ),
    };
    if len != rows || (rows > 0 && largest >= values.len()) {
        return Err(wrong);
    }
    Ok(Coded { values, codes })
}

fn read_steps(payload: &[u8], rows: usize) -> Result<Vec<i64>, Damaged> {
    let mut number = 0_i64;
    let mut next = |step| {
        number = number.wrapping_add(unzigzag(step));
        number
    };
    let steps = unpack_numbers(payload, rows)?;
    Ok(steps.into_iter().map(&mut next).collect())
}

fn read_sequences(batch: &Batch, payload: &[u8], rows: usize) -> Result<Vec<i64>, Damaged> {
    let streams = batch.text(Text::Stream)?;
    let mut last = vec![0_i64; streams.values.len()];
    let steps = unpack_numbers(payload, rows)?;
    let sequences = steps.into_iter().enumerate().map(|(row, step)| {
        let last = &mut last[streams.codes.get(row)];
        *last = last.wrapping_add(unzigzag(step));
        *last
    });
    Ok(sequences.collect())
}
