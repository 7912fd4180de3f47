//! A session as its journal tells it, or, without one, as its files do.

use std::collections::BTreeMap;
use std::path::Path;

use holdfast_dbus::{GapInfo, MarkInfo, SessionInfo};
use holdfast_records::{EndTotals, Interruption, Record, Tally};
use holdfast_segment::{PART_SUFFIX, Reader};
use tracing::warn;

use crate::ids;

/// Gaps and marks shown of a session: the newest. All are in the journal and in the files' ledgers.
const SHOWN: usize = 100;

/// A session as far as it is written down.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Its id.
    pub id: String,
    /// Text for people.
    pub label: String,
    /// Idempotency token or empty.
    pub token: String,
    /// Which inputs.
    pub inputs: Vec<String>,
    /// Unix time of its start; corrected if the clock was set since, in the same boot.
    pub wall_ns: i64,
    /// Monotonic time of `boot_id` at which it began, or was resumed in that boot.
    pub mono_ns: u64,
    /// Its boot, or the one it was resumed in.
    pub boot_id: [u8; 16],
    /// How long it had been before it was resumed in this boot; breaks over a restart of the box are not counted.
    pub elapsed_ns: u64,
    /// Somebody asked for its end.
    pub stop_asked: bool,
    /// The newest interruptions.
    pub interruptions: Vec<Interruption>,
    /// All interruptions.
    pub interruption_count: u32,
    /// What is wrong with its journal, until that is mended.
    pub damage: Option<String>,
    /// How it ended, if it did.
    pub end: End,
    /// Closed files.
    pub files: u64,
    /// What their records add up to; replaced by the totals at the end.
    pub totals: EndTotals,
    /// The newest holes.
    pub gaps: Vec<GapInfo>,
    /// All holes.
    pub gap_count: u32,
    /// The newest chapters.
    pub marks: Vec<MarkInfo>,
    /// All chapters.
    pub mark_count: u32,
    /// Guarded against deletion.
    pub protected: bool,
    /// Per input: what ended processes made of it.
    pub bases: BTreeMap<String, Tally>,
    /// Per input: sequence numbers of files known to be closed.
    pub closed: BTreeMap<String, Vec<u64>>,
    /// Per input: what retention has given up.
    pub deleted: BTreeMap<String, Deleted>,
    /// It was begun in the boot it is in now.
    is_of_this_boot: bool,
    /// Gaps and marks that were noted in the boot it is in now: their labels move when the clock is set.
    noted_this_boot: (usize, usize),
}

/// What retention has given up of an input: its oldest files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deleted {
    /// The last of them.
    pub through: u64,
    /// How many.
    pub files: u64,
    /// Video frames.
    pub frames: u64,
    /// Their length.
    pub bytes: u64,
    /// When the last one went, Unix time.
    pub wall_ns: i64,
}

/// How a session ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum End {
    /// It did not: it is being recorded, or was interrupted and not looked at yet.
    #[default]
    Open,
    /// By a Stop.
    Stopped,
    /// By a power cut or crash.
    Interrupted,
    /// Its journal can't be read.
    Unknown,
}

impl Summary {
    /// Reads a session's directory.
    pub fn read(dir: &Path, id: &str) -> Self {
        match holdfast_records::read(dir) {
            Ok(read) => {
                let damage = read.report.is_damaged().then(|| read.report.to_string());
                let summary = match read.records.first() {
                    Some(Record::Created { .. }) => Self::of(&read.records),
                    _ => Self::from_files(dir, id),
                };
                Self { damage, ..summary }
            }
            Err(error) => {
                let missing = matches!(error, holdfast_journal::Error::NotFound { .. });
                if !missing {
                    warn!(session = id, "{error}");
                }
                Self { damage: Some(error.to_string()), ..Self::from_files(dir, id) }
            }
        }
    }

    /// What these records say.
    pub fn of(records: &[Record]) -> Self {
        let mut summary = Self::default();
        for record in records {
            summary.note(record);
        }
        summary
    }

