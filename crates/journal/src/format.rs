//! The bytes of a journal file. All numbers are little-endian.
//!
//! ```text
//! file    = header copy, header copy, record*
//! header  =  0  magic                    8 bytes
//!            8  format version           u16
//!           10  zero                     2 bytes
//!           12  schema version           u32
//!           16  generation               u64   grows by one with every compaction
//!           24  base records             u64   records that the compaction wrote: together they are one state
//!           32  file id                  16 bytes, random
//!           48  schema name              40 bytes of UTF-8, filled with zeros
//!           88  zero                     4 bytes
//!           92  CRC-32C of bytes 0..92   u32
//! record  =  0  payload length           u32
//!            4  sequence                 u64   1, 2, 3 …
//!           12  running CRC up to here   u32
//!           16  payload                  postcard
//!            …  running CRC up to here   u32
//! ```
//! The running CRC starts from the header's CRC and goes over lengths, sequences and payloads of all records so far. The length has
//! a CRC of its own, so that a record that was cut short (a torn tail) is told apart from one whose length was damaged.
//!
//! For all time the first 96 bytes keep magic, format version and CRC where they are: that is how old software tells a newer
//! file from a damaged one. There are two copies because everything hangs on them.

use serde::Serialize;

use crate::{Error, Result};

/// Largest encoded record, in bytes. What one damaged length can make a reader allocate is bounded by this.
pub const MAX_RECORD_BYTES: usize = 1 << 20;

pub(crate) const FORMAT_VERSION: u16 = 1;
pub(crate) const HEADER_COPY_BYTES: usize = 96;
pub(crate) const HEADER_BYTES: usize = 2 * HEADER_COPY_BYTES;
pub(crate) const RECORD_HEAD_BYTES: usize = 16;
pub(crate) const RECORD_CRC_BYTES: usize = 4;
pub(crate) const MAX_NAME_BYTES: usize = 40;
/// Like PNG's: a high bit and line ends show what a text transfer did to the file.
const MAGIC: [u8; 8] = *b"\x89HFJ\r\n\x1a\n";

/// What a file says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub schema: String,
    pub schema_version: u32,
    pub generation: u64,
    pub base_records: u64,
    pub file_id: [u8; 16],
}

/// What the first bytes of a file turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HeaderFound {
    /// A header we can read, and where the copy begins that is not good, if one is not.
    Ours { header: Header, damaged_copy_at: Option<usize> },
    /// A whole header of a newer format.
    Newer { found: u16 },
    /// No whole header.
    Damaged,
}

impl Header {
    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut copy = [0u8; HEADER_COPY_BYTES];
        copy[..8].copy_from_slice(&MAGIC);
        copy[8..10].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        copy[12..16].copy_from_slice(&self.schema_version.to_le_bytes());
        copy[16..24].copy_from_slice(&self.generation.to_le_bytes());
        copy[24..32].copy_from_slice(&self.base_records.to_le_bytes());
        copy[32..48].copy_from_slice(&self.file_id);
        let name = self.schema.as_bytes();
        copy[48..48 + name.len()].copy_from_slice(name);
        let crc = crc32c::crc32c(&copy[..92]);
        copy[92..].copy_from_slice(&crc.to_le_bytes());
        let mut both = [0u8; HEADER_BYTES];
        both[..HEADER_COPY_BYTES].copy_from_slice(&copy);
        both[HEADER_COPY_BYTES..].copy_from_slice(&copy);
        both
    }

    /// The running CRC before the first record: the header's own.
    ///
    /// Not that of the header *with* its CRC, which is the same for all headers.
    pub(crate) fn chain_start(&self) -> u32 {
        crc32c::crc32c(&self.encode()[..92])
    }
}

/// Finds out what the first bytes of a file are.
pub(crate) fn decode_header(bytes: &[u8; HEADER_BYTES]) -> HeaderFound {
    let (first, second) = bytes.split_at(HEADER_COPY_BYTES);
    let (first, second) = (decode_copy(first), decode_copy(second));
    match (first, second) {
        // A newer format says nothing about where a second copy is.
        (HeaderFound::Newer { found }, _) => HeaderFound::Newer { found },
        (HeaderFound::Ours { header, .. }, second) => {
            let same = matches!(&second, HeaderFound::Ours { header: other, .. } if *other == header);
            HeaderFound::Ours { header, damaged_copy_at: (!same).then_some(HEADER_COPY_BYTES) }
        }
        (HeaderFound::Damaged, HeaderFound::Ours { header, .. }) => {
            HeaderFound::Ours { header, damaged_copy_at: Some(0) }
        }
        (HeaderFound::Damaged, _) => HeaderFound::Damaged,
    }
}

