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
mod tables;
mod timeline;

use std::collections::BTreeSet;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::Error;
use crate::identity::{GapCause, Identity, Mark};
use crate::reader::Reader;
use crate::types::FileId;
use crate::{PART_SUFFIX, sample_entry};
use tables::Table;
use timeline::Timeline;

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
        Self {
            gaps: Gaps::Keep,
            chapters: true,
        }
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
        Self::Io {
            path: path.to_owned(),
            what,
            source: source.into(),
        }
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
        planner.finish(
            segments
                .first()
                .and_then(|path| path.parent())
                .unwrap_or(Path::new(".")),
        )
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

struct Planner {
    options: Options,
    timeline: Timeline,
    tables: Vec<Table>,
    segments: Vec<Segment>,
    runs: Vec<Run>,
    payload_bytes: u64,
    first: Option<Identity>,
    damaged: Vec<String>,
    chapters: Vec<(i128, String)>,
    marks_seen: BTreeSet<(u64, String)>,
}

impl Planner {
    fn new(options: Options) -> Self {
        Self {
            options,
            timeline: Timeline::new(options.gaps),
            tables: Vec::new(),
            segments: Vec::new(),
            runs: Vec::new(),
            payload_bytes: 0,
            first: None,
            damaged: Vec::new(),
            chapters: Vec::new(),
            marks_seen: BTreeSet::new(),
        }
    }

    fn add(&mut self, reader: &Reader) -> Result<(), ExportError> {
        let identity = reader.identity();
        if let Some(first) = &self.first
            && (first.input != identity.input || first.session != identity.session)
        {
            return Err(ExportError::Mixed {
                path: reader.path().to_owned(),
                found: identity.input.clone(),
                found_session: identity.session.clone(),
                wanted: first.input.clone(),
                wanted_session: first.session.clone(),
            });
        }
        let segment = self.segments.len();
        let places = self.places(reader);
        let descriptions: Vec<u32> = places
            .iter()
            .zip(reader.tracks())
            .map(|(place, track)| self.tables[*place].describe(track))
            .collect();
        self.timeline.enter(identity);
        let mut any = false;
        for chunk in reader.chunks() {
            let chunk = match chunk {
                Ok(chunk) => chunk,
                Err(error @ Error::Malformed { .. }) => {
                    self.damaged.push(error.to_string());
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            self.timeline.chunk(&chunk, reader, &places, &self.tables);
            for mark in &chunk.notes.marks {
                self.mark(mark);
            }
            self.samples(segment, &chunk.samples, reader, &places, &descriptions);
            any |= !chunk.samples.is_empty();
        }
        for mark in reader
            .ledger()
            .map(|ledger| ledger.marks.as_slice())
            .unwrap_or_default()
        {
            self.mark(mark);
        }
        self.timeline.leave(identity, &self.tables);
        if any {
            self.first.get_or_insert_with(|| identity.clone());
        }
        // A segment without footage has no runs; it keeps its number all the same.
        self.segments.push(Segment {
            path: reader.path().to_owned(),
            file_id: identity.file_id,
        });
        let samples = self.tables.iter().map(Table::samples).sum();
        if samples > MAX_SAMPLES {
            Err(ExportError::TooLong { samples })
        } else {
            Ok(())
        }
    }

    /// Which table each of the segment's tracks goes to: the n-th video track to the n-th, and so with sound.
    fn places(&mut self, reader: &Reader) -> Vec<usize> {
        let mut taken = Vec::new();
        for track in reader.tracks() {
            let is_video = track.codec.is_video();
            let place = (0..self.tables.len())
                .find(|place| self.tables[*place].is_video == is_video && !taken.contains(place))
                .unwrap_or_else(|| {
                    self.tables.push(Table::new(is_video, track.timescale));
                    self.tables.len() - 1
                });
            taken.push(place);
        }
        taken
    }

    fn samples(
        &mut self,
        segment: usize,
        samples: &[crate::Sample],
        reader: &Reader,
        places: &[usize],
        descriptions: &[u32],
    ) {
        for sample in samples {
            let table = &mut self.tables[places[sample.track]];
            let from = reader.tracks()[sample.track].timescale;
            let at = |ticks: i128| self.timeline.ticks(ticks, from, table.timescale);
            let (dts, pts) = (at(i128::from(sample.dts)), at(i128::from(sample.pts)));
            let end = at(i128::from(sample.dts) + i128::from(sample.duration));
            let bytes = u64::from(sample.size);
            table.push(tables::Row {
                dts,
                pts,
                duration: end - dts,
                size: sample.size,
                sync: sample.sync,
                place: self.payload_bytes,
                description: descriptions[sample.track],
            });
            self.payload_bytes += bytes;
            match self.runs.last_mut() {
                Some(run) if run.segment == segment && run.offset + run.bytes == sample.offset => run.bytes += bytes,
                _ => self.runs.push(Run {
                    segment,
                    offset: sample.offset,
                    bytes,
                }),
            }
        }
        self.tables.iter_mut().for_each(Table::end_chunk);
    }

    fn mark(&mut self, mark: &Mark) {
        if self.marks_seen.insert((mark.mono_ns, mark.text.clone())) {
            self.chapters
                .push((self.timeline.mark_ns(mark.mono_ns), mark.text.clone()));
        }
    }

    fn finish(mut self, place: &Path) -> Result<Export, ExportError> {
        self.tables.retain_mut(|table| {
            table.finish();
            table.samples() > 0
        });
        let Some(first) = self.first else {
            return Err(ExportError::Nothing { path: place.to_owned() });
        };
        let zero_ns = self.tables.iter().map(Table::start_ns).min().unwrap_or(0);
        let end_ns = self.tables.iter().map(Table::end_ns).max().unwrap_or(0);
        let from_zero = |ns: i128| u64::try_from((ns - zero_ns).clamp(0, (end_ns - zero_ns).max(0))).unwrap_or(0);
        let mut chapters: Vec<(u64, String)> = Vec::new();
        if self.options.chapters {
            chapters = self
                .chapters
                .into_iter()
                .map(|(ns, text)| (from_zero(ns), text))
                .collect();
            chapters.sort();
        }
        let chapters_left_out = chapters.len().saturating_sub(header::MAX_CHAPTERS);
        chapters.truncate(header::MAX_CHAPTERS);
        let head = header::build(&header::Movie {
            tables: &self.tables,
            zero_ns,
            end_ns,
            start_wall_ns: first.start_wall_ns,
            chapters: &chapters,
            payload_bytes: self.payload_bytes,
        });
        let tracks = self.tables.iter().map(|table| TrackSummary {
            codecs: table.codecs.clone(),
            frames: table.samples(),
            configurations: table.descriptions.len(),
        });
        let summary = Summary {
            session: first.session,
            input: first.input,
            segments: self.segments.len(),
            bytes: head.len() as u64 + self.payload_bytes,
            duration_ns: from_zero(end_ns),
            start_wall_ns: first.start_wall_ns,
            tracks: tracks.collect(),
            gaps: self.timeline.gaps(zero_ns),
            chapters,
            chapters_left_out,
            damaged: self.damaged,
        };
        Ok(Export {
            head,
            segments: self.segments,
            runs: self.runs,
            summary,
        })
    }
}

/// The sample entry box of a track.
fn sample_entry_bytes(track: &crate::Track) -> Vec<u8> {
    let mut bytes = Vec::new();
    sample_entry::put(&mut bytes, track);
    bytes
}