    /// Takes in one more record.
    pub fn note(&mut self, record: &Record) {
        match record {
            Record::Created { id, label, token, inputs, wall_ns, mono_ns, boot_id } => {
                (self.id, self.label, self.token) = (id.clone(), label.clone(), token.clone());
                self.inputs.clone_from(inputs);
                (self.wall_ns, self.mono_ns, self.boot_id) = (*wall_ns, *mono_ns, *boot_id);
                self.is_of_this_boot = true;
            }
            Record::FileOpened { .. } => (),
            Record::FileClosed { input, sequence, frames, bytes, .. } => {
                let closed = self.closed.entry(input.clone()).or_default();
                if !closed.contains(sequence) {
                    closed.push(*sequence);
                    self.files += 1;
                    self.totals.files = self.files;
                    self.totals.safe_frames += frames;
                    self.totals.safe_bytes += bytes;
                }
            }
            Record::Gap { input, cause, start_mono_ns, duration_ms, frames_lost, wall_ns } => {
                self.gap_count += 1;
                self.noted_this_boot.0 += 1;
                let gap = GapInfo {
                    input: input.clone(),
                    cause: cause.clone(),
                    start_usec: start_mono_ns / 1000,
                    duration_usec: duration_ms.saturating_mul(1000),
                    frames_lost: *frames_lost,
                    at: wall_ns / 1000,
                };
                push_bounded(&mut self.gaps, gap);
            }
            Record::Mark { text, wall_ns, mono_ns } => {
                self.mark_count += 1;
                self.noted_this_boot.1 += 1;
                let offset_usec = self.elapsed_ns.saturating_add(mono_ns.saturating_sub(self.mono_ns)) / 1000;
                push_bounded(&mut self.marks, MarkInfo { text: text.clone(), at: wall_ns / 1000, offset_usec });
            }
            Record::Deleted { input, sequence, frames, bytes, wall_ns, .. } => {
                let deleted = self.deleted.entry(input.clone()).or_default();
                // Noted before it went, it may be noted again.
                if *sequence > deleted.through {
                    deleted.through = *sequence;
                    deleted.files += 1;
                    deleted.frames += frames;
                    deleted.bytes += bytes;
                }
                deleted.wall_ns = *wall_ns;
            }
            Record::Protected(protected) => self.protected = *protected,
            Record::Base { input, base } => drop(self.bases.insert(input.clone(), base.clone())),
            Record::Resumed { boot_id, .. } => (self.boot_id, self.end) = (*boot_id, End::Open),
            Record::ResumedAt { boot_id, mono_ns, elapsed_ns, .. } => {
                self.end = End::Open;
                if *boot_id != self.boot_id {
                    (self.boot_id, self.mono_ns, self.elapsed_ns) = (*boot_id, *mono_ns, *elapsed_ns);
                    self.is_of_this_boot = false;
                    self.noted_this_boot = (0, 0);
                }
            }
            Record::StopAsked { .. } => self.stop_asked = true,
            Record::Interruption(interruption) => {
                self.interruption_count += 1;
                push_bounded(&mut self.interruptions, interruption.clone());
            }
            Record::SafeAgain { .. } => (),
            Record::ClockStepped { boot_id, by_ns, .. } if *boot_id == self.boot_id => self.correct_labels(*by_ns),
            Record::ClockStepped { .. } => (),
            Record::Rebuilt { .. } => self.damage = None,
            Record::Interrupted { totals, .. } => {
                (self.end, self.totals) = (End::Interrupted, totals.clone());
                self.files = totals.files;
            }
            Record::Stopped { totals, .. } => {
                (self.end, self.totals) = (End::Stopped, totals.clone());
                self.files = totals.files;
            }
        }
    }

    /// The highest number that one of this input's files is known to have had. None is given twice, also when the file has gone.
    pub fn past_sequence(&self, input: &str) -> u64 {
        let closed = self.closed.get(input).and_then(|closed| closed.iter().max().copied());
        let deleted = self.deleted.get(input).map(|deleted| deleted.through);
        closed.max(deleted).unwrap_or(0)
    }

