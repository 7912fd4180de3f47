//! What travels from the sources to the writer: coded frames, and what is known to be missing between them.

use std::sync::Arc;

use holdfast_link::DropReason;
use holdfast_segment::{GapCause, Track};

/// What a packet costs in memory beyond its bytes: buffer, mapping, reference counts, queue slots.
pub const OVERHEAD_BYTES: u64 = 512;

/// Pictures or sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Medium {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
}

/// One coded access unit. Times are `CLOCK_MONOTONIC` nanoseconds.
#[derive(Debug)]
pub struct Packet<D> {
    /// Pictures or sound.
    pub medium: Medium,
    /// How it is coded. Packets of one format share one allocation; compare with [`same_format`].
    pub track: Arc<Track>,
    /// Decode time; strictly increasing per medium.
    pub dts_ns: u64,
    /// Presentation time.
    pub pts_ns: u64,
    /// How long it is shown or heard.
    pub duration_ns: u64,
    /// Decoding can start here. Always true for audio.
    pub sync: bool,
    /// How many video frames had come from the source up to and including this one, since the process began.
    pub source_number: u64,
    /// The same behind the encoder or parser.
    pub encoded_number: u64,
    /// The coded bytes.
    pub data: D,
}

impl<D: AsRef<[u8]>> Packet<D> {
    /// What it takes from the budget of a queue or ring, in bytes.
    pub fn cost_bytes(&self) -> u64 {
        self.data.as_ref().len() as u64 + OVERHEAD_BYTES
    }
}

impl<D> Packet<D> {
    /// True for pictures.
    pub fn is_video(&self) -> bool {
        self.medium == Medium::Video
    }

    /// True for pictures at which decoding can start.
    pub fn is_keyframe(&self) -> bool {
        self.sync && self.is_video()
    }
}

/// Whether two packets' formats can stand in one track.
pub fn same_format(a: &Arc<Track>, b: &Arc<Track>) -> bool {
    Arc::ptr_eq(a, b) || a == b
}

/// Video frames that came in and are gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Why.
    pub reason: DropReason,
    /// How many.
    pub frames: u64,
    /// When the first of them was captured.
    pub start_ns: u64,
}

/// What the writer takes from the queue, in the order it happened.
#[derive(Debug)]
pub enum Item<D> {
    /// A frame.
    Packet(Arc<Packet<D>>),
    /// Frames that are missing before the next packet.
    Lost(Lost),
    /// The source broke off; the next packet comes from a new attempt.
    Break(GapCause),
}
