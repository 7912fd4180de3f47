//! Jumps in time that nobody announced: a source that stood still for a while without breaking off. Pure.

use holdfast_segment::verify::{Cadence, TOLERANCE_NS};
use holdfast_segment::{Gap, GapCause};

/// Watches how the times of each track follow each other, as `holdfast_segment::verify` will: what it would call a hole
/// has to stand in the file with its cause.
#[derive(Debug, Default)]
pub struct Jumps {
    /// Of the last frame of each track (pictures, sound): when it began and how long it lasts.
    last: [Option<(u64, u64)>; 2],
    /// Of each track in the file that is written now; `None` until its first frame has come.
    cadence: [Option<Cadence>; 2],
    /// End of the newest gap that is on record.
    explained_until_ns: u64,
    /// What sound jumped over while a hole was known that only a picture ends.
    held: Option<Gap>,
}

impl Jumps {
    /// A new file begins: `verify` will judge it by itself.
    pub fn next_file(&mut self) {
        self.cadence = [None, None];
    }

    /// A gap up to `end_ns` is on record, whoever noticed it.
    pub fn explained(&mut self, end_ns: u64) {
        self.explained_until_ns = self.explained_until_ns.max(end_ns);
        self.held = None;
    }

    /// What sound has jumped over and no picture has explained: to be put on record at the latest when the file ends.
    pub fn unexplained(&mut self) -> Option<Gap> {
        self.held.take()
    }

    /// Somebody has told of a gap; it begins where the pictures end, and that may be earlier than they know: a picture that came
    /// in damaged, say, after a while in which nothing came at all.
    pub fn reach_back(&self, gap: Gap) -> Gap {
        let [Some((last_ns, lasts_ns)), _] = self.last else { return gap };
        let end_ns = last_ns.saturating_add(lasts_ns);
        // One over another boot begins on that boot's clock.
        if gap.cause == GapCause::Reboot || gap.start_mono_ns <= end_ns {
            return gap;
        }
        let duration_ns = gap.duration_ns + (gap.start_mono_ns - end_ns);
        Gap { start_mono_ns: end_ns, duration_ns, ..gap }
    }

    /// The hole before this frame, if there is one that is not on record yet. `in_hole`: one is known and waits for the picture
    /// that ends it. After a break sound may be there first; it has the same hole, not one of its own.
    pub fn before(&mut self, is_video: bool, dts_ns: u64, duration_ns: u64, in_hole: bool) -> Option<Gap> {
        let track = usize::from(!is_video);
        let last = self.last[track].replace((dts_ns, duration_ns));
        let cadence = &mut self.cadence[track];
        let Some((last_ns, lasts_ns)) = last else {
            *cadence = Some(Cadence::default());
            return None;
        };
        let step_ns = dts_ns.saturating_sub(last_ns);
        let jumped = match cadence {
            Some(cadence) => cadence.jumps(step_ns, lasts_ns),
            None => {
                *cadence = Some(Cadence::default());
                // From one file to the next it is from the end of the frame.
                step_ns > lasts_ns.saturating_add(TOLERANCE_NS)
            }
        };
        // Sound and pictures stop together but seldom at the same moment.
        let known = dts_ns <= self.explained_until_ns.saturating_add(TOLERANCE_NS);
        if !jumped || known {
            return None;
        }
        let start_mono_ns = last_ns.saturating_add(lasts_ns);
        let gap = Gap {
            cause: GapCause::SourceLost,
            start_mono_ns,
            duration_ns: dts_ns.saturating_sub(start_mono_ns),
            frames_lost: 0,
        };
        if in_hole {
            self.held.get_or_insert(gap);
            return None;
        }
        self.explained(dts_ns);
        Some(gap)
    }
}

#[cfg(test)]
mod tests {
    use holdfast_segment::{Gap, GapCause};

    use super::Jumps;

    const MS: u64 = 1_000_000;

