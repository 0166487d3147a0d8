//! Clicks of the tail, as the folder brings them: those of one workspace and one fold in one blob.

use super::bytes::{Reader, open, push_number, seal, unzigzag, zigzag};
use super::{Damaged, Row};
use crate::classify::{Kind, Reason};

/// Clicks on their way into the tail.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parcel {
    clicks: usize,
    first: Option<(i64, i64)>,
    times: Option<(i64, i64)>,
    last_at: i64,
    payload: Vec<u8>,
}

impl Parcel {
    /// Adds a click.
    pub(crate) fn push(&mut self, row: &Row<'_>) {
        self.clicks += 1;
        self.first.get_or_insert((row.stream, row.seq));
        let (first, last) = self.times.unwrap_or((row.at, row.at));
        self.times = Some((first.min(row.at), last.max(row.at)));
        let out = &mut self.payload;
        out.extend_from_slice(&row.link.to_le_bytes());
        out.extend_from_slice(&row.visitor.to_le_bytes());
        out.push(row.kind as u8);
        out.push(row.reason as u8);
        push_number(out, zigzag(row.at.wrapping_sub(self.last_at)));
        push_number(out, zigzag(row.stream));
        push_number(out, zigzag(row.seq));
        push_number(out, row.facts.len() as u64);
        out.extend_from_slice(row.facts);
        self.last_at = row.at;
    }

    pub(crate) fn clicks(&self) -> usize {
        self.clicks
    }

    /// Stream and seq of the first click, which no other parcel has.
    pub(crate) fn key(&self) -> (i64, i64) {
        self.first.unwrap_or_default()
    }

    /// The earliest and the latest time.
    pub(crate) fn times(&self) -> (i64, i64) {
        self.times.unwrap_or_default()
    }

    /// The parcel as it is stored.
    pub(crate) fn seal(&self) -> Vec<u8> {
        seal(&self.payload)
    }
}

/// Hands over every click of a stored parcel, in the order in which they were added.
pub(crate) fn open_parcel(blob: &[u8], mut each: impl FnMut(&Row<'_>)) -> Result<(), Damaged> {
    let payload = open(blob)?;
    let mut reader = Reader::new(&payload);
    let mut at = 0_i64;
    while reader.end().is_err() {
        let link = i64::from_le_bytes(reader.array()?);
        let visitor = u64::from_le_bytes(reader.array()?);
        let [kind, reason] = reader.array()?;
        at = at.wrapping_add(unzigzag(reader.number()?));
        let stream = unzigzag(reader.number()?);
        let seq = unzigzag(reader.number()?);
        let len = reader.count()?;
        each(&Row {
            link,
            at,
            kind: Kind::from_code(kind.into()),
            reason: Reason::from_code(reason.into()),
            visitor,
            stream,
            seq,
            facts: reader.bytes(len)?,
        });
    }
    Ok(())
}
