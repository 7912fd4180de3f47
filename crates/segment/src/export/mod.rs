//! Segments of one input → one ordinary MP4 that any editor opens. Nothing is re-encoded.
//!
//! The file has its index in front (`ftyp | moov | mdat`), so that it can be played while it is copied over a network.
//! The index depends on the segments alone: a run that was interrupted finds its own head in the `.part` file and goes
//! on behind what is there.
//!
//! The timeline is the one of capture. Where footage is missing, the last frame before the gap stands until the footage
//! goes on ([`Gaps::Keep`]), so that times in the file are true times; or the gap is cut out ([`Gaps::Cut`]).

mod copy;
mod header;
mod planner;
mod tables;
mod timeline;

use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::Error;
use crate::identity::GapCause;
use crate::reader::Reader;
use crate::types::FileId;
use crate::{PART_SUFFIX, sample_entry};
use planner::Planner;

/// More samples than a year of video with sound has; the index would no longer fit into memory or a box.
const MAX_SAMPLES: u64 = 500_000_000;

/// What becomes of stretches without footage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gaps {
    /// The last frame before it stands until the footage goes on: the timeline stays true. Gaps of more than six hours
    /// are shortened to that, because a frame can't last longer in this format.
    #[default]
    Keep,
    /// They are cut out: the footage goes on at once.
    Cut,
}

/// How to export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// What becomes of gaps.
    pub gaps: Gaps,
    /// Turn marks into chapters.
    pub chapters: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { gaps: Gaps::Keep, chapters: true }
    }
}

/// Why an export did not come about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// A segment can't be read.
    #[error(transparent)]
    Segment(#[from] Error),
    /// There is nothing to export.
    #[error("{}: no segments with footage here", path.display())]
    Nothing {
        /// Where was looked.
        path: PathBuf,
    },
    /// Segments of several recordings.
    #[error(
        "{}: is of input {found} in session {found_session}, not of {wanted} in {wanted_session}",
        path.display()
    )]
    Mixed {
        /// The segment that does not belong.
        path: PathBuf,
        /// Its input.
        found: String,
        /// Its session.
        found_session: String,
        /// Input of the first segment.
        wanted: String,
        /// Session of the first segment.
        wanted_session: String,
    },
    /// The result is there already.
    #[error("{}: exists already", path.display())]
    Exists {
        /// The result.
        path: PathBuf,
    },
    /// Another export writes it.
    #[error("{}: is being written by another export", path.display())]
    Busy {
        /// The unfinished result.
        path: PathBuf,
    },
    /// A segment was replaced between planning and copying.
    #[error("{}: has changed since the export was planned", path.display())]
    Changed {
        /// The segment.
        path: PathBuf,
    },
    /// Too much for one file.
    #[error("{samples} frames are too many for one file (at most {MAX_SAMPLES})")]
    TooLong {
        /// How many there are.
        samples: u64,
    },
    /// The operating system refused.
    #[error("{}: cannot {what}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The caller wanted no more.
    #[error("{}: stopped; what is written so far is kept", path.display())]
    Stopped {
        /// The unfinished result.
        path: PathBuf,
    },
}

impl ExportError {
    fn io(path: &Path, what: &'static str, source: impl Into<io::Error>) -> Self {
        Self::Io { path: path.to_owned(), what, source: source.into() }
    }

    /// What a person can do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Segment(error) => error.remedy(),
            Self::Nothing { .. } => "name the directory of one input of a session, or its segment files",
            Self::Mixed { .. } => "export one input of one session at a time",
            Self::Exists { .. } => "choose another name, or remove it first",
            Self::Busy { .. } => "wait for the other export",
            Self::Changed { .. } => "run the export again",
            Self::TooLong { .. } => "export the segments in several parts",
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                "free space on that disk and run the export again; it goes on where it stopped"
            }
            Self::Io { .. } => {
                "check the disk, the path and the permissions, and run the export again; it goes on where it stopped"
            }
            Self::Stopped { .. } => "run the export again; it goes on where it stopped",
        }
    }
}

