//! Which stage of a capture stands still: the first counter that stops names the culprit.

use holdfast_dbus::AlertCode;

use super::{STAGE_STANDS, nanos};

/// A stage on a frame's way to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Camera, line, file.
    Source,
    /// Encoder or parser.
    Encoder,
    /// Making of chunks.
    Muxer,
    /// Writing and syncing.
    Disk,
}

impl Stage {
    /// The alert for it.
    pub fn alert(self) -> AlertCode {
        match self {
            Self::Source => AlertCode::SourceStalled,
            Self::Encoder => AlertCode::EncoderStalled,
            Self::Muxer => AlertCode::MuxerStalled,
            Self::Disk => AlertCode::DiskStalled,
        }
    }

    /// What to tell.
    pub fn text(self, for_ns: u64) -> String {
        let what = match self {
            Self::Source => "no frames come from the source",
            Self::Encoder => "frames come in, none leave the encoder",
            Self::Muxer => "frames leave the encoder, none become chunks",
            Self::Disk => "chunks wait for the disk",
        };
        format!("{what} for {}.{} s", for_ns / 1_000_000_000, for_ns / 100_000_000 % 10)
    }
}

/// After frames have begun to flow (again), chunks may take this long: they begin at a keyframe.
const KEYFRAME_NS: u64 = 10_000_000_000;
/// A source that delivers less often than this is not watched for standing still.
const SLOWEST_NS: u64 = 10_000_000_000;

/// The counters of one recording, and when they moved last.
#[derive(Debug, Clone)]
pub struct Stages {
    counters: [Counter; 4],
    /// Chunks are not expected before.
    keyframe_by_ns: u64,
}

#[derive(Debug, Clone, Copy)]
struct Counter {
    value: u64,
    moved_ns: u64,
    /// Between two of its steps, on the average: a camera may give a picture a second, a chunk may hold a second.
    usual_ns: u64,
}

impl Counter {
    fn limit_ns(&self) -> u64 {
        nanos(STAGE_STANDS).max(self.usual_ns * 3 / 2 + 500_000_000)
    }

    fn stands_ns(&self, now_ns: u64) -> u64 {
        now_ns.saturating_sub(self.moved_ns)
    }
}

impl Stages {
    /// Nothing has moved yet.
    pub fn new(now_ns: u64) -> Self {
        Self {
            counters: [Counter { value: 0, moved_ns: now_ns, usual_ns: 0 }; 4],
            keyframe_by_ns: now_ns + KEYFRAME_NS,
        }
    }

    /// The counters as told now: source, encoded, muxed, safe.
    pub fn hear(&mut self, now_ns: u64, counts: [u64; 4]) {
        let flows_again = self.counters[1].stands_ns(now_ns) >= self.counters[1].limit_ns();
        for (place, (counter, value)) in self.counters.iter_mut().zip(counts).enumerate() {
            if counter.value == value {
                continue;
            }
            if counter.value > 0 {
                let step_ns = counter.stands_ns(now_ns).min(SLOWEST_NS);
                counter.usual_ns = (counter.usual_ns * 3 + step_ns) / 4;
            }
            if place == 1 && flows_again {
                self.keyframe_by_ns = now_ns + KEYFRAME_NS;
            }
            if place == 2 {
                self.keyframe_by_ns = 0;
            }
            counter.value = value;
            counter.moved_ns = now_ns;
        }
    }

    /// The stage that stands still, if one does, and for how long.
    pub fn stalled(&self, now_ns: u64) -> Option<(Stage, u64)> {
        let [source, encoded, muxed, safe] = &self.counters;
        // Before the first frame nothing can stand still; whether there will be one is the source's affair.
        if source.value == 0 {
            return None;
        }
        let stands = |counter: &Counter| counter.stands_ns(now_ns) >= counter.limit_ns();
        // What is behind a stage that stands will stand as well, and may seem to have begun earlier: it moves in larger steps. So a
        // stage is blamed only while the one before it moves.
        let moves = |counter: &Counter, after: &Counter| {
            counter.stands_ns(now_ns) < (after.limit_ns() * 3 / 5).max(counter.usual_ns * 6 / 5)
        };
        if stands(source) {
            return Some((Stage::Source, source.stands_ns(now_ns)));
        }
        if stands(encoded) && moves(source, encoded) {
            return Some((Stage::Encoder, encoded.stands_ns(now_ns)));
        }
        if now_ns < self.keyframe_by_ns || !moves(encoded, muxed) {
            return None;
        }
        // One thread makes chunks and writes them. What it has made and not got safe is what the disk has not taken.
        if stands(muxed) && muxed.value <= safe.value {
            return Some((Stage::Muxer, muxed.stands_ns(now_ns)));
        }
        (stands(safe) && muxed.value > safe.value).then(|| (Stage::Disk, safe.stands_ns(now_ns)))
    }

