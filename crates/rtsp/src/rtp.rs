//! RTP packets (RFC 3550), and what their numbers say.

/// One packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Ends an access unit, for video.
    pub marker: bool,
    /// Which of the payloads that the description names.
    pub payload_type: u8,
    /// Counts packets.
    pub sequence: u16,
    /// Sampling time in ticks of the stream's clock.
    pub timestamp: u32,
    /// Who sent it.
    pub source: u32,
    /// What it carries.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads a packet; `None` if it is none.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<12>()?;
        let [flags, kind, s0, s1, t0, t1, t2, t3, source @ ..] = *head;
        if flags >> 6 != 2 {
            return None;
        }
        let mut payload = rest.get(usize::from(flags & 0x0f) * 4..)?;
        if flags & 0x10 != 0 {
            let ([_, _, high, low], rest) = payload.split_first_chunk::<4>()?;
            payload = rest.get(usize::from(u16::from_be_bytes([*high, *low])) * 4..)?;
        }
        if flags & 0x20 != 0 {
            let padding = usize::from(*payload.last()?);
            payload = payload.get(..payload.len().checked_sub(padding.max(1))?)?;
        }
        Some(Self {
            marker: kind & 0x80 != 0,
            payload_type: kind & 0x7f,
            sequence: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            source: u32::from_be_bytes(source),
            payload,
        })
    }
}

/// What a packet's number says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// It follows the last one.
    Next,
    /// So many are missing before it.
    After(u16),
    /// It has been there already, or comes too late: over TCP a fault of the camera.
    Old,
    /// The camera counts anew.
    Restart,
}

/// A jump of more than this is a new beginning, not a loss.
const MAX_MISSING: u16 = 3000;

/// Follows the numbers of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sequence {
    next: Option<u16>,
    cycles: u16,
    received: u64,
    lost: u64,
}

impl Sequence {
    /// A packet with this number came.
    pub fn take(&mut self, number: u16) -> Order {
        let Some(next) = self.next else {
            self.advance(number);
            return Order::Next;
        };
        let ahead = number.wrapping_sub(next);
        let behind = next.wrapping_sub(number);
        if ahead == 0 {
            self.advance(number);
            Order::Next
        } else if ahead <= MAX_MISSING {
            self.lost += u64::from(ahead);
            self.advance(number);
            Order::After(ahead)
        } else if behind <= MAX_MISSING {
            Order::Old
        } else {
            self.advance(number);
            Order::Restart
        }
    }

    fn advance(&mut self, number: u16) {
        if number == u16::MAX {
            self.cycles = self.cycles.wrapping_add(1);
        }
        self.received += 1;
        self.next = Some(number.wrapping_add(1));
    }

    /// Packets that never came.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Packets that came.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received
    }

    /// The highest number with its overflows, as receiver reports have it.
    #[must_use]
    pub fn highest(&self) -> u32 {
        let last = self.next.unwrap_or(0).wrapping_sub(1);
        let cycles = if last == u16::MAX { self.cycles.wrapping_sub(1) } else { self.cycles };
        u32::from(cycles) << 16 | u32::from(last)
    }
}

/// Makes 64 bits of a timestamp's 32.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unwrap {
    last: Option<(u32, i64)>,
}

impl Unwrap {
    /// The first timestamp is 0, others count from it; each lies within 2³¹ of the one before.
    pub fn take(&mut self, timestamp: u32) -> i64 {
        let ticks = self.peek(timestamp);
        self.last = Some((timestamp, ticks));
        ticks
    }

    /// The same, without being counted as the last.
    #[must_use]
    pub fn peek(&self, timestamp: u32) -> i64 {
        self.last.map_or(0, |(last, ticks)| ticks + i64::from(timestamp.wrapping_sub(last).cast_signed()))
    }
}

#[cfg(test)]
mod tests {
    use super::{Order, Packet, Sequence, Unwrap};
    use proptest::prelude::{any, prop, proptest};

    #[test]
    fn finds_the_payload_behind_everything_optional() {
        let mut bytes = vec![0xb2, 0xe0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
        bytes.extend([0; 8]); // two contributing sources
        bytes.extend([0xbe, 0xde, 0, 1, 1, 1, 1, 1]); // an extension of one word
        bytes.extend(b"payload");
        bytes.extend([0, 0, 3]); // three bytes of padding
        let packet = Packet::parse(&bytes).unwrap();
        assert!(packet.marker);
        assert_eq!((packet.payload_type, packet.sequence, packet.timestamp), (96, 0x0102, 0x0304_0506));
        assert_eq!((packet.source, packet.payload), (0x0708_090a, b"payload".as_slice()));
        assert_eq!(Packet::parse(&bytes[..20]), None);
        bytes[0] = 0x40;
        assert_eq!(Packet::parse(&bytes), None, "version 1");
    }

    #[test]
    fn counts_what_is_missing() {
        let mut sequence = Sequence::default();
        assert_eq!(sequence.take(65_534), Order::Next);
        assert_eq!(sequence.take(65_535), Order::Next);
        assert_eq!(sequence.highest(), 65_535);
        assert_eq!(sequence.take(2), Order::After(2));
        assert_eq!(sequence.take(1), Order::Old);
        assert_eq!(sequence.take(30_000), Order::Restart);
        assert_eq!((sequence.lost(), sequence.received()), (2, 4));
        assert_eq!(sequence.highest(), 65_536 + 30_000);
    }

    #[test]
    fn timestamps_go_on_over_their_end() {
        let mut unwrap = Unwrap::default();
        assert_eq!(unwrap.take(u32::MAX - 9), 0);
        assert_eq!(unwrap.take(10), 20);
        assert_eq!(unwrap.take(5), 15);
        assert_eq!(unwrap.take(0x7fff_0000), 0x7fff_000a);
        assert_eq!(unwrap.take(0xf000_0000), 0xf000_000a);
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Packet::parse(&bytes);
        }
    }
}
