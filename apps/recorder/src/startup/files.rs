//! Files that nobody has closed, or told of.

use std::collections::BTreeSet;
use std::path::Path;

use holdfast_records::Record;
use holdfast_segment::recover::scan_tree;
use tracing::error;

use crate::captures::{Recovered, recover_parts};
use crate::store::{Keeper, Summary};

/// Files that were closed while no recorder listened.
pub fn note_unheard_files(keeper: &Keeper, summary: &Summary, input: &str, dir: &Path) {
    let known = summary.closed.get(input);
    for name in crate::store::file_names(dir).iter().filter(|name| !name.ends_with(holdfast_segment::PART_SUFFIX)) {
        let Some(file) = crate::captures::summary(&dir.join(name)) else {
            continue;
        };
        if known.is_none_or(|known| !known.contains(&file.sequence)) {
            keeper.note(&summary.id, note_of(input, &file));
        }
    }
}

pub fn note_of(input: &str, file: &Recovered) -> Record {
    Record::FileClosed {
        input: input.to_owned(),
        sequence: file.sequence,
        file: file.path.clone(),
        frames: file.frames,
        bytes: file.bytes,
        duration_ms: file.duration_ms,
        recovered: file.by_recovery,
    }
}

/// Closes all files below the root that nobody is writing.
pub fn recover_files(root: &Path, pool: &Path) -> Vec<(String, String, Recovered)> {
    let parts = match scan_tree(root) {
        Ok(parts) => parts,
        Err(error) => {
            error!("cannot look for files to recover: {error}");
            return Vec::new();
        }
    };
    // What was discarded is left as it is.
    let ours = root.join(crate::store::OURS);
    // By directory: recovery goes through one at a time.
    let dirs: BTreeSet<_> =
        parts.iter().filter(|part| !part.starts_with(&ours)).filter_map(|part| part.parent()).collect();
    let mut all = Vec::new();
    for dir in dirs {
        let name = |path: &Path| path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let (input, session) = (name(dir), dir.parent().map(name).unwrap_or_default());
        all.extend(recover_parts(dir, pool).into_iter().map(|file| (session.clone(), input.clone(), file)));
    }
    all
}
