//! AAC as MPEG4-GENERIC (RFC 3640), in the modes AAC-hbr and AAC-lbr.

use super::{Piece, Unit, When};
use crate::rtp::Packet;
use crate::sdp::Stream;

/// More than an AAC frame of eight channels can have.
const MAX_UNIT_BYTES: usize = 64 * 1024;
const SAMPLES_PER_FRAME: i64 = 1024;

/// See the module.
#[derive(Debug)]
pub struct Aac {
    size_bits: u32,
    index_bits: u32,
    index_delta_bits: u32,
    frame_ticks: i64,
    /// The beginning of a frame that takes several packets, and how long it will be.
    part: Vec<u8>,
    part_bytes: usize,
    part_ticks: i64,
    part_came_ns: u64,
}

impl Aac {
    /// For this stream; `None` if it uses parts of the format that no camera does.
    #[must_use]
    pub fn new(stream: &Stream) -> Option<Self> {
        let number = |name: &str| stream.parameter(name).and_then(|text| text.parse::<u32>().ok());
        let low = stream.parameter("mode").is_some_and(|mode| mode.eq_ignore_ascii_case("AAC-lbr"));
        let aac = Self {
            size_bits: number("sizelength").unwrap_or(if low { 6 } else { 13 }),
            index_bits: number("indexlength").unwrap_or(if low { 2 } else { 3 }),
            index_delta_bits: number("indexdeltalength").unwrap_or(if low { 2 } else { 3 }),
            frame_ticks: number("constantduration").map_or(SAMPLES_PER_FRAME, i64::from),
            part: Vec::new(),
            part_bytes: 0,
            part_ticks: 0,
            part_came_ns: 0,
        };
        let sensible = (1..=16).contains(&aac.size_bits) && aac.index_bits <= 16 && aac.index_delta_bits <= 16;
        let plain = ["ctsdeltalength", "dtsdeltalength", "auxiliarydatasizelength", "streamstateindication"]
            .iter()
            .all(|name| number(name).unwrap_or(0) == 0);
        (sensible && plain && config(stream).is_some()).then_some(aac)
    }

    /// See [`super::Depacketizer::take`].
    pub fn take(&mut self, packet: &Packet<'_>, when: When, out: &mut dyn FnMut(Piece)) {
        let When { ticks, lost, now_ns } = when;
        if self.part.is_empty() {
            self.part_came_ns = now_ns;
        }
        if lost && !self.part.is_empty() {
            self.give_up(out);
        }
        let Some(([high, low], rest)) = packet.payload.split_first_chunk::<2>() else {
            return;
        };
        let header_bits = u32::from(u16::from_be_bytes([*high, *low]));
        let header_bytes = header_bits.div_ceil(8) as usize;
        let (Some(headers), Some(mut data)) = (rest.get(..header_bytes), rest.get(header_bytes..)) else {
            return;
        };
        let mut bits = Bits { bytes: headers, at: 0, end: header_bits };
        let mut frame = 0_i64;
        while let Some(size) = bits.take(self.size_bits) {
            let index_bits = if frame == 0 { self.index_bits } else { self.index_delta_bits };
            let Some(skipped) = bits.take(index_bits) else { break };
            if frame > 0 {
                frame += i64::from(skipped);
            }
            let size = size as usize;
            let at = ticks + frame * self.frame_ticks;
            match data.split_at_checked(size) {
                Some((unit, rest)) if self.part.is_empty() => {
                    data = rest;
                    if !unit.is_empty() {
                        out(Piece::Unit(Unit { data: unit.to_vec(), ticks: at, came_ns: now_ns }));
                    }
                }
                // The rest of a frame: the header repeats the size of the whole.
                _ => return self.fragment(data, size, at, out),
            }
            frame += 1;
        }
    }

    /// See [`super::Depacketizer::reset`].
    pub fn reset(&mut self) {
        self.part.clear();
    }

    fn fragment(&mut self, data: &[u8], size: usize, ticks: i64, out: &mut dyn FnMut(Piece)) {
        if !self.part.is_empty() && (self.part_ticks != ticks || self.part_bytes != size) {
            self.give_up(out);
        }
        if self.part.len() + data.len() > size.min(MAX_UNIT_BYTES) {
            self.part_ticks = ticks;
            return self.give_up(out);
        }
        (self.part_bytes, self.part_ticks) = (size, ticks);
        self.part.extend_from_slice(data);
        if self.part.len() == size && size > 0 {
            let data = std::mem::take(&mut self.part);
            let came_ns = self.part_came_ns;
            out(Piece::Unit(Unit { data, ticks, came_ns }));
        }
    }

