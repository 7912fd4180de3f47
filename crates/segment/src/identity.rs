//! What a file says about itself, and what happened while it was recorded.

use crate::boxes::{Cursor, patch_size, put_u32};
use crate::error::{Error, Result};
use crate::types::{BootId, Digest, FileId};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Who, what and when: written into the head of every file, so that an index can always be rebuilt from the files.
///
/// Stored as JSON in a `uuid` box; unknown fields of newer writers are ignored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Session id.
    pub session: String,
    /// Name of the input.
    pub input: String,
    /// Place in the sequence of this input's files in this session, from 1.
    pub sequence: u64,
    /// Random id of this file.
    pub file_id: FileId,
    /// Boot during which it was recorded.
    pub boot_id: BootId,
    /// `CLOCK_MONOTONIC` time that tick 0 of all tracks stands for: the smallest decode time of the first chunk.
    ///
    /// In what is handed to `Writer::create`, the pair of this and `start_wall_ns` says only how the clocks relate
    /// ("now" will do); the first chunk's time replaces it and the wall time moves along.
    pub start_mono_ns: u64,
    /// Unix time in nanoseconds at `start_mono_ns`. A label: clocks are set, leap and drift.
    pub start_wall_ns: i64,
    /// The box that recorded.
    pub device: String,
    /// The program and version that recorded.
    pub software: String,
    /// The file before this one, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Previous>,
    /// What is missing between the file before and this one, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap_before: Option<Gap>,
}

/// The file before: together they form a chain that can't lose a link unseen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Previous {
    /// Its place in the sequence.
    pub sequence: u64,
    /// Its id.
    pub file_id: FileId,
    /// Its digest; `None` if it was not closed when this file was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
}

/// A stretch of time of which footage is missing, with the reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Why.
    pub cause: GapCause,
    /// From when on. With [`GapCause::Reboot`] that is on the clock of an earlier boot.
    pub start_mono_ns: u64,
    /// For how long; 0 where the clocks can't tell.
    pub duration_ns: u64,
    /// How many frames are known to be lost (0 if nobody can know).
    pub frames_lost: u64,
}

/// Why footage is missing. Only ever appended to; a cause of a newer version reads as `Unknown`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum GapCause {
    /// The capture process died.
    CaptureDied,
    /// Camera or line was gone.
    SourceLost,
    /// The disk stalled longer than the queue could hold.
    DiskStall,
    /// The disk refused to write (full, I/O error).
    DiskFailed,
    /// The encoder failed or stalled.
    EncoderFailed,
    /// The box was restarted or lost power.
    Reboot,
    /// A person or a program stopped it.
    Operator,
    /// The source changed its format.
    FormatChange,
    /// Nobody knows.
    #[serde(other)]
    Unknown,
}

impl std::fmt::Display for GapCause {
    /// As on D-Bus and in JSON.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::CaptureDied => "capture-died",
            Self::SourceLost => "source-lost",
            Self::DiskStall => "disk-stall",
            Self::DiskFailed => "disk-failed",
            Self::EncoderFailed => "encoder-failed",
            Self::Reboot => "reboot",
            Self::Operator => "operator",
            Self::FormatChange => "format-change",
            Self::Unknown => "unknown",
        })
    }
}

/// A chapter mark.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// When, `CLOCK_MONOTONIC`.
    pub mono_ns: u64,
    /// When, Unix time.
    pub wall_ns: i64,
    /// What for. Cut to [`Mark::MAX_TEXT_BYTES`] when it is noted.
    pub text: String,
}

impl Mark {
    /// Longest text that is kept.
    pub const MAX_TEXT_BYTES: usize = 1024;
}

/// Frames per stage since the file was begun, as the caller counts them: `source - Σ dropped = safe` when all is told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Frames that the source gave.
    #[serde(default)]
    pub source: u64,
    /// Frames that came out of the encoder (equal to `source` for stream copy).
    #[serde(default)]
    pub encoded: u64,
    /// Frames that were put into chunks.
    #[serde(default)]
    pub muxed: u64,
    /// Frames that were safe when this was noted.
    #[serde(default)]
    pub safe: u64,
    /// Frames that were dropped, by reason.
    #[serde(default)]
    pub dropped: Vec<(DropReason, u64)>,
}

/// Why a frame was dropped. Only ever appended to; a reason of a newer version reads as `Other`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum DropReason {
    /// The queue before the disk was full.
    QueueFull,
    /// The disk refused to write.
    WriteFailed,
    /// It cannot be decoded without a keyframe that was not there.
    NoKeyframe,
    /// The source sent something that is not a frame.
    Malformed,
    /// The encoder took it and gave nothing.
    EncoderDropped,
    /// Its time went backwards.
    BadTime,
    /// It was too old to be encoded: the box was too slow.
    Overload,
    /// Something else.
    #[serde(other)]
    Other,
}

/// Type of the identity's `uuid` box.
pub(crate) const IDENTITY_UUID: [u8; 16] =
    [0xb6, 0xc0, 0x70, 0x17, 0x1c, 0xea, 0x43, 0x3d, 0x84, 0x55, 0x81, 0x9a, 0xd7, 0x53, 0x5c, 0xb4];

const VERSION: u8 = 1;
const DOMAIN: &[u8] = b"holdfast identity v1";

impl Identity {
    /// Appends the box: version and flags, length and bytes of the JSON, and its digest.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        let start = out.len();
        put_u32(out, 0);
        out.extend(b"uuid");
        out.extend(IDENTITY_UUID);
        put_u32(out, u32::from(VERSION) << 24);
        let json = serde_json::to_vec(self).expect("an identity has only string keys and no failing fields");
        put_u32(out, u32::try_from(json.len()).expect("an identity is far below 4 GiB"));
        out.extend(&json);
        out.extend(check(&json).as_bytes());
        patch_size(out, start);
    }

    /// Reads the content of the box, behind its type.
    pub(crate) fn parse(path: &Path, mut content: Cursor<'_>) -> Result<Self> {
        let bad = |bad| Error::bad(path, bad);
        let (version, _) = content.version_flags("identity").map_err(bad)?;
        if version != VERSION {
            return Err(Error::NewerFormat {
                path: path.to_owned(),
                what: "identity box",
                found: version,
                known: VERSION,
            });
        }
        let length = content.u32("identity").map_err(bad)?;
        let offset = content.offset();
        let json = content.take(length as usize, "identity").map_err(bad)?;
        let digest = content.array::<32>("identity digest").map_err(bad)?;
        let malformed = |what: String| Error::Malformed { path: path.to_owned(), offset, what };
        if check(json) != digest {
            return Err(malformed("the identity does not match its digest".into()));
        }
        serde_json::from_slice(json).map_err(|error| malformed(format!("identity: {error}")))
    }
}

fn check(json: &[u8]) -> blake3::Hash {
    blake3::Hasher::new().update(DOMAIN).update(json).finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_and_reasons_of_newer_versions_still_read() {
        assert_eq!(serde_json::from_str::<GapCause>("\"disk-stall\"").unwrap(), GapCause::DiskStall);
        assert_eq!(serde_json::from_str::<GapCause>("\"eclipse\"").unwrap(), GapCause::Unknown);
        assert_eq!(serde_json::from_str::<GapCause>("\"unknown\"").unwrap(), GapCause::Unknown);
        assert_eq!(serde_json::from_str::<DropReason>("\"mice\"").unwrap(), DropReason::Other);
    }
}
