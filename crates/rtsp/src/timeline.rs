//! From a stream's own clock to `CLOCK_MONOTONIC`.
//!
//! A camera says when it sampled a frame, but on a clock whose zero and pace are its own; we know when the frame came, but
//! the network adds to that. So each frame keeps the camera's distance to the one before, and where the whole lies follows
//! from arrival: no frame can have been sampled after it came, and those that the network delayed least show best when.
//! The least delay of each window is what the line is pulled to, slowly enough for no eye or ear to notice.
//!
//! Sound and pictures each have a line. Once the camera has said how both relate to its wall clock (RTCP sender reports),
//! sound follows the pictures' line.

/// How long arrivals are watched before the line is corrected.
const WINDOW_NS: i64 = 2_000_000_000;
/// Corrections are not faster than this (parts per million of the time that passes); quartz drifts by less than 100.
const SLEW_PPM: i64 = 500;
/// In the beginning, when all that came may have come late, they are faster; and so they are as long as the line is far off,
/// as it is with cameras that begin with a burst of what they had in store.
const SETTLING_NS: i64 = 10_000_000_000;
const SETTLING_PPM: i64 = 10_000;
const FAR_NS: i64 = 50_000_000;
/// A camera that is off by more has changed its clock: then the line starts anew.
const JUMP_NS: i64 = 2_000_000_000;
/// Sender reports that would move sound by more are not believed.
const MAX_SYNC_NS: i64 = 1_000_000_000;

/// One stream's line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line {
    ticks_per_s: i64,
    anchor: Option<Anchor>,
    /// The latest frame so far; no later line may lie before it.
    latest_ns: i64,
    restarts: u32,
    /// Monotonic time of the stream's time 0, as the first frames of a new line tell together; see [`Line::begin_with`].
    begins_ns: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Anchor {
    /// Monotonic time of the stream's time 0.
    offset_ns: i64,
    /// Where the offset is pulled to.
    target_ns: i64,
    begun_ns: i64,
    window_begun_ns: i64,
    least_ns: i64,
    last_arrival_ns: i64,
    newest_media_ns: i64,
    /// The camera's wall clock at the stream's time 0.
    wall_ns: Option<i64>,
    /// Another line decides about the target.
    follows: bool,
}

impl Line {
    /// For a clock of so many ticks per second.
    #[must_use]
    pub fn new(clock_rate_hz: u32) -> Self {
        Self { ticks_per_s: i64::from(clock_rate_hz.max(1)), ..Self::default() }
    }

    /// The stream's time in nanoseconds.
    fn media_ns(&self, ticks: i64) -> i64 {
        let ns = i128::from(ticks) * 1_000_000_000 / i128::from(self.ticks_per_s.max(1));
        i64::try_from(ns).unwrap_or(0)
    }

    /// When the frame that was sampled at `ticks` and arrived at `arrival_ns` was captured, on the monotonic clock.
    pub fn place(&mut self, ticks: i64, arrival_ns: u64) -> u64 {
        let arrival_ns = i64::try_from(arrival_ns).unwrap_or(i64::MAX / 2);
        let media_ns = self.media_ns(ticks);
        let candidate_ns = arrival_ns - media_ns;
        if self.anchor.as_ref().is_some_and(|anchor| {
            // Sampled in the future, or before what came long ago.
            candidate_ns < anchor.offset_ns - JUMP_NS || media_ns < anchor.newest_media_ns - JUMP_NS
        }) {
            self.restart();
        }
        let latest_ns = self.latest_ns;
        let begins_ns = self.begins_ns.take();
        let anchor = self.anchor.get_or_insert_with(|| {
            // Never before what has been placed already.
            let offset_ns = begins_ns.unwrap_or(candidate_ns).max(latest_ns + 1 - media_ns);
            Anchor {
                offset_ns,
                target_ns: offset_ns,
                begun_ns: arrival_ns,
                window_begun_ns: arrival_ns,
                least_ns: i64::MAX,
                last_arrival_ns: arrival_ns,
                newest_media_ns: media_ns,
                wall_ns: None,
                follows: false,
            }
        });
        anchor.slew(arrival_ns);
        if media_ns > anchor.newest_media_ns {
            // What is sampled later lies later. (B-frames are sampled earlier than what came before them.)
            anchor.newest_media_ns = media_ns;
            anchor.offset_ns = anchor.offset_ns.max(latest_ns + 1 - media_ns);
        }
        anchor.watch(candidate_ns, arrival_ns);
        let at_ns = (media_ns + anchor.offset_ns).max(0);
        self.latest_ns = self.latest_ns.max(at_ns);
        at_ns.cast_unsigned()
    }

