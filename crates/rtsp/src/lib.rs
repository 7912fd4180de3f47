//! RTSP cameras over TCP, in one thread: from a URL to timed access units.
//!
//! ```text
//!  socket ──► wire ──► client ──► track: rtp, depay ──► timeline ──► Frame
//!             bytes    messages   packets to units      RTP time to the monotonic clock
//! ```
//!
//! - [`wire`], [`request`], [`sdp`], [`rtp`], [`rtcp`], [`depay`] and [`timeline`] are pure: bytes and times are handed in.
//! - [`client`] talks over a socket; [`player`] puts all of it together. Both block, and start no threads.
//! - Whatever a camera sends: nothing panics, and memory stays within the limits that each module names.
//!
//! Only RTP interleaved with RTSP over plain TCP is spoken, where nothing comes late or out of order. That is the point: what
//! has to be waited for with UDP needs a jitter buffer and a thread of its own, and over TCP costs more than all the rest.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic, reason = "tests"))]

pub mod client;
pub mod depay;
mod error;
pub mod player;
pub mod request;
pub mod rtcp;
pub mod rtp;
pub mod sdp;
pub mod timeline;
pub mod track;
pub mod wire;

pub use client::{Client, Options};
pub use error::Error;
pub use player::{Frame, Output, Player};
pub use request::Credentials;
