//! One image before the judge: recovered as a box recovers after a power cut, then held against what was promised.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use holdfast_journal::Journal;
use holdfast_segment::recover::{Outcome, recover, scan_tree};
use holdfast_segment::verify::{FileReport, Severity, verify_session};
use holdfast_segment::{Digest, FileId, Pool};
use serde::de::{SeqAccess, Visitor};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::claims::Owed;
use crate::given::excused;
use crate::seals::Seals;
use crate::station::{POOL, STORAGE};

/// A closed file on an image.
#[derive(Debug, Clone)]
pub struct Found {
    /// Where.
    pub path: PathBuf,
    /// Its id.
    pub file: FileId,
    /// Its digest, which covers all of it.
    pub digest: Digest,
    /// Its pictures.
    pub frames: u64,
}

/// What an image was found to be.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Pictures that had been reported safe and are not there.
    pub safe_frames_lost: u64,
    /// Files with damage that a player may stumble over.
    pub files_unplayable: u64,
    /// The most chunks of one file that had been handed to the disk and are not there.
    pub chunks_missing: u64,
    /// Safe pictures that had to be there.
    pub frames_owed: u64,
    /// Everything that is not as it was promised, for people.
    pub problems: Vec<String>,
    /// All closed files.
    pub files: Vec<Found>,
}

/// Recovers and judges what is mounted at `data`, where the power went after `at` entries.
///
/// # Errors
/// The file system refuses what a healthy one allows.
pub fn judge(data: &Path, owed: &Owed, seals: &Seals, at: usize) -> anyhow::Result<Verdict> {
    let mut verdict = Verdict::default();
    let before = inventory(data)?;
    let root = data.join(STORAGE);
    if !root.is_dir() {
        verdict.missing_everything(owed, "the storage root is not there");
        return Ok(verdict);
    }
    recover_all(&root, &mut verdict)?;
    let excused = excused(data, owed);
    let report = verify_session(&root).context("the footage can't be listed")?;
    let inputs = report.inputs.iter();
    for finding in inputs.flat_map(|input| &input.findings).filter(|finding| finding.severity == Severity::Error) {
        verdict.problems.push(format!("between files: {finding}"));
    }
    let mut files: BTreeMap<FileId, &FileReport> = BTreeMap::new();
    for file in report.inputs.iter().flat_map(|input| &input.files).chain(&report.strays) {
        verdict.look_at(file);
        if let Some(identity) = &file.identity {
            files.insert(identity.file_id, file);
        }
    }
    verdict.compare(&root, owed, &excused, &files);
    for file in seals.files().filter(|file| !excused.contains(file)) {
        let there = files.get(&file).map_or(0, |report| report.chunks);
        verdict.chunks_missing = verdict.chunks_missing.max(seals.begun(file, at).saturating_sub(there));
    }
    verdict.journals(data, owed)?;
    let after = inventory(data)?;
    for (inode, path) in before {
        // What a journal sets aside or takes over is the journal's affair, and looked at above.
        if !after.contains_key(&inode) && !path.to_string_lossy().contains(".journal") {
            verdict.problems.push(format!("{} was there and is gone", path.display()));
        }
    }
    Ok(verdict)
}

/// As the recorder does when it starts.
fn recover_all(root: &Path, verdict: &mut Verdict) -> anyhow::Result<()> {
    let pool = Pool::open(&root.join(POOL)).context("the pool can't be opened")?;
    for part in scan_tree(root).context("the footage can't be listed")? {
        match recover(&part, Some(&pool)) {
            // Nothing of it can have been safe: what is owed of it is missed below.
            Ok(done) if matches!(done.outcome, Outcome::Unrecoverable { .. }) => {}
            Ok(_) => {}
            Err(error) => verdict.problems.push(format!("not recovered: {error}")),
        }
    }
    Ok(())
}

/// Every regular file, by inode.
fn inventory(data: &Path) -> anyhow::Result<BTreeMap<u64, PathBuf>> {
    let mut found = BTreeMap::new();
    let mut directories = vec![data.to_owned()];
    while let Some(directory) = directories.pop() {
        let cannot = || format!("{} can't be listed", directory.display());
        for entry in std::fs::read_dir(&directory).with_context(cannot)? {
            let entry = entry.with_context(cannot)?;
            let kind = entry.file_type().with_context(cannot)?;
            if kind.is_dir() {
                directories.push(entry.path());
            } else if kind.is_file() {
                // A journal that is being compacted has a moment with two names; the shortest is the one it is opened by.
                let shorter = |known: &PathBuf| known.as_os_str().len() <= entry.path().as_os_str().len();
                let inode = entry.metadata().with_context(cannot)?.ino();
                if !found.get(&inode).is_some_and(shorter) {
                    found.insert(inode, entry.path());
                }
            }
        }
    }
    Ok(found)
}

