//! The data plane of Holdfast: one input, from source to safe bytes.
//!
//! ```text
//!  GStreamer's threads                      writer thread                   control thread (main)
//!  source → encoder → Intake → Queue  ───►  Recorder: ring, segmenter, files  ◄── Control: socket, signals
//!  supervisor thread: attempts, backoff                 └── Shared: report, events ──►
//! ```
//!
//! - The sources' threads never wait for the writer: a full [`queue`] refuses frames and counts them.
//! - The writer never waits for the control thread: reports and events are left in [`state::Shared`].
//! - Nobody waits for a peer: one that does not read is disconnected.
//! - A panic in any thread ends the process ([`wiring::abort_on_panic`]): better a dead capture, which is noticed and
//!   restarted, than one that looks alive and records nothing.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic, reason = "tests"))]

pub mod alerts;
pub mod backoff;
pub mod caps;
pub mod clock;
pub mod codes;
pub mod control;
pub mod crash;
pub mod decode;
pub mod door;
pub mod encoders;
pub mod encoding;
pub mod intake;
pub mod ladder;
pub mod nal;
pub mod packet;
pub mod priority;
pub mod probe;
pub mod queue;
pub mod reach;
pub mod record;
pub mod ring;
pub mod service;
pub mod source;
pub mod state;
pub mod upkeep;
pub mod wiring;

/// Program and version, for files and peers.
pub const SOFTWARE: &str = concat!("holdfast-capture ", env!("CARGO_PKG_VERSION"));
