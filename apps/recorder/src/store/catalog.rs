//! Which sessions there are. The directories are the truth; what is kept in memory is only what was read from them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use holdfast_dbus::FileInfo;
use holdfast_segment::PART_SUFFIX;
use tokio::sync::Notify;

use super::summary::Summary;
use crate::{captures, ids};

/// Sessions kept in memory; older ones are read again when asked for.
const REMEMBERED: usize = 1000;

/// Finds and remembers sessions. All methods but [`Catalog::known`] and [`Catalog::known_soon`] read the disk: call them where
/// blocking is fine.
#[derive(Debug)]
pub struct Catalog {
    root: PathBuf,
    sessions: Mutex<BTreeMap<String, Arc<Summary>>>,
    /// Sessions that were put since they were last asked for. As many as there are sessions in memory at most.
    changed: Mutex<BTreeSet<String>>,
    /// Wakes who waits for a session to be put.
    put: Notify,
}

impl Catalog {
    /// Of the sessions below this root.
    pub fn new(root: PathBuf) -> Self {
        Self { root, sessions: Mutex::default(), changed: Mutex::default(), put: Notify::new() }
    }

    /// Where a session lives.
    pub fn dir(&self, id: &str) -> Option<PathBuf> {
        Some(self.root.join(ids::session_dir(id)?))
    }

    /// The storage root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Up to `limit` session ids, newest first, only older than `before`.
    pub fn list(&self, limit: usize, before: Option<&str>) -> Vec<String> {
        let mut found = Vec::new();
        for date in names(&self.root).into_iter().rev().filter(|name| ids::is_date(name)) {
            let sessions = names(&self.root.join(&date)).into_iter().rev();
            for id in sessions.filter(|id| ids::is_session_id(id) && before.is_none_or(|before| id.as_str() < before)) {
                // A directory in the wrong place is not ours.
                if ids::session_dir(&id).is_some_and(|dir| dir.starts_with(&date)) {
                    found.push(id);
                }
                if found.len() == limit {
                    return found;
                }
            }
        }
        found
    }

    /// A session that is there; read if need be.
    pub fn get(&self, id: &str) -> Option<Arc<Summary>> {
        let dir = self.dir(id)?;
        if !dir.is_dir() {
            self.lock().remove(id);
            return None;
        }
        if let Some(known) = self.known(id) {
            return Some(known);
        }
        let summary = Arc::new(Summary::read(&dir, id));
        self.remember(Arc::clone(&summary));
        Some(summary)
    }

    /// A session in memory.
    pub fn known(&self, id: &str) -> Option<Arc<Summary>> {
        self.lock().get(id).cloned()
    }

    /// A session is no longer on the storage.
    pub fn forget(&self, id: &str) {
        self.lock().remove(id);
    }

    /// Sessions that have changed since this was last asked.
    pub fn take_changed(&self) -> BTreeSet<String> {
        std::mem::take(&mut self.changed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Remembers what a session is now.
    pub fn put(&self, summary: Arc<Summary>) {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner).insert(summary.id.clone());
        self.remember(summary);
        self.put.notify_waiters();
    }

    /// A session in memory, as soon as it is: the keeper of the journals makes a new one known on its own thread.
    pub async fn known_soon(&self, id: &str) -> Arc<Summary> {
        loop {
            // Before looking: what is put from here on wakes it.
            let put = self.put.notified();
            if let Some(summary) = self.known(id) {
                return summary;
            }
            put.await;
        }
    }

    fn remember(&self, summary: Arc<Summary>) {
        let mut sessions = self.lock();
        sessions.insert(summary.id.clone(), summary);
        while sessions.len() > REMEMBERED {
            sessions.pop_first();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Arc<Summary>>> {
        // Nothing that can panic runs under this lock.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Names in a directory, sorted; none if it can't be read.
fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// Names of segment files in a directory, sorted.
pub fn file_names(dir: &Path) -> Vec<String> {
    names(dir).into_iter().filter(|name| captures::sequence_of(name).is_some()).collect()
}

/// How many files of a session have their final names.
pub fn count_closed(dir: &Path) -> u64 {
    let files = names(dir).into_iter().flat_map(|input| file_names(&dir.join(input)));
    files.filter(|name| !name.ends_with(PART_SUFFIX)).map(|_| 1).sum()
}

/// The files of a session, input by input. `dir`: the session's; paths are relative to `root`.
pub fn list_files(root: &Path, dir: &Path, offset: usize, limit: usize) -> Vec<FileInfo> {
    let all = names(dir).into_iter().flat_map(|input| {
        let inner = dir.join(&input);
        file_names(&inner).into_iter().map(move |name| (input.clone(), inner.join(name)))
    });
    all.skip(offset).take(limit).filter_map(|(input, path)| file_info(root, input, &path)).collect()
}

fn file_info(root: &Path, input: String, path: &Path) -> Option<FileInfo> {
    let name = path.file_name()?.to_str()?;
    let open = name.ends_with(PART_SUFFIX);
    let closed = if open { None } else { captures::summary(path) };
    Some(FileInfo {
        input,
        sequence: captures::sequence_of(name)?,
        path: path.strip_prefix(root).unwrap_or(path).display().to_string(),
        bytes: path.metadata().ok()?.len(),
        open,
        frames: closed.as_ref().map(|file| file.frames),
        duration_usec: closed.as_ref().map(|file| file.duration_ms * 1000),
        recovered: closed.as_ref().map(|file| file.by_recovery),
    })
}

#[cfg(test)]
mod tests {
    use super::Catalog;
    use crate::store::End;
    use holdfast_journal::Journal;
    use holdfast_records::{Record, SESSION_JOURNAL};

    #[test]
    fn sessions_are_found_newest_first_and_survive_a_lost_journal() {
        let root = tempfile::tempdir().unwrap();
        let catalog = Catalog::new(root.path().to_owned());
        let ids = ["20261120T100000Z-aaaaaa", "20261121T090000Z-bbbbbb", "20261121T100000Z-cccccc"];
        for id in ids {
            std::fs::create_dir_all(catalog.dir(id).unwrap()).unwrap();
        }
        std::fs::create_dir_all(root.path().join("2026-11-21/20261119T100000Z-wrong")).unwrap();
        std::fs::create_dir_all(root.path().join(".holdfast/recycle")).unwrap();
        std::fs::create_dir_all(root.path().join("lost+found")).unwrap();
        assert_eq!(catalog.list(10, None), [ids[2], ids[1], ids[0]]);
        assert_eq!(catalog.list(1, Some(ids[2])), [ids[1]]);

        let dir = catalog.dir(ids[2]).unwrap();
        let mut journal = Journal::<Record>::open(&dir, SESSION_JOURNAL, 1).unwrap().journal;
        let created = Record::Created {
            id: ids[2].into(),
            label: "a".into(),
            token: String::new(),
            inputs: vec!["cam0".into()],
            wall_ns: 1,
            mono_ns: 2,
            boot_id: [0; 16],
        };
        journal.append(&created).unwrap();
        journal.append(&Record::Mark { text: "x".into(), wall_ns: 3000, mono_ns: 2_000_002 }).unwrap();
        let summary = catalog.get(ids[2]).unwrap();
        assert_eq!((summary.label.as_str(), summary.mark_count, summary.marks[0].offset_usec), ("a", 1, 2000));
        assert_eq!(summary.end, End::Open);
        assert_eq!(catalog.get(ids[1]).unwrap().end, End::Unknown);
        assert_eq!(catalog.get("20261121T090000Z-nobody"), None);
        assert_eq!(catalog.get("../../etc"), None);
    }
}
