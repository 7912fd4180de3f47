//! Walks a file from seal to seal. Shared by reader, recovery and verification: what belongs is decided in one place.

use crate::boxes::{Cursor, peek_header, printable};
use crate::error::{Error, Result};
use crate::identity::{IDENTITY_UUID, Identity};
use crate::ledger::{LEDGER_UUID, LedgerBox, MAX_LEDGER_BYTES};
use crate::moof::parse_chunk;
use crate::moov_read::parse_moov;
use crate::reader::{Chunk, Sample};
use crate::recycle;
use crate::seal::{MAX_SEAL_BYTES, Notes, SEAL_UUID, Seal, UUID_HEADER_BYTES, chain_start, peek_uuid};
use crate::source::Source;
use crate::types::{Digest, Track};

/// No head (ftyp, identity, moov) is longer.
const MAX_HEAD_BYTES: u64 = 4 * 1024 * 1024;
/// No `moof` is longer: 16 bytes per sample.
const MAX_MOOF_BYTES: u64 = 64 * 1024 * 1024;
/// Enough for a seal and its moof in one read, most of the time.
const FIRST_READ_BYTES: u64 = 4096;
/// Step of reading through payloads and of searching.
const STEP_BYTES: u64 = 256 * 1024;
/// Where the file id stands in a seal and in a ledger.
const FILE_ID_AT: usize = UUID_HEADER_BYTES + 4;

/// What a file begins with.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub identity: Identity,
    pub tracks: Vec<Track>,
    /// Value that the chain of seals starts with.
    pub chain: Digest,
    pub bytes: u64,
}

/// Reads `ftyp`, identity and `moov`.
pub(crate) fn read_head(source: &Source) -> Result<Head> {
    if source.len() == 0 {
        return Err(Error::Empty { path: source.path().to_owned() });
    }
    let start = source.read_up_to(0, FIRST_READ_BYTES)?;
    if recycle::is_marked(&start) {
        return Err(Error::Recycled { path: source.path().to_owned() });
    }
    let not_a_segment = |what: String| Error::NotASegment { path: source.path().to_owned(), what };
    let mut ends = [0_u64; 3];
    let mut offset = 0;
    for (end, kind) in ends.iter_mut().zip([*b"ftyp", *b"uuid", *b"moov"]) {
        let header = peek_header(&source.read_up_to(offset, 16)?);
        let header = header.ok_or_else(|| not_a_segment(format!("no {} box at byte {offset}", printable(kind))))?;
        if header.kind != kind {
            let found = printable(header.kind);
            return Err(not_a_segment(format!("{found} where {} was expected, at byte {offset}", printable(kind))));
        }
        offset = offset.saturating_add(header.bytes);
        *end = offset;
        if offset > MAX_HEAD_BYTES {
            return source.malformed(0, format!("head of more than {MAX_HEAD_BYTES} bytes"));
        }
    }
    let bytes = source.read(0, offset)?;
    let mut cursor = Cursor::new(&bytes, 0);
    let bad = |bad| Error::bad(source.path(), bad);
    let mut content =
        || cursor.next_box().map_err(bad)?.map(|(_, content)| content).ok_or_else(|| not_a_segment("".into()));
    let (_, mut identity, moov) = (content()?, content()?, content()?);
    if identity.array::<16>("box type").map_err(bad)? != IDENTITY_UUID {
        return Err(not_a_segment("the second box is not an identity".into()));
    }
    let identity = Identity::parse(source.path(), identity)?;
    let tracks = parse_moov(moov).map_err(bad)?;
    Ok(Head { identity, tracks, chain: chain_start(&bytes), bytes: offset })
}

/// A chunk whose seal is whole and belongs here.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub seal: Seal,
    pub payload_offset: u64,
    pub end: u64,
    /// It names the seal before it and follows it in number.
    pub chained: bool,
}

/// What stands in a file behind its head.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    /// A seal with room for its chunk behind it.
    Chunk(Found),
    /// A seal whose chunk would reach beyond the end of the file.
    Torn(Found),
    /// Bytes that are nothing, with something of ours behind them.
    Hole {
        offset: u64,
        bytes: u64,
    },
    Ledger {
        offset: u64,
        ledger: LedgerBox,
        chained: bool,
    },
}

/// The walk.
pub(crate) struct Scan<'a> {
    source: &'a Source,
    head: &'a Head,
    /// Whether to look for seals of this file behind bytes that are none.
    search: bool,
    offset: u64,
    chain: Digest,
    sequence: u64,
    done: bool,
}

impl<'a> Scan<'a> {
    pub(crate) fn new(source: &'a Source, head: &'a Head, search: bool) -> Self {
        Self { source, head, search, offset: head.bytes, chain: head.chain, sequence: 0, done: false }
    }

    /// The next thing that belongs to the file; `None` when nothing more does.
    pub(crate) fn next(&mut self) -> Result<Option<Item>> {
        if self.done {
            return Ok(None);
        }
        if let Some(item) = self.item_at(self.offset)? {
            return Ok(Some(self.step(item)));
        }
        if self.search
            && let Some(offset) = self.search_from(self.offset + 1)?
        {
            let hole = Item::Hole { offset: self.offset, bytes: offset - self.offset };
            self.offset = offset;
            return Ok(Some(hole));
        }
        self.done = true;
        Ok(None)
    }

