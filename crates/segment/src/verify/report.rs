//! What verification found, as data and for people.

use crate::error::Error;
use crate::identity::{Gap, Identity};
use crate::ledger::{CloseReason, TrackLedger};
use crate::types::Digest;
use serde::Serialize;
use std::fmt;
use std::path::{Path, PathBuf};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Good to know: footage is missing and the reason is on record, a file was recovered, …
    Note,
    /// Footage is all right, something around it is not.
    Warning,
    /// Footage is damaged, or missing without a reason on record.
    Error,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// In which file.
    pub path: PathBuf,
    /// Where in it.
    pub offset: u64,
    /// What it is.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

impl Finding {
    pub(crate) fn new(
        severity: Severity,
        path: &Path,
        offset: u64,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { severity, path: path.to_owned(), offset, what: what.into(), remedy: remedy.into() }
    }

    pub(crate) fn from_error(severity: Severity, path: &Path, error: &Error) -> Self {
        let text = error.to_string();
        let prefix = format!("{}: ", path.display());
        let what = text.strip_prefix(&prefix).unwrap_or(&text).to_owned();
        Self::new(severity, path, error.offset(), what, error.remedy())
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        write!(f, "{severity}: {}, byte {}: {} ({})", self.path.display(), self.offset, self.what, self.remedy)
    }
}

/// One file.
#[derive(Clone, Debug, Serialize)]
pub struct FileReport {
    /// Which.
    pub path: PathBuf,
    /// Who it is, if its head reads.
    pub identity: Option<Identity>,
    /// Why it was closed; `None` if it is not.
    pub closed: Option<CloseReason>,
    /// Its digest, if it is closed.
    pub digest: Option<Digest>,
    /// Length of the file.
    pub file_bytes: u64,
    /// Chunks that are whole.
    pub chunks: u64,
    /// Sums per track over these.
    pub tracks: Vec<TrackLedger>,
    /// From the file's start to the end of its last frame.
    pub duration_ns: u64,
    /// Gaps on record, before and inside the file.
    pub gaps: Vec<Gap>,
    /// What was found.
    pub findings: Vec<Finding>,
}

/// The files of one input of one session, in order.
#[derive(Clone, Debug, Serialize)]
pub struct InputReport {
    /// Session id.
    pub session: String,
    /// Name of the input.
    pub input: String,
    /// Frames of all files and tracks.
    pub frames: u64,
    /// Bytes of all files.
    pub file_bytes: u64,
    /// Sum of the files' durations.
    pub duration_ns: u64,
    /// Sum of the gaps on record.
    pub gap_ns: u64,
    /// Frames known to be lost, by the gaps on record.
    pub frames_lost: u64,
    /// The files.
    pub files: Vec<FileReport>,
    /// What was found between the files.
    pub findings: Vec<Finding>,
}

/// All that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct SessionReport {
    /// Input after input.
    pub inputs: Vec<InputReport>,
    /// Files that say not whose they are.
    pub strays: Vec<FileReport>,
}

impl FileReport {
    /// True if all footage in the file is whole and accounted for.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        is_ok(&self.findings)
    }
}

impl SessionReport {
    /// Everything that was found, in files and between them.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        let inputs = self.inputs.iter();
        let inside = inputs.flat_map(|input| input.files.iter().flat_map(|file| &file.findings).chain(&input.findings));
        inside.chain(self.strays.iter().flat_map(|file| &file.findings))
    }

    /// True if all footage is whole and accounted for.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        is_ok(self.findings())
    }
}

fn is_ok<'a>(findings: impl IntoIterator<Item = &'a Finding>) -> bool {
    findings.into_iter().all(|finding| finding.severity < Severity::Error)
}

struct Seconds(u64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03} s", self.0 / 1_000_000_000, self.0 / 1_000_000 % 1000)
    }
}

impl fmt::Display for FileReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let frames: u64 = self.tracks.iter().map(|track| track.frames).sum();
        let verdict = if self.is_ok() { "ok" } else { "NOT OK" };
        let length = Seconds(self.duration_ns);
        write!(f, "{}: {verdict}, {} chunks, {frames} frames, {length}", self.path.display(), self.chunks)?;
        self.findings.iter().try_for_each(|finding| write!(f, "\n  {finding}"))
    }
}

impl fmt::Display for SessionReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for input in &self.inputs {
            writeln!(
                f,
                "{} {}: {} files, {} frames, {}, gaps on record {}",
                input.session,
                input.input,
                input.files.len(),
                input.frames,
                Seconds(input.duration_ns),
                Seconds(input.gap_ns),
            )?;
            input.files.iter().try_for_each(|file| writeln!(f, "{file}"))?;
            input.findings.iter().try_for_each(|finding| writeln!(f, "{finding}"))?;
        }
        self.strays.iter().try_for_each(|file| writeln!(f, "{file}"))?;
        write!(f, "{}", if self.is_ok() { "all footage is whole and accounted for" } else { "NOT all is well" })
    }
}
