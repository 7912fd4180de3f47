//! Completes a file: ledger, index, exact length, sync, final name. The same for the writer and for recovery.

use crate::durable;
use crate::error::{Error, Result};
use crate::mfra::put_mfra;
use crate::tally::Tally;
use crate::types::{Digest, FileId};
use std::fs::File;
use std::io::IoSlice;
use std::path::Path;

/// What it takes to complete a file.
pub(crate) struct Finish<'a> {
    pub file: &'a File,
    pub part: &'a Path,
    pub path: &'a Path,
    /// Where the last chunk ends.
    pub offset: u64,
}

impl Finish<'_> {
    /// Returns the file's digest and length.
    pub(crate) fn run(&self, file_id: FileId, chain: Digest, tally: &Tally) -> Result<(Digest, u64)> {
        let mut tail = Vec::new();
        let digest = tally.ledger().put(&mut tail, file_id, self.offset, chain);
        put_mfra(&mut tail, tally.index_track(), tally.index());
        let length = self.offset + tail.len() as u64;
        durable::write_all_at(self.file, self.part, self.offset, &mut [IoSlice::new(&tail)])?;
        // Also gives back what was allocated ahead, and cuts off what an older file left.
        self.file.set_len(length).map_err(|error| Error::io(self.part, length, "set the length", error))?;
        self.file.sync_all().map_err(|error| Error::io(self.part, length, "sync", error))?;
        durable::rename_new(self.part, self.path)?;
        Ok((digest, length))
    }
}
