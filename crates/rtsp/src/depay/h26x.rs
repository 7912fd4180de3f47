//! H.264 (RFC 6184) and H.265 (RFC 7798): both send NAL units whole, several in one packet, or one in several.
//!
//! The modes that interleave units out of order are not known by any camera, and neither here.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Piece, Unit, When};
use crate::rtp::Packet;
use crate::sdp::Stream;

/// No camera's picture is larger; what goes on longer is broken.
const MAX_UNIT_BYTES: usize = 16 * 1024 * 1024;
/// A first guess; after that the last unit's size is one.
const FIRST_UNIT_BYTES: usize = 64 * 1024;
const MAX_PARAMETER_BYTES: usize = 16 * 1024;
/// A camera whose markers were right at so many keyframes is trusted.
const KEYFRAMES_FOR_TRUST: u8 = 2;
const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// What a NAL unit is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A slice of a picture.
    Slice {
        /// From which decoding can begin.
        key: bool,
    },
    /// Needed to decode slices.
    Parameters,
    /// Several units.
    Aggregate,
    /// Part of a unit.
    Fragment,
    /// Anything else that belongs into the stream.
    Other,
    /// Nothing that may come in RTP, or that we know.
    Unknown,
}

/// Where the two codecs differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Codec {
    H264,
    H265,
}

impl Codec {
    fn header_bytes(self) -> usize {
        match self {
            Self::H264 => 1,
            Self::H265 => 2,
        }
    }

    fn kind(self, first: u8) -> Kind {
        match self {
            Self::H264 => match first & 0x1f {
                5 => Kind::Slice { key: true },
                1..=4 => Kind::Slice { key: false },
                7 | 8 | 13 | 15 => Kind::Parameters,
                24 => Kind::Aggregate,
                28 => Kind::Fragment,
                0 | 25.. => Kind::Unknown,
                _ => Kind::Other,
            },
            Self::H265 => match (first >> 1) & 0x3f {
                16..=23 => Kind::Slice { key: true },
                0..=31 => Kind::Slice { key: false },
                32..=34 => Kind::Parameters,
                48 => Kind::Aggregate,
                49 => Kind::Fragment,
                50.. => Kind::Unknown,
                _ => Kind::Other,
            },
        }
    }
}

/// Whether the camera's markers end pictures, as they should. Some set one behind each slice, or behind the parameter sets,
/// or only keyframes have several slices. Until it is known, a picture ends where the next one begins: that costs the time
/// between two pictures, and no picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Markers {
    /// They have been right at so many keyframes.
    Unproven(u8),
    /// They are right.
    Right,
    /// They are wrong.
    Wrong,
}

/// See the module.
#[derive(Debug)]
pub struct H26x {
    codec: Codec,
    /// The unit that is being put together.
    unit: Vec<u8>,
    ticks: i64,
    has_slice: bool,
    /// Where the first slice begins in `unit`.
    slice_at: usize,
    has_key: bool,
    has_parameters: bool,
    broken: bool,
    /// A connection begins with this unit: what came before is not known, nor ours.
    joined: bool,
    /// Packets before this unit, or of it, are missing.
    lossy: bool,
    /// Parts of a NAL unit are in `unit`, and more are to come.
    in_fragment: bool,
    /// The timestamp of the unit that was handed on last.
    handed_on: Option<i64>,
    markers: Markers,
    /// The unit has had its marker.
    marked: bool,
    /// When the unit's first packet came.
    came_ns: u64,
    /// From the description; put before the first keyframe if it has none of its own.
    parameters: Vec<u8>,
}

