//! How fast a slot may be written beside a recording. Pure: time and the recorder's own figures are handed in.
//!
//! First it is learned how long the recording's syncs take while nothing is written. Then the pace rises step by step from a modest
//! start, and falls at once when a sync takes a multiple of that or footage piles up, down to standing still. While it stands still
//! it learns again: a disk that has become slow by itself is not held against the installation for ever.

use std::collections::{BTreeMap, VecDeque};

const MS: u64 = 1_000_000;
const S: u64 = 1_000 * MS;
const MIB: u64 = 1 << 20;

/// How fast it may go at first, bytes per second.
pub const START: u64 = 2 * MIB;
/// Below this it stands still instead, bytes per second.
pub const LEAST: u64 = MIB / 4;
/// Never faster than this beside a recording, bytes per second: a slot of 2 GiB takes a good minute then.
pub const MOST: u64 = 32 * MIB;
/// What is added after each [`STEP_NS`] in which nothing was disturbed, at most, bytes per second.
const STEP: u64 = MIB;
const STEP_NS: u64 = S;
/// How long it is looked at a recording before anything is written beside it, at least.
const LEARN_NS: u64 = 3 * S;
/// Syncs of each input that are looked at, at least.
const LEARN_SYNCS: usize = 6;
/// An input that has none by then is waited for no longer, if another has.
const LEARN_AT_MOST_NS: u64 = 10 * S;
/// Syncs that are remembered of each input.
const REMEMBERED: usize = 24;
/// A sync is disturbed from this multiple of the slow ones (90 %) of those that were learned.
const MULTIPLE: u32 = 2;
/// One that takes no longer is never disturbed, microseconds.
const HARMLESS_US: u32 = 5_000;
/// Beyond this multiple of what is disturbed all stands still.
const SEVERE: u32 = 3;
/// How long, at least.
const REST_NS: u64 = 2 * S;
/// Footage that may pile up beyond twice what was learned, bytes.
const PILE: u64 = MIB / 4;

/// What an input says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its name.
    pub name: String,
    /// Frames that are safe: if they are others than before, the sync is another one, too.
    pub safe_frames: u64,
    /// What the last write and sync took, microseconds.
    pub sync_us: u32,
    /// Footage that waits for the disk, bytes.
    pub queue_bytes: u64,
    /// Footage that may wait before frames are lost, bytes.
    pub queue_capacity_bytes: u64,
    /// Frames lost since the recording began.
    pub lost_frames: u64,
}

/// What was found when it was looked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// Nobody can say.
    Unknown,
    /// Nothing is recorded.
    Quiet,
    /// These inputs are.
    Recording(Vec<Seen>),
}

/// How fast a slot may be written or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Not at all. The reason is for people.
    Still(&'static str),
    /// So many bytes per second.
    At(u64),
    /// As fast as it goes: nothing is recorded.
    Free,
}

const UNKNOWN: &str = "the recorder's figures can't be read";
const LEARNING: &str = "looking how the recording does by itself";
const DISTURBED: &str = "the recording is disturbed";

#[derive(Debug, Default)]
struct Known {
    safe_frames: Option<u64>,
    lost_frames: u64,
    /// Of the last, while nothing was written, microseconds.
    syncs: VecDeque<u32>,
    queue_bytes: u64,
}

impl Known {
    /// From here on a sync is disturbed, microseconds.
    fn limit_us(&self) -> u32 {
        let mut syncs: Vec<u32> = self.syncs.iter().copied().collect();
        syncs.sort_unstable();
        let slow = syncs.get((syncs.len() * 9).div_ceil(10).saturating_sub(1)).copied().unwrap_or(0);
        slow.saturating_mul(MULTIPLE).max(HARMLESS_US)
    }
}

/// How badly an input is disturbed. Ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Harm {
    None,
    Some,
    Much,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Throttle {
    inputs: BTreeMap<String, Known>,
    /// Bytes per second; 0: it stands still.
    rate: u64,
    /// The pace at which something was disturbed last; 0: none yet.
    ceiling: u64,
    /// Since when it is as it is: stands still, or rises undisturbed.
    since_ns: Option<u64>,
    /// It has been learned once how this recording does.
    learned: bool,
}

impl Throttle {
    /// Somebody has looked. `now_ns` never goes back.
    pub fn look(&mut self, now_ns: u64, look: &Look) -> Pace {
        match look {
            Look::Quiet => {
                *self = Self::default();
                Pace::Free
            }
            Look::Unknown => {
                self.stop(now_ns);
                Pace::Still(UNKNOWN)
            }
            Look::Recording(seen) => self.recording(now_ns, seen),
        }
    }

