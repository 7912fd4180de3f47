//! The sample tables of one track, compact enough for days of footage: runs of equal values, four bytes per size.

use crate::types::{Track, ticks_to_ns};

/// One sample on its way into the tables. Times are ticks of the table on the result's timeline.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub dts: i128,
    pub pts: i128,
    pub duration: i128,
    pub size: u32,
    pub sync: bool,
    /// Where its bytes stand in the payload of the result.
    pub place: u64,
    /// Sample description, from 1.
    pub description: u32,
}

/// Samples that stand together in the payload and share a description.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunk {
    pub place: u64,
    pub samples: u32,
    pub description: u32,
}

/// A value and how often it comes in a row.
#[derive(Clone, Debug, Default)]
pub(super) struct Runs<T>(pub Vec<(u32, T)>);

impl<T: PartialEq> Runs<T> {
    fn push(&mut self, value: T) {
        match self.0.last_mut() {
            Some((count, last)) if *last == value && *count < u32::MAX => *count += 1,
            _ => self.0.push((1, value)),
        }
    }
}

#[derive(Debug)]
pub(super) struct Table {
    pub is_video: bool,
    pub timescale: u32,
    /// Sample entry boxes.
    pub descriptions: Vec<Vec<u8>>,
    pub codecs: Vec<String>,
    /// The track of the first description: size and channels for the track header.
    pub first: Option<Track>,
    /// Distances to the next sample, in ticks.
    pub deltas: Runs<u32>,
    /// `pts - dts`, in ticks.
    pub offsets: Runs<i64>,
    pub sizes: Vec<u32>,
    /// Numbers of the sync samples, from 1.
    pub syncs: Vec<u32>,
    pub chunks: Vec<Chunk>,
    pub first_dts: i128,
    pub min_pts: i128,
    /// End of the last sample shown.
    pub max_end: i128,
    last: Option<(i128, i128)>,
    open_chunk: Option<(Chunk, u64)>,
}

impl Table {
    pub fn new(is_video: bool, timescale: u32) -> Self {
        Self {
            is_video,
            timescale,
            descriptions: Vec::new(),
            codecs: Vec::new(),
            first: None,
            deltas: Runs(Vec::new()),
            offsets: Runs(Vec::new()),
            sizes: Vec::new(),
            syncs: Vec::new(),
            chunks: Vec::new(),
            first_dts: 0,
            min_pts: 0,
            max_end: 0,
            last: None,
            open_chunk: None,
        }
    }

    pub fn samples(&self) -> u64 {
        self.sizes.len() as u64
    }

    /// Number of the track's sample description, from 1; a new one if the configuration is new.
    pub fn describe(&mut self, track: &Track) -> u32 {
        let entry = super::sample_entry_bytes(track);
        self.first.get_or_insert_with(|| track.clone());
        if !self.codecs.iter().any(|name| name == track.codec.name()) {
            self.codecs.push(track.codec.name().to_owned());
        }
        let index = self.descriptions.iter().position(|known| *known == entry).unwrap_or_else(|| {
            self.descriptions.push(entry);
            self.descriptions.len() - 1
        });
        u32::try_from(index + 1).unwrap_or(u32::MAX)
    }

    pub fn push(&mut self, row: Row) {
        let dts = match self.last {
            // Ticks of two files may differ by rounding; times never go back.
            Some((last, _)) => row.dts.max(last),
            None => {
                (self.first_dts, self.min_pts, self.max_end) = (row.dts, row.pts, row.pts);
                row.dts
            }
        };
        if let Some((last, _)) = self.last {
            self.deltas.push(u32::try_from(dts - last).unwrap_or(u32::MAX));
        }
        self.last = Some((dts, row.duration.max(0)));
        self.min_pts = self.min_pts.min(row.pts);
        self.max_end = self.max_end.max(row.pts + row.duration.max(0));
        self.offsets.push(i64::try_from(row.pts - dts).unwrap_or(0));
        self.sizes.push(row.size);
        if row.sync {
            self.syncs.push(u32::try_from(self.sizes.len()).unwrap_or(u32::MAX));
        }
        match &mut self.open_chunk {
            Some((chunk, end)) if *end == row.place && chunk.description == row.description => {
                chunk.samples += 1;
                *end += u64::from(row.size);
            }
            open => {
                let chunk = Chunk { place: row.place, samples: 1, description: row.description };
                self.chunks.extend(open.replace((chunk, row.place + u64::from(row.size))).map(|(chunk, _)| chunk));
            }
        }
    }

    /// What was appended at once is a chunk: so tracks stay interleaved.
    pub fn end_chunk(&mut self) {
        self.chunks.extend(self.open_chunk.take().map(|(chunk, _)| chunk));
    }

    pub fn finish(&mut self) {
        self.end_chunk();
        if let Some((_, duration)) = self.last.take() {
            self.deltas.push(u32::try_from(duration).unwrap_or(u32::MAX));
        }
    }

    /// Decode end of the last sample, if any, and that sample's duration; both in ticks.
    pub fn decode_end(&self) -> Option<(i128, i128)> {
        self.last.map(|(dts, duration)| (dts + duration, duration))
    }

    /// Decode time of the last sample.
    pub fn last_dts(&self) -> Option<i128> {
        self.last.map(|(dts, _)| dts)
    }

    /// When its first picture is shown.
    pub fn start_ns(&self) -> i128 {
        ticks_to_ns(self.min_pts, self.timescale)
    }

    /// When its last picture ends.
    pub fn end_ns(&self) -> i128 {
        ticks_to_ns(self.max_end, self.timescale)
    }

    /// Sum of all distances, in ticks.
    pub fn media_duration(&self) -> u64 {
        self.deltas.0.iter().map(|(count, delta)| u64::from(*count) * u64::from(*delta)).sum()
    }

    /// What must be added to all `pts - dts` so that none is negative.
    pub fn lift(&self) -> i64 {
        self.offsets.0.iter().map(|(_, offset)| -offset).max().unwrap_or(0).max(0)
    }
}
