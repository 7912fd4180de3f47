//! What retention has given up: told by the journals on the disk, not by the rig.
//!
//! The recorder notes each file in its session's journal before the file goes. So what excuses a file that is missing on an image
//! is its `Deleted` record on the same image, and nothing else. A session of which nothing is left goes with its journal, records
//! and all: from when on that may be is what the rig has to know beforehand, and [`Watch`] finds out.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use holdfast_records::{Record, SESSION_JOURNAL};
use holdfast_segment::FileId;

use crate::claims::{Claim, Claims, Owed};
use crate::disk::{LoggedDisk, Position};
use crate::station::{POOL, STORAGE};

/// Blocks that wait to be written again; smaller ones are soon thrown away.
const RECYCLED_BYTES: u64 = 1024 * 1024;

/// The files of a session, by its journal.
#[derive(Debug, Default, Clone)]
pub struct Noted {
    /// All that were begun.
    pub begun: BTreeSet<FileId>,
    /// Those of them that may be gone.
    pub deleted: BTreeSet<FileId>,
}

impl Noted {
    /// Reads a session's journal.
    ///
    /// # Errors
    /// There is none, or it can't be read.
    pub fn read(session: &Path) -> anyhow::Result<Self> {
        let mut noted = Self::default();
        let mut ids = BTreeMap::new();
        for record in holdfast_records::read(session)?.records {
            match record {
                Record::FileOpened { input, sequence, file_id, .. } => {
                    noted.begun.insert(FileId(file_id));
                    ids.insert((input, sequence), FileId(file_id));
                }
                Record::Deleted { input, sequence, .. } => {
                    let id = ids.get(&(input, sequence)).context("a file was deleted that was never begun")?;
                    noted.deleted.insert(*id);
                }
                _ => {}
            }
        }
        Ok(noted)
    }
}

/// Files that may be missing on an image, by the image itself.
#[must_use]
pub fn excused(data: &Path, owed: &Owed) -> BTreeSet<FileId> {
    // A journal that can't be read excuses nothing; the judge looks at journals by themselves.
    let read = sessions(&data.join(STORAGE)).into_iter().filter_map(|session| Noted::read(&session).ok());
    let mut excused: BTreeSet<FileId> = read.flat_map(|noted| noted.deleted).collect();
    let gone = owed.gone.iter().filter(|(directory, _)| !has_journal(&data.join(directory)));
    excused.extend(gone.flat_map(|(_, files)| files));
    excused
}

/// Takes away a closed file that nobody has given up, as no program of ours does: the judge must notice. False if there is none.
///
/// # Errors
/// It can't be removed.
pub fn steal(data: &Path, owed: &Owed) -> anyhow::Result<bool> {
    let excused = excused(data, owed);
    let closed = owed.files.iter().filter(|(file, _)| !excused.contains(file));
    let paths = closed.filter_map(|(_, due)| due.closed.as_ref()).map(|(path, _)| data.join(STORAGE).join(path));
    match paths.filter(|path| path.is_file()).max() {
        Some(path) => std::fs::remove_file(&path).map(|()| true).context("nothing can be stolen"),
        None => Ok(false),
    }
}

/// Looks at the sessions of a running recorder again and again.
#[derive(Debug, Default)]
pub struct Watch {
    sessions: BTreeMap<PathBuf, Seen>,
    /// Files in the pool, by inode.
    pooled: BTreeSet<u64>,
    /// Of these, those that became footage again.
    recycled: BTreeSet<u64>,
    /// What was given up of sessions that are gone, or is noted in those that are there.
    given: BTreeSet<FileId>,
    gone: usize,
}

#[derive(Debug)]
struct Seen {
    /// Before the last look at which its journal was there.
    there: Position,
    noted: Noted,
}

impl Watch {
    /// One look. A session that has gone may have been gone since the look before.
    ///
    /// # Errors
    /// The log can't be read.
    pub fn look(&mut self, disk: &LoggedDisk, claims: &mut Claims) -> anyhow::Result<()> {
        // Before looking, not after: what is there now was there when the log was so long.
        let there = disk.position()?;
        for session in sessions(&disk.path().join(STORAGE)) {
            if !has_journal(&session) {
                continue;
            }
            let seen = self.sessions.entry(session.clone()).or_insert(Seen { there, noted: Noted::default() });
            seen.there = there;
            // While it is being written its end may not be whole: the next look sees it.
            if let Ok(noted) = Noted::read(&session) {
                self.given.extend(&noted.deleted);
                seen.noted = noted;
            }
        }
        let gone: Vec<PathBuf> = self.sessions.keys().filter(|session| !session.exists()).cloned().collect();
        for session in gone {
            let Some(seen) = self.sessions.remove(&session) else { continue };
            let directory = session.strip_prefix(disk.path()).context("not on the data partition")?;
            let directory = directory.to_string_lossy().into_owned();
            self.given.extend(&seen.noted.begun);
            self.gone += 1;
            claims.add(seen.there, Claim::Gone { directory, files: seen.noted.begun.into_iter().collect() });
        }
        self.look_at_blocks(&disk.path().join(STORAGE));
        Ok(())
    }

