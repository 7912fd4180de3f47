//! What was promised, and since when.
//!
//! # When a promise counts
//! A capture says "so many frames are safe" after `fdatasync` has returned. That took a flush, which the disk answered only after
//! it had logged it and brought the number of entries in the log's super block up to date. So whoever reads that number
//! *after hearing* the promise reads one that is greater than the index of that flush. The promise is held against every cut at
//! that number or later, and against no earlier one: a cut before it may have come before the flush.
//!
//! The number may be a little too great, because other writers flush too: then some cuts between the flush and the hearing are not
//! held to the promise. It is never too small. What is given up on purpose (a whole session, by retention) is stamped the other
//! way round: with a number from *before* a look at which it was still there.

use std::collections::BTreeMap;

use holdfast_segment::{Digest, FileId};
use serde::{Deserialize, Serialize};

use crate::disk::Position;

/// One promise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Claim {
    /// So many pictures of a file are safe.
    Frames {
        /// The file.
        file: FileId,
        /// Its number in its session, for people.
        name: String,
        /// Pictures from its beginning.
        frames: u64,
    },
    /// A file is durable under its final name.
    Closed {
        /// The file.
        file: FileId,
        /// Where, below the storage root.
        path: String,
        /// Its digest.
        digest: Digest,
        /// Its pictures.
        frames: u64,
    },
    /// Retention gives up all that is left of a session: from now on it may be gone with its journal.
    Gone {
        /// Its directory, below the data partition.
        directory: String,
        /// Its files.
        files: Vec<FileId>,
    },
    /// A journal holds so many records with these bytes in them.
    Noted {
        /// Its directory, below the data partition.
        directory: String,
        /// Its name.
        journal: String,
        /// What is in the records.
        text: String,
        /// In how many at least.
        records: usize,
    },
}

/// A promise and when it was heard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamped {
    /// It counts for cuts from here on.
    pub from: Position,
    /// The promise.
    pub claim: Claim,
}

/// All promises of a run, in the order in which they were heard.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Claims(pub Vec<Stamped>);

/// What is owed of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct File {
    /// For people.
    pub name: String,
    /// Safe pictures.
    pub frames: u64,
    /// Its final name and digest, if it is closed.
    pub closed: Option<(String, Digest)>,
}

/// All that is owed at a cut.
#[derive(Debug, Clone, Default)]
pub struct Owed {
    /// Files. What retention has given up of them only the image can tell.
    pub files: BTreeMap<FileId, File>,
    /// Sessions that may be gone with their journals: directory and files.
    pub gone: BTreeMap<String, Vec<FileId>>,
    /// Records: by directory, journal and text, how many.
    pub records: BTreeMap<(String, String, String), usize>,
}

impl Claims {
    /// Takes a promise down.
    pub fn add(&mut self, from: Position, claim: Claim) {
        self.0.push(Stamped { from, claim });
    }

    /// What is owed if the power goes after so many entries.
    #[must_use]
    pub fn owed(&self, entries: usize) -> Owed {
        let mut owed = Owed::default();
        for stamped in self.0.iter().filter(|stamped| stamped.from.0 <= entries as u64) {
            match &stamped.claim {
                Claim::Frames { file, name, frames } => {
                    let due = owed.files.entry(*file).or_default();
                    due.name.clone_from(name);
                    due.frames = due.frames.max(*frames);
                }
                Claim::Closed { file, path, digest, frames } => {
                    let due = owed.files.entry(*file).or_default();
                    due.name.clone_from(path);
                    due.frames = due.frames.max(*frames);
                    due.closed = Some((path.clone(), *digest));
                }
                Claim::Gone { directory, files } => drop(owed.gone.insert(directory.clone(), files.clone())),
                Claim::Noted { directory, journal, text, records } => {
                    let key = (directory.clone(), journal.clone(), text.clone());
                    let due = owed.records.entry(key).or_default();
                    *due = (*due).max(*records);
                }
            }
        }
        owed
    }
}

#[cfg(test)]
mod tests {
    use super::{Claim, Claims};
    use crate::disk::Position;
    use holdfast_segment::{Digest, FileId};

    #[test]
    fn a_promise_counts_from_when_it_was_heard() {
        let file = FileId([1; 16]);
        let mut claims = Claims::default();
        claims.add(Position(10), Claim::Frames { file, name: "1".into(), frames: 5 });
        claims.add(Position(20), Claim::Frames { file, name: "1".into(), frames: 9 });
        let closed = Claim::Closed { file, path: "a/1.mp4".into(), digest: Digest([2; 32]), frames: 9 };
        claims.add(Position(30), closed);
        claims.add(Position(40), Claim::Gone { directory: "a".into(), files: vec![file] });
        let frames = |entries| claims.owed(entries).files.get(&file).map(|file| (file.frames, file.closed.is_some()));
        assert_eq!([9, 10, 19].map(frames), [None, Some((5, false)), Some((5, false))]);
        assert_eq!([20, 30, 40].map(frames), [Some((9, false)), Some((9, true)), Some((9, true))]);
        assert!(claims.owed(39).gone.is_empty() && claims.owed(40).gone["a"] == [file]);
    }
}
