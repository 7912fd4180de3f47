//! The bytes of an RTSP connection: messages, and RTP packets interleaved with them.

use rtsp_types::{Message, ParseError, Request, Response};

/// More than the largest message and packet together.
const CAPACITY_BYTES: usize = 256 * 1024;
/// A header that does not end within this is none.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Header and body.
const MAX_MESSAGE_BYTES: usize = 128 * 1024;
/// After so much without a message this is no RTSP.
const MAX_GARBAGE_BYTES: usize = 1024 * 1024;
const INTERLEAVED_HEADER_BYTES: usize = 4;

/// Something whole that came.
#[derive(Debug)]
pub enum Event<'a> {
    /// An RTP or RTCP packet.
    Data {
        /// On this channel.
        channel: u8,
        /// The packet.
        payload: &'a [u8],
    },
    /// An answer.
    Response(Response<Vec<u8>>),
    /// The camera wants something.
    Request(Request<Vec<u8>>),
}

/// So many bytes in a row were neither message nor packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Garbage(pub usize);

/// Bytes in, events out. Holds at most 256 KiB, allocated once.
#[derive(Debug)]
pub struct Wire {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// What stands at `start` follows a whole message.
    in_step: bool,
    /// Since the last whole message.
    garbage_bytes: usize,
    skipped_bytes: u64,
    /// Channels in use; while out of step others are not believed.
    channels: u8,
}

enum Step {
    /// A packet of this length stands at the start.
    Data(usize),
    /// A message.
    Message(Box<Message<Vec<u8>>>, usize),
    /// Not all of it is here yet.
    More,
    /// This byte is nothing.
    Skip,
    /// This byte means nothing, and harmlessly so.
    Blank,
}

impl Default for Wire {
    fn default() -> Self {
        Self {
            buffer: vec![0; CAPACITY_BYTES],
            start: 0,
            end: 0,
            in_step: true,
            garbage_bytes: 0,
            skipped_bytes: 0,
            channels: 0,
        }
    }
}

impl Wire {
    /// Where the next bytes go; never empty after [`Self::next`] has returned nothing.
    pub fn space(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.start > 0 && CAPACITY_BYTES - self.end < CAPACITY_BYTES / 2 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        self.buffer.get_mut(self.end..).unwrap_or_default()
    }

    /// So many bytes have been put into [`Self::space`].
    pub fn filled(&mut self, bytes: usize) {
        self.end = (self.end + bytes).min(CAPACITY_BYTES);
    }

    /// Channels up to this one (exclusive) have been agreed upon.
    pub fn expect_channels(&mut self, channels: u8) {
        self.channels = channels;
    }

    /// What had to be skipped so far.
    #[must_use]
    pub fn skipped_bytes(&self) -> u64 {
        self.skipped_bytes
    }

    /// The next event, or nothing until more bytes come.
    ///
    /// # Errors
    /// Nothing but garbage for too long.
    #[allow(clippy::should_implement_trait, reason = "the event borrows from us, which no Iterator can")]
    pub fn next(&mut self) -> Result<Option<Event<'_>>, Garbage> {
        loop {
            match self.step() {
                Step::More => return Ok(None),
                Step::Blank => self.start += 1,
                Step::Skip => {
                    self.in_step = false;
                    self.start += 1;
                    self.garbage_bytes += 1;
                    self.skipped_bytes += 1;
                    if self.garbage_bytes > MAX_GARBAGE_BYTES {
                        return Err(Garbage(self.garbage_bytes));
                    }
                }
                Step::Data(length) => {
                    let channel = self.buffer.get(self.start + 1).copied().unwrap_or(0);
                    let packet = self.start + INTERLEAVED_HEADER_BYTES..self.start + INTERLEAVED_HEADER_BYTES + length;
                    self.advance(INTERLEAVED_HEADER_BYTES + length);
                    let payload = self.buffer.get(packet).unwrap_or_default();
                    return Ok(Some(Event::Data { channel, payload }));
                }
                Step::Message(message, length) => {
                    self.advance(length);
                    match *message {
                        Message::Response(response) => return Ok(Some(Event::Response(response))),
                        Message::Request(request) => return Ok(Some(Event::Request(request))),
                        // Begins with $, so it is never asked for as a message.
                        Message::Data(_) => {}
                    }
                }
            }
        }
    }

    fn advance(&mut self, bytes: usize) {
        self.start += bytes;
        self.in_step = true;
        self.garbage_bytes = 0;
    }

    fn step(&self) -> Step {
        let waiting = self.buffer.get(self.start..self.end).unwrap_or_default();
        match waiting {
            [] => Step::More,
            [b'$', rest @ ..] => self.data(rest),
            // Some cameras end their messages with an empty line too many.
            [b'\r' | b'\n', ..] => Step::Blank,
            [b'A'..=b'Z', ..] if self.may_be_message(waiting) => message(waiting),
            _ => Step::Skip,
        }
    }

    fn data(&self, rest: &[u8]) -> Step {
        let [channel, high, low, payload @ ..] = rest else {
            return Step::More;
        };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if !self.in_step {
            // A dollar sign may stand anywhere; a packet on one of our channels with RTP's version rarely does.
            match payload.first() {
                _ if *channel >= self.channels || length < 8 => return Step::Skip,
                Some(first) if first >> 6 != 2 => return Step::Skip,
                None => return Step::More,
                Some(_) => {}
            }
        }
        if payload.len() < length {
            return Step::More;
        }
        Step::Data(length)
    }

    fn may_be_message(&self, waiting: &[u8]) -> bool {
        let known = waiting.len().min(16);
        let head = waiting.get(..known).unwrap_or_default();
        let response = b"RTSP/".iter().zip(head).all(|(a, b)| a == b);
        let texty = head.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\r' | b'\n'));
        response || self.in_step && texty
    }
}

