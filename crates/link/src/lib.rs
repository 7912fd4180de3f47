//! What recorder and capture say to each other.
//!
//! One message is one datagram on a Unix `SOCK_SEQPACKET` socket that the capture listens on, so a message arrives whole or
//! not at all. The types own no heap memory (`heapless`), so every message has a largest size ([`MAX_FRAME_BYTES`]) that both
//! sides can hold in a fixed buffer, and the crate is `no_std`: the panel's microcontroller uses it too, with messages and
//! frames of its own in [`panel`].
//!
//! # Frame
//! `b"HF"`, the protocol version as `u16` little endian, then the message in [postcard](https://postcard.jamesmunns.com/wire-format)
//! encoding. Version 0 is no version: it marks a [refusal](encode_refusal), the one frame whose form never changes, so that
//! peers of any two versions can always tell each other why they cannot talk.
//!
//! # Compatibility
//! Postcard is not self-describing: any change of a type here changes the bytes, so it raises [`VERSION`]. The golden bytes in
//! `tests/golden.rs` hold us to that.
#![no_std]
#![allow(clippy::large_enum_variant, reason = "no heap here: a message lives in one fixed buffer")]

mod crash;
mod frame;
mod messages;
pub mod panel;
mod text;

pub use crash::CrashReport;
pub use frame::{MAX_FRAME_BYTES, VERSION, WireError, decode, encode, encode_refusal};
pub use messages::{
    AlertCode, Counts, DropCount, DropReason, Event, FileClosed, FileLeft, FileOpened, FromCapture, GapCause,
    GapReport, Hello, Late, Mark, Phase, Refused, Resume, SourceState, Start, Started, Status, Stop, StopReason,
    Stopped, ToCapture,
};
pub use text::{Id, Path, Text, clip};

/// The file name of an input's socket below the runtime directory: `capture/<input>.sock`.
pub const SOCKET_DIRECTORY: &str = "capture";
/// What follows an input's name in the name of its [`CrashReport`], in the same directory.
pub const CRASH_SUFFIX: &str = ".crash";
