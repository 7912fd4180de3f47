//! From RTP payloads to access units.

pub mod aac;
pub mod h26x;

use crate::rtp::Packet;
use crate::sdp::Stream;

/// An access unit, or several samples of uncompressed sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// H.26x as a byte stream with start codes; others as they come.
    pub data: Vec<u8>,
    /// When it was sampled, in the stream's ticks.
    pub ticks: i64,
    /// When its first packet came, on the monotonic clock.
    pub came_ns: u64,
}

/// What a packet brought to an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// A whole unit.
    Unit(Unit),
    /// A unit of which parts are missing. It is not handed on.
    Broken {
        /// When it was sampled, in the stream's ticks.
        ticks: i64,
        /// When its first packet came, on the monotonic clock.
        came_ns: u64,
    },
}

/// A packet's place in its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct When {
    /// Its timestamp.
    pub ticks: i64,
    /// Packets before it are missing.
    pub lost: bool,
    /// When it came, on the monotonic clock.
    pub now_ns: u64,
}

/// How a stream's packets are put together.
#[derive(Debug)]
pub enum Depacketizer {
    /// H.264 and H.265.
    H26x(h26x::H26x),
    /// AAC.
    Aac(aac::Aac),
    /// Each packet is a unit of its own: G.711, Opus.
    Whole,
}

impl Depacketizer {
    /// For this stream; `None` if its packets are unknown.
    #[must_use]
    pub fn new(stream: &Stream) -> Option<Self> {
        Some(match stream.encoding.as_str() {
            "H264" | "H265" => Self::H26x(h26x::H26x::new(stream)),
            "MPEG4-GENERIC" => Self::Aac(aac::Aac::new(stream)?),
            "PCMA" | "PCMU" | "OPUS" => Self::Whole,
            _ => return None,
        })
    }

    /// Takes a packet.
    pub fn take(&mut self, packet: &Packet<'_>, when: When, out: &mut dyn FnMut(Piece)) {
        match self {
            Self::H26x(h26x) => h26x.take(packet, when, out),
            Self::Aac(aac) => aac.take(packet, when, out),
            Self::Whole if packet.payload.is_empty() => {}
            Self::Whole => {
                out(Piece::Unit(Unit { data: packet.payload.to_vec(), ticks: when.ticks, came_ns: when.now_ns }))
            }
        }
    }

    /// What comes next, if anything, does not continue what came before.
    pub fn reset(&mut self, out: &mut dyn FnMut(Piece)) {
        match self {
            Self::H26x(h26x) => h26x.reset(out),
            Self::Aac(aac) => aac.reset(),
            Self::Whole => {}
        }
    }
}
