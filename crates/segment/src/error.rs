//! Everything that can go wrong, told once: which file, where in it, what, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// An error that names the file, where in it, and what was wrong. [`Error::remedy`] says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused. `offset` is the place in the file that was being read or written.
    #[error("{}: cannot {what} at byte {offset}: {source}", path.display())]
    Io {
        /// File or directory.
        path: PathBuf,
        /// Place in the file, 0 where there is none (open, rename, …).
        offset: u64,
        /// What was tried: "write", "sync", "rename", …
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The bytes are not what the format says.
    #[error("{}: damaged at byte {offset}: {what}", path.display())]
    Malformed {
        /// File.
        path: PathBuf,
        /// Where in the file.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// A file without Holdfast's identity box: some other program's.
    #[error("{}: not a Holdfast segment: {what}", path.display())]
    NotASegment {
        /// File.
        path: PathBuf,
        /// What was found instead.
        what: String,
    },
    /// Written by a newer Holdfast.
    #[error("{}: {what} has format version {found}, this program knows up to {known}", path.display())]
    NewerFormat {
        /// File.
        path: PathBuf,
        /// Which box.
        what: &'static str,
        /// Version in the file.
        found: u8,
        /// Newest version this program reads.
        known: u8,
    },
    /// The file's blocks were given up for reuse; it holds no footage any more.
    #[error("{}: a recycled file that was never written again; it holds no footage", path.display())]
    Recycled {
        /// File.
        path: PathBuf,
    },
    /// No byte was ever written.
    #[error("{}: empty, nothing was recorded in it", path.display())]
    Empty {
        /// File.
        path: PathBuf,
    },
    /// Another process is writing the file right now.
    #[error("{}: is being written by another process", path.display())]
    Busy {
        /// File.
        path: PathBuf,
    },
    /// A file of that name is there already; nothing is ever overwritten.
    #[error("{}: exists already", path.display())]
    Exists {
        /// File.
        path: PathBuf,
    },
    /// A track that cannot be written.
    #[error("track {track}: {what}")]
    BadTrack {
        /// Index of the track.
        track: usize,
        /// What is wrong with it.
        what: String,
    },
    /// A chunk that cannot be written; nothing of it was, and the writer goes on.
    #[error("{}: frame {frame} of the chunk (track {track}): {what}", path.display())]
    BadFrame {
        /// File being written.
        path: PathBuf,
        /// Index in the slice given to `append`.
        frame: usize,
        /// Index of the track.
        track: usize,
        /// What is wrong with it.
        what: String,
    },
    /// An earlier sync of this file failed: what the kernel holds of it can no longer be trusted.
    #[error("{}: an earlier sync failed, bytes after {safe_bytes} cannot be trusted", path.display())]
    Poisoned {
        /// File being written.
        path: PathBuf,
        /// Length of the file that is safe.
        safe_bytes: u64,
    },
}

impl Error {
    pub(crate) fn io(path: &Path, offset: u64, what: &'static str, source: impl Into<io::Error>) -> Self {
        Self::Io { path: path.to_owned(), offset, what, source: source.into() }
    }

    pub(crate) fn bad(path: &Path, bad: Bad) -> Self {
        Self::Malformed { path: path.to_owned(), offset: bad.offset, what: bad.what }
    }

    /// True if the storage refused (and not the format or the caller): disk full, I/O error, permission.
    #[must_use]
    pub fn is_io(&self) -> bool {
        matches!(self, Self::Io { .. } | Self::Poisoned { .. })
    }

    /// True if the disk (or quota) is full.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Io { source, .. } => {
                matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            _ => false,
        }
    }

    /// Place in the file that the error is about, 0 where there is none.
    #[must_use]
    pub fn offset(&self) -> u64 {
        match self {
            Self::Io { offset, .. } | Self::Malformed { offset, .. } => *offset,
            Self::Poisoned { safe_bytes, .. } => *safe_bytes,
            _ => 0,
        }
    }

    /// What a person can do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Io { .. } if self.is_disk_full() => "free space on the recording filesystem",
            Self::Io { .. } => "check the disk, the mount and the permissions",
            Self::Malformed { .. } => "the rest of the file is still readable; compare with a copy if there is one",
            Self::NotASegment { .. } => "point at files that Holdfast recorded",
            Self::NewerFormat { .. } => "use the Holdfast version that wrote it, or newer",
            Self::Recycled { .. } => "nothing to do: its footage was given up by retention",
            Self::Empty { .. } => "nothing to do: it can be removed",
            Self::Busy { .. } => "wait until the recording is stopped",
            Self::Exists { .. } => "use another name, or move the file away",
            Self::BadTrack { .. } => "check what the source announced",
            Self::BadFrame { .. } => "drop or repair the frame before it is appended",
            Self::Poisoned { .. } => "close this file, look after the disk, go on in a new file",
        }
    }
}

/// What a parser found wrong, and where in the file; the caller knows the path.
#[derive(Debug)]
pub(crate) struct Bad {
    pub offset: u64,
    pub what: String,
}

impl Bad {
    pub(crate) fn new(offset: u64, what: impl Into<String>) -> Self {
        Self { offset, what: what.into() }
    }
}

/// Result of a parser.
pub(crate) type Parsed<T> = std::result::Result<T, Bad>;
