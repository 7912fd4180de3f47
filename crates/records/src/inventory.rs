//! Which files a session must have, by its journal.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::Record;

/// The files that a session's journal owes: those that were closed, less those that retention has given up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    inputs: Vec<String>,
    files: BTreeMap<(String, u64), File>,
    deleted: BTreeMap<(String, u64), GivenUp>,
    /// The last gap of an input, if no file has come after it.
    last_gaps: BTreeMap<String, Ending>,
    ended: bool,
}

/// What is missing at the end of an input: no file that follows tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// Why, as on D-Bus.
    pub cause: String,
    /// How much, milliseconds.
    pub duration_ms: u64,
    /// Frames that had come in.
    pub frames_lost: u64,
}

/// A file that retention has given up. Noted before it goes, it may still be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenUp {
    /// Of which input.
    pub input: String,
    /// Its place in the input's chain.
    pub sequence: u64,
    /// Its name.
    pub file: String,
    /// Video frames that were in it.
    pub frames: u64,
    /// Its length.
    pub bytes: u64,
    /// As on D-Bus: age, total, free or emergency.
    pub cause: String,
    /// When that was noted last, Unix time.
    pub wall_ns: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct File {
    name: String,
    frames: u64,
}

/// Footage that should be there and is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Absent {
    /// This file was closed, and nobody has recorded that it was deleted.
    File {
        /// Where it should be.
        path: PathBuf,
        /// Video frames in it.
        frames: u64,
    },
    /// The session is over, and not one file of this input was closed.
    Input {
        /// Its name.
        input: String,
    },
}

impl Inventory {
    /// What these records, in their order, amount to.
    #[must_use]
    pub fn of(records: &[Record]) -> Self {
        let mut inventory = Self::default();
        for record in records {
            inventory.note(record);
        }
        inventory
    }

    fn note(&mut self, record: &Record) {
        match record {
            Record::Created { inputs, .. } => self.inputs.clone_from(inputs),
            Record::FileClosed { input, sequence, file, frames, .. } => {
                let file = File { name: file.clone(), frames: *frames };
                self.files.insert((input.clone(), *sequence), file);
                self.last_gaps.remove(input);
            }
            Record::Deleted { input, sequence, file, frames, bytes, cause, wall_ns } => {
                let key = (input.clone(), *sequence);
                self.files.remove(&key);
                let given_up = GivenUp {
                    input: input.clone(),
                    sequence: *sequence,
                    file: file.clone(),
                    frames: *frames,
                    bytes: *bytes,
                    cause: cause.clone(),
                    wall_ns: *wall_ns,
                };
                self.deleted.insert(key, given_up);
            }
            Record::Gap { input, cause, duration_ms, frames_lost, .. } => {
                let ending = Ending { cause: cause.clone(), duration_ms: *duration_ms, frames_lost: *frames_lost };
                self.last_gaps.insert(input.clone(), ending);
            }
            Record::Stopped { .. } | Record::Interrupted { .. } => self.ended = true,
            Record::Resumed { .. } | Record::ResumedAt { .. } => self.ended = false,
            _ => (),
        }
    }

    /// What is missing at the end of inputs, once the session is over. `input`: look at this one only.
    pub fn endings(&self, input: Option<&str>) -> impl Iterator<Item = (&str, &Ending)> {
        let of_input = self.last_gaps.iter().map(|(name, ending)| (name.as_str(), ending));
        of_input.filter(move |(name, _)| self.ended && input.is_none_or(|input| input == *name))
    }

    /// What retention has given up, each file once, input by input in their order. `input`: of this one only.
    pub fn given_up(&self, input: Option<&str>) -> impl Iterator<Item = &GivenUp> {
        self.deleted.values().filter(move |file| input.is_none_or(|input| input == file.input))
    }

    /// What is not there below the session's directory `dir`. `input`: look at this one only.
    #[must_use]
    pub fn absent(&self, dir: &Path, input: Option<&str>) -> Vec<Absent> {
        let wanted = |name: &str| input.is_none_or(|input| input == name);
        let owed = self.files.iter().filter(|((input, _), _)| wanted(input));
        let mut absent: Vec<Absent> = owed
            .map(|((input, _), file)| Absent::File { path: dir.join(input).join(&file.name), frames: file.frames })
            .filter(|absent| matches!(absent, Absent::File { path, .. } if !path.exists()))
            .collect();
        let has_none = |name: &str| {
            let of_it = |(input, _): &(String, u64)| input == name;
            !self.files.keys().any(of_it) && !self.deleted.keys().any(of_it)
        };
        let inputs = self.inputs.iter().filter(|name| self.ended && wanted(name) && has_none(name));
        absent.extend(inputs.map(|input| Absent::Input { input: input.clone() }));
        absent
    }
}

