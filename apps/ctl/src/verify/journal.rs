//! What a session's journal tells of files that are not there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use holdfast_records::{Absent, GivenUp, Inventory, SESSION_JOURNAL};
use holdfast_segment::verify::{Finding, Severity};
use serde_json::{Value, json};

use crate::output;

/// What one session's journal tells.
pub struct Told {
    session: String,
    /// What was recorded and is not there. A chain of files shows what is missing in its middle; only the journal knows what is missing
    /// from its end, or altogether.
    pub findings: Vec<Finding>,
    given_up: Vec<GivenUp>,
}

fn journal(session: &Path) -> PathBuf {
    session.join(format!("{SESSION_JOURNAL}.journal"))
}

/// Whether there is one.
pub fn has_journal(session: &Path) -> bool {
    std::fs::symlink_metadata(journal(session)).is_ok()
}

impl Told {
    /// Reads the journal in the session's directory. `input`: of this one only.
    pub fn by(session: &Path, input: Option<&str>) -> Self {
        // Through its real name, as it may be `.`.
        let real = session.canonicalize().unwrap_or_else(|_| session.to_owned());
        let name = real.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let finding = |severity, path: PathBuf, what: String, remedy: &str| Finding {
            severity,
            path,
            offset: 0,
            what,
            remedy: remedy.to_owned(),
        };
        let unread = |what: String| {
            let remedy = "files missing from the end of the session can't be noticed; the recorder mends the journal when it starts";
            finding(Severity::Warning, journal(session), what, remedy)
        };
        let look = || {
            holdfast_records::read(session).map(|read| {
                let inventory = Inventory::of(&read.records);
                let absent = inventory.absent(session, input);
                (read.report, absent, inventory)
            })
        };
        // That a file is deleted is written down before it is: what is not there can be told by a journal that is read later.
        let looked = look().and_then(|looked| if looked.1.is_empty() { Ok(looked) } else { look() });
        let (report, absent, inventory) = match looked {
            Ok(looked) => looked,
            Err(error) => {
                return Self { session: name, findings: vec![unread(error.to_string())], given_up: Vec::new() };
            }
        };
        let damage = report.is_damaged().then(|| unread(report.to_string()));
        let absent = absent.into_iter().map(|absent| match absent {
            Absent::File { path, frames } => finding(
                Severity::Error,
                path,
                format!(
                    "is not there: it was closed with {}, and not deleted by Holdfast",
                    output::count(frames, "frame")
                ),
                "look for it in the archive, in copies, and in the trash (holdfast recovery)",
            ),
            Absent::Input { input } => finding(
                Severity::Warning,
                session.join(input),
                "nothing was recorded of this input in the whole session".to_owned(),
                "the log of that time says why; check the camera, its cable and its address",
            ),
        });
        // Of a gap in the middle the file behind it tells; behind these there is none.
        let endings = inventory.endings(input).map(|(input, ending)| {
            let missing = output::short(ending.duration_ms * 1000);
            let lost = output::count(ending.frames_lost, "frame");
            let what = format!("{missing} are missing at its end, as is on record: {} ({lost} lost)", ending.cause);
            finding(Severity::Note, session.join(input), what, "")
        });
        let findings = damage.into_iter().chain(absent).chain(endings).collect();
        Self { session: name, findings, given_up: inventory.given_up(input).cloned().collect() }
    }

    /// Each file that retention has given up.
    pub fn given_up_json(&self) -> impl Iterator<Item = Value> {
        self.given_up.iter().map(|file| {
            json!({
                "session": self.session, "input": file.input, "sequence": file.sequence, "file": file.file, "frames": file.frames,
                "bytes": file.bytes, "cause": file.cause, "wall_ns": file.wall_ns,
            })
        })
    }

    /// The same in sums, a line for each input.
    pub fn given_up_text(&self) -> String {
        let mut sums: BTreeMap<&str, (u64, u64, i64)> = BTreeMap::new();
        for file in &self.given_up {
            let (files, frames, last) = sums.entry(&file.input).or_default();
            (*files, *frames, *last) = (*files + 1, *frames + file.frames, (*last).max(file.wall_ns));
        }
        let line = |(input, (files, frames, last)): (&&str, &(u64, u64, i64))| {
            let (files, frames) = (output::count(*files, "file"), output::count(*frames, "frame"));
            format!(
                "{} {input}: {files} ({frames}) given up by retention, until {}\n",
                self.session,
                output::time(last / 1000)
            )
        };
        sums.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use holdfast_records::GivenUp;

    use super::Told;

    fn given_up(input: &str, sequence: u64, frames: u64) -> GivenUp {
        GivenUp {
            input: input.to_owned(),
            sequence,
            file: format!("{sequence:06}_20261121T071503Z.mp4"),
            frames,
            bytes: 10 * frames,
            cause: "free".to_owned(),
            wall_ns: 1_795_245_303_000_000_000 + i64::try_from(sequence).unwrap() * 1_000_000_000,
        }
    }

    #[test]
    fn what_retention_has_given_up_is_told_in_sums_and_file_by_file() {
        let given_up = vec![given_up("cam0", 1, 300), given_up("cam0", 2, 298), given_up("cam1", 1, 1)];
        let told = Told { session: "s1".to_owned(), findings: Vec::new(), given_up };
        let text = told.given_up_text();
        let lines: Vec<_> = text.lines().collect();
        assert!(
            lines[0].starts_with("s1 cam0: 2 files (598 frames) given up by retention, until 2026-11-21"),
            "{text}"
        );
        assert!(lines[1].starts_with("s1 cam1: 1 file (1 frame) given up by retention, until 2026-11-21"), "{text}");
        assert_eq!(lines.len(), 2, "{text}");
        let files: Vec<_> = told.given_up_json().collect();
        assert_eq!(files.len(), 3);
        assert_eq!(files[1]["sequence"], 2);
        assert_eq!((&files[1]["frames"], &files[1]["cause"]), (&298.into(), &"free".into()));
    }
}
