//! A real RAUC to test against: `rauc service` on a bus of its own, with file-backed slots, a boot backend that keeps its
//! state in files, and keys made on the fly.
//!
//! Installing takes root, loop devices and `mount`; where they are missing, [`Rig::start`] says so aloud and gives `None`.
//! `HOLDFAST_RAUC=/path/to/rauc` takes another RAUC than the system's.
#![allow(clippy::panic, clippy::unwrap_used, clippy::missing_panics_doc, reason = "for tests")]

mod bundles;
mod files;
mod layout;
mod rig;

pub use bundles::{Signed, Wrap};
pub use holdfast_bundle::{Format, Inspected, Tools};
pub use layout::Layout;
pub use rig::{Plan, Rig, Strict};