#[cfg(test)]
mod tests {
    use super::{Absent, Inventory};
    use crate::{EndTotals, Record};

    fn created(inputs: &[&str]) -> Record {
        Record::Created {
            id: "s".to_owned(),
            label: String::new(),
            token: String::new(),
            inputs: inputs.iter().map(|input| (*input).to_owned()).collect(),
            wall_ns: 0,
            mono_ns: 0,
            boot_id: [0; 16],
        }
    }

    fn closed(input: &str, sequence: u64) -> Record {
        Record::FileClosed {
            input: input.to_owned(),
            sequence,
            file: format!("{sequence}.mp4"),
            frames: 10 * sequence,
            bytes: 1,
            duration_ms: 1,
            recovered: false,
        }
    }

    fn deleted(input: &str, sequence: u64) -> Record {
        Record::Deleted {
            input: input.to_owned(),
            sequence,
            file: format!("{sequence}.mp4"),
            frames: 10 * sequence,
            bytes: 1,
            cause: "age".to_owned(),
            wall_ns: 0,
        }
    }

    fn stopped() -> Record {
        Record::Stopped { wall_ns: 0, totals: EndTotals::default() }
    }

    #[test]
    fn what_was_closed_and_not_deleted_is_owed() {
        let dir = tempfile::tempdir().unwrap();
        let cam0 = dir.path().join("cam0");
        std::fs::create_dir(&cam0).unwrap();
        for sequence in 2..=3 {
            std::fs::write(cam0.join(format!("{sequence}.mp4")), "").unwrap();
        }
        let records = [
            created(&["cam0"]),
            closed("cam0", 1),
            closed("cam0", 2),
            closed("cam0", 3),
            deleted("cam0", 1),
            closed("cam0", 4),
            closed("mic", 1),
        ];
        let gone = |name: &str, frames| Absent::File { path: dir.path().join(name), frames };
        let inventory = Inventory::of(&records);
        assert_eq!(inventory.absent(dir.path(), None), [gone("cam0/4.mp4", 40), gone("mic/1.mp4", 10)]);
        assert_eq!(inventory.absent(dir.path(), Some("mic")), [gone("mic/1.mp4", 10)]);
        assert_eq!(inventory.absent(dir.path(), Some("cam1")), []);
    }

    #[test]
    fn what_was_given_up_is_told_once_however_often_it_was_noted() {
        let records =
            [created(&["cam0", "mic"]), deleted("mic", 1), deleted("cam0", 1), deleted("cam0", 1), deleted("cam0", 2)];
        let inventory = Inventory::of(&records);
        let told = |input| {
            inventory.given_up(input).map(|file| (file.input.as_str(), file.sequence, file.frames)).collect::<Vec<_>>()
        };
        assert_eq!(told(None), [("cam0", 1, 10), ("cam0", 2, 20), ("mic", 1, 10)]);
        assert_eq!(told(Some("mic")), [("mic", 1, 10)]);
    }

    #[test]
    fn an_input_without_a_file_is_told_once_the_session_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let mut records = vec![created(&["cam0", "cam1", "cam2"]), closed("cam1", 1), deleted("cam1", 1)];
        assert_eq!(Inventory::of(&records).absent(dir.path(), None), []);
        records.push(stopped());
        let none = |input: &str| Absent::Input { input: input.to_owned() };
        assert_eq!(Inventory::of(&records).absent(dir.path(), None), [none("cam0"), none("cam2")]);
        assert_eq!(Inventory::of(&records).absent(dir.path(), Some("cam2")), [none("cam2")]);
    }

    #[test]
    fn a_gap_with_nothing_after_it_is_the_end_of_an_input() {
        let gap = |input: &str, duration_ms| Record::Gap {
            input: input.to_owned(),
            cause: "capture-died".to_owned(),
            start_mono_ns: 0,
            duration_ms,
            frames_lost: 3,
            wall_ns: 0,
        };
        let stopped = Record::Stopped { wall_ns: 0, totals: EndTotals::default() };
        let mut records =
            vec![created(&["cam0", "cam1"]), gap("cam0", 200), closed("cam0", 1), closed("cam1", 1), gap("cam1", 4300)];
        assert_eq!(Inventory::of(&records).endings(None).count(), 0, "it goes on");
        records.push(stopped);
        let inventory = Inventory::of(&records);
        let endings: Vec<_> = inventory.endings(None).map(|(input, ending)| (input, ending.duration_ms)).collect();
        assert_eq!(endings, [("cam1", 4300)]);
        assert_eq!(inventory.endings(Some("cam0")).count(), 0);
    }
}
