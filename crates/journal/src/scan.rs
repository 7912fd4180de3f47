//! Reading one file: the longest prefix that is what was written, and what comes after it.

use std::io::{BufReader, Read};
use std::path::Path;

use serde::de::DeserializeOwned;

use crate::format::{self, FORMAT_VERSION, HEADER_BYTES, Header, HeaderFound, RECORD_CRC_BYTES, RECORD_HEAD_BYTES};
use crate::{Damage, Error, Result};

/// What one file holds.
#[derive(Debug)]
pub(crate) struct Scan<R> {
    /// `None` when neither copy of the header is whole.
    pub header: Option<Header>,
    /// The records of the longest valid prefix.
    pub records: Vec<R>,
    /// Length of that prefix.
    pub valid_bytes: u64,
    /// Running CRC at its end.
    pub chain: u32,
    /// Bytes after it that a cut-short append explains.
    pub torn_tail_bytes: u64,
    /// What nothing but damage explains.
    pub damage: Vec<Damage>,
}

impl<R> Scan<R> {
    /// What a file that is not there holds.
    pub(crate) fn nothing() -> Self {
        Self { header: None, records: vec![], valid_bytes: 0, chain: 0, torn_tail_bytes: 0, damage: vec![] }
    }

    /// Whether the state that the compaction wrote is there as a whole.
    pub(crate) fn has_base(&self) -> bool {
        self.header.as_ref().is_some_and(|header| as_u64(self.records.len()) >= header.base_records)
    }
}

/// Reads `input` up to the first byte that is not what was written.
///
/// Memory is bounded by the bytes that are really there: one record is at most [`format::MAX_RECORD_BYTES`].
pub(crate) fn scan<R: DeserializeOwned>(
    path: &Path,
    input: impl Read,
    schema: &str,
    schema_version: u32,
) -> Result<Scan<R>> {
    let mut input = BufReader::with_capacity(64 << 10, input);
    let io = |input: &mut BufReader<_>, buffer: &mut [u8]| read_full(input, buffer).map_err(Error::io(path, "read"));
    let mut scan = Scan::nothing();
    let damaged = |part, offset_bytes, records: usize, lost_bytes| Damage {
        path: path.to_owned(),
        offset_bytes,
        part,
        records_before: as_u64(records),
        lost_bytes,
    };

    let mut head = [0; HEADER_BYTES];
    let got = io(&mut input, &mut head)?;
    let (header, damaged_copy_at) = match format::decode_header(&head) {
        HeaderFound::Newer { found } => {
            return Err(Error::NewerFormat { path: path.to_owned(), found, supported: FORMAT_VERSION });
        }
        HeaderFound::Ours { header, damaged_copy_at } => (header, damaged_copy_at),
        HeaderFound::Damaged => {
            let (rest, _) = drain(&mut input).map_err(Error::io(path, "read"))?;
            scan.damage.push(damaged("damaged file header", 0, 0, as_u64(got) + rest));
            return Ok(scan);
        }
    };
    if header.schema != schema {
        return Err(Error::WrongSchema { path: path.to_owned(), found: header.schema, expected: schema.to_owned() });
    }
    if header.schema_version > schema_version {
        return Err(Error::NewerSchema {
            path: path.to_owned(),
            schema: header.schema,
            found: header.schema_version,
            supported: schema_version,
        });
    }
    if let Some(offset) = damaged_copy_at {
        // All records may still be good; the file is replaced all the same, so that one copy is never the last one.
        scan.damage.push(damaged("one damaged copy of the file header", as_u64(offset), 0, 0));
    }
    scan.valid_bytes = as_u64(HEADER_BYTES);
    scan.chain = header.chain_start();
    let file_schema_version = header.schema_version;
    scan.header = Some(header);
    if got < HEADER_BYTES {
        return Ok(scan);
    }

    let mut payload = vec![];
    loop {
        let offset = scan.valid_bytes;
        let mut head = [0; RECORD_HEAD_BYTES];
        let got = io(&mut input, &mut head)?;
        if got == 0 {
            return Ok(scan);
        }
        if got < RECORD_HEAD_BYTES {
            scan.torn_tail_bytes = as_u64(got);
            return Ok(scan);
        }
        let Some(record) = format::decode_record_head(&head, scan.chain, as_u64(scan.records.len()) + 1) else {
            let (rest, zeros) = drain(&mut input).map_err(Error::io(path, "read"))?;
            let rest_bytes = as_u64(got) + rest;
            if zeros && head.iter().all(|byte| *byte == 0) {
                // The file had grown on disk when the power went, its bytes had not arrived.
                scan.torn_tail_bytes = rest_bytes;
            } else {
                scan.damage.push(damaged("damaged record", offset, scan.records.len(), rest_bytes));
            }
            return Ok(scan);
        };
        let body_bytes = record.payload_bytes + RECORD_CRC_BYTES;
        payload.clear();
        let got_body =
            (&mut input).take(as_u64(body_bytes)).read_to_end(&mut payload).map_err(Error::io(path, "read"))?;
        if got_body < body_bytes {
            scan.torn_tail_bytes = as_u64(RECORD_HEAD_BYTES + got_body);
            return Ok(scan);
        }
        let (body, crc) = payload.split_at(record.payload_bytes);
        let chain = crc32c::crc32c_append(record.chain, body);
        if crc != chain.to_le_bytes() {
            let (rest, _) = drain(&mut input).map_err(Error::io(path, "read"))?;
            let rest_bytes = as_u64(RECORD_HEAD_BYTES + body_bytes) + rest;
            scan.damage.push(damaged("damaged record", offset, scan.records.len(), rest_bytes));
            return Ok(scan);
        }
        scan.records.push(decode_payload(body).map_err(|source| Error::Undecodable {
            path: path.to_owned(),
            offset_bytes: offset,
            schema: schema.to_owned(),
            version: file_schema_version,
            source,
        })?);
        scan.chain = chain;
        scan.valid_bytes = offset + as_u64(RECORD_HEAD_BYTES + body_bytes);
    }
}

/// One record, and nothing after it.
fn decode_payload<R: DeserializeOwned>(bytes: &[u8]) -> Result<R, postcard::Error> {
    let (record, rest) = postcard::take_from_bytes(bytes)?;
    if rest.is_empty() { Ok(record) } else { Err(postcard::Error::DeserializeBadEncoding) }
}

/// Fills the buffer as far as there are bytes.
fn read_full(input: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(bytes) => filled += bytes,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Reads to the end: how many bytes, and whether all were zero.
fn drain(input: &mut impl Read) -> std::io::Result<(u64, bool)> {
    let (mut bytes, mut zeros) = (0, true);
    let mut buffer = [0; 4096];
    loop {
        let got = read_full(input, &mut buffer)?;
        bytes += as_u64(got);
        zeros &= buffer[..got].iter().all(|byte| *byte == 0);
        if got < buffer.len() {
            return Ok((bytes, zeros));
        }
    }
}

pub(crate) fn as_u64(bytes: usize) -> u64 {
    // Lossless on every platform with at most 64-bit addresses.
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
