//! Opening: what earlier processes left, read once from beginning to end.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::model::{Clock, Entropy};
use crate::spool::disk::{Disk, DiskFile};
use crate::spool::format::{HEADER_BYTES, Header, Limit, RECORD_HEAD, RecordHead, seed};
use crate::spool::reader::Window;
use crate::spool::shared::{Counters, Lock, Shared};
use crate::spool::stream::{Run, Stream};
use crate::spool::{SpoolError, SpoolOptions, StreamId};

pub(super) fn open(
    disk: Arc<dyn Disk>,
    mut options: SpoolOptions,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
) -> Result<Shared, SpoolError> {
    options.segment_bytes = options.fitting_segment();
    disk.prepare_dir(&options.dir)?;
    let lock = disk
        .lock(&options.dir)
        .map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => SpoolError::Locked(options.dir.clone()),
            _ => SpoolError::Io(error),
        })?;
    if options.durability.waits_for_sync()
        && !options.allow_volatile
        && disk.is_volatile(&options.dir)?
    {
        return Err(SpoolError::Volatile(options.dir));
    }
    let counters = Counters::default();
    let recovered = recover(&*disk, &options.dir, &counters)?;
    Ok(Shared::new(
        options,
        disk,
        clock,
        entropy,
        Lock::holding(lock),
        recovered,
        counters,
    ))
}

fn recover(
    disk: &dyn Disk,
    dir: &Path,
    counters: &Counters,
) -> io::Result<BTreeMap<StreamId, Arc<Stream>>> {
    let mut streams = BTreeMap::new();
    let mut limits: Vec<Limit> = Vec::new();
    for path in disk.list(dir)? {
        if path
            .extension()
            .is_none_or(|extension| extension != "spool")
        {
            continue;
        }
        let file = disk.open(&path)?;
        let Some(header) = read_header(&*file)? else {
            if is_blank(&*file)? {
                // Its making was cut off, before anything was recorded in it; the room is taken already.
                disk.remove(&path)?;
            } else {
                report_headless(&path, counters);
            }
            continue;
        };
        limits.extend(header.predecessor);
        let scan = scan(&*file, header.stream)?;
        let empty = scan.runs.is_empty() && scan.closed_before.is_none_or(|before| before <= 1);
        if empty && header.predecessor.is_none() {
            // Nothing was ever recorded in it.
            disk.remove(&path)?;
            continue;
        }
        let stream = recovered_stream(header, &path, file, scan, counters)?;
        give_back(&stream);
        streams.insert(header.stream, stream);
    }
    for limit in limits {
        if let Some(stream) = streams.get(&limit.stream) {
            stream.limit_to(limit.seq.into());
        }
    }
    Ok(streams
        .into_iter()
        .map(|(id, stream)| (id, Arc::new(stream)))
        .collect())
}

fn read_header(file: &dyn DiskFile) -> io::Result<Option<Header>> {
    let mut bytes = [0; HEADER_BYTES];
    let mut filled = 0;
    while filled < HEADER_BYTES {
        match file.read_at(&mut bytes[filled..], filled as u64)? {
            0 => return Ok(None),
            read => filled += read,
        }
    }
    Ok(Header::decode(&bytes))
}

fn report_headless(path: &Path, counters: &Counters) {
    counters.corrupt_files.fetch_add(1, Ordering::Relaxed);
    counters.unreadable_files.fetch_add(1, Ordering::Relaxed);
    tracing::error!(path = %path.display(), "a spool file has no readable header; it is left alone");
}

/// Whether nothing was ever written into the file.
fn is_blank(file: &dyn DiskFile) -> io::Result<bool> {
    let len = file.size()?;
    let mut window = Window::new(0, len);
    let mut offset = 0;
    while offset < len {
        let bytes = window.at(file, offset, HEADER_BYTES * 1_024)?;
        if bytes.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        if bytes.is_empty() {
            break;
        }
        offset += bytes.len() as u64;
    }
    Ok(true)
}

