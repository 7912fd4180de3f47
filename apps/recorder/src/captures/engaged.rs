//! An input's part in a session, over all the processes that recorded it.

use std::collections::BTreeMap;

use holdfast_link::{FileClosed, FileLeft, FileOpened, GapCause, GapReport, Resume, Status, Stopped};
use holdfast_records::Tally;

use super::files::Newest;
use super::view::drop_name;
use super::{Record, Recovered};

/// Frames that a dead capture had taken in and not made safe.
const DIED: &str = "capture-died";

/// What one process made of a session, as it says.
fn tally_of(status: &Status) -> Tally {
    let dropped = status.drops.iter().filter(|drop| drop.frames > 0);
    Tally {
        source: status.counts.source,
        encoded: status.counts.encoded,
        muxed: status.counts.muxed,
        safe: status.counts.safe,
        safe_bytes: status.safe_bytes,
        dropped: dropped.map(|drop| (drop_name(drop.reason).to_owned(), drop.frames)).collect(),
    }
}

/// An input's part in the session it records now.
#[derive(Debug)]
pub struct Engaged {
    /// What was asked for.
    pub record: Record,
    /// Ended processes.
    base: Tally,
    /// The running one.
    run: Tally,
    /// Of `run.safe` and `run.safe_bytes`: in files that are closed, or were left open.
    run_closed: (u64, u64),
    /// Files that no process could complete, by sequence number, with what was told to be safe of them: frames, bytes.
    left: BTreeMap<u64, (u64, u64)>,
    /// It has written to disk in this session, in whichever process.
    pub begun: bool,
    /// `Report::Safe` was sent.
    pub safe_told: bool,
    /// A process has died since, or has left a file open: it needs recovery, and the disk is there for it.
    pub orphans: bool,
    /// What was safe of the last file of the process that died: frames, bytes.
    orphan_safe: (u64, u64),
    safe_until_mono_ns: u64,
    frames_lost: u64,
    last: Option<(u64, [u8; 16])>,
    cause: GapCause,
    /// Why the process said that it ends.
    leaves_for: Option<GapCause>,
    /// When it began, on the monotonic clock.
    since_mono_ns: u64,
    /// The end of the last frame of a file that was recovered.
    recovered_until_mono_ns: u64,
    /// Its capture has closed it because it was asked to.
    in_order: bool,
}

/// A source that waited for less when the end was asked for was just between two frames.
const SOURCE_WAITED_NS: u64 = 1_000_000_000;

impl Engaged {
    /// Begins a part.
    pub fn new(record: Record, now_mono_ns: u64) -> Self {
        Self {
            base: record.base.clone(),
            begun: record.begun,
            run: Tally::default(),
            run_closed: (0, 0),
            left: BTreeMap::new(),
            safe_told: false,
            // A recorder that has restarted can't know whether a process died before.
            orphans: record.begun,
            orphan_safe: (0, 0),
            // Nothing of this boot's clock, if that of another boot is told.
            safe_until_mono_ns: if record.cause == GapCause::Reboot { 0 } else { record.safe_until_mono_ns },
            frames_lost: 0,
            last: None,
            cause: record.cause,
            leaves_for: None,
            since_mono_ns: now_mono_ns,
            recovered_until_mono_ns: 0,
            in_order: false,
            record,
        }
    }

    /// What was made of the session so far.
    pub fn tally(&self) -> Tally {
        self.base.plus(&self.run)
    }

    /// What ended processes made of it.
    pub fn base(&self) -> &Tally {
        &self.base
    }

    /// The capture says how it goes with this session.
    pub fn status(&mut self, status: &Status) {
        self.run = tally_of(status);
        if status.safe_bytes > 0 {
            self.begun = true;
            self.safe_until_mono_ns = self.safe_until_mono_ns.max(status.safe_until_mono_ns);
        }
        if !status.file.is_empty() && self.last.is_none_or(|(sequence, _)| sequence <= status.file_sequence) {
            self.last = Some((status.file_sequence, status.file_id));
        }
    }

    /// The process has said why it is about to end.
    pub fn leaves_for(&mut self, cause: GapCause) {
        self.leaves_for = Some(cause);
    }

    /// It has begun a file.
    pub fn opened(&mut self, file: &FileOpened) {
        self.begun = true;
        self.last = Some((file.sequence, file.file_id));
        // The disk takes files again, so what it has refused before can be closed.
        self.orphans |= !self.left.is_empty();
    }

    /// It could not complete a file.
    pub fn left(&mut self, file: &FileLeft) {
        self.run_closed.0 += file.frames;
        self.run_closed.1 += file.bytes;
        self.left.insert(file.sequence, (file.frames, file.bytes));
    }