    /// These frames (their ticks and arrivals) are the first of a new line: it begins where the one that the network and the
    /// camera's stores have delayed least says.
    pub fn begin_with(&mut self, first: impl Iterator<Item = (i64, u64)>) {
        let candidate = |(ticks, arrival_ns): (i64, u64)| {
            i64::try_from(arrival_ns).unwrap_or(i64::MAX / 2).saturating_sub(self.media_ns(ticks))
        };
        self.begins_ns = first.map(candidate).min();
    }

    /// How much time the stream's clock says lies between these.
    #[must_use]
    pub fn distance_ns(&self, from_ticks: i64, to_ticks: i64) -> i64 {
        self.media_ns(to_ticks.saturating_sub(from_ticks))
    }

    /// The camera counts anew: what comes next is placed by its arrival.
    pub fn restart(&mut self) {
        self.restarts += u32::from(self.anchor.take().is_some());
    }

    /// How often the line has begun anew.
    #[must_use]
    pub fn restarts(&self) -> u32 {
        self.restarts
    }

    /// The camera says that `ticks` was at `wall_ns` of its wall clock.
    pub fn report(&mut self, ticks: i64, wall_ns: i64) {
        let media_ns = self.media_ns(ticks);
        if let Some(anchor) = &mut self.anchor {
            anchor.wall_ns = Some(wall_ns - media_ns);
        }
    }

    /// Pulls this line to where `leader` says that the same moment of the camera's wall clock lies.
    pub fn follow(&mut self, leader: &Self) {
        let (Some(anchor), Some(leader)) = (&mut self.anchor, &leader.anchor) else {
            return;
        };
        let (Some(ours_ns), Some(theirs_ns)) = (anchor.wall_ns, leader.wall_ns) else {
            return;
        };
        let wanted_ns = leader.offset_ns + (ours_ns - theirs_ns);
        anchor.follows = (wanted_ns - anchor.target_ns).abs() <= MAX_SYNC_NS;
        if anchor.follows {
            anchor.target_ns = wanted_ns;
        }
    }
}

impl Anchor {
    fn slew(&mut self, arrival_ns: i64) {
        let passed_ns = (arrival_ns - self.last_arrival_ns).clamp(0, WINDOW_NS);
        self.last_arrival_ns = arrival_ns;
        let settling = arrival_ns - self.begun_ns < SETTLING_NS;
        let far = (self.target_ns - self.offset_ns).abs() > FAR_NS;
        let ppm = if settling || far || self.follows { SETTLING_PPM } else { SLEW_PPM };
        let most_ns = passed_ns * ppm / 1_000_000;
        self.offset_ns += (self.target_ns - self.offset_ns).clamp(-most_ns, most_ns);
    }

    fn watch(&mut self, candidate_ns: i64, arrival_ns: i64) {
        self.least_ns = self.least_ns.min(candidate_ns);
        if arrival_ns - self.window_begun_ns < WINDOW_NS {
            return;
        }
        if self.follows {
            // Whoever leads looks after it.
        } else if self.least_ns - self.offset_ns > JUMP_NS {
            // Not one frame in the whole window was near the line: the camera had stopped its clock.
            self.offset_ns = self.least_ns;
            self.target_ns = self.least_ns;
        } else {
            self.target_ns = self.least_ns;
        }
        self.least_ns = i64::MAX;
        self.window_begun_ns = arrival_ns;
    }
}

#[cfg(test)]
mod tests {
    use super::Line;
    use proptest::prelude::{any, prop, prop_assert, proptest};

    const MS: u64 = 1_000_000;
    const FRAME_TICKS: i64 = 3000;

    /// Arrival of frame `n` of a camera with 30 frames/s, on top of which comes a delay.
    fn arrival(n: i64, delay_ms: u64) -> u64 {
        1_000_000 * MS + n.unsigned_abs() * 1_000_000_000 / 30 + delay_ms * MS
    }

    #[test]
    fn distances_are_the_cameras_whatever_the_network_does() {
        let mut line = Line::new(90_000);
        let mut last = line.place(0, arrival(0, 0));
        for n in 1..3000 {
            let delay_ms = [0, 3, 25, 7, 60][usize::try_from(n % 5).unwrap()];
            let at = line.place(n * FRAME_TICKS, arrival(n, delay_ms));
            let distance_us = (at - last) / 1000;
            assert!((33_300..33_370).contains(&distance_us), "{distance_us} µs at {n}");
            last = at;
        }
        assert!(last.abs_diff(arrival(2999, 0)) < MS, "it lies where the least delay says");
    }