/// What an export will be, or was.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Session of the footage.
    pub session: String,
    /// Input of the footage.
    pub input: String,
    /// How many segments it is made of.
    pub segments: usize,
    /// Length of the file.
    pub bytes: u64,
    /// Duration of the file.
    pub duration_ns: u64,
    /// Unix time of its beginning.
    pub start_wall_ns: i64,
    /// Its tracks.
    pub tracks: Vec<TrackSummary>,
    /// Gaps in it.
    pub gaps: Vec<GapSummary>,
    /// Chapters: nanoseconds from the beginning, and text.
    pub chapters: Vec<(u64, String)>,
    /// Marks that did not become chapters because the format takes 255 of them.
    pub chapters_left_out: usize,
    /// What could not be read; the rest is there.
    pub damaged: Vec<String>,
}

/// A track of an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TrackSummary {
    /// Codec by name; several if it changed.
    pub codecs: Vec<String>,
    /// Frames.
    pub frames: u64,
    /// How many configurations (sample descriptions) it has.
    pub configurations: usize,
}

/// A gap of an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GapSummary {
    /// Where in the file, from its beginning.
    pub at_ns: u64,
    /// How much footage is missing.
    pub missing_ns: u64,
    /// How long it is in the file.
    pub kept_ns: u64,
    /// Why, if the segments tell.
    pub cause: Option<GapCause>,
    /// Frames known to be lost.
    pub frames_lost: u64,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes written, with those of an earlier run.
    pub done_bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
}

/// How an export went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Exported {
    /// Length of the file.
    pub bytes: u64,
    /// Bytes that an earlier run had written already.
    pub resumed_bytes: u64,
}

/// Bytes of a segment that go into the result as they are.
#[derive(Clone, Copy, Debug)]
struct Run {
    segment: usize,
    offset: u64,
    bytes: u64,
}

#[derive(Clone, Debug)]
struct Segment {
    path: PathBuf,
    file_id: FileId,
}

/// A planned export: the index is made, nothing is written yet.
#[derive(Debug)]
pub struct Export {
    head: Vec<u8>,
    segments: Vec<Segment>,
    runs: Vec<Run>,
    summary: Summary,
}

/// The segments of one input of one session, in their order: `*.mp4`, and `*.mp4.part` that are being written or were
/// never closed.
///
/// # Errors
/// The directory can't be read.
pub fn find_segments(dir: &Path) -> Result<Vec<PathBuf>, ExportError> {
    let fail = |error: io::Error| ExportError::io(dir, "read the directory", error);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.strip_suffix(PART_SUFFIX).unwrap_or(name).ends_with(".mp4") && path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

impl Export {
    /// Reads the segments' indexes and plans the file. Segments may be closed, recovered or still being written; of
    /// these it takes what is safe now.
    ///
    /// # Errors
    /// There is no footage, a segment can't be read at all, or they are not all of one input and session.
    pub fn plan(segments: &[PathBuf], options: &Options) -> Result<Self, ExportError> {
        let mut planner = Planner::new(*options);
        for path in segments {
            // Opened one at a time: there may be more segments than a process may have open.
            match Reader::open(path) {
                Ok(reader) => planner.add(&reader)?,
                // Nothing was lost with these: there never was footage in them, or it was given up.
                Err(Error::Empty { .. } | Error::Recycled { .. }) => {}
                Err(error @ Error::Malformed { .. }) => planner.damaged.push(error.to_string()),
                Err(error) => return Err(error.into()),
            }
        }
        planner.finish(segments.first().and_then(|path| path.parent()).unwrap_or(Path::new(".")))
    }

    /// What it will be.
    #[must_use]
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Writes the file: as `<out>.part` until it is whole and durable. If an earlier run of the same export was
    /// interrupted, it goes on from there. `progress` is called every now and then; if it breaks, what is written is
    /// kept and [`ExportError::Stopped`] returned.
    ///
    /// # Errors
    /// The result exists, is being written by another process, or the disk refuses.
    pub fn write(
        &self,
        out: &Path,
        progress: impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Exported, ExportError> {
        copy::write(self, out, progress)
    }
}

/// The sample entry box of a track.
fn sample_entry_bytes(track: &crate::Track) -> Vec<u8> {
    let mut bytes = Vec::new();
    sample_entry::put(&mut bytes, track);
    bytes
}
