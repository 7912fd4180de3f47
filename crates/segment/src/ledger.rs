//! The ledger at the end of a closed file: every frame, gap and mark accounted for.
//!
//! ```text
//! u32 size | "uuid" | type[16] | u8 version, u24 flags | file_id[16] | u64 offset | u64 chunks
//! | previous chain[32] | u32 JSON bytes, JSON | digest[32] | u32 size
//! ```
//!
//! The size stands at both ends: so the ledger is found from the tail (`mfro` → `mfra` → ledger) without walking the
//! file. `digest = BLAKE3(domain ‖ file_id … JSON)` is the digest of the file that the next one's identity names.

use crate::boxes::{Cursor, patch_size, put_u32, put_u64};
use crate::identity::{Counts, Gap, Mark};
use crate::seal::{UUID_HEADER_BYTES, VERSION_FLAGS, peek_uuid};
use crate::types::{Digest, FileId};
use serde::{Deserialize, Serialize};

/// Type of the ledger's `uuid` box.
pub(crate) const LEDGER_UUID: [u8; 16] =
    [0xc4, 0x5d, 0x64, 0x94, 0xff, 0x54, 0x4c, 0xc5, 0xa1, 0xab, 0x05, 0x32, 0xc1, 0x77, 0xb2, 0x5d];

/// No ledger is longer.
pub(crate) const MAX_LEDGER_BYTES: u64 = 64 * 1024 * 1024;

const DOMAIN: &[u8] = b"holdfast ledger v1";

/// Why a file was closed. Only ever appended to; a reason of a newer version reads as `Unknown`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum CloseReason {
    /// It was full by time or size; the next file goes on without a gap.
    Rotation,
    /// The recording was stopped.
    Stop,
    /// The source changed its format.
    FormatChange,
    /// The source was lost.
    SourceLost,
    /// The disk refused to write.
    DiskFailed,
    /// The box or the program shut down.
    Shutdown,
    /// It was found open after a crash and cut to its last whole chunk.
    Recovered,
    /// Another reason.
    #[serde(other)]
    Unknown,
}

/// One track's sums.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackLedger {
    /// Frames in the file.
    pub frames: u64,
    /// Of these, frames that decoding can start at.
    pub sync_frames: u64,
    /// Bytes of coded media.
    pub bytes: u64,
    /// Decode time of the first frame, `CLOCK_MONOTONIC` (rounded to ticks); 0 without frames.
    pub start_mono_ns: u64,
    /// End of the last frame, likewise.
    pub end_mono_ns: u64,
}

/// What was cut off at recovery: bytes that were on their way to disk when the writer died. None of them was safe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// Where the last whole chunk ended.
    pub offset: u64,
    /// Bytes behind it, including blocks allocated ahead and what an older file left in them.
    pub bytes: u64,
    /// Frames of the torn chunk, as far as its seal was there to tell.
    pub frames: u64,
}

/// Bytes inside the file that are no whole chunk any more: damaged by the disk, or never written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hole {
    /// From where.
    pub offset: u64,
    /// How many.
    pub bytes: u64,
}

/// The sums of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Why it was closed.
    pub reason: CloseReason,
    /// Number of chunks.
    pub chunks: u64,
    /// Sums per track, in the order of the tracks.
    pub tracks: Vec<TrackLedger>,
    /// From the file's start to the end of its last frame.
    pub duration_ns: u64,
    /// All gaps inside the file.
    #[serde(default)]
    pub gaps: Vec<Gap>,
    /// All marks.
    #[serde(default)]
    pub marks: Vec<Mark>,
    /// The last counters noted.
    #[serde(default)]
    pub counts: Counts,
    /// What recovery cut off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<Cut>,
    /// What recovery found damaged in the middle and left in place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holes: Vec<Hole>,
}