    /// The part is over: what was left open is closed now, or by the recovery at the next start.
    pub fn ends(&mut self) {
        self.orphans |= !self.left.is_empty();
    }

    /// It has closed a file.
    pub fn closed(&mut self, file: &FileClosed) {
        self.run_closed.0 += file.frames;
        self.run_closed.1 += file.bytes;
    }

    /// It has closed all its files, because it was asked to or `by_itself`.
    pub fn stopped(&mut self, stopped: &Stopped, by_itself: bool) {
        self.in_order = !by_itself;
        self.run.source = self.run.source.max(stopped.counts.source);
        self.run.encoded = self.run.encoded.max(stopped.counts.encoded);
        self.run.muxed = self.run.muxed.max(stopped.counts.muxed);
        self.run.safe = self.run.safe.max(stopped.counts.safe);
        self.run.safe_bytes = self.run.safe_bytes.max(stopped.safe_bytes);
        self.ended(false);
    }

    /// The process no longer records this session: it died (`died`), or stopped by itself.
    pub fn ended(&mut self, died: bool) {
        if self.run != Tally::default() || self.run_closed != (0, 0) {
            let mut run = std::mem::take(&mut self.run);
            if died {
                let lost = run.source.saturating_sub(run.safe + run.lost());
                if lost > 0 {
                    *run.dropped.entry(DIED.to_owned()).or_default() += lost;
                }
                self.frames_lost += lost;
                self.orphan_safe =
                    (run.safe.saturating_sub(self.run_closed.0), run.safe_bytes.saturating_sub(self.run_closed.1));
            }
            self.base = self.base.plus(&run);
            self.run_closed = (0, 0);
        }
        self.orphans |= died;
        // A process that leaves says why first, then that it has stopped, and then it dies.
        let cause = match self.leaves_for {
            Some(cause) => cause,
            None if died => GapCause::CaptureDied,
            None => GapCause::Unknown,
        };
        if died {
            self.leaves_for = None;
        }
        // As long as nothing is safe in this boot, it is still the restart of the box that the gap comes from.
        if self.cause != GapCause::Reboot || self.safe_until_mono_ns > 0 {
            self.cause = cause;
        }
    }

    /// A file that was left open was recovered: more of it may have been safe than we had been told.
    pub fn recovered(&mut self, file: &Recovered) {
        let (frames, bytes) = self.left.remove(&file.sequence).unwrap_or_else(|| std::mem::take(&mut self.orphan_safe));
        self.recovered_until_mono_ns = self.recovered_until_mono_ns.max(file.end_mono_ns);
        let more = file.frames.saturating_sub(frames);
        self.base.safe += more;
        self.base.safe_bytes += file.bytes.saturating_sub(bytes);
        if more == 0 {
            return;
        }
        // They had been counted as taken in, or died unseen by us; never as lost and safe at once.
        match self.base.dropped.get_mut(DIED) {
            Some(lost) if *lost > more => *lost -= more,
            Some(_) => drop(self.base.dropped.remove(DIED)),
            None => (),
        }
        let accounted = self.base.safe + self.base.lost();
        self.base.source = self.base.source.max(accounted);
    }

    /// What is missing at its end: between processes the next one tells, but after the last there is none. `asked_mono_ns`: when the
    /// end was asked for. `source_waits`: its source delivered nothing just then.
    pub fn gap_at_end(&self, asked_mono_ns: u64, source_waits: bool) -> Option<GapReport> {
        // A file of an earlier boot has a clock of its own.
        let recovered_ns =
            Some(self.recovered_until_mono_ns).filter(|until_ns| *until_ns <= asked_mono_ns).unwrap_or(0);
        let start_mono_ns = match self.safe_until_mono_ns.max(recovered_ns) {
            0 => self.since_mono_ns,
            until_ns => until_ns,
        };
        let missing_ns = asked_mono_ns.saturating_sub(start_mono_ns);
        let cause = match self.in_order {
            false => self.cause,
            true if source_waits && missing_ns > SOURCE_WAITED_NS => GapCause::SourceLost,
            true => return None,
        };
        let duration_ms = missing_ns / 1_000_000;
        (duration_ms > 0).then_some(GapReport { cause, start_mono_ns, duration_ms, frames_lost: self.frames_lost })
    }

    /// The number of the next file: one that none had before it, whether that is there still or not.
    pub fn next_sequence(&self, resume: Option<&Resume>, on_disk: Newest) -> u64 {
        let previous = resume.map_or(0, |resume| resume.previous_sequence.max(on_disk.number));
        previous.max(self.record.past_sequence) + 1
    }

