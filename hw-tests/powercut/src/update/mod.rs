//! The second story: an update, and its power cut at every write of the updater's state.
//!
//! ```text
//! hawkBit ─► updater ─► plan's record, outbox, download cache ─┐
//!               └─► RAUC ─► slots, their status, boot order ───┴─► the disk that writes everything down
//!               └─► recorder: leave, and the recording that proves a new system
//! ```
//!
//! - [`site`] is the box: the real updater, a real RAUC with file-backed slots, a real recorder, a real fleet's server. All that an
//!   update leaves behind lies on the logged disk; only footage does not, which the other story is about.
//! - [`story`] updates it twice, once well and once not, and writes down what the updater said, and when ([`heard`]).
//! - [`judge`] looks at what a cut leaves with the updater's own code (its store, its outbox, its cache), and has the plan go on from there
//!   ([`rest`]) to the end. [`boots`] has a real updater do so.

pub mod boots;
pub mod heard;
pub mod images;
pub mod judge;
pub mod rest;
pub mod site;
pub mod story;

/// The updater's own, to the letter: what it reads is what a box reads.
#[path = "../../../../ota/updater/src/store.rs"]
pub mod store;