    fn give_up(&mut self, out: &mut dyn FnMut(Piece)) {
        self.part.clear();
        out(Piece::Broken { ticks: self.part_ticks, came_ns: self.part_came_ns });
    }
}

/// What a decoder needs to know (`AudioSpecificConfig`), from a stream's description.
#[must_use]
pub fn config(stream: &Stream) -> Option<Vec<u8>> {
    let hex = stream.parameter("config")?.trim_matches('"').as_bytes();
    let digit = |digit: &u8| char::from(*digit).to_digit(16);
    let (pairs, rest) = hex.as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| u8::try_from(digit(high)? << 4 | digit(low)?).ok());
    let bytes: Vec<u8> = bytes.collect::<Option<_>>()?;
    (rest.is_empty() && (2..=64).contains(&bytes.len())).then_some(bytes)
}

/// Reads bits, the highest first.
struct Bits<'a> {
    bytes: &'a [u8],
    at: u32,
    end: u32,
}

impl Bits<'_> {
    /// Up to 16 at once.
    fn take(&mut self, count: u32) -> Option<u32> {
        if self.at + count > self.end {
            return None;
        }
        let mut value = 0;
        for at in self.at..self.at + count {
            let byte = u32::from(*self.bytes.get(at as usize / 8)?);
            value = value << 1 | byte >> (7 - at % 8) & 1;
        }
        self.at += count;
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::{Aac, Piece, When};
    use crate::rtp::Packet;
    use crate::sdp::Stream;
    use proptest::prelude::{any, prop, prop_assert, proptest};
    use rtsp_types::Url;

    fn aac() -> Aac {
        Aac::new(&Stream {
            media: "audio".into(),
            encoding: "MPEG4-GENERIC".into(),
            payload_type: 97,
            clock_rate_hz: 48_000,
            channels: 2,
            control: Url::parse("rtsp://a/b").unwrap(),
            parameters: vec![
                ("mode".into(), "AAC-hbr".into()),
                ("sizelength".into(), "13".into()),
                ("config".into(), "1190".into()),
            ],
        })
        .unwrap()
    }

    fn feed(aac: &mut Aac, payload: &[u8], ticks: i64, lost: bool) -> Vec<(usize, i64)> {
        let mut pieces = Vec::new();
        let packet = Packet { marker: true, payload_type: 97, sequence: 0, timestamp: 0, source: 0, payload };
        aac.take(&packet, When { ticks, lost, now_ns: 0 }, &mut |piece| {
            pieces.push(match piece {
                Piece::Unit(unit) => (unit.data.len(), unit.ticks),
                Piece::Broken { ticks, .. } => (0, ticks),
            });
        });
        pieces
    }

    #[test]
    fn several_frames_in_one_packet() {
        let payload = [0, 32, 0, 3 << 3, 0, 2 << 3, 1, 2, 3, 4, 5];
        assert_eq!(feed(&mut aac(), &payload, 5000, false), [(3, 5000), (2, 6024)]);
        assert_eq!(feed(&mut aac(), &payload[..9], 5000, false), [(3, 5000)], "the second is cut off");
    }

    #[test]
    fn one_frame_in_several_packets() {
        let mut aac = aac();
        let part = [0, 16, 0, 5 << 3, 1, 2];
        assert_eq!(feed(&mut aac, &part, 0, false), []);
        assert_eq!(feed(&mut aac, &part, 0, false), []);
        assert_eq!(feed(&mut aac, &part[..5], 0, false), [(5, 0)]);
        assert_eq!(feed(&mut aac, &part, 1024, false), []);
        assert_eq!(feed(&mut aac, &[0, 16, 0, 1 << 3, 9], 2048, true), [(0, 1024), (1, 2048)]);
    }

    proptest! {
        #[test]
        fn garbage_never_panics_nor_grows(packets in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..40), 0..3_i64, any::<bool>()), 0..100)) {
            let mut aac = aac();
            for (payload, ticks, lost) in packets {
                feed(&mut aac, &payload, ticks, lost);
                prop_assert!(aac.part.len() <= super::MAX_UNIT_BYTES);
            }
        }
    }
}