    #[test]
    fn a_source_that_stood_still_leaves_one_gap_for_pictures_and_sound() {
        let mut jumps = Jumps::default();
        for number in 0..10 {
            assert_eq!(jumps.before(true, number * 33 * MS, 33 * MS, false), None);
            assert_eq!(jumps.before(false, number * 21 * MS, 21 * MS, false), None);
        }
        let gap = jumps.before(true, 1_200 * MS, 33 * MS, false).unwrap();
        assert_eq!((gap.cause, gap.start_mono_ns, gap.duration_ns), (GapCause::SourceLost, 330 * MS, 870 * MS));
        assert_eq!(jumps.before(false, 1_210 * MS, 21 * MS, false), None, "the same hole");
        assert_eq!(jumps.before(true, 1_233 * MS, 33 * MS, false), None);
        assert!(jumps.before(false, 2_000 * MS, 21 * MS, false).is_some(), "a hole in the sound alone is one, too");
    }

    #[test]
    fn what_verify_would_call_a_hole_is_one() {
        let mut jumps = Jumps::default();
        jumps.next_file();
        // It says of its pictures that each lasts a tenth of a second, and they come thirty times a second.
        assert!((0..20).all(|number| jumps.before(true, number * 33 * MS, 100 * MS, false).is_none()));
        assert!(jumps.before(true, (19 * 33 + 390) * MS, 100 * MS, false).is_some());
        // Ten a second, three of them missing: jitter within a file, and a hole between two.
        let mut jumps = Jumps::default();
        jumps.next_file();
        assert!((0..20).all(|number| jumps.before(true, number * 100 * MS, 100 * MS, false).is_none()));
        assert_eq!(jumps.before(true, 2_300 * MS, 100 * MS, false), None);
        jumps.next_file();
        assert!(jumps.before(true, 2_700 * MS, 100 * MS, false).is_some());
    }

    #[test]
    fn sound_that_comes_back_before_the_picture_has_the_same_hole() {
        let mut jumps = Jumps::default();
        for ago in (0..10).rev() {
            jumps.before(true, (1_000 - ago * 33) * MS, 33 * MS, false);
            jumps.before(false, (1_000 - ago * 21) * MS, 21 * MS, false);
        }
        assert_eq!(jumps.before(false, 2_000 * MS, 21 * MS, true), None);
        // The picture comes and ends the hole that was known.
        jumps.explained(2_100 * MS);
        assert_eq!(jumps.before(true, 2_100 * MS, 33 * MS, false), None);
        assert_eq!(jumps.unexplained(), None, "told once");
        // No picture comes any more.
        assert_eq!(jumps.before(false, 4_000 * MS, 21 * MS, true), None);
        assert_eq!(jumps.before(false, 6_000 * MS, 21 * MS, true), None);
        let gap = jumps.unexplained().unwrap();
        assert_eq!((gap.start_mono_ns, gap.duration_ns), (2_021 * MS, 1_979 * MS), "the first jump");
        assert_eq!(jumps.unexplained(), None);
    }

    #[test]
    fn jitter_slow_cameras_and_holes_on_record_are_no_jumps() {
        let mut jumps = Jumps::default();
        jumps.before(true, 0, 33 * MS, false);
        assert_eq!(jumps.before(true, 240 * MS, 33 * MS, false), None, "jitter");
        jumps.explained(5_000 * MS);
        assert_eq!(jumps.before(true, 5_000 * MS, 1_000 * MS, false), None, "on record");
        assert_eq!(jumps.before(true, 6_000 * MS, 1_000 * MS, false), None, "a picture a second");
        assert!(jumps.before(true, 11_000 * MS, 1_000 * MS, false).is_some());
    }

    #[test]
    fn a_gap_begins_where_the_pictures_end_whatever_its_first_loss_says() {
        let mut jumps = Jumps::default();
        let told = |start_ms, duration_ms, cause| Gap {
            cause,
            start_mono_ns: start_ms * MS,
            duration_ns: duration_ms * MS,
            frames_lost: 1,
        };
        let late = told(4_000, 40, GapCause::SourceLost);
        assert_eq!(jumps.reach_back(late.clone()), late, "nothing is known of what came before");
        jumps.before(true, 0, 40 * MS, false);
        jumps.before(false, 3_000 * MS, 20 * MS, false);
        assert_eq!(jumps.reach_back(late), told(40, 4_000, GapCause::SourceLost));
        for gap in [told(30, 100, GapCause::DiskStall), told(4_000, 0, GapCause::Reboot)] {
            assert_eq!(jumps.reach_back(gap.clone()), gap);
        }
    }
}
