//! Sums up chunks: the writer as it writes them, recovery and verification as they read them. One way to count, so
//! that a ledger can be compared to the bit.

use crate::identity::Counts;
use crate::ledger::{CloseReason, Ledger, TrackLedger};
use crate::mfra::Entry;
use crate::reader::Sample;
use crate::seal::Notes;
use crate::types::{Track, ticks_to_ns};

/// The sums so far.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    base_ns: u64,
    timescales: Vec<u32>,
    /// The track that the index at the end of the file is for: the first with pictures, else the first.
    index_track: usize,
    ledger: Ledger,
    index: Vec<Entry>,
}

impl Tally {
    pub(crate) fn new(base_ns: u64, tracks: &[Track]) -> Self {
        Self {
            base_ns,
            timescales: tracks.iter().map(|track| track.timescale).collect(),
            index_track: tracks.iter().position(|track| track.codec.is_video()).unwrap_or(0),
            ledger: Ledger {
                reason: CloseReason::Unknown,
                chunks: 0,
                tracks: vec![TrackLedger::default(); tracks.len()],
                duration_ns: 0,
                gaps: Vec::new(),
                marks: Vec::new(),
                counts: Counts::default(),
                cut: None,
                holes: Vec::new(),
            },
            index: Vec::new(),
        }
    }

    /// Adds one chunk, whose `moof` stands at `moof_offset`.
    pub(crate) fn add<'a>(&mut self, moof_offset: u64, samples: impl IntoIterator<Item = &'a Sample>, notes: Notes) {
        self.ledger.chunks += 1;
        let mut places = Places::default();
        for sample in samples {
            let place = places.next(sample.track);
            self.add_sample(sample);
            // Sound has only sync samples: one entry per chunk is plenty.
            let first = place.sample == 1
                || self.ledger.tracks[sample.track].sync_frames < self.ledger.tracks[sample.track].frames;
            if sample.sync && sample.track == self.index_track && first {
                let time = u64::try_from(sample.pts.max(0)).unwrap_or(0);
                self.index.push(Entry { time, moof_offset, traf: place.traf, sample: place.sample });
            }
        }
        self.note(notes);
    }

    fn add_sample(&mut self, sample: &Sample) {
        let timescale = self.timescales[sample.track];
        let to_mono = |ticks: u64| {
            let ns = ticks_to_ns(i128::from(ticks), timescale).saturating_add(i128::from(self.base_ns));
            u64::try_from(ns).unwrap_or(u64::MAX)
        };
        let track = &mut self.ledger.tracks[sample.track];
        if track.frames == 0 {
            track.start_mono_ns = to_mono(sample.dts);
        }
        track.frames += 1;
        track.sync_frames += u64::from(sample.sync);
        track.bytes += u64::from(sample.size);
        let end = to_mono(sample.dts.saturating_add(u64::from(sample.duration)));
        track.end_mono_ns = track.end_mono_ns.max(end);
        self.ledger.duration_ns = self.ledger.duration_ns.max(end.saturating_sub(self.base_ns));
    }

    /// Adds what was noted.
    pub(crate) fn note(&mut self, notes: Notes) {
        self.ledger.gaps.extend(notes.gaps);
        self.ledger.marks.extend(notes.marks);
        if let Some(counts) = notes.counts {
            self.ledger.counts = counts;
        }
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub(crate) fn ledger_mut(&mut self) -> &mut Ledger {
        &mut self.ledger
    }

    pub(crate) fn index(&self) -> &[Entry] {
        &self.index
    }

    /// Index of the track that [`Tally::index`] is for.
    pub(crate) fn index_track(&self) -> usize {
        self.index_track
    }
}

/// Counts which `traf` and which sample in it comes next; runs of different tracks never interleave in a chunk.
#[derive(Default)]
struct Places {
    track: Option<usize>,
    place: Place,
}

#[derive(Clone, Copy, Default)]
struct Place {
    traf: u32,
    sample: u32,
}

impl Places {
    fn next(&mut self, track: usize) -> Place {
        if self.track != Some(track) {
            self.track = Some(track);
            self.place = Place { traf: self.place.traf + 1, sample: 0 };
        }
        self.place.sample += 1;
        self.place
    }
}
