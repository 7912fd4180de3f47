//! Where each segment stands on the timeline of the result, and what becomes of gaps.

use crate::export::tables::Table;
use crate::export::{GapSummary, Gaps};
use crate::identity::{Gap, Identity};
use crate::reader::{Chunk, Reader};
use crate::types::{BootId, ticks_to_ns};

/// Players hold a sample's duration in 31 bits: at 90 000 ticks per second that is 6 h 37 min.
const MAX_GAP_NS: i128 = 6 * 3600 * 1_000_000_000;
/// A pause that nothing explains counts as a gap from here on.
const UNEXPLAINED_GAP_NS: i128 = 1_000_000_000;
/// Less is rounding between the ticks of two files.
const ROUNDING_NS: i128 = 1_000_000;

/// Places monotonic times of several boots on one timeline.
#[derive(Debug)]
pub(super) struct Timeline {
    gaps: Gaps,
    /// Timeline = monotonic time - this, for the present boot.
    zero_ns: i128,
    /// Monotonic time of the present segment's tick 0.
    segment_ns: i128,
    boot: Option<BootId>,
    /// The file before, for the wall clock's distance over a reboot: its wall time at its end.
    wall_end_ns: Option<i128>,
    /// End of all footage so far.
    end_ns: i128,
    /// The gap that the present segment's identity tells of, until its first chunk.
    announced: Option<Gap>,
    /// Before this monotonic time another zero was right, up to this place on the timeline (marks before or in a gap).
    earlier: Option<(u64, i128, i128)>,
    rebooted: bool,
    found: Vec<(i128, GapSummary)>,
}

impl Timeline {
    pub fn new(gaps: Gaps) -> Self {
        Self {
            gaps,
            zero_ns: 0,
            segment_ns: 0,
            boot: None,
            wall_end_ns: None,
            end_ns: 0,
            announced: None,
            earlier: None,
            rebooted: false,
            found: Vec::new(),
        }
    }

    /// The next segment begins.
    pub fn enter(&mut self, identity: &Identity) {
        self.segment_ns = i128::from(identity.start_mono_ns);
        self.announced = identity.gap_before.clone();
        self.rebooted = false;
        match self.boot {
            None => self.zero_ns = self.segment_ns,
            Some(boot) if boot == identity.boot_id => {}
            Some(_) => {
                // Monotonic times of two boots can't be compared. The recorder's own account of the gap is best; the
                // wall clock is a label and may have been set, but it is all there is.
                let by_wall = self.wall_end_ns.map_or(0, |end| i128::from(identity.start_wall_ns) - end);
                let distance_ns = match &self.announced {
                    Some(gap) if gap.duration_ns > 0 => i128::from(gap.duration_ns),
                    _ => by_wall.max(0),
                };
                self.zero_ns = self.segment_ns - (self.end_ns + distance_ns);
                self.earlier = None;
                self.rebooted = true;
            }
        }
        self.boot = Some(identity.boot_id);
    }

    /// The next chunk is about to be placed: finds gaps and overlaps before it, and moves what follows if need be.
    pub fn chunk(&mut self, chunk: &Chunk, reader: &Reader, places: &[usize], tables: &[Table]) {
        let mut overlap_ns = 0;
        let mut start_ns: Option<i128> = None;
        for (track, place) in places.iter().enumerate() {
            let Some(first) = chunk.samples.iter().find(|sample| sample.track == track) else {
                continue;
            };
            let timescale = reader.tracks()[track].timescale;
            let at_ns = self.segment_ns - self.zero_ns + ticks_to_ns(i128::from(first.dts), timescale);
            start_ns = Some(start_ns.map_or(at_ns, |start| start.min(at_ns)));
            let table = &tables[*place];
            if let Some(last) = table.last_dts() {
                overlap_ns = overlap_ns.max(ticks_to_ns(last, table.timescale) - at_ns);
            }
        }
        let announced = self.announced.take();
        let told = announced.as_ref().or(chunk.notes.gaps.last());
        let Some(start_ns) = start_ns else { return };
        let before = self.zero_ns;
        if overlap_ns > ROUNDING_NS {
            // Footage is never thrown away for a clock's sake: it goes behind what is there.
            self.zero_ns -= last_end(tables).map_or(0, |(end_ns, _)| end_ns) - start_ns;
        } else if let Some((end_ns, last_duration_ns)) = last_end(tables) {
            // Only time without anything is a gap: sound goes on a little longer than pictures, or the other way.
            let gap_ns = start_ns - end_ns;
            let unexplained = gap_ns > UNEXPLAINED_GAP_NS && gap_ns > 4 * last_duration_ns;
            if gap_ns > ROUNDING_NS && (told.is_some() || self.rebooted || unexplained) {
                let kept_ns = match self.gaps {
                    Gaps::Keep => gap_ns.min(MAX_GAP_NS),
                    Gaps::Cut => 0,
                };
                self.zero_ns += gap_ns - kept_ns;
                let ns = |ns: i128| u64::try_from(ns).unwrap_or(0);
                let summary = GapSummary {
                    at_ns: 0,
                    missing_ns: ns(gap_ns),
                    kept_ns: ns(kept_ns),
                    cause: told.map(|gap| gap.cause),
                    frames_lost: told.map_or(0, |gap| gap.frames_lost),
                };
                self.found.push((start_ns - gap_ns, summary));
            }
        }
        if self.zero_ns != before {
            let from = u64::try_from(start_ns + before).unwrap_or(0);
            self.earlier = Some((from, before, start_ns + before - self.zero_ns));
        }
        self.rebooted = false;
    }