    fn recording(&mut self, now_ns: u64, seen: &[Seen]) -> Pace {
        self.inputs.retain(|name, _| seen.iter().any(|input| input.name == *name));
        // One that has joined has to be known, too; and of a recording of which nobody says anything, nothing is known.
        if self.rate > 0 && (seen.is_empty() || seen.iter().any(|input| !self.inputs.contains_key(&input.name))) {
            self.stop(now_ns);
            self.learned = false;
        }
        let is_still = self.rate == 0;
        let harm = seen.iter().map(|input| self.take(input, is_still)).max().unwrap_or(Harm::None);
        let since_ns = *self.since_ns.get_or_insert(now_ns);
        let waited_ns = now_ns.saturating_sub(since_ns);
        match (is_still, harm) {
            (true, _) if !self.knows(waited_ns) => return Pace::Still(LEARNING),
            // What piled up has to be gone first. Slow syncs are learned from meanwhile.
            (true, Harm::Much) => self.since_ns = Some(now_ns),
            (true, _) if self.learned && waited_ns < REST_NS => {}
            (true, _) => {
                (self.rate, self.since_ns, self.learned) = (START, Some(now_ns), true);
            }
            (false, Harm::Much) => {
                self.ceiling = self.rate;
                self.stop(now_ns);
            }
            (false, Harm::Some) => {
                self.ceiling = self.rate;
                (self.rate, self.since_ns) = (self.rate / 2, Some(now_ns));
                if self.rate < LEAST {
                    self.stop(now_ns);
                }
            }
            (false, Harm::None) if waited_ns >= STEP_NS => {
                (self.rate, self.since_ns) = ((self.rate + self.step()).min(MOST), Some(now_ns));
            }
            (false, Harm::None) => {}
        }
        if self.rate == 0 { Pace::Still(DISTURBED) } else { Pace::At(self.rate) }
    }

    /// What is added next: a quarter, and near a pace that has disturbed before a sixteenth of that.
    fn step(&self) -> u64 {
        let step = (self.rate / 4).min(STEP);
        let is_near = self.ceiling != 0 && self.rate + step > self.ceiling / 8 * 7 && self.rate < self.ceiling / 4 * 5;
        if is_near { step / 16 } else { step }
    }

    fn stop(&mut self, now_ns: u64) {
        (self.rate, self.since_ns) = (0, Some(now_ns));
    }

    /// All that record have shown how they do.
    fn knows(&self, waited_ns: u64) -> bool {
        let mut counts = self.inputs.values().map(|known| known.syncs.len());
        let all = counts.clone().all(|count| count >= LEARN_SYNCS);
        let some = counts.any(|count| count >= LEARN_SYNCS);
        some && (self.learned || waited_ns >= LEARN_NS) && (all || waited_ns >= LEARN_AT_MOST_NS)
    }

    /// Takes note of what an input says, and judges it by what is known of it.
    fn take(&mut self, seen: &Seen, is_still: bool) -> Harm {
        let known = self.inputs.entry(seen.name.clone()).or_default();
        let is_new = known.safe_frames.replace(seen.safe_frames).is_some_and(|before| before != seen.safe_frames);
        let has_lost = std::mem::replace(&mut known.lost_frames, seen.lost_frames) < seen.lost_frames;
        let limit_us = known.limit_us();
        if is_still {
            if is_new {
                known.syncs.push_back(seen.sync_us);
                let excess = known.syncs.len().saturating_sub(REMEMBERED);
                known.syncs.drain(..excess);
            }
            if !self.learned {
                known.queue_bytes = known.queue_bytes.max(seen.queue_bytes);
            }
        }
        let quarter = seen.queue_capacity_bytes / 4;
        let may_wait = known.queue_bytes.saturating_mul(2).saturating_add(PILE).min(quarter);
        if has_lost || seen.queue_bytes > quarter {
            return Harm::Much;
        }
        if is_still {
            return Harm::None;
        }
        let is_slow = is_new && seen.sync_us > limit_us;
        match is_slow {
            true if seen.sync_us / SEVERE > limit_us => Harm::Much,
            true => Harm::Some,
            false if seen.queue_bytes > may_wait => Harm::Some,
            false => Harm::None,
        }
    }
}

#[cfg(test)]
mod tests;
