//! Counts what a recording took, kept and lost. Pure.
//!
//! For the recording as a whole (status, `Stopped`) and for the open file (its seals and ledger). In both
//! `source = safe + Σ drops` once everything has been written or given up.

use holdfast_link::{self as link, DropReason};
use holdfast_segment::Counts;

use crate::state::segment_reason;

#[derive(Debug, Clone, Default)]
struct Sums {
    muxed: u64,
    safe: u64,
    drops: Vec<(DropReason, u64)>,
}

impl Sums {
    fn lose(&mut self, reason: DropReason, frames: u64) {
        match self.drops.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, count)) => *count += frames,
            None => self.drops.push((reason, frames)),
        }
    }

    fn lost(&self) -> u64 {
        self.drops.iter().map(|(_, frames)| frames).sum()
    }
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    whole: Sums,
    file: Sums,
    /// Numbers of the recording's first and newest frame at the source and behind the encoder, less the first one's.
    first: Option<(u64, u64)>,
    newest: (u64, u64),
    trailing_lost: u64,
}

impl Tally {
    /// A video frame belongs to the recording. Its numbers say how many came before it at the source and the encoder.
    pub fn saw(&mut self, source_number: u64, encoded_number: u64) {
        self.first.get_or_insert((source_number, encoded_number));
        self.newest = (source_number, encoded_number);
        self.trailing_lost = 0;
    }

    /// The numbers of the first frame, once there is one.
    pub fn first(&self) -> Option<(u64, u64)> {
        self.first
    }

    /// Video frames were lost. They are part of the recording if it has begun.
    pub fn lost(&mut self, reason: DropReason, frames: u64) {
        if frames == 0 {
            return;
        }
        self.whole.lose(reason, frames);
        self.file.lose(reason, frames);
    }

    /// Frames that were lost behind the newest one [seen](Tally::saw), when nothing more is going to come.
    pub fn trailing(&mut self, frames: u64) {
        self.trailing_lost += frames;
    }

    /// A chunk with so many video frames is about to be written.
    pub fn muxed(&mut self, frames: u64) {
        self.whole.muxed += frames;
        self.file.muxed += frames;
    }

    /// It is safe.
    pub fn safe(&mut self, frames: u64) {
        self.whole.safe += frames;
        self.file.safe += frames;
    }

    /// Another file begins. Losses that no file has told yet go into it.
    pub fn next_file(&mut self) {
        let untold = std::mem::take(&mut self.file);
        if untold.muxed == 0 {
            self.file.drops = untold.drops;
        }
    }

    /// Losses by reason, of the whole recording.
    pub fn drops(&self) -> Vec<(DropReason, u64)> {
        self.whole.drops.clone()
    }

    /// Put into chunks, safe: of the whole recording.
    pub fn written(&self) -> (u64, u64) {
        (self.whole.muxed, self.whole.safe)
    }

    /// The recording's counters when it has ended. `source` comes from the frames' numbers, not from the other counters:
    /// if a frame is neither safe nor lost, the difference shows it.
    pub fn final_counts(&self) -> link::Counts {
        let (source, encoded) = match self.first {
            None => (0, 0),
            Some((source, encoded)) => (self.newest.0 - source + 1, self.newest.1 - encoded + 1),
        };
        link::Counts {
            source: source + self.trailing_lost,
            encoded: encoded + self.trailing_lost,
            muxed: self.whole.muxed,
            safe: self.whole.safe,
        }
    }

    /// The open file's counters, as of now.
    pub fn file_counts(&self) -> Counts {
        let source = self.file.muxed + self.file.lost();
        Counts {
            source,
            encoded: source - self.file_encoder_drops(),
            muxed: self.file.muxed,
            safe: self.file.safe,
            dropped: self.file.drops.iter().map(|(reason, frames)| (segment_reason(*reason), *frames)).collect(),
        }
    }

    fn file_encoder_drops(&self) -> u64 {
        self.file.drops.iter().filter(|(reason, _)| *reason == DropReason::Encoder).map(|(_, frames)| frames).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::Tally;
    use holdfast_link::DropReason;

    #[test]
    fn what_came_is_safe_or_lost() {
        let mut tally = Tally::default();
        for number in 11..=40 {
            tally.saw(number + 100, number);
        }
        tally.muxed(30);
        tally.safe(30);
        tally.lost(DropReason::DiskStall, 5);
        tally.saw(146, 46);
        tally.muxed(1);
        tally.safe(1);
        let counts = tally.final_counts();
        assert_eq!((counts.source, counts.encoded, counts.muxed, counts.safe), (36, 36, 31, 31));
        assert_eq!(tally.drops(), [(DropReason::DiskStall, 5)]);
    }

    #[test]
    fn losses_between_two_files_are_told_by_the_next() {
        let mut tally = Tally::default();
        tally.muxed(3);
        tally.safe(3);
        tally.next_file();
        assert!(tally.file_counts().dropped.is_empty());
        tally.lost(DropReason::WriteFailed, 7);
        tally.next_file();
        tally.muxed(1);
        assert_eq!(tally.file_counts().dropped, [(holdfast_segment::DropReason::WriteFailed, 7)]);
        assert_eq!(tally.file_counts().source, 8);
    }
}