    /// Where the next process takes up; `None` if nothing was written yet. `on_disk`: what is newest there.
    pub fn resume(&mut self, on_disk: Newest) -> Option<Resume> {
        if !self.begun && on_disk.number == 0 {
            return None;
        }
        // Died before it could tell of its newest file, or that file never got its name onto the disk.
        let (previous_sequence, previous_file_id) = match self.last {
            Some((sequence, id)) if on_disk.footage.is_none_or(|(newest, _)| sequence >= newest) => {
                (sequence, Some(id))
            }
            _ => on_disk.footage.unwrap_or_default(),
        };
        let (safe_until_mono_ns, safe_until_wall_ns) = match self.cause {
            GapCause::Reboot => (self.record.safe_until_mono_ns, self.record.safe_until_wall_ns),
            _ => (self.safe_until_mono_ns, 0),
        };
        Some(Resume {
            cause: self.cause,
            safe_until_mono_ns,
            frames_lost: std::mem::take(&mut self.frames_lost),
            previous_sequence,
            previous_file_id,
            safe_until_wall_ns,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{DIED, Engaged};
    use crate::captures::{Record, Recovered, files::Newest};
    use holdfast_link::{FileClosed, FileLeft, FileOpened, GapCause, Stopped};
    use holdfast_records::Tally;

    fn engaged() -> Engaged {
        let record = Record {
            session: "s".into(),
            directory: "d/s/cam0".into(),
            trace: 0,
            base: Tally::default(),
            past_sequence: 0,
            begun: false,
            safe_until_mono_ns: 0,
            safe_until_wall_ns: 0,
            cause: GapCause::CaptureDied,
        };
        Engaged::new(record, 0)
    }

    fn on_disk(number: u64) -> Newest {
        Newest { number, footage: Some((number, None)) }
    }

    /// A process died after it had taken a number for its next file, and before the first chunk.
    #[test]
    fn what_was_never_written_is_nobodys_predecessor() {
        let mut part = engaged();
        part.opened(&FileOpened { sequence: 5, file_id: [5; 16], file: holdfast_link::Path::new() });
        part.ended(true);
        let resume = part.resume(Newest { number: 6, footage: Some((5, Some([5; 16]))) }).unwrap();
        assert_eq!((resume.previous_sequence, resume.previous_file_id), (5, Some([5; 16])));
        // Known by its files alone.
        let resume = engaged().resume(Newest { number: 6, footage: Some((5, Some([9; 16]))) }).unwrap();
        assert_eq!((resume.previous_sequence, resume.previous_file_id), (5, Some([9; 16])));
        assert_eq!(engaged().resume(Newest { number: 1, footage: None }).unwrap().previous_file_id, None);
    }

    /// Retention took all of its files while the session waited for the box to be switched on.
    #[test]
    fn no_number_is_given_twice_also_when_its_file_has_gone() {
        let record = Record { begun: true, past_sequence: 7, cause: GapCause::Reboot, ..engaged().record };
        let mut part = Engaged::new(record, 0);
        let gone = part.resume(Newest::default());
        assert_eq!(part.next_sequence(gone.as_ref(), Newest::default()), 8);
        let resume = part.resume(on_disk(9));
        assert_eq!(part.next_sequence(resume.as_ref(), on_disk(9)), 10);
        assert_eq!(engaged().next_sequence(None, Newest::default()), 1);
    }

    fn closed(frames: u64, bytes: u64) -> FileClosed {
        FileClosed {
            sequence: 1,
            file_id: [0; 16],
            file: holdfast_link::Path::new(),
            digest: [0; 32],
            frames,
            bytes,
            duration_ms: 0,
        }
    }

    fn recovered(frames: u64, bytes: u64) -> Recovered {
        Recovered { path: String::new(), sequence: 2, frames, bytes, duration_ms: 0, end_mono_ns: 0, by_recovery: true }
    }

    #[test]
    fn the_clock_of_an_earlier_boot_is_told_once_and_never_mixed_with_this_one() {
        let hour_ns = 3_600_000_000_000;
        let record = Record { begun: true, safe_until_mono_ns: hour_ns, cause: GapCause::Reboot, ..engaged().record };
        let mut part = Engaged::new(record, 0);
        let told = |part: &mut Engaged| part.resume(on_disk(1)).map(|resume| (resume.cause, resume.safe_until_mono_ns));
        assert_eq!(told(&mut part), Some((GapCause::Reboot, hour_ns)));
        // Died before anything was safe: it is still the same gap.
        part.ended(true);
        assert_eq!(told(&mut part), Some((GapCause::Reboot, hour_ns)));
        // From here on it is this boot's clock, which is far behind.
        part.safe_until_mono_ns = 20_000_000_000;
        part.ended(true);
        assert_eq!(told(&mut part), Some((GapCause::CaptureDied, 20_000_000_000)));
    }

    #[test]
    fn what_was_left_open_is_counted_once_whoever_closes_it() {
        let mut part = engaged();
        part.run = Tally { source: 130, safe: 130, safe_bytes: 1300, ..Tally::default() };
        part.closed(&closed(60, 600));
        part.left(&FileLeft { sequence: 2, frames: 40, bytes: 400 });
        assert!(!part.orphans, "the disk is gone: nothing can be closed");
        part.opened(&FileOpened { sequence: 3, file_id: [0; 16], file: holdfast_link::Path::new() });
        assert!(std::mem::take(&mut part.orphans));
        // Its end was written then.
        part.recovered(&recovered(40, 450));
        assert_eq!((part.tally().safe, part.tally().safe_bytes), (130, 1350));
        // The process dies; of its third file 30 were known to be safe, and 33 are.
        part.ended(true);
        part.recovered(&Recovered { sequence: 3, ..recovered(33, 330) });
        assert_eq!((part.tally().safe, part.tally().source, part.tally().lost()), (133, 133, 0));
        // One that is never seen to come back is tried once more at the end.
        part.left(&FileLeft { sequence: 4, frames: 1, bytes: 1 });
        part.orphans = false;
        part.ends();
        assert!(part.orphans);
    }

    #[test]
    fn what_is_missing_at_the_end_is_told_once_nobody_else_can() {
        const S: u64 = 1_000_000_000;
        let stopped = |part: &mut Engaged, by_itself| {
            let session = holdfast_link::Id::try_from("s").unwrap();
            let counts = holdfast_link::Counts::default();
            part.stopped(&Stopped { request: 0, session, counts, safe_bytes: 0, files: 0 }, by_itself);
        };
        // Died, and nobody has come after it.
        let mut part = engaged();
        part.run = Tally { source: 130, safe: 100, safe_bytes: 1000, ..Tally::default() };
        part.safe_until_mono_ns = 10 * S;
        part.ended(true);
        let gap = part.gap_at_end(14 * S, false).unwrap();
        assert_eq!((gap.cause, gap.start_mono_ns, gap.duration_ms), (GapCause::CaptureDied, 10 * S, 4000));
        assert_eq!(gap.frames_lost, 30);
        // More of its file was safe than it had told.
        part.recovered(&Recovered { end_mono_ns: 11 * S, ..recovered(120, 1200) });
        assert_eq!(part.gap_at_end(14 * S, false).unwrap().duration_ms, 3000);
        // A file of an earlier boot, when the clock was far ahead.
        part.recovered(&Recovered { end_mono_ns: 99 * S, ..recovered(1, 1) });
        assert_eq!(part.gap_at_end(14 * S, false).unwrap().duration_ms, 4000);

        // Asked to stop, and it has: nothing is missing, unless its camera was away.
        let mut part = engaged();
        part.safe_until_mono_ns = 10 * S;
        stopped(&mut part, false);
        assert_eq!(part.gap_at_end(14 * S, false), None);
        assert_eq!(part.gap_at_end(14 * S, true).unwrap().cause, GapCause::SourceLost);
        assert_eq!(part.gap_at_end(10 * S + 900_000_000, true), None, "just between two frames");

        // It had stopped by itself, as its disk failed.
        let mut part = engaged();
        part.safe_until_mono_ns = 10 * S;
        part.leaves_for(GapCause::DiskFailed);
        stopped(&mut part, true);
        assert_eq!(part.gap_at_end(14 * S, false).unwrap().cause, GapCause::DiskFailed);

        // Nothing was ever safe: all of it is missing.
        let part = Engaged::new(engaged().record, 3 * S);
        assert_eq!(
            part.gap_at_end(14 * S, false).map(|gap| (gap.start_mono_ns, gap.duration_ms)),
            Some((3 * S, 11_000))
        );
    }

    #[test]
    fn a_death_loses_what_was_not_safe_and_recovery_finds_what_was() {
        let mut part = engaged();
        part.run = Tally { source: 130, safe: 100, safe_bytes: 1000, ..Tally::default() };
        part.closed(&closed(60, 600));
        part.ended(true);
        assert_eq!((part.tally().safe, part.tally().dropped[DIED]), (100, 30));
        assert_eq!(part.resume(on_disk(2)).unwrap().frames_lost, 30);
        // 40 were known to be safe in the open file; 55 turn out to be.
        part.recovered(&recovered(55, 560));
        let tally = part.tally();
        assert_eq!((tally.source, tally.safe, tally.dropped[DIED], tally.safe_bytes), (130, 115, 15, 1160));
        // More than we ever heard of: frames that came in after the last status.
        part.recovered(&recovered(20, 0));
        let tally = part.tally();
        assert_eq!((tally.source, tally.safe, tally.lost()), (135, 135, 0));
    }
}
