//! Small state that survives power cuts: checksummed, append-only postcard records.
//!
//! A journal is one file, `<name>.journal`, that only ever grows: [`Journal::append`] returns when its record is on disk.
//! When it has grown enough, [`Journal::compact`] writes the present state into a *new* file and puts that in its place in
//! one step; the file before it stays as `<name>.journal.prev`.
//!
//! ```
//! # use holdfast_journal::{Journal, Opened};
//! # #[derive(serde::Serialize, serde::Deserialize, Debug, PartialEq)]
//! enum Event { Started { input: String }, Stopped }
//! # let dir = tempfile::tempdir().unwrap();
//! let Opened { mut journal, records, report } = Journal::<Event>::open(dir.path(), "session", 1)?;
//! assert!(records.is_empty() && report.is_clean());
//! journal.append(&Event::Started { input: "cam0".into() })?;   // on disk from here on
//! # Ok::<(), holdfast_journal::Error>(())
//! ```
//!
//! # What holds
//! - A record whose `append` returned is there after a crash or a power cut at any later instant.
//! - A record that was being appended when the power went is there whole or not at all; its rest is a *torn tail*, which
//!   [`Journal::open`] cuts off and reports.
//! - Damage anywhere else is noticed: every record is chained to the one before it by a running CRC-32C that starts from
//!   the file's own random id, so that none can be changed, left out, repeated or taken from another file unseen.
//! - Damage is fallen back from: the records before it are taken, or the previous generation where that gives more. The
//!   damaged file is kept as `<name>.journal.corrupt-<n>`, and the [`Report`] says so.
//! - A file of a newer format or schema is an [`Error`] that names both versions, and the file is left as it is.
//!   [`Journal::open_always`] moves it away instead, unchanged, as it does with anything else that cannot be used.
//! - One writer at a time; a second one gets [`Error::Locked`]. [`read`] takes no lock and changes nothing.
//!
//! # Schemas
//! `schema_version` is the version of the record type. Within one name, records may only be extended in ways that leave old
//! bytes readable (postcard: enum variants added at the end). A file of an older schema is read as it is, and is carried over
//! into a file of the present one by the first write, so that merely starting newer software does not lock out the older.
//!
//! # What is absent
//! No knowledge of what the records mean, of processes or of recordings; no async, no threads, no clock.

#![forbid(unsafe_code)]

mod error;
mod files;
mod format;
mod journal;
mod report;
mod scan;
mod select;

pub use error::{Error, Result};
pub use format::MAX_RECORD_BYTES;
pub use journal::{Compacted, Journal, Opened};
pub use report::{Damage, Report, Source};
pub use select::{ReadOnly, read};
