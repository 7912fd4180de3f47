//! One message, one frame: zero, COBS(version, message, CRC), zero.

use crc::{CRC_32_ISO_HDLC, Crc};
use heapless::Vec;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The version of the panel messages this crate speaks. It has nothing to do with that of recorder and capture.
pub const PANEL_VERSION: u8 = 1;
/// Version, message and CRC are no longer. `tests/golden_panel.rs` measures the longest.
pub const MAX_BODY_BYTES: usize = 96;
/// A whole frame: the body, one byte that COBS adds to so few, and the two zeros.
pub const MAX_FRAME_BYTES: usize = MAX_BODY_BYTES + 3;
/// A frame as it goes over the line.
pub type Frame = Vec<u8, MAX_FRAME_BYTES>;

const CRC_BYTES: usize = 4;
/// Stands where the version stands in a frame that says "I do not speak yours".
const REFUSAL: u8 = 0;
/// The CRC-32 of Ethernet and zip: every language has it, and many microcontrollers have it in hardware.
const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// Why bytes off the line are no message, or a message no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// More bytes without a zero than the longest frame has: noise, another baud rate, or another protocol.
    #[error("more than {MAX_FRAME_BYTES} bytes without an end of frame")]
    Overlong,
    /// The CRC does not fit: damaged on the way.
    #[error("a damaged frame: its CRC does not fit")]
    Crc,
    /// No COBS, too short, or whole but no message of this version.
    #[error("a frame whose content does not parse as panel version {PANEL_VERSION}")]
    Malformed,
    /// The peer speaks another version. Answer with a [`refusal`].
    #[error(
        "the peer speaks panel version {theirs}, this program speaks {PANEL_VERSION}: \
         install panel program and firmware of the same release"
    )]
    Version {
        /// The peer's version.
        theirs: u8,
    },
    /// The peer told us that it does not speak our version.
    #[error(
        "the peer refused panel version {PANEL_VERSION}, it speaks {theirs}: \
         install panel program and firmware of the same release"
    )]
    RefusedByPeer {
        /// The version the peer speaks.
        theirs: u8,
    },
    /// The message does not fit into [`MAX_BODY_BYTES`].
    #[error("a message longer than {MAX_BODY_BYTES} bytes")]
    TooLong,
}

/// The CRC over version and message that a frame ends with (little endian): CRC-32/ISO-HDLC.
#[must_use]
pub fn crc(bytes: &[u8]) -> u32 {
    CRC.checksum(bytes)
}

/// Writes `message` as a frame. It begins with a zero, too, so that noise before it does not stick to it.
///
/// # Errors
/// [`WireError::TooLong`]; no message of this crate is.
pub fn encode<T: Serialize>(message: &T) -> Result<Frame, WireError> {
    let mut body = [0; MAX_BODY_BYTES];
    let content = body.get_mut(..MAX_BODY_BYTES - CRC_BYTES).unwrap_or_default();
    let length = postcard::to_slice(&(PANEL_VERSION, message), content).map_err(|_| WireError::TooLong)?.len();
    seal(&mut body, length)
}

/// The frame that tells a peer of another version which version we speak: version 0, then ours. Its form never changes.
#[must_use]
pub fn refusal() -> Frame {
    let mut body = [0; MAX_BODY_BYTES];
    [body[0], body[1]] = [REFUSAL, PANEL_VERSION];
    // Two bytes fit, so there is no other case.
    seal(&mut body, 2).unwrap_or_default()
}

/// Puts the CRC behind the first `length` bytes and the whole between zeros.
fn seal(body: &mut [u8; MAX_BODY_BYTES], length: usize) -> Result<Frame, WireError> {
    let (content, rest) = body.split_at_mut_checked(length).ok_or(WireError::TooLong)?;
    rest.first_chunk_mut::<CRC_BYTES>().ok_or(WireError::TooLong)?.copy_from_slice(&crc(content).to_le_bytes());
    let mut stuffed = [0; MAX_FRAME_BYTES];
    // The first zero stands already; COBS writes behind it, and what it leaves is the last.
    let source = &body[..length + CRC_BYTES];
    let written = cobs::try_encode(source, &mut stuffed[1..]).map_err(|_| WireError::TooLong)?;
    Frame::from_slice(stuffed.get(..written + 2).ok_or(WireError::TooLong)?).map_err(|_| WireError::TooLong)
}

/// Reads what stood between two zeros, COBS already undone.
pub(super) fn open<T: DeserializeOwned>(body: &[u8]) -> Result<T, WireError> {
    let (content, sum) = body.split_last_chunk::<CRC_BYTES>().ok_or(WireError::Malformed)?;
    if crc(content) != u32::from_le_bytes(*sum) {
        return Err(WireError::Crc);
    }
    match content {
        [PANEL_VERSION, message @ ..] => match postcard::take_from_bytes(message) {
            Ok((message, [])) => Ok(message),
            Ok(_) | Err(_) => Err(WireError::Malformed),
        },
        [REFUSAL, theirs, ..] => Err(WireError::RefusedByPeer { theirs: *theirs }),
        [] | [REFUSAL] => Err(WireError::Malformed),
        [theirs, ..] => Err(WireError::Version { theirs: *theirs }),
    }
}
