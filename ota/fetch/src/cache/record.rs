//! What the journal of a cache says.

use serde::{Deserialize, Serialize};

use crate::answer::Version;
use crate::source::Sha256;

/// Version of [`Record`].
pub(super) const SCHEMA: u32 = 1;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Record {
    /// A file is begun, or more is known of it.
    Begin(Begin),
    /// These chunks, from `first` on, are on disk.
    Chunks { first: u64, digests: Vec<[u8; 32]> },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Begin {
    /// Random; the name of the data file, so that a record never meets another file's bytes.
    pub file: String,
    /// Without secrets.
    pub url: String,
    pub version: Version,
    pub chunk_bytes: u32,
    pub expected_sha256: Option<Sha256>,
}
