//! What is a hole in time, and what is jitter.

use super::TOLERANCE_NS;

/// So many steps tell how far apart a track's frames usually are.
const TYPICAL_STEPS: usize = 64;
/// Steps up to so many frames are jitter, however far apart frames are.
const JITTER_FRAMES: u64 = 4;

/// How far apart the frames of one track of one file usually are, and which are further apart than that. Whoever records has the same
/// rule as [`verify_file`](super::verify_file): what that would call a hole has to stand in the file with its cause.
#[derive(Debug, Clone, Default)]
pub struct Cadence {
    /// The first steps from frame to frame in nanoseconds, sorted.
    steps: Vec<u64>,
}

impl Cadence {
    /// How far apart frames usually are, nanoseconds; `None` before the second frame.
    #[must_use]
    pub fn typical_ns(&self) -> Option<u64> {
        self.steps.get(self.steps.len() / 2).copied()
    }

    /// A frame comes `step_ns` after the one before it, which lasts for `lasts_ns` as far as is known. True: that is a jump.
    pub fn jumps(&mut self, step_ns: u64, lasts_ns: u64) -> bool {
        let typical_ns = self.typical_ns().unwrap_or(lasts_ns.min(step_ns));
        if self.steps.len() < TYPICAL_STEPS {
            let place = self.steps.partition_point(|other| *other < step_ns);
            self.steps.insert(place, step_ns);
        }
        step_ns > TOLERANCE_NS.max(typical_ns.saturating_mul(JITTER_FRAMES))
    }
}

#[cfg(test)]
mod tests {
    use super::Cadence;

    const MS: u64 = 1_000_000;

    #[test]
    fn what_is_a_jump_depends_on_how_far_apart_frames_are() {
        let mut fast = Cadence::default();
        assert!((0..10).all(|_| !fast.jumps(33 * MS, 33 * MS)));
        assert!(!fast.jumps(250 * MS, 33 * MS) && fast.jumps(251 * MS, 33 * MS));
        // Two pictures a second, from the first step on.
        let mut slow = Cadence::default();
        assert!((0..10).all(|_| !slow.jumps(500 * MS, 500 * MS)));
        assert!(!slow.jumps(2000 * MS, 500 * MS) && slow.jumps(2001 * MS, 500 * MS));
    }

    #[test]
    fn what_a_frame_says_of_itself_counts_only_until_others_have_come() {
        let mut cadence = Cadence::default();
        assert!(!cadence.jumps(390 * MS, 100 * MS), "four frames of a tenth");
        let mut cadence = Cadence::default();
        assert!((0..9).all(|_| !cadence.jumps(33 * MS, 100 * MS)));
        assert!(cadence.jumps(390 * MS, 100 * MS), "it says a tenth, and comes thirty times a second");
    }
}
