//! Reads segment files, closed ones and those that are still being written.

use crate::error::{Error, Result};
use crate::identity::Identity;
use crate::ledger::{LEDGER_UUID, Ledger, LedgerBox, MAX_LEDGER_BYTES};
use crate::mfra::{MFRO_BYTES, parse_mfro};
use crate::scan::{Head, Item, Scan, load_chunk, payload_is_whole, read_head};
use crate::seal::{Notes, peek_uuid};
use crate::source::Source;
use crate::types::{Digest, Track, ticks_to_ns};
use std::path::Path;

/// One sample: where its bytes are and when it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Index of its track.
    pub track: usize,
    /// Where its bytes are in the file.
    pub offset: u64,
    /// How many bytes.
    pub size: u32,
    /// Decode time in ticks of the track, from the file's start.
    pub dts: u64,
    /// Presentation time, likewise; may be slightly negative.
    pub pts: i64,
    /// Duration in ticks.
    pub duration: u32,
    /// Decoding can start here.
    pub sync: bool,
}

/// One chunk: what was appended, and became safe, at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Its number, from 1.
    pub sequence: u64,
    /// Where its seal is in the file.
    pub offset: u64,
    /// Where its `moof` is.
    pub moof_offset: u64,
    /// Where the next thing is.
    pub end: u64,
    /// The samples, in order of their bytes: track after track.
    pub samples: Vec<Sample>,
    /// What was noted before this chunk.
    pub notes: Notes,
}

/// An open segment file.
#[derive(Debug)]
pub struct Reader {
    source: Source,
    head: Head,
    ledger: Option<LedgerBox>,
}

impl Reader {
    /// Opens a segment and reads its head and, if it is closed, its ledger; no footage yet.
    ///
    /// # Errors
    /// The file cannot be read, is no segment ([`Error::NotASegment`]), holds nothing ([`Error::Empty`],
    /// [`Error::Recycled`]), or its head is damaged.
    pub fn open(path: &Path) -> Result<Self> {
        let source = Source::open(path)?;
        let head = read_head(&source)?;
        let ledger = find_ledger(&source, &head)?;
        Ok(Self { source, head, ledger })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.source.path()
    }

    /// Length of the file when it was opened.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        self.source.len()
    }

    /// What the file is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.head.identity
    }

    /// The tracks; samples name them by index.
    #[must_use]
    pub fn tracks(&self) -> &[Track] {
        &self.head.tracks
    }

    /// The sums at the end of a closed file; `None` if it is not closed.
    #[must_use]
    pub fn ledger(&self) -> Option<&Ledger> {
        self.ledger.as_ref().map(|found| &found.ledger)
    }

    /// Digest of a closed file, which the next file's identity names.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        self.ledger.as_ref().map(|found| found.digest)
    }

    /// The chunks in order.
    ///
    /// Of a closed file, chunks that are damaged come as errors and the walk goes on behind them. Of a file that is
    /// not closed, every chunk's digest is checked, and the walk ends before the first that is not whole.
    #[must_use]
    pub fn chunks(&self) -> Chunks<'_> {
        Chunks { reader: self, scan: Scan::new(&self.source, &self.head, self.ledger.is_some()), done: false }
    }

    /// Reads the bytes of a sample into `out`, in place of what it held.
    ///
    /// # Errors
    /// The file cannot be read there.
    pub fn read_sample(&self, sample: &Sample, out: &mut Vec<u8>) -> Result<()> {
        self.source.read_into(sample.offset, u64::from(sample.size), out)
    }

    /// `CLOCK_MONOTONIC` nanoseconds of a time in ticks of a track.
    ///
    /// # Panics
    /// There is no such track.
    #[must_use]
    pub fn mono_ns(&self, track: usize, ticks: i64) -> u64 {
        let ns = ticks_to_ns(i128::from(ticks), self.head.tracks[track].timescale);
        u64::try_from(ns + i128::from(self.head.identity.start_mono_ns)).unwrap_or(0)
    }
}

/// Finds the ledger from the tail: `mfro` tells where `mfra` begins, the four bytes before it how long the ledger is.
fn find_ledger(source: &Source, head: &Head) -> Result<Option<LedgerBox>> {
    let tail_offset = source.len().saturating_sub(MFRO_BYTES);
    let Some(mfra_bytes) = parse_mfro(&source.read_up_to(tail_offset, MFRO_BYTES)?) else {
        return Ok(None);
    };
    let Some(end) = source.len().checked_sub(mfra_bytes).filter(|end| *end >= head.bytes + 4) else {
        return Ok(None);
    };
    let size = source.read(end - 4, 4)?;
    let size = u64::from(u32::from_be_bytes([size[0], size[1], size[2], size[3]]));
    let Some(offset) = end.checked_sub(size).filter(|offset| *offset >= head.bytes && size <= MAX_LEDGER_BYTES) else {
        return Ok(None);
    };
    let data = source.read(offset, size)?;
    let whole = peek_uuid(&data, &LEDGER_UUID) == Some(size);
    Ok(whole.then(|| LedgerBox::parse(&data, offset, head.identity.file_id)).flatten())
}

/// Iterator over the chunks of a file.
pub struct Chunks<'a> {
    reader: &'a Reader,
    scan: Scan<'a>,
    done: bool,
}

impl Chunks<'_> {
    fn step(&mut self) -> Result<Option<Chunk>> {
        let Reader { source, head, ledger } = self.reader;
        match self.scan.next()? {
            Some(Item::Chunk(found)) => {
                if ledger.is_none() && !payload_is_whole(source, &found)? {
                    return Ok(None);
                }
                load_chunk(source, head, &found).map(Some)
            }
            Some(Item::Hole { offset, bytes }) => Err(Error::Malformed {
                path: source.path().to_owned(),
                offset,
                what: format!("{bytes} bytes are no chunk of this file"),
            }),
            Some(Item::Torn(_) | Item::Ledger { .. }) | None => Ok(None),
        }
    }
}

impl Iterator for Chunks<'_> {
    type Item = Result<Chunk>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let next = self.step().transpose();
        // Behind a damaged chunk the walk goes on; where the disk itself fails it would fail for ever.
        self.done = !matches!(next, Some(Ok(_) | Err(Error::Malformed { .. })));
        next
    }
}
