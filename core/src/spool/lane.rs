//! Appending: a few open files, each behind a short lock.

use std::cell::Cell;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use crate::failpoint::failpoint;
use crate::model::random_bytes;
use crate::spool::format::{
    HEADER_BYTES, Header, Limit, MAX_PAYLOAD, MAX_RECORD, RECORD_HEAD, encode_record,
};
use crate::spool::shared::Shared;
use crate::spool::stream::Stream;
use crate::spool::{AppendError, Durability, StreamId};

/// A record that was written.
#[derive(Debug)]
pub(crate) struct Appended {
    pub(super) stream: Arc<Stream>,
    pub(super) seq: u64,
    pub(super) lane: usize,
}

impl Appended {
    /// Has the folder pass over a record that was refused after all, unless it is under way already.
    pub(crate) fn withdraw(&self) {
        self.stream.withdrawn().insert(self.seq);
    }

    /// The error that tells where the stream was cut short.
    pub(super) fn sync_failed(&self) -> AppendError {
        AppendError::SyncFailed {
            stream: self.stream.id,
            limit: self.stream.limit.load(Ordering::Acquire).into(),
        }
    }
}

/// One place to append.
#[derive(Debug)]
pub(super) struct Lane {
    open: Mutex<Open>,
}

#[derive(Debug)]
pub(super) struct Open {
    pub(super) file: Option<OpenFile>,
    /// What files of this lane must say about earlier ones before anything else is recorded.
    pub(super) limits: Vec<Limit>,
    buffer: Box<[u8; MAX_RECORD]>,
}

#[derive(Debug)]
pub(super) struct OpenFile {
    pub(super) stream: Arc<Stream>,
    offset: u64,
    next_seq: u64,
}