    /// How many files retention has given up.
    pub fn deleted_files(&self) -> u64 {
        self.deleted.values().map(|deleted| deleted.files).sum()
    }

    /// How many video frames that was.
    pub fn deleted_frames(&self) -> u64 {
        self.deleted.values().map(|deleted| deleted.frames).sum()
    }

    /// How much that was.
    pub fn deleted_bytes(&self) -> u64 {
        self.deleted.values().map(|deleted| deleted.bytes).sum()
    }

    /// The clock was set: what it said in this boot was wrong by so much. Durations and order are not touched.
    fn correct_labels(&mut self, by_ns: i64) {
        if self.is_of_this_boot {
            self.wall_ns = self.wall_ns.saturating_add(by_ns);
        }
        let by_usec = by_ns / 1000;
        let (gaps, marks) = self.noted_this_boot;
        let skip = self.gaps.len().saturating_sub(gaps);
        self.gaps.iter_mut().skip(skip).for_each(|gap| gap.at = gap.at.saturating_add(by_usec));
        let skip = self.marks.len().saturating_sub(marks);
        self.marks.iter_mut().skip(skip).for_each(|mark| mark.at = mark.at.saturating_add(by_usec));
    }

    /// What the files of a session without a readable journal say of themselves.
    fn from_files(dir: &Path, id: &str) -> Self {
        let mut summary =
            Self { id: id.to_owned(), wall_ns: ids::wall_ns_of(id), end: End::Unknown, ..Self::default() };
        for input in directories(dir) {
            for file in super::catalog::file_names(&dir.join(&input)) {
                let Ok(reader) = Reader::open(&dir.join(&input).join(&file)) else {
                    continue;
                };
                let identity = reader.identity();
                summary.wall_ns = summary.wall_ns.min(identity.start_wall_ns);
                summary.boot_id = identity.boot_id.0;
                summary.totals.files += 1;
                if let (Some(ledger), false) = (reader.ledger(), file.ends_with(PART_SUFFIX)) {
                    summary.closed.entry(input.clone()).or_default().push(identity.sequence);
                    let video = reader.tracks().iter().position(|track| track.codec.is_video()).unwrap_or(0);
                    summary.totals.safe_frames += ledger.tracks.get(video).map_or(0, |track| track.frames);
                    summary.totals.duration_ns = summary.totals.duration_ns.max(ledger.duration_ns);
                }
                summary.totals.safe_bytes += reader.file_bytes();
            }
            summary.inputs.push(input);
        }
        summary.files = summary.totals.files;
        summary
    }

    /// As in `ListSessions`. `live`: what is recorded right now, with the session's state.
    pub fn info(&self, dir: &Path, live: Option<(&'static str, &EndTotals)>) -> SessionInfo {
        let (state, totals) = live.unwrap_or((self.end.name(), &self.totals));
        SessionInfo {
            id: self.id.clone(),
            label: self.label.clone(),
            token: self.token.clone(),
            state: state.to_owned(),
            started_at: self.wall_ns / 1000,
            duration_usec: totals.duration_ns / 1000,
            inputs: self.inputs.clone(),
            safe_bytes: totals.safe_bytes,
            safe_frames: totals.safe_frames,
            lost_frames: totals.lost_frames,
            files: self.files.max(totals.files),
            gaps: self.gap_count,
            marks: self.mark_count,
            protected: self.protected,
            deleted_files: self.deleted_files(),
            deleted_frames: self.deleted_frames(),
            deleted_bytes: self.deleted_bytes(),
            path: dir.display().to_string(),
        }
    }
}

impl End {
    /// As on D-Bus. An open session that nobody records was interrupted.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Open | Self::Interrupted => "interrupted",
            Self::Unknown => "unknown",
        }
    }
}

fn push_bounded<T>(list: &mut Vec<T>, item: T) {
    if list.len() == SHOWN {
        list.remove(0);
    }
    list.push(item);
}

pub fn directories(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let dirs = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let mut names: Vec<_> = dirs.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests;
