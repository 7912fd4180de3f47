//! The seal before every chunk: proves that the chunk belongs to this file, here, now, and is whole.
//!
//! ```text
//! u32 size | "uuid" | type[16] | u8 version, u24 flags | file_id[16] | u64 offset | u64 sequence
//! | previous chain[32] | u64 payload bytes | payload digest[32] | u32 n, n × u32 frames per track
//! | u32 notes bytes, notes (JSON) | chain[32]
//! ```
//!
//! All numbers are big-endian. `offset` is where this box stands in the file, `sequence` counts from 1, the payload is
//! the `moof` and `mdat` behind the box. `chain = BLAKE3(domain ‖ file_id … notes)`; since the previous chain value is
//! among these, each seal vouches for all before it, back to `chain_0 = BLAKE3(domain ‖ ftyp ‖ identity ‖ moov)`.
//! A seal can be judged alone, too: so one damaged chunk does not take the ones behind it along.

use crate::boxes::{Cursor, patch_size, peek_header, put_u32, put_u64};
use crate::identity::{Counts, Gap, Mark};
use crate::types::{Digest, FileId};
use serde::{Deserialize, Serialize};

/// Type of the seal's `uuid` box.
pub(crate) const SEAL_UUID: [u8; 16] =
    [0xc4, 0xfd, 0x13, 0x21, 0xda, 0xfa, 0x4f, 0x33, 0xa3, 0x66, 0x9b, 0xbd, 0xe9, 0x9b, 0xe8, 0xfc];

/// Version 1, no flags.
pub(crate) const VERSION_FLAGS: [u8; 4] = [1, 0, 0, 0];

/// No seal is longer.
pub(crate) const MAX_SEAL_BYTES: u64 = 64 * 1024;

/// Notes beyond that wait for the next seal.
const MAX_NOTES_BYTES: usize = 32 * 1024;

/// Bytes of size, "uuid" and type.
pub(crate) const UUID_HEADER_BYTES: usize = 24;

const HEADER_DOMAIN: &[u8] = b"holdfast header v1";
const SEAL_DOMAIN: &[u8] = b"holdfast seal v1";

/// The chain value that the head of a file starts with.
pub(crate) fn chain_start(header: &[u8]) -> Digest {
    Digest(*blake3::Hasher::new().update(HEADER_DOMAIN).update(header).finalize().as_bytes())
}

/// What happened since the chunk before; kept in the seal so that a crash does not lose it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notes {
    /// Missing stretches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<Gap>,
    /// Chapter marks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<Mark>,
    /// The newest counters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
}

impl Notes {
    /// True if there is nothing to tell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.gaps.is_empty() && self.marks.is_empty() && self.counts.is_none()
    }

    /// JSON of as much as fits into one seal, and how many gaps and marks that is.
    pub(crate) fn to_json(&self) -> (Vec<u8>, usize, usize) {
        if self.is_empty() {
            return (Vec::new(), 0, 0);
        }
        let (mut gaps, mut marks) = (self.gaps.len(), self.marks.len());
        loop {
            let part = Notes {
                gaps: self.gaps[..gaps].to_vec(),
                marks: self.marks[..marks].to_vec(),
                counts: self.counts.clone(),
            };
            let json = serde_json::to_vec(&part).expect("notes have only string keys and no failing fields");
            if json.len() <= MAX_NOTES_BYTES || (gaps <= 1 && marks <= 1) {
                return (json, gaps, marks);
            }
            (gaps, marks) = (gaps.div_ceil(2), marks.div_ceil(2));
        }
    }
}

/// A seal as it stands in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seal {
    pub file_id: FileId,
    /// Of this box in the file.
    pub offset: u64,
    pub sequence: u64,
    pub previous_chain: Digest,
    pub payload_bytes: u64,
    pub payload_digest: Digest,
    /// Frames per track.
    pub frames: Vec<u32>,
    /// JSON of the notes, empty if there are none.
    pub notes: Vec<u8>,
}

impl Seal {
    /// Appends the box; returns its chain value.
    pub(crate) fn put(&self, out: &mut Vec<u8>) -> Digest {
        let start = out.len();
        put_u32(out, 0);
        out.extend(b"uuid");
        out.extend(SEAL_UUID);
        out.extend(VERSION_FLAGS);
        out.extend(self.file_id.0);
        put_u64(out, self.offset);
        put_u64(out, self.sequence);
        out.extend(self.previous_chain.0);
        put_u64(out, self.payload_bytes);
        out.extend(self.payload_digest.0);
        put_u32(out, u32::try_from(self.frames.len()).expect("a handful of tracks"));
        self.frames.iter().for_each(|count| put_u32(out, *count));
        put_u32(out, u32::try_from(self.notes.len()).expect("notes are bounded"));
        out.extend(&self.notes);
        let chain = Self::chain(&out[start + UUID_HEADER_BYTES..]);
        out.extend(chain.0);
        patch_size(out, start);
        chain
    }