impl Lane {
    pub(super) fn new() -> Self {
        Self {
            open: Mutex::new(Open {
                file: None,
                limits: Vec::new(),
                buffer: Box::new([0; MAX_RECORD]),
            }),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// Whether this stream's file is the open one.
    pub(super) fn holds(&self, stream: &Arc<Stream>) -> bool {
        self.file
            .as_ref()
            .is_some_and(|file| Arc::ptr_eq(&file.stream, stream))
    }

    /// Takes the lane's file away after a failed write: what was written before it stays good.
    fn give_up(&mut self) -> Option<Arc<Stream>> {
        let file = self.file.take()?;
        let last = file.next_seq - 1;
        file.stream.limit_to(last);
        self.limits.push(Limit {
            stream: file.stream.id,
            seq: last.into(),
        });
        Some(file.stream)
    }
}

/// A full disk is not asked again at once.
#[derive(Debug)]
pub(super) struct Failing {
    pub(super) now: AtomicBool,
    retry_at: AtomicI64,
}

const RETRY_MILLIS: i64 = 100;

impl Failing {
    pub(super) const fn new() -> Self {
        Self {
            now: AtomicBool::new(false),
            retry_at: AtomicI64::new(0),
        }
    }
}

thread_local! {
    static OWN_LANE: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// Threads are spread over the lanes in the order in which they first append.
fn own_lane(lanes: usize) -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    OWN_LANE.with(|own| {
        if own.get() == usize::MAX {
            own.set(NEXT.fetch_add(1, Ordering::Relaxed));
        }
        own.get() % lanes
    })
}

impl Shared {
    /// Writes a record; it survives the end of the process when this returns.
    pub(super) fn append(&self, payload: &[u8]) -> Result<Appended, AppendError> {
        if payload.len() > MAX_PAYLOAD {
            return Err(AppendError::TooLong);
        }
        if self.full.load(Ordering::Relaxed) {
            return Err(AppendError::Full);
        }
        let (index, mut open) = self.free_lane();
        // Under the lock: closing takes every lane's lock after it has set the flag.
        if self.closed.load(Ordering::Relaxed) {
            return Err(AppendError::Closed);
        }
        let appended = self.append_in(&mut open, payload);
        drop(open);
        if self.reader_waits.load(Ordering::SeqCst)
            && self.reader_waits.swap(false, Ordering::SeqCst)
        {
            self.records.notify_one();
        }
        let (stream, seq) = appended?;
        Ok(Appended {
            stream,
            seq,
            lane: index,
        })
    }

    /// The thread's own lane, or any that is free right now.
    fn free_lane(&self) -> (usize, MutexGuard<'_, Open>) {
        let lanes = self.lanes.len();
        let own = own_lane(lanes);
        for step in 0..lanes {
            let index = (own + step) % lanes;
            match self.lanes[index].open.try_lock() {
                Ok(open) => return (index, open),
                Err(TryLockError::Poisoned(poisoned)) => return (index, poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        (own, self.lanes[own].lock())
    }

    fn append_in(
        &self,
        open: &mut Open,
        payload: &[u8],
    ) -> Result<(Arc<Stream>, u64), AppendError> {
        match self.write(open, payload) {
            Ok(written) => Ok(written),
            Err(_) if open.file.is_none() => self.write(open, payload),
            Err(error) => Err(error),
        }
    }

    /// Writes into the lane's file, or a fresh one when there is none or it has no room.
    fn write(&self, open: &mut Open, payload: &[u8]) -> Result<(Arc<Stream>, u64), AppendError> {
        let len = (RECORD_HEAD + payload.len()) as u64;
        let room = self.options.segment_bytes - RECORD_HEAD as u64;
        let fits = open
            .file
            .as_ref()
            .is_some_and(|file| file.offset + len <= room && !file.stream.is_ended());
        if !fits {
            self.move_on(open)?;
        }
        let Open { file, buffer, .. } = open;
        let Some(current) = file else {
            return Err(AppendError::Closed);
        };
        let seq = current.next_seq;
        let len = encode_record(buffer, current.stream.seed, seq, payload);
        failpoint("spool.before_commit");
        if let Err(error) = current
            .stream
            .file
            .write_all_at(&buffer[..len], current.offset)
        {
            self.counters.write_errors.fetch_add(1, Ordering::Relaxed);
            tracing::error!(%error, stream = %current.stream.id, "the spool could not write; it goes on in a fresh file");
            self.retired().extend(open.give_up());
            self.wake_upkeep();
            return Err(error.into());
        }
        failpoint("spool.after_commit");
        current.offset += len as u64;
        current.next_seq += 1;
        let stream = &current.stream;
        stream
            .written_bytes
            .store(current.offset, Ordering::Relaxed);
        stream.written.store(seq, Ordering::Release);
        Ok((Arc::clone(stream), seq))
    }

    /// Gives the lane a fresh file. The old one is completed in the background.
    fn move_on(&self, open: &mut Open) -> Result<(), AppendError> {
        if let Some(file) = open.file.take() {
            file.stream.end();
            self.retired().push(file.stream);
            self.wake_upkeep();
        }
        let now = self.clock.now().as_millis();
        if self.failing.now.load(Ordering::Relaxed) {
            let retry_at = self.failing.retry_at.load(Ordering::Relaxed);
            // Also when the clock was set back.
            if (retry_at - RETRY_MILLIS..retry_at).contains(&now) {
                return Err(AppendError::NoSpace);
            }
        }
        self.measure();
        if self.full.load(Ordering::Relaxed) {
            return Err(AppendError::Full);
        }
        match self.fresh_file(&mut open.limits) {
            Ok(stream) => {
                self.failing.now.store(false, Ordering::Relaxed);
                open.file = Some(OpenFile {
                    offset: HEADER_BYTES as u64,
                    next_seq: 1,
                    stream,
                });
                Ok(())
            }
            Err(error) => {
                if !self.failing.now.swap(true, Ordering::Relaxed) {
                    tracing::error!(%error, "the spool cannot make a file: clicks cannot be recorded here");
                }
                self.failing
                    .retry_at
                    .store(now + RETRY_MILLIS, Ordering::Relaxed);
                Err(error.into())
            }
        }
    }

    /// A file that is ready to be appended to: a spare one, unless limits must be told first. A
    /// header carries one limit; for more there are files that hold nothing else.
    fn fresh_file(&self, limits: &mut Vec<Limit>) -> io::Result<Arc<Stream>> {
        while limits.len() > 1 {
            let carrier = self.create_file(limits.last().copied())?;
            carrier.end();
            carrier.finished.store(true, Ordering::Release);
            self.streams().insert(carrier.id, carrier);
            limits.pop();
        }
        let spare = if limits.is_empty() {
            self.spares().pop()
        } else {
            None
        };
        let stream = match spare {
            Some(spare) => spare,
            None => self.create_file(limits.last().copied())?,
        };
        limits.clear();
        self.streams().insert(stream.id, Arc::clone(&stream));
        Ok(stream)
    }

    /// Makes a file whose header and name survive a power cut.
    pub(super) fn create_file(&self, predecessor: Option<Limit>) -> io::Result<Arc<Stream>> {
        let id = StreamId::from_bytes(random_bytes(&*self.entropy));
        let path = self.options.dir.join(format!("{id}.spool"));
        let created_at = self.clock.now();
        let file = self.disk.create(&path)?;
        failpoint("rotate.after_create");
        let header = Header {
            stream: id,
            created_at,
            predecessor,
        };
        let prepared = file
            .allocate(self.options.segment_bytes)
            .or_else(|error| match error.kind() {
                io::ErrorKind::Unsupported => Ok(()),
                _ => Err(error),
            })
            .and_then(|()| file.write_all_at(&header.encode(), 0))
            .and_then(|()| file.sync_data())
            .and_then(|()| self.disk.sync_dir(&self.options.dir));
        if let Err(error) = prepared {
            // Left behind it would only be an empty stream.
            let _ = self.disk.remove(&path);
            return Err(error);
        }
        let mut stream = Stream::new(id, path, file, created_at);
        stream.predecessor = predecessor.map(|limit| limit.stream);
        Ok(Arc::new(stream))
    }

    /// Ends a file whose sync failed. Returns whether where it ends is on stable storage now, so
    /// that its unsynced records may be recorded again elsewhere.
    pub(super) fn end_after_failed_sync(&self, lane: &Lane, stream: &Arc<Stream>) -> bool {
        let mut open = lane.lock();
        if open.holds(stream) {
            open.file = None;
            self.retired().push(Arc::clone(stream));
        }
        stream.end();
        if self.options.durability == Durability::Process {
            // What was written can still be read, and will be folded.
            return false;
        }
        let synced = stream.sync_progress.borrow().seq;
        stream.limit_to(synced);
        open.limits.push(Limit {
            stream: stream.id,
            seq: synced.into(),
        });
        // A file that the lane moved on to meanwhile cannot tell: only a fresh header can.
        self.move_on(&mut open).is_ok()
    }
}

impl Stream {
    pub(super) fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// No more appends.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }
}