impl Ledger {
    /// Frames of all tracks.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.tracks.iter().map(|track| track.frames).fold(0, u64::saturating_add)
    }

    /// Bytes of coded media of all tracks.
    #[must_use]
    pub fn media_bytes(&self) -> u64 {
        self.tracks.iter().map(|track| track.bytes).fold(0, u64::saturating_add)
    }

    /// Appends the box that stands at `offset`; returns its digest.
    pub(crate) fn put(&self, out: &mut Vec<u8>, file_id: FileId, offset: u64, previous_chain: Digest) -> Digest {
        let start = out.len();
        put_u32(out, 0);
        out.extend(b"uuid");
        out.extend(LEDGER_UUID);
        out.extend(VERSION_FLAGS);
        out.extend(file_id.0);
        put_u64(out, offset);
        put_u64(out, self.chunks);
        out.extend(previous_chain.0);
        let json = serde_json::to_vec(self).expect("a ledger has only string keys and no failing fields");
        put_u32(out, u32::try_from(json.len()).expect("a ledger is far below 4 GiB"));
        out.extend(json);
        let digest = digest(&out[start + UUID_HEADER_BYTES..]);
        out.extend(digest.0);
        let size = out.len() - start + 4;
        put_u32(out, u32::try_from(size).expect("a ledger is far below 4 GiB"));
        patch_size(out, start);
        digest
    }
}

fn digest(content: &[u8]) -> Digest {
    Digest(*blake3::Hasher::new().update(DOMAIN).update(content).finalize().as_bytes())
}

/// A ledger and what ties it into its file.
#[derive(Clone, Debug)]
pub(crate) struct LedgerBox {
    pub ledger: Ledger,
    pub previous_chain: Digest,
    pub digest: Digest,
}

impl LedgerBox {
    /// Reads a whole ledger box that stands at `offset` of file `file_id`; `None` if it is anything else.
    pub(crate) fn parse(data: &[u8], offset: u64, file_id: FileId) -> Option<Self> {
        let bytes = peek_uuid(data, &LEDGER_UUID)?;
        let data = data.get(..usize::try_from(bytes).ok()?)?;
        let (data, size) = data.get(UUID_HEADER_BYTES..)?.split_last_chunk::<4>()?;
        let (content, found) = data.split_last_chunk::<32>()?;
        let digest = digest(content);
        if digest.0 != *found || u64::from(u32::from_be_bytes(*size)) != bytes {
            return None;
        }
        let mut content = Cursor::new(content, offset);
        let version = content.array::<4>("").ok()?;
        let id = FileId(content.array("").ok()?);
        let (place, chunks) = (content.u64("").ok()?, content.u64("").ok()?);
        let previous_chain = Digest(content.array("").ok()?);
        let length = content.u32("").ok()?;
        let ledger: Ledger = serde_json::from_slice(content.take(usize::try_from(length).ok()?, "").ok()?).ok()?;
        let belongs = version == VERSION_FLAGS
            && id == file_id
            && place == offset
            && chunks == ledger.chunks
            && content.rest().is_empty();
        belongs.then_some(Self { ledger, previous_chain, digest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_reads_back_only_where_it_belongs() {
        let ledger = Ledger {
            reason: CloseReason::Rotation,
            chunks: 4,
            tracks: vec![TrackLedger { frames: 3, ..Default::default() }],
            duration_ns: 5,
            gaps: vec![],
            marks: vec![],
            counts: Counts::default(),
            cut: None,
            holes: vec![],
        };
        let mut out = Vec::new();
        let id = FileId([3; 16]);
        let digest = ledger.put(&mut out, id, 77, Digest([1; 32]));
        let read = LedgerBox::parse(&out, 77, id).unwrap();
        assert_eq!((read.ledger, read.digest), (ledger, digest));
        assert!(LedgerBox::parse(&out, 78, id).is_none());
        assert!(LedgerBox::parse(&out, 77, FileId([4; 16])).is_none());
        for byte in 0..out.len() {
            out[byte] ^= 0x10;
            assert!(LedgerBox::parse(&out, 77, id).is_none(), "byte {byte}");
            out[byte] ^= 0x10;
        }
    }
}
