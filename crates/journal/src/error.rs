//! What can go wrong, with the file, the place and the remedy.

use std::path::PathBuf;

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a journal could not be opened, read or written.
///
/// Damage is not among them: it is fallen back from and told in the [`Report`](crate::Report).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was tried, to follow "cannot".
        action: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
    /// There is no such journal. Only from reading: opening makes one.
    #[error("there is no journal at {}; check the path", path.display())]
    NotFound {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Someone else has the journal open for writing.
    #[error("{} is open in another process; stop that one first, or open the journal read-only", path.display())]
    Locked {
        /// The journal.
        path: PathBuf,
    },
    /// The file layout is newer than this software.
    #[error(
        "{} has journal format {found}, and this software reads formats up to {supported}; \
         update the software, or move the file away to start anew (it was not changed)",
        path.display()
    )]
    NewerFormat {
        /// The journal.
        path: PathBuf,
        /// Format of the file.
        found: u16,
        /// Newest format this software reads.
        supported: u16,
    },
    /// The records are of a newer schema than this software.
    #[error(
        "{} holds `{schema}` records of version {found}, and this software reads versions up to {supported}; \
         update the software, or move the file away to start anew (it was not changed)",
        path.display()
    )]
    NewerSchema {
        /// The journal.
        path: PathBuf,
        /// Name of the schema.
        schema: String,
        /// Version in the file.
        found: u32,
        /// Newest version this software reads.
        supported: u32,
    },
    /// The file is a journal of something else: it was copied or renamed into the wrong place.
    #[error(
        "{} holds `{found}` records where `{expected}` records belong; put the right file back (it was not changed)",
        path.display()
    )]
    WrongSchema {
        /// The journal.
        path: PathBuf,
        /// Schema name in the file.
        found: String,
        /// Schema name asked for.
        expected: String,
    },
    /// A record is whole, but is not what its schema says: the record type was changed without a new schema version.
    #[error(
        "{} at byte {offset_bytes}: a whole record that is no `{schema}` record of version {version} ({source}); \
         run the software that wrote it (the file was not changed)",
        path.display()
    )]
    Undecodable {
        /// The journal.
        path: PathBuf,
        /// Where the record begins.
        offset_bytes: u64,
        /// Name of the schema.
        schema: String,
        /// Schema version the file claims.
        version: u32,
        /// What the decoder said.
        source: postcard::Error,
    },
    /// The record could not be put into bytes.
    #[error("a record for {} cannot be encoded: {source}", path.display())]
    Encode {
        /// The journal.
        path: PathBuf,
        /// What the encoder said.
        source: postcard::Error,
    },
    /// The record is larger than a journal takes.
    #[error("a record of {found_bytes} bytes for {} is over the limit of {max_bytes}; split it", path.display())]
    RecordTooLarge {
        /// The journal.
        path: PathBuf,
        /// Size of the encoded record.
        found_bytes: usize,
        /// [`MAX_RECORD_BYTES`](crate::MAX_RECORD_BYTES).
        max_bytes: usize,
    },
    /// An earlier write failed in a way that leaves open what is on disk.
    #[error(
        "{} failed earlier in a way that leaves open what is on disk; open the journal again to find out",
        path.display()
    )]
    Uncertain {
        /// The journal.
        path: PathBuf,
    },
    /// The name is no name for a journal.
    #[error("`{name}` cannot name a journal: 1 to 40 of a-z A-Z 0-9 - _ . and no dot first")]
    BadName {
        /// What was asked for.
        name: String,
    },
}

impl Error {
    /// The file that is at fault, where setting that file aside would help: it is there and cannot be used as it is.
    pub(crate) fn unusable(&self) -> Option<&std::path::Path> {
        use std::io::ErrorKind::{ReadOnlyFilesystem, StorageFull};
        match self {
            Self::NewerFormat { path, .. }
            | Self::NewerSchema { path, .. }
            | Self::WrongSchema { path, .. }
            | Self::Undecodable { path, .. } => Some(path),
            // What keeps a new file from being written is no fault of the old one.
            Self::Io { path, action: "open" | "read", source }
                if !matches!(source.kind(), StorageFull | ReadOnlyFilesystem) && path.symlink_metadata().is_ok() =>
            {
                Some(path)
            }
            _ => None,
        }
    }

    pub(crate) fn io(path: &std::path::Path, action: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { path: path.to_owned(), action, source }
    }
}
