//! What an input's files say of a session: sums, and where and how the newest one ended.

use std::path::Path;

use holdfast_records::Tally;
use holdfast_segment::{CloseReason, PART_SUFFIX, Reader};

use crate::store::{Deleted, file_names};

/// The files of one input.
#[derive(Debug, Default)]
pub struct Survey {
    /// Of all closed files, and of those that retention has given up: they were safe. See [`Survey::add_up`].
    pub tally: Tally,
    /// The newest closed file.
    pub last: Option<Last>,
    /// Per boot, oldest first: when its first file began and its last one ended, monotonic.
    pub boots: Vec<([u8; 16], u64, u64)>,
    /// Closed files that recovery had to close.
    pub recovered: u64,
    /// Of each closed file its place, its video frames and its length.
    closed: Vec<(u64, u64, u64)>,
}

impl Survey {
    /// Adds up what was safe: what is there, and what retention has given up, as the journal told *after* the files were looked at. A file
    /// is noted before it goes: one that went meanwhile is in `deleted`, and one that is there still (the power went) counts once.
    pub fn add_up(&mut self, deleted: &Deleted) {
        let left = || self.closed.iter().filter(|(sequence, ..)| *sequence > deleted.through);
        let safe = deleted.frames + left().map(|(_, frames, _)| frames).sum::<u64>();
        let safe_bytes = deleted.bytes + left().map(|(.., bytes)| bytes).sum::<u64>();
        self.tally = Tally { source: safe, encoded: safe, muxed: safe, safe, safe_bytes, ..Tally::default() };
    }
}

/// The newest closed file of an input.
#[derive(Debug, Clone)]
pub struct Last {
    /// Its boot.
    pub boot_id: [u8; 16],
    /// End of its last video frame on that boot's clock.
    pub end_mono_ns: u64,
    /// The same as a label.
    pub end_wall_ns: i64,
    /// Why it was closed.
    pub reason: CloseReason,
    sequence: u64,
}

/// Looks at all files of an input's directory. They are not added up yet.
pub fn survey(dir: &Path) -> Survey {
    let mut survey = Survey::default();
    for name in file_names(dir).iter().filter(|name| !name.ends_with(PART_SUFFIX)) {
        let Ok(reader) = Reader::open(&dir.join(name)) else { continue };
        let Some(ledger) = reader.ledger() else { continue };
        let identity = reader.identity();
        let video = reader.tracks().iter().position(|track| track.codec.is_video()).unwrap_or(0);
        let (frames, end_mono_ns) = ledger.tracks.get(video).map_or((0, 0), |track| (track.frames, track.end_mono_ns));
        survey.closed.push((identity.sequence, frames, reader.file_bytes()));
        survey.recovered += u64::from(ledger.reason == CloseReason::Recovered);
        let boot_id = identity.boot_id.0;
        match survey.boots.iter_mut().find(|(boot, ..)| *boot == boot_id) {
            Some((_, start, end)) => {
                (*start, *end) = ((*start).min(identity.start_mono_ns), (*end).max(end_mono_ns));
            }
            None => survey.boots.push((boot_id, identity.start_mono_ns, end_mono_ns)),
        }
        let lasted = i64::try_from(end_mono_ns.saturating_sub(identity.start_mono_ns)).unwrap_or(i64::MAX);
        if survey.last.as_ref().is_none_or(|last| last.sequence < identity.sequence) {
            survey.last = Some(Last {
                boot_id,
                end_mono_ns,
                end_wall_ns: identity.start_wall_ns.saturating_add(lasted),
                reason: ledger.reason,
                sequence: identity.sequence,
            });
        }
    }
    survey
}

#[cfg(test)]
mod tests {
    use super::Survey;
    use crate::store::Deleted;

    #[test]
    fn what_was_given_up_counts_once_whether_it_is_gone_or_not() {
        // The third was noted, and is there still.
        let mut survey = Survey { closed: vec![(3, 30, 300), (4, 40, 400)], ..Survey::default() };
        survey.add_up(&Deleted { through: 3, files: 3, frames: 60, bytes: 600, wall_ns: 0 });
        assert_eq!((survey.tally.safe, survey.tally.safe_bytes, survey.tally.source), (100, 1000, 100));
    }
}
