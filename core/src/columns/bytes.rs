//! Numbers as few bytes, and blobs that notice damage.

use super::Damaged;

/// How the payload of a blob is kept. The numbers are stored.
const PLAIN: u8 = 0;
const LZ4: u8 = 1;
/// Most bytes that a blob may unpack to: far above any column of a full chunk.
const MAX_UNPACKED: usize = 256 * 1024 * 1024;

/// A payload as a blob: one byte of method, the payload, its CRC32C. Compressed where that saves a
/// quarter at least: unpacking takes longer than reading what it would save.
pub(super) fn seal(payload: &[u8]) -> Vec<u8> {
    let packed = lz4_flex::compress_prepend_size(payload);
    let (method, body) = if packed.len() + payload.len() / 4 < payload.len() {
        (LZ4, packed.as_slice())
    } else {
        (PLAIN, payload)
    };
    let mut blob = Vec::with_capacity(body.len() + 5);
    blob.push(method);
    blob.extend_from_slice(body);
    blob.extend_from_slice(&crc32c::crc32c(&blob).to_le_bytes());
    blob
}

/// The payload of a blob.
pub(super) fn open(blob: &[u8]) -> Result<std::borrow::Cow<'_, [u8]>, Damaged> {
    let (content, sum) = blob
        .split_last_chunk::<4>()
        .ok_or(Damaged("a blob is cut short"))?;
    if crc32c::crc32c(content) != u32::from_le_bytes(*sum) {
        return Err(Damaged("a checksum differs"));
    }
    match content.split_first() {
        Some((&PLAIN, payload)) => Ok(payload.into()),
        Some((&LZ4, packed)) => {
            let (size, _) = lz4_flex::block::uncompressed_size(packed)
                .map_err(|_| Damaged("a blob is cut short"))?;
            if size > MAX_UNPACKED {
                return Err(Damaged("a blob is too large"));
            }
            lz4_flex::decompress_size_prepended(packed)
                .map(Into::into)
                .map_err(|_| Damaged("a blob does not unpack"))
        }
        _ => Err(Damaged("a blob of an unknown kind")),
    }
}

/// Appends an unsigned LEB128 number.
pub(super) fn push_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push((number & 0x7f) as u8);
}

/// Small negative numbers as small numbers.
pub(super) const fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

pub(super) const fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -((number & 1).cast_signed())
}

/// Reads a payload from its start.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    #[inline]
    pub(super) fn number(&mut self) -> Result<u64, Damaged> {
        // Most numbers are small.
        if let [first, rest @ ..] = self.bytes
            && *first < 0x80
        {
            self.bytes = rest;
            return Ok(u64::from(*first));
        }
        self.long_number()
    }

    fn long_number(&mut self) -> Result<u64, Damaged> {
        let mut number = 0;
        for (index, byte) in self.bytes.iter().take(10).enumerate() {
            number |= u64::from(byte & 0x7f) << (7 * index);
            if *byte < 0x80 {
                self.bytes = &self.bytes[index + 1..];
                return Ok(number);
            }
        }
        Err(Damaged("a number is cut short"))
    }

    pub(super) fn count(&mut self) -> Result<usize, Damaged> {
        let number = self.number()?;
        // Whatever is counted takes a byte each, in some column.
        usize::try_from(number)
            .ok()
            .filter(|count| *count <= MAX_UNPACKED)
            .ok_or(Damaged("a count is too large"))
    }

    pub(super) fn bytes(&mut self, len: usize) -> Result<&'a [u8], Damaged> {
        let (bytes, rest) = self
            .bytes
            .split_at_checked(len)
            .ok_or(Damaged("a text is cut short"))?;
        self.bytes = rest;
        Ok(bytes)
    }

    pub(super) fn array<const LEN: usize>(&mut self) -> Result<[u8; LEN], Damaged> {
        let (bytes, rest) = self
            .bytes
            .split_first_chunk()
            .ok_or(Damaged("a text is cut short"))?;
        self.bytes = rest;
        Ok(*bytes)
    }

    pub(super) fn end(&self) -> Result<(), Damaged> {
        if self.bytes.is_empty() {
            Ok(())
        } else {
            Err(Damaged("a column holds too much"))
        }
    }
}

/// Codes of less than eight bits, side by side, the first in the lowest bits.
pub(super) fn pack(codes: &[u8], bits: u32) -> Vec<u8> {
    let per_byte = (8 / bits) as usize;
    codes
        .chunks(per_byte)
        .map(|some| {
            let shifts = (0..).step_by(bits as usize);
            let join = |byte, (code, shift): (&u8, u32)| byte | code << shift;
            some.iter().zip(shifts).fold(0, join)
        })
        .collect()
}

/// Reads what [`pack`] wrote.
pub(super) fn unpack(packed: &[u8], bits: u32, rows: usize) -> Result<Vec<u8>, Damaged> {
    let per_byte = (8 / bits) as usize;
    if packed.len() != rows.div_ceil(per_byte) {
        return Err(Damaged("a column has another length"));
    }
    let mut codes = Vec::with_capacity(packed.len() * per_byte);
    // Whole bytes at a time: the kind of every row that is looked at comes this way.
    for byte in packed {
        match bits {
            2 => codes.extend([byte & 3, byte >> 2 & 3, byte >> 4 & 3, byte >> 6]),
            4 => codes.extend([byte & 15, byte >> 4]),
            _ => codes.push(*byte),
        }
    }
    codes.truncate(rows);
    Ok(codes)
}

