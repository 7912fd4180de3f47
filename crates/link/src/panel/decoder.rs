//! From bytes off a line to messages.

use core::marker::PhantomData;

use cobs::{DecodeResult, DecoderState};
use heapless::Vec;
use serde::de::DeserializeOwned;

use super::frame::{MAX_BODY_BYTES, WireError, open};

/// How many frames a [`Decoder`] threw away, by why. Each counts once, however long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Thrown {
    /// Longer than any frame.
    pub overlong: u32,
    /// Damaged on the way.
    pub crc: u32,
    /// No COBS, too short, or no message.
    pub malformed: u32,
}

impl Thrown {
    /// All of them.
    #[must_use]
    pub fn total(self) -> u32 {
        self.overlong.saturating_add(self.crc).saturating_add(self.malformed)
    }
}

/// Takes any bytes, one at a time, and makes messages of them. It never grows, and is in step at every zero.
#[derive(Debug)]
pub struct Decoder<T> {
    cobs: DecoderState,
    body: Vec<u8, MAX_BODY_BYTES>,
    /// Too much came; nothing counts until the next zero.
    skipping: bool,
    thrown: Thrown,
    message: PhantomData<fn() -> T>,
}

impl<T> Default for Decoder<T> {
    fn default() -> Self {
        let thrown = Thrown::default();
        Self { cobs: DecoderState::Idle, body: Vec::new(), skipping: false, thrown, message: PhantomData }
    }
}

impl<T: DeserializeOwned> Decoder<T> {
    /// What was thrown away so far.
    #[must_use]
    pub fn thrown(&self) -> Thrown {
        self.thrown
    }

    /// The next byte. Says something at the end of each frame only: the message, or why there is none.
    pub fn feed(&mut self, byte: u8) -> Option<Result<T, WireError>> {
        if self.skipping {
            // Told when it began.
            self.skipping = byte != 0;
            return None;
        }
        let outcome = match self.cobs.feed(byte) {
            Ok(DecodeResult::NoData) => return None,
            Ok(DecodeResult::DataContinue(data)) => match self.body.push(data) {
                Ok(()) => return None,
                Err(_) => {
                    self.skipping = true;
                    Err(WireError::Overlong)
                }
            },
            Ok(DecodeResult::DataComplete) => open(&self.body),
            Err(_) => Err(WireError::Malformed),
        };
        self.cobs = DecoderState::Idle;
        self.body.clear();
        let count = match &outcome {
            Err(WireError::Overlong) => Some(&mut self.thrown.overlong),
            Err(WireError::Crc) => Some(&mut self.thrown.crc),
            Err(WireError::Malformed) => Some(&mut self.thrown.malformed),
            Ok(_) | Err(WireError::Version { .. } | WireError::RefusedByPeer { .. } | WireError::TooLong) => None,
        };
        if let Some(count) = count {
            *count = count.saturating_add(1);
        }
        Some(outcome)
    }
}