    /// When to look again if nothing is heard until then.
    pub fn due_ns(&self, now_ns: u64) -> Option<u64> {
        let due = self.counters.iter().map(|counter| counter.moved_ns + counter.limit_ns());
        due.filter(|due_ns| *due_ns > now_ns).min()
    }
}

#[cfg(test)]
mod tests {
    use super::{Stage, Stages};

    const MS: u64 = 1_000_000;

    /// Plays a recording of 30 frames a second, a chunk every `chunk_ms`, a status every half second and after every chunk. From
    /// `stop_ms` on the stage at this place stands still, and soon what is behind it. Returns who was blamed first, and when.
    fn play(stop: Option<usize>, stop_ms: u64, chunk_ms: u64, frame_ms: u64) -> Option<(Stage, u64)> {
        let mut stages = Stages::new(0);
        let mut counts = [0_u64; 4];
        for now_ms in (0..stop_ms + 20_000).step_by(10) {
            let stands = |place: usize| now_ms >= stop_ms && stop.is_some_and(|stop| place >= stop);
            if now_ms % frame_ms == 0 {
                counts[0] += u64::from(!stands(0));
                counts[1] += u64::from(!stands(1));
            }
            let mut told = now_ms % 500 == 0;
            if now_ms % chunk_ms == 0 && counts[1] > counts[2] {
                let disk_is_stuck = counts[2] > counts[3];
                if !stands(2) && !disk_is_stuck {
                    counts[2] = counts[1];
                    if !stands(3) {
                        counts[3] = counts[2];
                    }
                    told = true;
                }
            }
            let now_ns = now_ms * MS;
            if told {
                stages.hear(now_ns, counts);
            }
            // The supervisor looks after every status and when it is due.
            if let Some((stage, _)) = stages.stalled(now_ns) {
                return Some((stage, now_ms.saturating_sub(stop_ms)));
            }
        }
        None
    }

    #[test]
    fn the_first_that_stops_is_named_within_two_seconds() {
        for (place, stage) in [Stage::Source, Stage::Encoder, Stage::Muxer, Stage::Disk].into_iter().enumerate() {
            for offset_ms in (0..1000).step_by(70) {
                let blamed = play(Some(place), 30_000 + offset_ms, 500, 30);
                let Some((blamed, after_ms)) = blamed else { panic!("{stage:?} at +{offset_ms} ms: nobody") };
                assert_eq!(blamed, stage, "at +{offset_ms} ms");
                assert!(after_ms <= 2000, "{stage:?} at +{offset_ms} ms: after {after_ms} ms");
            }
        }
    }

    #[test]
    fn nobody_is_blamed_while_all_goes_well() {
        assert_eq!(play(None, 60_000, 500, 30), None);
        assert_eq!(play(None, 60_000, 1000, 40), None);
        assert_eq!(play(None, 60_000, 50, 10), None);
        // A picture a second.
        assert_eq!(play(None, 60_000, 1000, 1000), None);
    }

    #[test]
    fn a_recording_that_begins_is_given_until_its_first_keyframe() {
        let mut stages = Stages::new(0);
        for now_ms in (0..=11_000).step_by(500) {
            stages.hear(now_ms * MS, [now_ms, now_ms, 0, 0]);
            let blamed = stages.stalled(now_ms * MS).map(|(stage, _)| stage);
            assert_eq!(blamed, (now_ms >= 10_000).then_some(Stage::Muxer), "{now_ms}");
        }
    }

    #[test]
    fn what_moves_again_is_well() {
        let mut stages = Stages::new(0);
        stages.hear(500 * MS, [15, 15, 15, 15]);
        stages.hear(1000 * MS, [30, 30, 30, 30]);
        assert_eq!(stages.stalled(3000 * MS).map(|(stage, _)| stage), Some(Stage::Source));
        stages.hear(3100 * MS, [31, 31, 30, 30]);
        assert_eq!(stages.stalled(3100 * MS), None);
        assert!(stages.due_ns(3100 * MS).is_some_and(|due_ns| due_ns > 3100 * MS));
    }
}
