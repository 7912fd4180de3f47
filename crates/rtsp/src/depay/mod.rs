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
    },
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

    /// Takes a packet. `ticks` is its timestamp; `lost` says that packets before it are missing.
    pub fn take(&mut self, packet: &Packet<'_>, ticks: i64, lost: bool, out: &mut dyn FnMut(Piece)) {
        match self {
            Self::H26x(h26x) => h26x.take(packet, ticks, lost, out),
            Self::Aac(aac) => aac.take(packet, ticks, lost, out),
            Self::Whole if packet.payload.is_empty() => {}
            Self::Whole => out(Piece::Unit(Unit {
                data: packet.payload.to_vec(),
                ticks,
            })),
        }
    }

    /// What comes next does not continue what came before.
    pub fn reset(&mut self, out: &mut dyn FnMut(Piece)) {
        match self {
            Self::H26x(h26x) => h26x.reset(out),
            Self::Aac(aac) => aac.reset(),
            Self::Whole => {}
        }
    }
}