/// Numbers per block of [`pack_numbers`].
const BLOCK: usize = 128;

/// Numbers of about the same size, in blocks of 128: the bits of the block's largest, then each number
/// in so many bits, the first in the lowest.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the lowest byte is what is meant, and a width is 64 at most"
)]
pub(super) fn pack_numbers(numbers: &[u64]) -> Vec<u8> {
    let mut out = Vec::with_capacity(numbers.len() * 3);
    for block in numbers.chunks(BLOCK) {
        let all = block.iter().fold(0, |all, number| all | number);
        let width = u64::BITS - all.leading_zeros();
        out.push(width as u8);
        let (mut pending, mut bits) = (0_u128, 0);
        for number in block {
            pending |= u128::from(*number) << bits;
            bits += width;
            while bits >= 8 {
                out.push(pending as u8);
                pending >>= 8;
                bits -= 8;
            }
        }
        if bits > 0 {
            out.push(pending as u8);
        }
    }
    out
}

/// Reads what [`pack_numbers`] wrote.
pub(super) fn unpack_numbers(mut packed: &[u8], count: usize) -> Result<Vec<u64>, Damaged> {
    let wrong = Damaged("a column has another length");
    let mut numbers = Vec::with_capacity(count);
    while numbers.len() < count {
        let in_block = BLOCK.min(count - numbers.len());
        let (width, rest) = packed.split_first().ok_or(wrong)?;
        let width = u32::from(*width);
        if width > u64::BITS {
            return Err(wrong);
        }
        let (block, rest) = rest
            .split_at_checked((in_block * width as usize).div_ceil(8))
            .ok_or(wrong)?;
        unpack_block(block, width, in_block, &mut numbers);
        packed = rest;
    }
    if packed.is_empty() {
        Ok(numbers)
    } else {
        Err(wrong)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the lowest bits are what is meant"
)]
fn unpack_block(block: &[u8], width: u32, count: usize, numbers: &mut Vec<u64>) {
    let mask = u64::MAX.checked_shr(u64::BITS - width).unwrap_or(0);
    for index in 0..count {
        let bit = index * width as usize;
        let left = &block[bit / 8..];
        // Almost always: one load holds the number, wherever in its first byte it begins.
        if width <= u64::BITS - 8
            && let Some(bytes) = left.first_chunk::<8>()
        {
            numbers.push(u64::from_le_bytes(*bytes) >> (bit % 8) & mask);
            continue;
        }
        let word = if let Some(bytes) = left.first_chunk::<16>() {
            u128::from_le_bytes(*bytes)
        } else {
            let mut bytes = [0; 16];
            bytes[..left.len()].copy_from_slice(left);
            u128::from_le_bytes(bytes)
        };
        numbers.push((word >> (bit % 8)) as u64 & mask);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_are_read_back(numbers: Vec<i64>) {
            let mut out = Vec::new();
            for number in &numbers {
                push_number(&mut out, zigzag(*number));
            }
            let mut reader = Reader::new(&out);
            for number in numbers {
                prop_assert_eq!(reader.number().map(unzigzag), Ok(number));
            }
            prop_assert_eq!(reader.end(), Ok(()));
        }

        #[test]
        fn blobs_are_read_back_and_notice_every_flipped_bit(payload: Vec<u8>, repeat in 1..20_usize, at: prop::sample::Index, bit in 0..8_u32) {
            let payload = payload.repeat(repeat);
            let mut blob = seal(&payload);
            let opened = open(&blob).map(std::borrow::Cow::into_owned);
            prop_assert_eq!(opened, Ok(payload));
            let at = at.index(blob.len());
            blob[at] ^= 1 << bit;
            prop_assert!(open(&blob).is_err());
        }

        #[test]
        fn packed_codes_are_read_back(codes in prop::collection::vec(0..4_u8, 0..100), bits in prop::sample::select(vec![2_u32, 4, 8])) {
            let packed = pack(&codes, bits);
            prop_assert_eq!(unpack(&packed, bits, codes.len()), Ok(codes));
        }

        #[test]
        fn blocks_of_numbers_are_read_back(numbers: Vec<u64>, shift in 0..64_u32, repeat in 1..10_usize) {
            let numbers: Vec<_> = numbers.repeat(repeat).iter().map(|number| number >> shift).collect();
            let packed = pack_numbers(&numbers);
            prop_assert_eq!(unpack_numbers(&packed, numbers.len()), Ok(numbers));
        }

        #[test]
        fn no_bytes_make_unpacking_panic(bytes: Vec<u8>, count in 0..1_000_usize) {
            let _ = unpack_numbers(&bytes, count);
        }

        #[test]
        fn no_bytes_make_reading_panic(bytes: Vec<u8>) {
            let _ = open(&bytes);
            let mut reader = Reader::new(&bytes);
            while reader.number().is_ok() {}
        }
    }
}