fn message(waiting: &[u8]) -> Step {
    let head = waiting.get(..waiting.len().min(MAX_HEAD_BYTES)).unwrap_or_default();
    if !head.windows(4).any(|window| window == b"\r\n\r\n") {
        return if head.len() == MAX_HEAD_BYTES { Step::Skip } else { Step::More };
    }
    match Message::<Vec<u8>>::parse(waiting) {
        Ok((message, length)) => Step::Message(Box::new(message), length),
        Err(ParseError::Incomplete(missing)) => {
            let whole = missing.map_or(0, std::num::NonZeroUsize::get).saturating_add(waiting.len());
            if whole > MAX_MESSAGE_BYTES { Step::Skip } else { Step::More }
        }
        Err(ParseError::Error) => Step::Skip,
    }
}

#[cfg(test)]
mod tests {
    use super::{Event, Wire};
    use proptest::prelude::{ProptestConfig, any, prop, prop_assert, proptest};

    const ANSWER: &[u8] = b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: 3\r\n\r\nabc";

    fn packet(channel: u8, length: u8) -> Vec<u8> {
        let mut bytes = vec![b'$', channel, 0, length, 0x80];
        bytes.resize(4 + usize::from(length), channel);
        bytes
    }

    /// Feeds in pieces; gives what came as text.
    fn feed(wire: &mut Wire, bytes: &[u8], piece: usize) -> Vec<String> {
        let mut events = Vec::new();
        for piece in bytes.chunks(piece) {
            let mut left = piece;
            while !left.is_empty() {
                let space = wire.space();
                let n = space.len().min(left.len());
                assert!(n > 0, "the buffer is never full");
                space[..n].copy_from_slice(&left[..n]);
                wire.filled(n);
                left = &left[n..];
                while let Some(event) = wire.next().unwrap() {
                    events.push(match event {
                        Event::Data { channel, payload } => format!("{channel}:{}", payload.len()),
                        Event::Response(response) => {
                            format!("{} {}", u16::from(response.status()), response.body().len())
                        }
                        Event::Request(request) => format!("{:?}", request.method()),
                    });
                }
            }
        }
        events
    }

    #[test]
    fn takes_messages_and_packets_in_any_pieces() {
        let mut bytes = packet(0, 20);
        bytes.extend(ANSWER);
        bytes.extend(b"\r\n");
        bytes.extend(packet(1, 8));
        bytes.extend(b"OPTIONS rtsp://a/b RTSP/1.0\r\nCSeq: 7\r\n\r\n");
        bytes.extend(packet(9, 0));
        for piece in [1, 2, 3, 7, 1000] {
            let events = feed(&mut Wire::default(), &bytes, piece);
            assert_eq!(events, ["0:20", "200 3", "1:8", "Options", "9:0"], "in pieces of {piece}");
        }
    }

    #[test]
    fn finds_back_after_garbage() {
        let mut wire = Wire::default();
        wire.expect_channels(2);
        let mut bytes = vec![0x65, 0, b'$', 77, 0, 1, b'A', b'B', 0xff, 0xff];
        bytes.extend(packet(0, 12));
        bytes.extend([1, 2, 3]);
        bytes.extend(ANSWER);
        assert_eq!(feed(&mut wire, &bytes, 5), ["0:12", "200 3"]);
        assert_eq!(wire.skipped_bytes(), 13);
    }

    #[test]
    fn gives_up_on_what_is_no_rtsp() {
        let mut wire = Wire::default();
        let mut given_up = false;
        for _ in 0..5000 {
            let space = wire.space();
            let n = space.len().min(1000);
            space[..n].fill(0xee);
            wire.filled(n);
            given_up |= wire.next().is_err();
        }
        assert!(given_up);
        // A body that is promised and would never fit.
        let mut wire = Wire::default();
        let promise = b"RTSP/1.0 200 OK\r\nContent-Length: 99999999999\r\n\r\n";
        assert_eq!(feed(&mut wire, promise, 1000), Vec::<String>::new());
        assert_eq!(feed(&mut wire, ANSWER, 1000), ["200 3"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn garbage_never_panics_nor_fills_the_buffer(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..3000), 1..100),
            channels in 0_u8..8,
        ) {
            let mut wire = Wire::default();
            wire.expect_channels(channels);
            for chunk in chunks {
                let space = wire.space();
                prop_assert!(!space.is_empty());
                let n = space.len().min(chunk.len());
                space[..n].copy_from_slice(&chunk[..n]);
                wire.filled(n);
                while let Ok(Some(_)) = wire.next() {}
            }
        }
    }
}
