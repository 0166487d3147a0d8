//! The bytes of a spool file: a header of 64 bytes, then records back to back. All numbers are
//! little endian.
//!
//! Header: magic, format version `u32`, stream id, creation time in unix milliseconds `i64`,
//! predecessor's stream id and its last valid seq `u64` (all zero: none), CRC32C of what precedes.
//! Record: payload length `u32`, CRC32C `u32`, record version `u8`, seq `u64`, payload. The
//! checksum covers everything after itself and begins with the stream id, so that bytes of another
//! file never pass for this one's.

use crate::model::Timestamp;
use crate::spool::{Seq, StreamId};

const MAGIC: [u8; 8] = *b"TERSESPL";
const FORMAT_VERSION: u32 = 1;
/// Bytes before the first record.
pub(super) const HEADER_BYTES: usize = 64;
/// Bytes of a record before its payload.
pub(super) const RECORD_HEAD: usize = 17;
/// Longest payload of a record in bytes.
pub const MAX_PAYLOAD: usize = 2_048;
/// Longest record in bytes.
pub(super) const MAX_RECORD: usize = RECORD_HEAD + MAX_PAYLOAD;
/// The version that is written into each record.
pub(super) const RECORD_VERSION: u8 = 1;
// No payload has this length: it marks the end of a file that was closed in order.
const END_LEN: u32 = u32::MAX;

/// Nothing after `seq` in `stream` counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limit {
    pub(super) stream: StreamId,
    pub(super) seq: Seq,
}

/// The first bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) stream: StreamId,
    pub(super) created_at: Timestamp,
    pub(super) predecessor: Option<Limit>,
}

impl Header {
    pub(super) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[12..28].copy_from_slice(self.stream.as_bytes());
        bytes[28..36].copy_from_slice(&self.created_at.as_millis().to_le_bytes());
        if let Some(limit) = self.predecessor {
            bytes[36..52].copy_from_slice(limit.stream.as_bytes());
            bytes[52..60].copy_from_slice(&u64::from(limit.seq).to_le_bytes());
        }
        let crc = crc32c::crc32c(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// `None` when the bytes are no header of this format.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..HEADER_BYTES)?;
        let intact = bytes[..8] == MAGIC
            && u32_at(bytes, 8) == FORMAT_VERSION
            && u32_at(bytes, 60) == crc32c::crc32c(&bytes[..60]);
        if !intact {
            return None;
        }
        let predecessor = StreamId::from_bytes(array_at(bytes, 36));
        Some(Self {
            stream: StreamId::from_bytes(array_at(bytes, 12)),
            created_at: Timestamp::from_millis(i64::from_le_bytes(array_at(bytes, 28))),
            predecessor: (predecessor.as_bytes() != &[0; 16]).then(|| Limit {
                stream: predecessor,
                seq: Seq::from(u64_at(bytes, 52)),
            }),
        })
    }
}

/// The checksum's starting value in a stream.
pub(super) fn seed(stream: StreamId) -> u32 {
    crc32c::crc32c(stream.as_bytes())
}

/// Writes a record into `buffer` and returns its length. The payload has at most [`MAX_PAYLOAD`]
/// bytes.
pub(super) fn encode_record(
    buffer: &mut [u8; MAX_RECORD],
    seed: u32,
    seq: u64,
    payload: &[u8],
) -> usize {
    let end = RECORD_HEAD + payload.len();
    let len = u32::try_from(payload.len()).unwrap_or(END_LEN);
    buffer[..4].copy_from_slice(&len.to_le_bytes());
    buffer[8] = RECORD_VERSION;
    buffer[9..RECORD_HEAD].copy_from_slice(&seq.to_le_bytes());
    buffer[RECORD_HEAD..end].copy_from_slice(payload);
    let crc = crc32c::crc32c_append(seed, &buffer[8..end]);
    buffer[4..8].copy_from_slice(&crc.to_le_bytes());
    end
}

/// The mark after the last record of a file that was closed in order; `seq` is the one that the
/// next record would have had.
pub(super) fn encode_end(seed: u32, seq: u64) -> [u8; RECORD_HEAD] {
    let mut bytes = [0; RECORD_HEAD];
    bytes[..4].copy_from_slice(&END_LEN.to_le_bytes());
    bytes[9..].copy_from_slice(&seq.to_le_bytes());
    let crc = crc32c::crc32c_append(seed, &bytes[8..]);
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The fixed part of a record, not yet proven by its checksum.
#[derive(Clone, Copy, Debug)]
pub(super) struct RecordHead {
    /// `None` for the mark at a file's end.
    pub(super) payload_len: Option<usize>,
    crc: u32,
    pub(super) version: u8,
    pub(super) seq: u64,
}

impl RecordHead {
    /// `None` when no record begins like this.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..RECORD_HEAD)?;
        let len = u32_at(bytes, 0);
        let payload_len = if len == END_LEN {
            None
        } else {
            let len = usize::try_from(len)
                .ok()
                .filter(|len| *len <= MAX_PAYLOAD)?;
            Some(len)
        };
        Some(Self {
            payload_len,
            crc: u32_at(bytes, 4),
            version: bytes[8],
            seq: u64_at(bytes, 9),
        })
    }

    /// Bytes of the whole record.
    pub(super) fn record_len(&self) -> usize {
        RECORD_HEAD + self.payload_len.unwrap_or(0)
    }

    /// Whether the checksum holds; `record` is the whole record.
    pub(super) fn proves(&self, seed: u32, record: &[u8]) -> bool {
        record.len() == self.record_len() && crc32c::crc32c_append(seed, &record[8..]) == self.crc
    }
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_survives_its_bytes_and_no_flipped_bit() {
        let header = Header {
            stream: StreamId::from_bytes([7; 16]),
            created_at: Timestamp::from_millis(1_700_000_000_000),
            predecessor: Some(Limit {
                stream: StreamId::from_bytes([9; 16]),
                seq: Seq::from(12),
            }),
        };
        let bytes = header.encode();
        assert_eq!(Header::decode(&bytes), Some(header));
        for bit in 0..HEADER_BYTES * 8 {
            let mut broken = bytes;
            broken[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&broken), None);
        }
    }

    #[test]
    fn a_record_is_not_valid_in_another_stream() {
        let mut buffer = [0; MAX_RECORD];
        let ours = seed(StreamId::from_bytes([1; 16]));
        let len = encode_record(&mut buffer, ours, 1, b"click");
        let head = RecordHead::decode(&buffer).expect("a record");
        assert!(head.proves(ours, &buffer[..len]));
        assert!(!head.proves(seed(StreamId::from_bytes([2; 16])), &buffer[..len]));
    }
}
