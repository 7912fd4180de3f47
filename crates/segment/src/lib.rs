//! Crash-safe fragmented-MP4 segment files: write, read, recover, verify, recycle.
//!
//! A segment is one ordinary fragmented MP4 file (ISO/IEC 14496-12) that any player opens, with three private `uuid`
//! boxes that players skip:
//!
//! ```text
//! ftyp | uuid identity | moov | ( uuid seal | moof | mdat )* | uuid ledger | mfra
//! ```
//!
//! - The **identity** says what the file is: session, input, place in the sequence, clocks, and which file came before.
//! - A **seal** stands before every chunk (`moof` + `mdat`) and holds the file's random id, the chunk's number, place,
//!   length and BLAKE3 digest, all chained to the seal before. Bytes that some older recording left behind the tail
//!   (recycled blocks, see [`recycle`]) can never look like the next chunk.
//! - The **ledger** at the end accounts for every frame, gap and mark.
//!
//! *Safe* means: [`Writer::append`] returned, so `fdatasync` of the chunk and `fsync` of the directory have succeeded.
//! While it is written a file is called `<name>.part`; [`Writer::close`] completes it and takes the suffix away.
//! After a crash [`recover::recover`] cuts the `.part` to its last whole chunk and closes it.
//!
//! The crate knows nothing of processes, GStreamer or async; it never deletes footage.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

mod boxes;
pub mod decoded;
pub mod durable;
mod error;
pub mod export;
mod finish;
mod identity;
mod ledger;
mod mfra;
mod moof;
mod moov;
mod moov_read;
mod plan;
mod reader;
pub mod recover;
pub mod recycle;
mod sample_entry;
mod scan;
mod seal;
mod source;
mod tally;
mod types;
pub mod verify;
mod writer;

pub use error::{Error, Result};
pub use identity::{Counts, DropReason, Gap, GapCause, Identity, Mark, Previous};
pub use ledger::{CloseReason, Cut, Hole, Ledger, TrackLedger};
pub use reader::{Chunk, Reader, Sample};
pub use recycle::Pool;
pub use seal::Notes;
pub use types::{BootId, Codec, Digest, FileId, Frame, Media, Track, ns_to_ticks, ticks_to_ns};
pub use writer::{Closed, Safe, WriteOptions, Writer};

/// What an unfinished file is called beyond its final name.
pub const PART_SUFFIX: &str = ".part";