impl H26x {
    /// For this stream.
    #[must_use]
    pub fn new(stream: &Stream) -> Self {
        let (codec, names): (_, &[_]) = if stream.encoding == "H265" {
            (Codec::H265, &["sprop-vps", "sprop-sps", "sprop-pps"])
        } else {
            (Codec::H264, &["sprop-parameter-sets"])
        };
        let mut parameters = Vec::new();
        for set in names.iter().filter_map(|name| stream.parameter(name)).flat_map(|sets| sets.split(',')) {
            // Wrong ones are as good as none: cameras send them in the stream as well.
            if let Ok(set) = STANDARD.decode(set.trim())
                && set.first().is_some_and(|first| codec.kind(*first) == Kind::Parameters)
                && parameters.len() + set.len() <= MAX_PARAMETER_BYTES
            {
                parameters.extend(START_CODE);
                parameters.extend(set);
            }
        }
        Self {
            codec,
            unit: Vec::with_capacity(FIRST_UNIT_BYTES),
            ticks: 0,
            has_slice: false,
            slice_at: 0,
            has_key: false,
            has_parameters: false,
            broken: false,
            joined: true,
            lossy: false,
            in_fragment: false,
            handed_on: None,
            markers: Markers::Unproven(0),
            marked: false,
            came_ns: 0,
            parameters,
        }
    }

    /// See [`super::Depacketizer::take`].
    pub fn take(&mut self, packet: &Packet<'_>, when: When, out: &mut dyn FnMut(Piece)) {
        if when.ticks != self.ticks {
            if self.has_slice || self.broken {
                self.hand_on(out);
            }
            // Parameter sets alone, with a time of their own, belong to the picture that follows.
            self.ticks = when.ticks;
        } else if self.markers != Markers::Wrong
            && (self.marked || self.handed_on == Some(when.ticks) && self.unit.is_empty())
        {
            tracing::debug!("the camera marks the end of a picture too early; the next timestamp ends it instead");
            self.markers = Markers::Wrong;
        }
        if self.unit.is_empty() && !self.broken {
            self.came_ns = when.now_ns;
        }
        if when.lost {
            // Between two pictures it cannot be known whose parts are missing; a fragment without its beginning tells, and a
            // picture without its first slice.
            self.broken |= self.in_fragment || !self.unit.is_empty();
            self.lossy = true;
            self.in_fragment = false;
        }
        self.payload(packet.payload);
        self.marked = packet.marker && (self.has_slice || self.broken);
        if self.marked && self.markers == Markers::Right {
            self.hand_on(out);
        }
    }

    /// See [`super::Depacketizer::reset`].
    pub fn reset(&mut self, out: &mut dyn FnMut(Piece)) {
        if self.has_slice || self.broken {
            self.broken |= !self.marked;
            self.hand_on(out);
        }
        self.clear();
        self.joined = true;
        self.handed_on = None;
    }

    fn payload(&mut self, payload: &[u8]) {
        let header = self.codec.header_bytes();
        let (Some(first), Some(body)) = (payload.first().copied(), payload.get(header..)) else {
            return;
        };
        match self.codec.kind(first) {
            Kind::Aggregate => self.aggregate(body),
            Kind::Fragment => self.fragment(payload, body),
            Kind::Unknown => {}
            kind => {
                self.close_fragment();
                self.nal(kind, payload);
            }
        }
    }

    fn nal(&mut self, kind: Kind, nal: &[u8]) {
        if kind == Kind::Parameters && self.has_slice {
            return self.late_parameters(nal);
        }
        self.note(kind, nal.get(self.codec.header_bytes()).copied());
        self.append(&START_CODE);
        self.append(nal);
    }

    /// Some cameras repeat the parameter sets before each slice of a keyframe. To a parser they begin another picture, so
    /// they go to the front, once.
    fn late_parameters(&mut self, nal: &[u8]) {
        let front = self.unit.get(..self.slice_at).unwrap_or_default();
        if self.broken || nal.is_empty() || front.windows(nal.len()).any(|window| window == nal) {
            return;
        }
        if self.slice_at + START_CODE.len() + nal.len() > MAX_PARAMETER_BYTES {
            self.broken = true;
            return;
        }
        self.has_parameters = true;
        let put = START_CODE.iter().chain(nal).copied();
        self.unit.splice(self.slice_at..self.slice_at, put);
        self.slice_at += START_CODE.len() + nal.len();
    }

