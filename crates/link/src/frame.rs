//! One message, one datagram: the envelope.

use serde::{Serialize, de::DeserializeOwned};

/// The version of the messages this crate speaks.
pub const VERSION: u16 = 4;
/// No frame is longer. Large enough for the longest message; `tests/golden.rs` measures it.
pub const MAX_FRAME_BYTES: usize = 2048;

const MAGIC: [u8; 2] = *b"HF";
const HEADER_BYTES: usize = 4;
/// Stands where the version stands in a frame that says "I do not speak yours".
const REFUSAL: u16 = 0;

/// Why a datagram is no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// It does not begin with our magic: whoever wrote it is no part of Holdfast.
    #[error("{length} bytes that are no Holdfast frame (they do not begin with \"HF\")")]
    Foreign {
        /// Length of the datagram in bytes.
        length: usize,
    },
    /// The peer speaks another version. Answer with [`encode_refusal`] and close.
    #[error(
        "the peer speaks link version {theirs}, this program speaks {ours}: install recorder and capture of the same release"
    )]
    Version {
        /// The peer's version.
        theirs: u16,
        /// Our [`VERSION`].
        ours: u16,
    },
    /// The peer told us that it does not speak our version.
    #[error(
        "the peer refused link version {ours}, it speaks {theirs}: install recorder and capture of the same release"
    )]
    RefusedByPeer {
        /// The version the peer speaks.
        theirs: u16,
        /// Our [`VERSION`].
        ours: u16,
    },
    /// The version is ours but the content does not parse: damaged, or trailing bytes.
    #[error("a frame of {length} bytes whose content does not parse as link version {VERSION}")]
    Malformed {
        /// Length of the datagram in bytes.
        length: usize,
    },
    /// The message does not fit into [`MAX_FRAME_BYTES`].
    #[error("a message longer than {MAX_FRAME_BYTES} bytes")]
    TooLong,
}

/// Writes `message` as a frame into `buffer` and returns the part of it that is the frame.
///
/// # Errors
/// [`WireError::TooLong`] when the buffer is too small; a buffer of [`MAX_FRAME_BYTES`] never is.
pub fn encode<'b, T: Serialize>(message: &T, buffer: &'b mut [u8]) -> Result<&'b [u8], WireError> {
    let (header, body) = buffer.split_at_mut_checked(HEADER_BYTES).ok_or(WireError::TooLong)?;
    header[..2].copy_from_slice(&MAGIC);
    header[2..].copy_from_slice(&VERSION.to_le_bytes());
    let length = postcard::to_slice(message, body).map_err(|_| WireError::TooLong)?.len();
    Ok(&buffer[..HEADER_BYTES + length])
}

/// The frame that tells a peer of another version which version we speak.
#[must_use]
pub fn encode_refusal() -> [u8; 6] {
    let [lo, hi] = VERSION.to_le_bytes();
    let [refusal_lo, refusal_hi] = REFUSAL.to_le_bytes();
    [MAGIC[0], MAGIC[1], refusal_lo, refusal_hi, lo, hi]
}

/// Reads one datagram.
///
/// # Errors
/// See [`WireError`]; nothing is read from a frame of another version.
pub fn decode<T: DeserializeOwned>(datagram: &[u8]) -> Result<T, WireError> {
    let length = datagram.len();
    let Some(([m0, m1, v0, v1], body)) = datagram.split_first_chunk::<HEADER_BYTES>() else {
        return Err(WireError::Foreign { length });
    };
    if [*m0, *m1] != MAGIC {
        return Err(WireError::Foreign { length });
    }
    match u16::from_le_bytes([*v0, *v1]) {
        VERSION => match postcard::take_from_bytes(body) {
            Ok((message, [])) => Ok(message),
            Ok(_) | Err(_) => Err(WireError::Malformed { length }),
        },
        REFUSAL => match body {
            [lo, hi, ..] => Err(WireError::RefusedByPeer { theirs: u16::from_le_bytes([*lo, *hi]), ours: VERSION }),
            _ => Err(WireError::Malformed { length }),
        },
        theirs => Err(WireError::Version { theirs, ours: VERSION }),
    }
}