fn decode_copy(copy: &[u8]) -> HeaderFound {
    let fields = || {
        let crc = u32::from_le_bytes(array(copy, 92)?);
        if copy.get(..8)? != MAGIC || crc != crc32c::crc32c(copy.get(..92)?) {
            return None;
        }
        let format = u16::from_le_bytes(array(copy, 8)?);
        if format > FORMAT_VERSION {
            return Some(HeaderFound::Newer { found: format });
        }
        let name: [u8; MAX_NAME_BYTES] = array(copy, 48)?;
        let name_bytes = name.iter().position(|byte| *byte == 0).unwrap_or(MAX_NAME_BYTES);
        let header = Header {
            schema: str::from_utf8(name.get(..name_bytes)?).ok()?.to_owned(),
            schema_version: u32::from_le_bytes(array(copy, 12)?),
            generation: u64::from_le_bytes(array(copy, 16)?),
            base_records: u64::from_le_bytes(array(copy, 24)?),
            file_id: array(copy, 32)?,
        };
        (format == FORMAT_VERSION).then_some(HeaderFound::Ours { header, damaged_copy_at: None })
    };
    fields().unwrap_or(HeaderFound::Damaged)
}

/// The first bytes of a record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RecordHead {
    pub payload_bytes: usize,
    /// Running CRC after length and sequence.
    pub chain: u32,
}

/// Reads a record's head, or `None` when it is not the one that belongs at this place of this file.
pub(crate) fn decode_record_head(bytes: &[u8; RECORD_HEAD_BYTES], chain: u32, sequence: u64) -> Option<RecordHead> {
    let chain = crc32c::crc32c_append(chain, &bytes[..12]);
    let payload_bytes = usize::try_from(u32::from_le_bytes(array(bytes, 0)?)).ok()?;
    let matches = u32::from_le_bytes(array(bytes, 12)?) == chain
        && u64::from_le_bytes(array(bytes, 4)?) == sequence
        && payload_bytes <= MAX_RECORD_BYTES;
    matches.then_some(RecordHead { payload_bytes, chain })
}

/// Appends one framed record to `out` and returns the running CRC after it.
pub(crate) fn encode_record(out: &mut Vec<u8>, chain: u32, sequence: u64, payload: &[u8]) -> u32 {
    // Callers hold payloads to MAX_RECORD_BYTES, which fits.
    let payload_bytes = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let start = out.len();
    out.extend_from_slice(&payload_bytes.to_le_bytes());
    out.extend_from_slice(&sequence.to_le_bytes());
    let head_chain = crc32c::crc32c_append(chain, &out[start..]);
    out.extend_from_slice(&head_chain.to_le_bytes());
    out.extend_from_slice(payload);
    let chain = crc32c::crc32c_append(head_chain, payload);
    out.extend_from_slice(&chain.to_le_bytes());
    chain
}

/// A record in postcard, held to the limit.
pub(crate) fn encode_payload<R: Serialize>(path: &std::path::Path, record: &R) -> Result<Vec<u8>> {
    let payload = postcard::to_stdvec(record).map_err(|source| Error::Encode { path: path.to_owned(), source })?;
    if payload.len() > MAX_RECORD_BYTES {
        return Err(Error::RecordTooLarge {
            path: path.to_owned(),
            found_bytes: payload.len(),
            max_bytes: MAX_RECORD_BYTES,
        });
    }
    Ok(payload)
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header { schema: "session".into(), schema_version: 3, generation: 7, base_records: 2, file_id: [9; 16] }
    }

    #[test]
    fn header_reads_back_and_one_damaged_copy_is_seen() {
        let bytes = header().encode();
        assert_eq!(decode_header(&bytes), HeaderFound::Ours { header: header(), damaged_copy_at: None });
        for bit in 0..HEADER_BYTES * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            let damaged_copy_at = Some(bit / 8 / HEADER_COPY_BYTES * HEADER_COPY_BYTES);
            assert_eq!(decode_header(&damaged), HeaderFound::Ours { header: header(), damaged_copy_at }, "bit {bit}");
        }
    }

    #[test]
    fn a_newer_format_is_told_from_damage() {
        let mut bytes = header().encode();
        bytes[8] = 2;
        let crc = crc32c::crc32c(&bytes[..92]);
        bytes[92..96].copy_from_slice(&crc.to_le_bytes());
        bytes[96..].fill(0xee);
        assert_eq!(decode_header(&bytes), HeaderFound::Newer { found: 2 });
        bytes[20] ^= 1;
        assert_eq!(decode_header(&bytes), HeaderFound::Damaged);
    }

    /// Files in the field must stay readable: these bytes may never change within format 1.
    #[test]
    fn golden_bytes() {
        let header = header();
        let mut file = header.encode()[..HEADER_COPY_BYTES].to_vec();
        encode_record(&mut file, header.chain_start(), 1, b"abc");
        let hex: String = file.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            concat!(
                "8948464a0d0a1a0a010000000300000007000000000000000200000000000000",
                "0909090909090909090909090909090973657373696f6e000000000000000000",
                "000000000000000000000000000000000000000000000000000000005b3f1db3",
                "030000000100000000000000e4d7d13261626380f15765",
            )
        );
    }
}
