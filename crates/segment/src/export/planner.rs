//! Reads the segments' indexes and makes the index of the result.

use std::collections::BTreeSet;
use std::path::Path;

use super::tables::{self, Table};
use super::timeline::Timeline;
use super::{Export, ExportError, MAX_SAMPLES, Options, Run, Segment, Summary, TrackSummary, header};
use crate::error::Error;
use crate::identity::{Identity, Mark};
use crate::reader::Reader;

pub(super) struct Planner {
    options: Options,
    timeline: Timeline,
    tables: Vec<Table>,
    segments: Vec<Segment>,
    runs: Vec<Run>,
    payload_bytes: u64,
    first: Option<Identity>,
    pub damaged: Vec<String>,
    chapters: Vec<(i128, String)>,
    marks_seen: BTreeSet<(u64, String)>,
}

impl Planner {
    pub fn new(options: Options) -> Self {
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

    pub fn add(&mut self, reader: &Reader) -> Result<(), ExportError> {
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
        let descriptions: Vec<u32> =
            places.iter().zip(reader.tracks()).map(|(place, track)| self.tables[*place].describe(track)).collect();
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
        for mark in reader.ledger().map(|ledger| ledger.marks.as_slice()).unwrap_or_default() {
            self.mark(mark);
        }
        self.timeline.leave(identity, &self.tables);
        if any {
            self.first.get_or_insert_with(|| identity.clone());
        }
        // A segment without footage has no runs; it keeps its number all the same.
        self.segments.push(Segment { path: reader.path().to_owned(), file_id: identity.file_id });
        let samples = self.tables.iter().map(Table::samples).sum();
        if samples > MAX_SAMPLES { Err(ExportError::TooLong { samples }) } else { Ok(()) }
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
                _ => self.runs.push(Run { segment, offset: sample.offset, bytes }),
            }
        }
        self.tables.iter_mut().for_each(Table::end_chunk);
    }

    fn mark(&mut self, mark: &Mark) {
        if self.marks_seen.insert((mark.mono_ns, mark.text.clone())) {
            self.chapters.push((self.timeline.mark_ns(mark.mono_ns), mark.text.clone()));
        }
    }

    pub fn finish(mut self, place: &Path) -> Result<Export, ExportError> {
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
            chapters = self.chapters.into_iter().map(|(ns, text)| (from_zero(ns), text)).collect();
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
        Ok(Export { head, segments: self.segments, runs: self.runs, summary })
    }
}
