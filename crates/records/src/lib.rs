//! What a session's journal says: its records, read without the recorder, and held against the files that lie beside it.
//!
//! The recorder writes `session.journal` into a session's directory; `holdfast verify` reads it where the footage has been
//! carried to. Pure but for reading directories: no async, no GStreamer.

mod inventory;
mod record;

use std::path::Path;

pub use inventory::{Absent, Ending, GivenUp, Inventory};
pub use record::{Checkpoint, EndTotals, Interruption, Record, Tally};

/// Name of a session's journal in its directory: `session.journal`.
pub const SESSION_JOURNAL: &str = "session";
/// Schema of [`Record`].
pub const SESSION_SCHEMA: u32 = 2;

/// Reads the journal of the session in `dir`, and changes nothing.
///
/// # Errors
/// Those of [`holdfast_journal::read`]; also if what has its name is not a file: a pipe in its place would be waited for,
/// for ever.
pub fn read(dir: &Path) -> holdfast_journal::Result<holdfast_journal::ReadOnly<Record>> {
    let path = dir.join(format!("{SESSION_JOURNAL}.journal"));
    if std::fs::symlink_metadata(&path).is_ok_and(|metadata| !metadata.is_file()) {
        let source = std::io::Error::other("it is not a file");
        return Err(holdfast_journal::Error::Io { path, action: "read", source });
    }
    holdfast_journal::read(dir, SESSION_JOURNAL, SESSION_SCHEMA)
}