fn recovered_stream(
    header: Header,
    path: &Path,
    file: Arc<dyn DiskFile>,
    scan: Scan,
    counters: &Counters,
) -> io::Result<Stream> {
    let modified = file.modified()?;
    let mut stream = Stream::new(header.stream, path.to_owned(), file, header.created_at);
    let last = scan.runs.last().copied();
    let whole = scan.runs.len() <= 1
        && scan.runs.first().is_none_or(|run| run.first == 1)
        && scan
            .closed_before
            .is_none_or(|before| before == last.map_or(1, |run| run.last + 1));
    if !whole {
        counters.corrupt_files.fetch_add(1, Ordering::Relaxed);
        tracing::error!(stream = %header.stream, "records are missing in the middle of a spool file");
    } else if scan.torn {
        counters.torn_tails.fetch_add(1, Ordering::Relaxed);
        tracing::info!(stream = %header.stream, "the unfinished last record of a spool file was dropped");
    }
    if let Some(last) = last {
        stream.written.store(last.last, Ordering::Relaxed);
        stream.written_bytes.store(last.end, Ordering::Relaxed);
    }
    stream.ended.store(true, Ordering::Relaxed);
    stream.finished.store(true, Ordering::Relaxed);
    stream.predecessor = header.predecessor.map(|limit| limit.stream);
    stream
        .last_write
        .store(modified.as_millis(), Ordering::Relaxed);
    stream.runs = scan.runs;
    stream.closed_before = scan.closed_before;
    stream.has_torn_tail = scan.torn;
    if stream.runs.is_empty() {
        // All of it is missing, and its end says so.
        stream.runs.push(Run {
            first: 1,
            last: 0,
            start: HEADER_BYTES as u64,
            end: HEADER_BYTES as u64,
        });
    }
    Ok(stream)
}

/// Cuts off the room that a crashed process had reserved and not used, so that it is neither taken
/// nor read again at every start.
fn give_back(stream: &Stream) {
    let end = stream.written_bytes.load(Ordering::Relaxed);
    let whole = !stream.has_torn_tail && stream.closed_before.is_none() && stream.runs.len() == 1;
    let unused = whole && stream.file.size().is_ok_and(|size| size > end);
    if unused && let Err(error) = stream.file.truncate(end) {
        tracing::debug!(%error, stream = %stream.id, "unused room of a spool file stays taken");
    }
}

/// What a file holds.
#[derive(Debug, Default)]
struct Scan {
    runs: Vec<Run>,
    closed_before: Option<u64>,
    /// Something stands behind the last record, but is none.
    torn: bool,
}

fn scan(file: &dyn DiskFile, stream: StreamId) -> io::Result<Scan> {
    let len = file.size()?;
    let seed = seed(stream);
    let mut window = Window::new(HEADER_BYTES as u64, len);
    let mut scan = Scan::default();
    let mut offset = HEADER_BYTES as u64;
    let mut last_seq = 0;
    loop {
        let Some(found) = record_at(&mut window, file, seed, offset)? else {
            // The end of what was written, a torn tail, or damage: does anything valid follow?
            match resync(&mut window, file, seed, offset, last_seq)? {
                Resync::Found(next) => offset = next,
                Resync::Nothing { torn } => {
                    scan.torn = torn;
                    return Ok(scan);
                }
            }
            continue;
        };
        if found.seq <= last_seq {
            // An intact copy of an earlier record cannot be written here by us.
            scan.torn = true;
            return Ok(scan);
        }
        if found.is_end {
            scan.closed_before = Some(found.seq);
            return Ok(scan);
        }
        let end = offset + found.len;
        match scan.runs.last_mut() {
            Some(run) if found.seq == run.last + 1 && offset == run.end => {
                run.last = found.seq;
                run.end = end;
            }
            _ => scan.runs.push(Run {
                first: found.seq,
                last: found.seq,
                start: offset,
                end,
            }),
        }
        last_seq = found.seq;
        offset = end;
    }
}

struct Found {
    seq: u64,
    len: u64,
    is_end: bool,
}

fn record_at(
    window: &mut Window,
    file: &dyn DiskFile,
    seed: u32,
    offset: u64,
) -> io::Result<Option<Found>> {
    let Some(head) = RecordHead::decode(window.at(file, offset, RECORD_HEAD)?) else {
        return Ok(None);
    };
    let len = head.record_len();
    let record = window.at(file, offset, len)?;
    Ok(head.proves(seed, record).then_some(Found {
        seq: head.seq,
        len: len as u64,
        is_end: head.payload_len.is_none(),
    }))
}

enum Resync {
    Found(u64),
    Nothing { torn: bool },
}

/// Looks for the next valid record at any later byte.
fn resync(
    window: &mut Window,
    file: &dyn DiskFile,
    seed: u32,
    from: u64,
    last_seq: u64,
) -> io::Result<Resync> {
    let mut torn = false;
    let mut offset = from;
    while offset < window.len() {
        let bytes = window.at(file, offset, 4096)?;
        // Allocated room that was never written is zeros: skip it quickly.
        match bytes.iter().position(|byte| *byte != 0) {
            None => {
                offset += bytes.len() as u64;
                continue;
            }
            // The lowest byte of a record's length may itself be zero.
            Some(zeros) => offset += zeros.saturating_sub(1) as u64,
        }
        torn = true;
        if offset > from
            && let Some(found) = record_at(window, file, seed, offset)?
            && found.seq > last_seq
        {
            return Ok(Resync::Found(offset));
        }
        offset += 1;
    }
    Ok(Resync::Nothing { torn })
}