    /// The segment is through.
    pub fn leave(&mut self, identity: &Identity, tables: &[Table]) {
        let Some((end, _)) = last_end(tables) else { return };
        self.end_ns = end;
        let length_ns = end + self.zero_ns - self.segment_ns;
        self.wall_end_ns = Some(i128::from(identity.start_wall_ns) + length_ns.max(0));
    }

    /// A time in ticks of the present segment, in ticks of the result: one rounding, from exact values.
    pub fn ticks(&self, ticks: i128, from: u32, to: u32) -> i128 {
        let offset_ns = self.segment_ns - self.zero_ns;
        if offset_ns == 0 && from == to {
            return ticks;
        }
        let from = i128::from(from.max(1));
        let scaled = offset_ns * from + ticks * 1_000_000_000;
        // `scaled` counts nanoseconds / `from`: rounding to ticks is the same division, further out.
        let divisor = from * 1_000_000_000;
        (scaled * i128::from(to) + divisor / 2).div_euclid(divisor)
    }

    /// Where on the timeline a mark of the present segment stands.
    pub fn mark_ns(&self, mono_ns: u64) -> i128 {
        match self.earlier {
            Some((from, zero_ns, limit_ns)) if mono_ns < from => (i128::from(mono_ns) - zero_ns).min(limit_ns),
            _ => i128::from(mono_ns) - self.zero_ns,
        }
    }

    /// The gaps found, from the beginning of the result.
    pub fn gaps(&self, zero_ns: i128) -> Vec<GapSummary> {
        let from_zero = |(at, gap): &(i128, GapSummary)| GapSummary {
            at_ns: u64::try_from(at - zero_ns).unwrap_or(0),
            ..gap.clone()
        };
        self.found.iter().map(from_zero).collect()
    }
}

/// Where the last of all samples ends, and how long it is.
fn last_end(tables: &[Table]) -> Option<(i128, i128)> {
    let ends = tables.iter().filter_map(|table| {
        let (end, duration) = table.decode_end()?;
        Some((ticks_to_ns(end, table.timescale), ticks_to_ns(duration, table.timescale)))
    });
    ends.max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ns_to_ticks;

    #[test]
    fn ticks_are_rounded_once() {
        let mut timeline = Timeline::new(Gaps::Keep);
        timeline.segment_ns = 33_333_333;
        assert_eq!(timeline.ticks(3000, 90_000, 90_000), ns_to_ticks(66_666_666, 90_000));
        assert_eq!(timeline.ticks(0, 48_000, 44_100), ns_to_ticks(33_333_333, 44_100));
        assert_eq!(timeline.ticks(-3000, 90_000, 90_000), 0);
    }

    #[test]
    fn marks_made_before_a_cut_keep_their_place() {
        let mut timeline = Timeline::new(Gaps::Cut);
        // Footage until 900, nothing until 2000: cut out 1100, so 2000 stands at 400.
        (timeline.zero_ns, timeline.earlier) = (1600, Some((2000, 500, 400)));
        assert_eq!(timeline.mark_ns(2000), 400);
        assert_eq!(timeline.mark_ns(1500), 400);
        assert_eq!(timeline.mark_ns(800), 300);
    }
}
