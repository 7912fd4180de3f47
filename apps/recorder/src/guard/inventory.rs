//! What footage is on the storage, as retention wants to know it.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use holdfast_segment::PART_SUFFIX;

use crate::captures::sequence_of;
use crate::retention::{File, Session};
use crate::store::{Catalog, End};

/// All sessions, oldest first, and where their files are.
#[derive(Debug, Default)]
pub struct Inventory {
    /// For the core.
    pub sessions: Vec<Session>,
    /// For those who carry out what it decides: of each session, of each file.
    pub paths: Vec<Vec<PathBuf>>,
}

/// Whether a session is protected, and whether that can't be known. Journals of sessions that are not in memory are read once:
/// before anything is deleted they are read again.
pub type Marks = BTreeMap<String, (bool, bool)>;

impl Inventory {
    /// Looks at every file below the root. `left_alone`: files that are called like ours and are not. Blocks on the disk.
    pub fn take(catalog: &Catalog, recording: Option<&str>, left_alone: &HashSet<PathBuf>, marks: &mut Marks) -> Self {
        let mut all = Self::default();
        let ids = catalog.list(usize::MAX, None);
        marks.retain(|id, _| ids.binary_search_by(|other| id.cmp(other)).is_ok());
        for id in ids.into_iter().rev() {
            let Some(dir) = catalog.dir(&id) else { continue };
            let (files, paths) = files(&dir, left_alone);
            let (protected, unreadable) = match catalog.known(&id) {
                Some(summary) => (summary.protected, summary.end == End::Unknown),
                None => *marks.entry(id.clone()).or_insert_with(|| marks_of(catalog, &id)),
            };
            let recording = recording == Some(id.as_str());
            all.sessions.push(Session { id, protected, unreadable, recording, files });
            all.paths.push(paths);
        }
        all
    }
}

/// As they are now, read if need be.
pub fn marks_of(catalog: &Catalog, id: &str) -> (bool, bool) {
    catalog.get(id).map_or((false, true), |summary| (summary.protected, summary.end == End::Unknown))
}

fn files(dir: &Path, left_alone: &HashSet<PathBuf>) -> (Vec<File>, Vec<PathBuf>) {
    let (mut files, mut paths) = (Vec::new(), Vec::new());
    for inner in fs::read_dir(dir).into_iter().flatten().flatten() {
        // Neither links nor anything else that leads elsewhere.
        if !inner.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let Ok(input) = inner.file_name().into_string() else { continue };
        for entry in fs::read_dir(inner.path()).into_iter().flatten().flatten() {
            let path = entry.path();
            let (Ok(name), Ok(metadata)) = (entry.file_name().into_string(), entry.metadata()) else { continue };
            let Some(sequence) = sequence_of(&name) else { continue };
            if !metadata.is_file() || left_alone.contains(&path) {
                continue;
            }
            files.push(File {
                input: input.clone(),
                sequence,
                // What it takes on the disk: in units of 512 bytes, whatever the filesystem has (stat(2)).
                bytes: metadata.blocks().saturating_mul(512),
                ended_s: metadata.mtime(),
                open: name.ends_with(PART_SUFFIX),
                archived: false,
            });
            paths.push(path);
        }
    }
    (files, paths)
}