    fn look_at_blocks(&mut self, root: &Path) {
        for session in sessions(root) {
            let files = entries(&session).into_iter().flat_map(|input| entries(&input));
            let inodes = files.filter_map(|file| file.metadata().ok()).map(|data| data.ino());
            self.recycled.extend(inodes.filter(|inode| self.pooled.contains(inode)));
        }
        let waiting = entries(&root.join(POOL)).into_iter().filter_map(|path| path.metadata().ok());
        self.pooled.extend(waiting.filter(|data| data.len() >= RECYCLED_BYTES).map(|data| data.ino()));
    }

    /// How many files were given up, how many sessions altogether, and blocks of how many files were taken again.
    #[must_use]
    pub fn count(&self) -> (usize, usize, usize) {
        (self.given.len(), self.gone, self.recycled.len())
    }
}

fn has_journal(session: &Path) -> bool {
    session.join(format!("{SESSION_JOURNAL}.journal")).exists()
}

/// Directories of sessions.
fn sessions(root: &Path) -> Vec<PathBuf> {
    let days = entries(root).into_iter().filter(|day| !hidden(day));
    days.flat_map(|day| entries(&day)).filter(|session| session.is_dir()).collect()
}

fn hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use holdfast_journal::Journal;
    use holdfast_records::{Record, SESSION_JOURNAL, SESSION_SCHEMA};
    use holdfast_segment::FileId;

    use crate::claims::{Claim, Claims, Owed};
    use crate::disk::Position;
    use crate::judge::{Verdict, judge};
    use crate::seals::Seals;
    use crate::sloppy;
    use crate::station::STORAGE;

    const SESSION: &str = "recordings/2026-11-21/20261121T071503Z-k3f9w2";

    /// A session with one closed file, as its journal tells it, and what is owed of it.
    fn data(records: &[Record]) -> (tempfile::TempDir, FileId, Claims) {
        let data = tempfile::tempdir().unwrap();
        let session = data.path().join(SESSION);
        std::fs::create_dir_all(session.join("cam0")).unwrap();
        let (path, file) = sloppy::whole_file(&session.join("cam0"), 1, 3).unwrap();
        let opened = Journal::<Record>::open(&session, SESSION_JOURNAL, SESSION_SCHEMA).unwrap();
        let mut journal = opened.journal;
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let begun = Record::FileOpened { input: "cam0".into(), sequence: 1, file_id: file.0, file: name };
        for record in std::iter::once(&begun).chain(records) {
            journal.append(record).unwrap();
        }
        let mut claims = Claims::default();
        claims.add(Position(1), Claim::Frames { file, name: "1".into(), frames: 15 });
        (data, file, claims)
    }

    fn deleted() -> Record {
        Record::Deleted {
            input: "cam0".into(),
            sequence: 1,
            file: String::new(),
            frames: 15,
            bytes: 1,
            cause: "free".into(),
            wall_ns: 0,
        }
    }

    fn verdict(data: &tempfile::TempDir, owed: &Owed) -> Verdict {
        judge(data.path(), owed, &Seals::default(), 9).unwrap()
    }

    fn remove_footage(data: &tempfile::TempDir) {
        std::fs::remove_dir_all(data.path().join(SESSION).join("cam0")).unwrap();
    }

    #[test]
    fn a_missing_file_is_excused_by_its_record_alone() {
        let (with, _, claims) = data(&[deleted()]);
        assert!(verdict(&with, &claims.owed(9)).is_good(), "noted, and still there");
        remove_footage(&with);
        assert!(verdict(&with, &claims.owed(9)).is_good(), "noted, and gone");

        let (without, _, claims) = data(&[]);
        assert!(verdict(&without, &claims.owed(9)).is_good());
        remove_footage(&without);
        let verdict = verdict(&without, &claims.owed(9));
        assert_eq!((verdict.safe_frames_lost, verdict.is_good()), (15, false), "{:?}", verdict.problems);
    }

    #[test]
    fn a_session_may_be_gone_with_its_journal_only_from_when_it_was_seen_to_go() {
        let (data, file, mut claims) = data(&[]);
        claims.add(Position(5), Claim::Gone { directory: SESSION.into(), files: vec![file] });
        remove_footage(&data);
        assert!(!verdict(&data, &claims.owed(9)).is_good(), "its journal is there and says nothing");
        std::fs::remove_dir_all(data.path().join(STORAGE)).unwrap();
        std::fs::create_dir_all(data.path().join(STORAGE)).unwrap();
        assert!(verdict(&data, &claims.owed(9)).is_good());
        assert!(!verdict(&data, &claims.owed(4)).is_good(), "too early");
    }
}