    fn chain(content: &[u8]) -> Digest {
        Digest(*blake3::Hasher::new().update(SEAL_DOMAIN).update(content).finalize().as_bytes())
    }

    /// Reads a whole seal box that stands at `offset` of file `file_id`; `None` if it is anything else or damaged in
    /// any bit. Returns its length and chain value too.
    pub(crate) fn parse(data: &[u8], offset: u64, file_id: FileId) -> Option<(Self, u64, Digest)> {
        let bytes = peek_uuid(data, &SEAL_UUID)?;
        let data = data.get(..usize::try_from(bytes).ok()?)?;
        let (content, chain) = data.get(UUID_HEADER_BYTES..)?.split_last_chunk::<32>()?;
        if Self::chain(content).0 != *chain {
            return None;
        }
        let seal = Self::fields(Cursor::new(content, offset))?;
        (seal.file_id == file_id && seal.offset == offset).then_some((seal, bytes, Digest(*chain)))
    }

    fn fields(mut content: Cursor<'_>) -> Option<Self> {
        if content.take(4, "").ok()? != VERSION_FLAGS {
            return None;
        }
        let file_id = FileId(content.array("").ok()?);
        let (offset, sequence) = (content.u64("").ok()?, content.u64("").ok()?);
        let previous_chain = Digest(content.array("").ok()?);
        let payload_bytes = content.u64("").ok()?;
        let payload_digest = Digest(content.array("").ok()?);
        let tracks = content.u32("").ok()?;
        let frames = (0..tracks).map(|_| content.u32("").ok()).collect::<Option<Vec<_>>>()?;
        let notes = content.u32("").ok()?;
        let notes = content.take(usize::try_from(notes).ok()?, "").ok()?.to_vec();
        let seal = Self { file_id, offset, sequence, previous_chain, payload_bytes, payload_digest, frames, notes };
        content.rest().is_empty().then_some(seal)
    }
}

/// Length of the `uuid` box of that type that `data` begins with.
pub(crate) fn peek_uuid(data: &[u8], uuid: &[u8; 16]) -> Option<u64> {
    let header = peek_header(data)?;
    let plain = &header.kind == b"uuid" && header.header_bytes == 8 && data.get(8..24)? == uuid;
    plain.then_some(header.bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::GapCause;

    fn seal() -> Seal {
        Seal {
            file_id: FileId([7; 16]),
            offset: 4711,
            sequence: 3,
            previous_chain: Digest([1; 32]),
            payload_bytes: 99,
            payload_digest: Digest([2; 32]),
            frames: vec![15, 23],
            notes: b"{}".to_vec(),
        }
    }

    #[test]
    fn a_seal_reads_back_only_where_and_in_the_file_it_was_made_for() {
        let mut out = Vec::new();
        let chain = seal().put(&mut out);
        let length = out.len() as u64;
        assert_eq!(Seal::parse(&out, 4711, FileId([7; 16])), Some((seal(), length, chain)));
        assert_eq!(Seal::parse(&out, 4712, FileId([7; 16])), None);
        assert_eq!(Seal::parse(&out, 4711, FileId([8; 16])), None);
    }

    #[test]
    fn a_seal_with_any_bit_flipped_is_none() {
        let mut out = Vec::new();
        seal().put(&mut out);
        for bit in 0..out.len() * 8 {
            out[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Seal::parse(&out, 4711, FileId([7; 16])), None, "bit {bit}");
            out[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn notes_that_do_not_fit_wait() {
        let gap = Gap { cause: GapCause::SourceLost, start_mono_ns: 1, duration_ns: 2, frames_lost: 3 };
        let mark = Mark { mono_ns: 1, wall_ns: 2, text: "x".repeat(1000) };
        let notes = Notes { gaps: vec![gap; 100], marks: vec![mark; 1000], counts: Some(Counts::default()) };
        let (json, gaps, marks) = notes.to_json();
        assert!(json.len() <= MAX_NOTES_BYTES && gaps > 0 && marks > 0 && marks < 1000);
        let read: Notes = serde_json::from_slice(&json).unwrap();
        assert_eq!((read.gaps.len(), read.marks.len()), (gaps, marks));
        assert_eq!(Notes::default().to_json().0.len(), 0);
    }
}
