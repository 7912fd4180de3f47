//! The hole a recording is in, until the picture comes that ends it. Pure.

use holdfast_link::{self as link, DropReason};
use holdfast_segment::{Gap, GapCause};

use crate::state::segment_cause;

/// A hole whose end is not known yet.
#[derive(Debug)]
pub struct Hole {
    cause: GapCause,
    start_ns: u64,
    frames_lost: u64,
    began: Began,
}

/// When a hole began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Began {
    /// In this boot: its start is on the clock of its end.
    ThisBoot,
    /// In an earlier one, so long before this boot's clock began; `None` if that is not known, and its length is not either.
    Earlier { before_ns: Option<u64> },
}

/// At most one hole is open at a time: what goes wrong inside of it makes it longer, its first cause stays.
#[derive(Debug, Default)]
pub struct Gaps(Option<Hole>);

impl Gaps {
    /// The hole that a resumed recording begins with, if it is one. `mono_zero_wall_ns`: Unix time at which the monotonic clock of
    /// this boot began, by the wall clock of now.
    pub fn resumed(resume: Option<&link::Resume>, mono_zero_wall_ns: i64) -> Self {
        Self(resume.map(|resume| Hole {
            cause: segment_cause(resume.cause),
            start_ns: resume.safe_until_mono_ns,
            frames_lost: resume.frames_lost,
            began: match (resume.cause, resume.safe_until_wall_ns) {
                (link::GapCause::Reboot, 0) => Began::Earlier { before_ns: None },
                (link::GapCause::Reboot, until) => {
                    let before_ns = mono_zero_wall_ns.checked_sub(until);
                    // Clocks that disagree a little about an instant: it was before this boot all the same.
                    Began::Earlier { before_ns: before_ns.map(|ns| u64::try_from(ns).unwrap_or(0)) }
                }
                _ => Began::ThisBoot,
            },
        }))
    }

    /// Pictures stop at `start_ns`.
    pub fn begin(&mut self, cause: GapCause, start_ns: u64) {
        self.lost(cause, start_ns, 0);
    }

    /// `frames` that came in are lost, the first of them at `start_ns`.
    pub fn lost(&mut self, cause: GapCause, start_ns: u64, frames: u64) {
        let fresh = || Hole { cause, start_ns, frames_lost: 0, began: Began::ThisBoot };
        self.0.get_or_insert_with(fresh).frames_lost += frames;
    }

    /// The hole as it is when the picture at `end_ns` ends it; nothing if that lies before it.
    pub fn ended_by(&self, end_ns: u64) -> Option<Gap> {
        let open = self.0.as_ref().filter(|open| open.began != Began::ThisBoot || open.start_ns <= end_ns)?;
        let duration_ns = match open.began {
            Began::ThisBoot => end_ns - open.start_ns,
            Began::Earlier { before_ns } => before_ns.map_or(0, |before_ns| before_ns.saturating_add(end_ns)),
        };
        Some(Gap { cause: open.cause, start_mono_ns: open.start_ns, duration_ns, frames_lost: open.frames_lost })
    }

    /// Whether a picture is waited for.
    pub fn is_open(&self) -> bool {
        self.0.is_some()
    }

    /// It is being put on record. If that fails, hand what is returned back to [`Gaps::reopen`].
    pub fn close(&mut self) -> Option<Hole> {
        self.0.take()
    }

    /// It could not be put on record: it goes on, with all that has happened since.
    pub fn reopen(&mut self, hole: Hole) {
        let since = self.0.take().map_or(0, |hole| hole.frames_lost);
        self.0 = Some(Hole { frames_lost: hole.frames_lost + since, ..hole });
    }
}

/// What a viewer of the gap is told about frames that were lost for this reason.
pub fn cause_of(reason: DropReason) -> GapCause {
    match reason {
        DropReason::DiskStall => GapCause::DiskStall,
        DropReason::WriteFailed => GapCause::DiskFailed,
        DropReason::Encoder => GapCause::EncoderFailed,
        DropReason::NoKeyframe | DropReason::Corrupt => GapCause::SourceLost,
        DropReason::Overload => GapCause::EncoderFailed,
    }
}

#[cfg(test)]
mod tests {
    use super::Gaps;
    use holdfast_link as link;
    use holdfast_segment::GapCause;

    #[test]
    fn the_first_cause_stays_and_losses_add_up() {
        let mut gaps = Gaps::default();
        assert!(gaps.ended_by(5).is_none());
        gaps.begin(GapCause::SourceLost, 100);
        gaps.lost(GapCause::DiskFailed, 150, 7);
        gaps.lost(GapCause::DiskFailed, 170, 1);
        assert!(gaps.ended_by(99).is_none(), "a picture from before it does not end it");
        let gap = gaps.ended_by(300).unwrap();
        assert_eq!(
            (gap.cause, gap.start_mono_ns, gap.duration_ns, gap.frames_lost),
            (GapCause::SourceLost, 100, 200, 8)
        );
        let hole = gaps.close().unwrap();
        assert!(gaps.ended_by(300).is_none());
        // It could not be written: the hole goes on.
        gaps.lost(GapCause::DiskFailed, 300, 2);
        gaps.reopen(hole);
        let gap = gaps.ended_by(400).unwrap();
        assert_eq!(
            (gap.cause, gap.start_mono_ns, gap.duration_ns, gap.frames_lost),
            (GapCause::SourceLost, 100, 300, 10)
        );
    }

    #[test]
    fn times_of_another_boot_are_subtracted_by_the_wall_clock_or_not_at_all() {
        let resume = |cause, safe_until_wall_ns| link::Resume {
            cause,
            safe_until_mono_ns: 9_000,
            frames_lost: 0,
            previous_sequence: 1,
            previous_file_id: None,
            safe_until_wall_ns,
        };
        let over_boot = |until| {
            let gap = Gaps::resumed(Some(&resume(link::GapCause::Reboot, until)), 1_000_000).ended_by(50).unwrap();
            assert_eq!((gap.cause, gap.start_mono_ns), (GapCause::Reboot, 9_000));
            gap.duration_ns
        };
        assert_eq!(over_boot(0), 0, "nobody knows");
        assert_eq!(over_boot(999_300), 750, "700 before this boot, 50 in it");
        assert_eq!(over_boot(1_000_020), 50, "the clocks disagree a little");
        let died = Gaps::resumed(Some(&resume(link::GapCause::CaptureDied, 0)), 1_000_000);
        assert_eq!(died.ended_by(9_500).unwrap().duration_ns, 500);
    }
}