    /// Notes a NAL unit, of which `body` is the first byte behind its header.
    fn note(&mut self, kind: Kind, body: Option<u8>) {
        match kind {
            Kind::Slice { key } => {
                if !self.has_slice {
                    self.slice_at = self.unit.len();
                    // The first bit says that a slice is the first of its picture: `first_mb_in_slice`, an Exp-Golomb 0, in
                    // H.264 (7.3.3), `first_slice_segment_in_pic_flag` in H.265 (7.3.6.1). Who joins a camera in the middle of
                    // a picture would else begin with a keyframe that lacks its upper half.
                    self.broken |= (self.joined || self.lossy) && body.is_none_or(|body| body & 0x80 == 0);
                }
                self.has_slice = true;
                self.has_key |= key;
            }
            Kind::Parameters => self.has_parameters = true,
            _ => {}
        }
    }

    fn aggregate(&mut self, mut body: &[u8]) {
        self.close_fragment();
        while let Some(([high, low], rest)) = body.split_first_chunk::<2>() {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            let Some(nal) = rest.get(..length) else {
                self.broken = true;
                return;
            };
            if let Some(first) = nal.first() {
                self.nal(self.codec.kind(*first), nal);
            }
            body = rest.get(length..).unwrap_or_default();
        }
    }

    fn fragment(&mut self, payload: &[u8], body: &[u8]) {
        let Some((head, part)) = body.split_first() else { return };
        let (begins, ends) = (head & 0x80 != 0, head & 0x40 != 0);
        if begins {
            self.close_fragment();
            let indicator = payload.first().copied().unwrap_or(0);
            let first = match self.codec {
                Codec::H264 => indicator & 0xe0 | head & 0x1f,
                Codec::H265 => indicator & 0x81 | (head & 0x3f) << 1,
            };
            // An H.265 header has a second byte, which the packet's own header carries.
            self.note(self.codec.kind(first), part.first().copied());
            self.append(&START_CODE);
            self.append(&[first]);
            if self.codec == Codec::H265 {
                self.append(payload.get(1..2).unwrap_or_default());
            }
            self.in_fragment = true;
        } else if !self.in_fragment {
            // Its beginning is missing.
            self.broken = true;
            return;
        }
        self.append(part);
        if ends {
            self.in_fragment = false;
        }
    }

    /// Another NAL unit begins: one in fragments that has not ended never will.
    fn close_fragment(&mut self) {
        if std::mem::take(&mut self.in_fragment) {
            self.broken = true;
        }
    }

    fn append(&mut self, bytes: &[u8]) {
        if self.unit.len() + bytes.len() > MAX_UNIT_BYTES {
            self.broken = true;
            return;
        }
        self.unit.extend_from_slice(bytes);
    }

    fn hand_on(&mut self, out: &mut dyn FnMut(Piece)) {
        let (ticks, came_ns) = (self.ticks, self.came_ns);
        self.handed_on = Some(ticks);
        if self.broken || self.in_fragment {
            // A picture that was half sent when the connection began was never to be had, and is not a loss.
            let owed = !self.joined || self.lossy || self.in_fragment;
            self.clear();
            if owed {
                out(Piece::Broken { ticks, came_ns });
            }
            return;
        }
        if let Markers::Unproven(keyframes) = &mut self.markers
            && self.has_key
            && self.marked
        {
            *keyframes += 1;
            if *keyframes == KEYFRAMES_FOR_TRUST {
                self.markers = Markers::Right;
            }
        }
        if self.has_key {
            // Only the first keyframe: whoever decodes remembers them.
            let parameters = std::mem::take(&mut self.parameters);
            if !self.has_parameters && !parameters.is_empty() {
                self.unit.splice(0..0, parameters);
            }
        }
        let capacity = self.unit.len().max(1024);
        let data = std::mem::replace(&mut self.unit, Vec::with_capacity(capacity));
        self.clear();
        out(Piece::Unit(Unit { data, ticks, came_ns }));
    }

    fn clear(&mut self) {
        self.unit.clear();
        self.has_slice = false;
        self.has_key = false;
        self.has_parameters = false;
        self.broken = false;
        self.joined = false;
        self.lossy = false;
        self.in_fragment = false;
        self.marked = false;
    }
}

#[cfg(test)]
#[path = "h26x_tests.rs"]
mod tests;