impl Verdict {
    /// Whether all that was promised is there.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.problems.is_empty() && self.safe_frames_lost == 0 && self.files_unplayable == 0 && self.chunks_missing <= 1
    }

    /// Nothing can be looked at.
    pub fn missing_everything(&mut self, owed: &Owed, why: &str) {
        let frames: u64 = owed.files.values().map(|file| file.frames).sum();
        self.safe_frames_lost += frames;
        self.frames_owed += frames;
        if frames > 0 || !owed.records.is_empty() {
            self.problems.push(format!("{why}, and {frames} safe pictures with it"));
        }
    }

    fn look_at(&mut self, file: &FileReport) {
        let errors: Vec<String> = file
            .findings
            .iter()
            .filter(|finding| finding.severity == Severity::Error)
            .map(ToString::to_string)
            .collect();
        if !errors.is_empty() {
            self.files_unplayable += 1;
            self.problems.extend(errors);
        }
        if file.closed.is_none() {
            self.problems.push(format!("{} is not closed, even after recovery", file.path.display()));
        }
        if let (Some(identity), Some(digest)) = (&file.identity, file.digest) {
            let found = Found { path: file.path.clone(), file: identity.file_id, digest, frames: frames_of(file) };
            self.files.push(found);
        }
    }

    fn compare(&mut self, root: &Path, owed: &Owed, excused: &BTreeSet<FileId>, files: &BTreeMap<FileId, &FileReport>) {
        for (id, due) in owed.files.iter().filter(|(id, _)| !excused.contains(id)) {
            self.frames_owed += due.frames;
            let there = files.get(id);
            let frames = there.map_or(0, |file| frames_of(file));
            if frames < due.frames {
                self.safe_frames_lost += due.frames - frames;
                self.problems.push(format!("{}: {} pictures were safe, {frames} are there", due.name, due.frames));
            }
            if let Some((path, digest)) = &due.closed {
                let found = there.map(|file| (file.path.as_path(), file.digest));
                if found != Some((root.join(path).as_path(), Some(*digest))) {
                    self.problems.push(format!("{path} was closed and durable; found: {found:?}"));
                }
            }
        }
    }

    fn journals(&mut self, data: &Path, owed: &Owed) -> anyhow::Result<()> {
        let mut records: BTreeMap<(String, String), Vec<Raw>> = BTreeMap::new();
        for path in inventory(data)?.into_values() {
            let Some(name) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".journal")) else {
                continue;
            };
            let directory = path.parent().unwrap_or(data);
            match Journal::<Raw>::open(directory, name, u32::MAX) {
                Ok(opened) => {
                    if !(opened.report.damage.is_empty()
                        && opened.report.complete
                        && opened.report.set_aside.is_empty())
                    {
                        self.problems.push(opened.report.to_string());
                    }
                    let directory = directory.strip_prefix(data).unwrap_or(directory).to_string_lossy().into_owned();
                    records.insert((directory, name.to_owned()), opened.records);
                }
                Err(error) => self.problems.push(format!("{}: {error}", path.display())),
            }
        }
        for ((directory, journal, text), due) in &owed.records {
            let there = records.get(&(directory.clone(), journal.clone()));
            if there.is_none() && owed.gone.contains_key(directory) {
                continue;
            }
            let there = there.into_iter().flatten().filter(|record| record.holds(text)).count();
            if there < *due {
                self.problems
                    .push(format!("{directory}/{journal}: {due} records of {text:?} were written, {there} are there"));
            }
        }
        Ok(())
    }
}

/// Pictures of the video track.
fn frames_of(file: &FileReport) -> u64 {
    file.tracks.first().map_or(0, |track| track.frames)
}

/// A record as its bytes: the rig need not know what it means.
#[derive(Debug)]
struct Raw(Vec<u8>);

impl Raw {
    fn holds(&self, text: &str) -> bool {
        self.0.windows(text.len()).any(|window| window == text.as_bytes())
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl<'de> Visitor<'de> for Bytes {
            type Value = Raw;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any bytes")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut rest: A) -> Result<Raw, A::Error> {
                let mut bytes = Vec::new();
                // The end of a record is an error to postcard; here it is the end.
                while let Ok(Some(byte)) = rest.next_element() {
                    bytes.push(byte);
                }
                Ok(Raw(bytes))
            }
        }
        input.deserialize_tuple(usize::MAX, Bytes)
    }
}

impl Serialize for Raw {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let mut tuple = out.serialize_tuple(self.0.len())?;
        self.0.iter().try_for_each(|byte| tuple.serialize_element(byte))?;
        tuple.end()
    }
}

#[cfg(test)]
mod tests {
    use super::Raw;
    use holdfast_journal::Journal;

    #[test]
    fn any_record_reads_as_its_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = Journal::<(u32, String, Option<u8>)>::open(directory.path(), "x", 3).unwrap().journal;
        journal.append(&(70_000, "a word".into(), Some(255))).unwrap();
        journal.append(&(0, String::new(), None)).unwrap();
        drop(journal);
        let opened = Journal::<Raw>::open(directory.path(), "x", u32::MAX).unwrap();
        assert!(opened.report.is_clean());
        assert_eq!(opened.records.len(), 2);
        assert!(opened.records[0].holds("a word") && !opened.records[1].holds("a word"));
        assert_eq!(opened.records[1].0, [0, 0, 0]);
    }
}
