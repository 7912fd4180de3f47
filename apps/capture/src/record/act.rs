//! What the [`Segmenter`](super::Segmenter) is told and what it decides.

use std::sync::Arc;

use holdfast_link::DropReason;
use holdfast_segment::{CloseReason, Track};

use crate::packet::Packet;

/// Where to cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Length of a chunk.
    pub sync_interval_ns: u64,
    /// Length of a file.
    pub rotation_ns: u64,
    /// Size of a file.
    pub rotation_bytes: u64,
}

/// What is to be done, in order.
#[derive(Debug)]
pub enum Act<D> {
    /// Begin a file with these tracks; video is track 0, sound track 1.
    Open {
        /// Pictures.
        video: Arc<Track>,
        /// Sound, if there is any.
        audio: Option<Arc<Track>>,
        /// Decode time of its first keyframe.
        start_ns: u64,
    },
    /// Write these as one chunk.
    Append(Vec<Arc<Packet<D>>>),
    /// Complete the file.
    Close(CloseReason),
    /// This video frame cannot be kept.
    Lost(DropReason),
}
