//! Reading a stream back, in order.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::spool::disk::DiskFile;
use crate::spool::format::{HEADER_BYTES, RECORD_HEAD, RecordHead};
use crate::spool::stream::{Position, Stream};
use crate::spool::{Seq, SpoolError};

/// What reading came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadOutcome {
    /// More records can be read at once.
    More,
    /// Everything was read; more may be appended.
    CaughtUp,
    /// Everything was read, and nothing will follow.
    End,
    /// Records are missing after `after`; the next intact one, if any, is `next`.
    Gap { after: Seq, next: Option<Seq> },
}

/// Records that were read. Reusable: it keeps its buffers.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    index: Vec<Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    seq: u64,
    version: u8,
    start: usize,
    len: usize,
}

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    pub seq: Seq,
    /// Says how to read the payload.
    pub version: u8,
    pub payload: &'a [u8],
}

impl Batch {
    pub fn len(&self) -> usize {
        self.index.len()
    }

    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// The records in order.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        self.index.iter().map(|entry| Record {
            seq: entry.seq.into(),
            version: entry.version,
            payload: &self.bytes[entry.start..entry.start + entry.len],
        })
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.index.clear();
    }
}

/// Where the intact records from `first` on stand.
struct Span {
    first: u64,
    last: u64,
    start: Position,
    end_offset: u64,
}

pub(super) fn read(
    stream: &Arc<Stream>,
    power: bool,
    after: Seq,
    max_records: usize,
    max_bytes: usize,
    batch: &mut Batch,
) -> Result<ReadOutcome, SpoolError> {
    let after = u64::from(after);
    // Whether it ended is asked first: what was appended before that is visible then.
    let ended = stream.is_ended();
    let visible = stream.visible(power);
    if after >= visible {
        return Ok(nothing_visible(stream, after, ended));
    }
    let span = match span_after(stream, after, visible) {
        Ok(span) => span,
        Err(gap) => return Ok(gap),
    };
    let intact = read_span(stream, &span, max_records, max_bytes, batch)?;
    let last = batch.index.last().map_or(after, |entry| entry.seq);
    if !intact {
        return Ok(ReadOutcome::Gap {
            after: last.into(),
            next: None,
        });
    }
    if last < visible {
        return Ok(ReadOutcome::More);
    }
    Ok(nothing_visible(stream, last, ended))
}

fn nothing_visible(stream: &Stream, after: u64, ended: bool) -> ReadOutcome {
    if !ended {
        return ReadOutcome::CaughtUp;
    }
    if stream.lacks_its_tail(after) {
        return ReadOutcome::Gap {
            after: after.into(),
            next: None,
        };
    }
    ReadOutcome::End
}

fn span_after(stream: &Stream, after: u64, visible: u64) -> Result<Span, ReadOutcome> {
    if stream.runs.is_empty() {
        let position = *stream.position();
        let start = if position.seq <= after {
            position
        } else {
            Position {
                seq: 0,
                offset: HEADER_BYTES as u64,
            }
        };
        return Ok(Span {
            first: after + 1,
            last: visible,
            start,
            end_offset: stream.written_bytes.load(Ordering::Acquire),
        });
    }
    let run = stream.runs.iter().find(|run| run.last > after);
    let Some(run) = run else {
        return Err(ReadOutcome::End);
    };
    if run.first > after + 1 && !stream.accepts_gap(after) {
        return Err(ReadOutcome::Gap {
            after: after.into(),
            next: Some(run.first.into()),
        });
    }
    let position = *stream.position();
    let start = if (run.first - 1..=after).contains(&position.seq) && position.offset >= run.start {
        position
    } else {
        Position {
            seq: run.first - 1,
            offset: run.start,
        }
    };
    Ok(Span {
        first: run.first.max(after + 1),
        last: run.last.min(visible),
        start,
        end_offset: run.end,
    })
}

/// Returns whether every record of the span that was looked at is intact.
fn read_span(
    stream: &Stream,
    span: &Span,
    max_records: usize,
    max_bytes: usize,
    batch: &mut Batch,
) -> io::Result<bool> {
    let mut window = Window::new(span.start.offset, span.end_offset);
    let Position {
        mut seq,
        mut offset,
    } = span.start;
    let mut intact = true;
    while seq < span.last && batch.index.len() < max_records && batch.bytes.len() < max_bytes {
        let Some(head) = RecordHead::decode(window.at(&*stream.file, offset, RECORD_HEAD)?) else {
            intact = false;
            break;
        };
        let len = head.record_len();
        let record = window.at(&*stream.file, offset, len)?;
        if head.payload_len.is_none() || head.seq != seq + 1 || !head.proves(stream.seed, record) {
            intact = false;
            break;
        }
        seq += 1;
        offset += len as u64;
        if seq >= span.first {
            let start = batch.bytes.len();
            batch.bytes.extend_from_slice(&record[RECORD_HEAD..]);
            batch.index.push(Entry {
                seq,
                version: head.version,
                start,
                len: len - RECORD_HEAD,
            });
        }
    }
    *stream.position() = Position { seq, offset };
    Ok(intact)
}

const WINDOW_BYTES: usize = 256 * 1024;

/// A part of a file in memory, moved along as it is read.
pub(super) struct Window {
    bytes: Vec<u8>,
    start: u64,
    file_len: u64,
}

impl Window {
    pub(super) fn new(start: u64, file_len: u64) -> Self {
        Self {
            bytes: Vec::new(),
            start,
            file_len,
        }
    }

    pub(super) fn len(&self) -> u64 {
        self.file_len
    }

    /// Up to `len` bytes at `offset`; fewer at the end of the file.
    pub(super) fn at(&mut self, file: &dyn DiskFile, offset: u64, len: usize) -> io::Result<&[u8]> {
        let wanted = offset.saturating_add(len as u64).min(self.file_len);
        let held = self.start + self.bytes.len() as u64;
        if offset < self.start || wanted > held {
            self.fill(file, offset, len)?;
        }
        let from = usize::try_from(offset - self.start).unwrap_or(usize::MAX);
        let to = from.saturating_add(len).min(self.bytes.len());
        Ok(self.bytes.get(from..to).unwrap_or_default())
    }

    fn fill(&mut self, file: &dyn DiskFile, offset: u64, len: usize) -> io::Result<()> {
        let left = usize::try_from(self.file_len.saturating_sub(offset)).unwrap_or(usize::MAX);
        self.start = offset;
        self.bytes.resize(len.max(WINDOW_BYTES).min(left), 0);
        let mut filled = 0;
        while filled < self.bytes.len() {
            match file.read_at(&mut self.bytes[filled..], offset + filled as u64)? {
                0 => break,
                read => filled += read,
            }
        }
        self.bytes.truncate(filled);
        Ok(())
    }
}