    /// Chain value of the last seal met.
    pub(crate) fn chain(&self) -> Digest {
        self.chain
    }

    fn step(&mut self, item: (Item, Digest)) -> Item {
        let (mut item, chain) = item;
        match &mut item {
            Item::Chunk(found) => {
                found.chained =
                    found.seal.previous_chain == self.chain && found.seal.sequence == self.sequence.wrapping_add(1);
                (self.chain, self.sequence, self.offset) = (chain, found.seal.sequence, found.end);
            }
            Item::Ledger { ledger, chained, .. } => {
                *chained = ledger.previous_chain == self.chain;
                self.done = true;
            }
            Item::Torn(_) | Item::Hole { .. } => self.done = true,
        }
        item
    }

    fn item_at(&self, offset: u64) -> Result<Option<(Item, Digest)>> {
        let mut data = self.source.read_up_to(offset, FIRST_READ_BYTES)?;
        let file_id = self.head.identity.file_id;
        if let Some(bytes) = peek_uuid(&data, &SEAL_UUID).filter(|bytes| *bytes <= MAX_SEAL_BYTES) {
            if bytes > data.len() as u64 {
                data = self.source.read_up_to(offset, bytes)?;
            }
            let Some((seal, bytes, chain)) = Seal::parse(&data, offset, file_id) else {
                return Ok(None);
            };
            if seal.frames.len() != self.head.tracks.len() {
                return Ok(None);
            }
            let payload_offset = offset + bytes;
            let end = payload_offset.saturating_add(seal.payload_bytes);
            let found = Found { seal, payload_offset, end, chained: false };
            let item = if end <= self.source.len() { Item::Chunk(found) } else { Item::Torn(found) };
            return Ok(Some((item, chain)));
        }
        if let Some(bytes) = peek_uuid(&data, &LEDGER_UUID).filter(|bytes| *bytes <= MAX_LEDGER_BYTES) {
            data = self.source.read_up_to(offset, bytes)?;
            return Ok(LedgerBox::parse(&data, offset, file_id).map(|ledger| {
                let digest = ledger.digest;
                (Item::Ledger { offset, ledger, chained: false }, digest)
            }));
        }
        Ok(None)
    }

    /// Where from `start` on the next seal or ledger of this file stands. The random id makes it easy to find, and
    /// nobody else can have written it.
    fn search_from(&self, start: u64) -> Result<Option<u64>> {
        let id = self.head.identity.file_id.0;
        let mut offset = start;
        while offset < self.source.len() {
            let data = self.source.read_up_to(offset, STEP_BYTES)?;
            let mut at = 0;
            while let Some(found) = data[at..].iter().position(|byte| *byte == id[0]) {
                let place = at + found;
                let candidate = (offset + place as u64).checked_sub(FILE_ID_AT as u64).filter(|place| *place >= start);
                if data[place..].starts_with(&id)
                    && let Some(candidate) = candidate
                    && self.item_at(candidate)?.is_some()
                {
                    return Ok(Some(candidate));
                }
                at = place + 1;
            }
            // An id may lie across the seam.
            let step = data.len().saturating_sub(id.len() - 1).max(1);
            offset += step as u64;
        }
        Ok(None)
    }
}

/// True if the chunk's bytes are those that the seal was made for.
pub(crate) fn payload_is_whole(source: &Source, found: &Found) -> Result<bool> {
    let mut hasher = blake3::Hasher::new();
    let mut offset = found.payload_offset;
    let mut data = Vec::new();
    while offset < found.end {
        let step = (found.end - offset).min(STEP_BYTES);
        source.read_into(offset, step, &mut data)?;
        hasher.update(&data);
        offset += step;
    }
    Ok(*hasher.finalize().as_bytes() == found.seal.payload_digest.0)
}

/// Reads the samples of a chunk.
pub(crate) fn load_chunk(source: &Source, head: &Head, found: &Found) -> Result<Chunk> {
    let place = found.payload_offset;
    let mut data = source.read(place, found.seal.payload_bytes.min(FIRST_READ_BYTES))?;
    let moof_bytes = peek_header(&data).map(|header| header.bytes);
    let wanted = moof_bytes.and_then(|bytes| bytes.checked_add(8));
    let wanted = match wanted {
        Some(wanted) if wanted <= found.seal.payload_bytes && wanted <= MAX_MOOF_BYTES => wanted,
        _ => return source.malformed(place, "a moof box inside the chunk was expected"),
    };
    if wanted > data.len() as u64 {
        data = source.read(place, wanted)?;
    }
    let samples =
        parse_chunk(&data, place, found.end, head.tracks.len()).map_err(|bad| Error::bad(source.path(), bad))?;
    if frames_per_track(&samples, head.tracks.len()) != found.seal.frames {
        return source.malformed(place, "the moof has other frames than its seal says");
    }
    Ok(Chunk {
        sequence: found.seal.sequence,
        offset: found.seal.offset,
        moof_offset: place,
        end: found.end,
        samples,
        // The seal is whole; notes that do not read are a newer writer's.
        notes: serde_json::from_slice::<Notes>(&found.seal.notes).unwrap_or_default(),
    })
}

fn frames_per_track(samples: &[Sample], tracks: usize) -> Vec<u32> {
    let mut frames = vec![0; tracks];
    samples.iter().for_each(|sample| frames[sample.track] += 1);
    frames
}