    #[test]
    fn the_first_frames_together_say_where_a_line_begins() {
        // 30 frames that the camera had in store come at once, then those that are sampled now.
        let first: Vec<_> = (0..32).map(|n| (n * FRAME_TICKS, arrival(n.max(30), 0))).collect();
        let mut line = Line::new(90_000);
        line.begin_with(first.iter().copied());
        for (n, (ticks, came)) in (0..).zip(first) {
            assert!(line.place(ticks, came).abs_diff(arrival(n, 0)) < MS, "{n}");
        }
    }

    #[test]
    fn a_late_beginning_is_made_up_for() {
        let mut line = Line::new(90_000);
        for n in 0..900 {
            let at = line.place(n * FRAME_TICKS, arrival(n, if n < 3 { 50 } else { 2 }));
            if n == 899 {
                assert!(at.abs_diff(arrival(n, 2)) < MS);
            }
        }
    }

    #[test]
    fn a_burst_at_the_beginning_is_made_up_for() {
        // The first second of footage comes at once.
        let mut line = Line::new(90_000);
        let mut last = 0;
        for n in 0..4500_i64 {
            let at = line.place(n * FRAME_TICKS, arrival(n.max(30), 0));
            assert!(at > last, "{n}");
            last = at;
        }
        assert!(last.abs_diff(arrival(4499, 0)) < 60 * MS, "{}", last.abs_diff(arrival(4499, 0)) / MS);
    }

    #[test]
    fn follows_a_drifting_camera() {
        // 100 ppm too fast for ten minutes is 60 ms.
        let mut line = Line::new(90_000);
        for n in 0..18_000_i64 {
            let drift_ns = n.unsigned_abs() * 33_333_333 / 10_000;
            let came = arrival(n, 100) - drift_ns;
            let at = line.place(n * FRAME_TICKS, came);
            assert!(at.abs_diff(came) < 2 * MS, "{n}");
        }
    }

    #[test]
    fn a_stall_of_the_network_moves_nothing() {
        let mut line = Line::new(90_000);
        for n in 0..600_i64 {
            let delay_ms = if (300..450).contains(&n) { (450 - n.unsigned_abs()) * 33 } else { 0 };
            let at = line.place(n * FRAME_TICKS, arrival(n, delay_ms));
            assert!(at.abs_diff(arrival(n, 0)) < 2 * MS, "{n}");
        }
        assert_eq!(line.restarts(), 0);
    }

    #[test]
    fn a_jump_of_the_cameras_clock_starts_anew() {
        for jump in [10_000_000, -10_000_000] {
            let mut line = Line::new(90_000);
            let mut last = 0;
            for n in 0..300 {
                let ticks = n * FRAME_TICKS + if n >= 150 { jump } else { 0 };
                let at = line.place(ticks, arrival(n, 0));
                assert!(at > last && at.abs_diff(arrival(n, 0)) < MS);
                last = at;
            }
            assert_eq!(line.restarts(), 1);
        }
    }

    #[test]
    fn sound_follows_the_pictures_once_the_camera_has_reported() {
        let (mut video, mut audio) = (Line::new(90_000), Line::new(48_000));
        let mut apart = 0;
        for n in 0..900_i64 {
            // Sound is sent 80 ms after the picture of the same moment.
            let picture = video.place(n * FRAME_TICKS, arrival(n, 5));
            let sound = audio.place(n * 1600, arrival(n, 85));
            apart = sound.abs_diff(picture);
            if n == 30 {
                assert!(apart > 70 * MS);
            }
            if n == 60 {
                video.report(n * FRAME_TICKS, 7_000_000_000);
                audio.report(n * 1600, 7_000_000_000);
            }
            audio.follow(&video);
        }
        assert!(apart < MS, "{apart} ns");
        // A camera whose clocks have nothing to do with each other is not believed.
        audio.report(0, 0);
        audio.follow(&video);
        let sound = audio.place(900 * 1600, arrival(900, 85));
        assert!(sound.abs_diff(arrival(900, 5)) < 2 * MS);
    }

    proptest! {
        #[test]
        fn never_panics_nor_goes_back_without_b_frames(steps in prop::collection::vec((any::<u32>(), 0..10_000_000_000_u64), 0..200)) {
            let mut line = Line::new(90_000);
            let (mut ticks, mut now, mut last) = (0, 1_000_000, 0);
            for (step, passed) in steps {
                ticks += i64::from(step) + 1;
                now += passed;
                let at = line.place(ticks, now);
                prop_assert!(at > last || at == 0, "{at} after {last}");
                last = at;
            }
        }
    }
}
