//! How much was on its way: the seals that had been handed to the disk when the power went, found in the log itself.
//!
//! Every chunk begins with a seal that holds the file's id and the chunk's number. The first entry that carries it is the moment
//! at which the writing of the chunk began, told by nobody but the disk.

use std::collections::HashMap;

use holdfast_segment::FileId;

use crate::log::Log;

/// `uuid` and the type of a seal's box; a test holds it against what the writer writes.
const SEAL: [u8; 20] = *b"uuid\xc4\xfd\x13\x21\xda\xfa\x4f\x33\xa3\x66\x9b\xbd\xe9\x9b\xe8\xfc";
/// From there: version and flags, file id, offset, sequence.
const FILE_ID_AT: usize = SEAL.len() + 4;
const SEQUENCE_AT: usize = FILE_ID_AT + 16 + 8;

/// By file and chunk, the entry that brought it first.
#[derive(Debug, Default)]
pub struct Seals(HashMap<FileId, Vec<(u64, usize)>>);

impl Seals {
    /// Looks through a log. A seal that two entries share is not found; there are few.
    #[must_use]
    pub fn find(log: &Log) -> Self {
        let mut seals = Self::default();
        for (index, entry) in log.entries.iter().enumerate() {
            for (file, sequence) in seals_in(log.data(entry)) {
                let chunks = seals.0.entry(file).or_default();
                if chunks.iter().all(|(known, _)| *known != sequence) {
                    chunks.push((sequence, index));
                }
            }
        }
        seals
    }

    /// How many chunks of a file had been begun when so many entries were logged.
    #[must_use]
    pub fn begun(&self, file: FileId, entries: usize) -> u64 {
        let chunks = self.0.get(&file).into_iter().flatten();
        chunks.filter(|(_, index)| *index < entries).map(|(sequence, _)| *sequence).max().unwrap_or(0)
    }

    /// The files.
    pub fn files(&self) -> impl Iterator<Item = FileId> {
        self.0.keys().copied()
    }

    /// All that were found.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }
}

fn seals_in(data: &[u8]) -> Vec<(FileId, u64)> {
    let mut found = Vec::new();
    let mut rest = data;
    // A type of 16 random bytes is never met by chance: looking for its first byte behind "uuid" is only for speed.
    while let Some(place) = rest.iter().position(|byte| *byte == SEAL[0]) {
        let here = &rest[place..];
        if here.starts_with(&SEAL)
            && let Some(file) = here.get(FILE_ID_AT..).and_then(|rest| rest.first_chunk::<16>())
            && let Some(sequence) = here.get(SEQUENCE_AT..).and_then(|rest| rest.first_chunk::<8>())
        {
            found.push((FileId(*file), u64::from_be_bytes(*sequence)));
        }
        rest = &here[1..];
    }
    found
}

#[cfg(test)]
mod tests {
    use super::seals_in;
    use crate::sloppy;

    #[test]
    fn the_seals_of_a_file_are_found() {
        let directory = tempfile::tempdir().unwrap();
        let (path, file) = sloppy::whole_file(directory.path(), 1, 7).unwrap();
        let found = seals_in(&std::fs::read(path).unwrap());
        assert_eq!(found, (1..=7).map(|sequence| (file, sequence)).collect::<Vec<_>>());
    }
}
