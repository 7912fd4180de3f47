//! Whether as much is written as usual, and whether a count of mishaps has come to rest.

use std::collections::VecDeque;

use super::{QUIET, RATE_LEARNING, RATE_LOW_PERCENT, RATE_WINDOW, nanos};

/// A sample is taken this often.
const STEP_NS: u64 = 1_000_000_000;

/// The bytes that become safe in a recording, against what it has yielded so far.
///
/// What an input should yield nobody knows beforehand: a bit rate is a ceiling, and most cameras stay far below it. So the
/// recording is compared with itself.
#[derive(Debug, Default)]
pub struct Rate {
    /// Time and bytes, a second apart, over the window.
    samples: VecDeque<(u64, u64)>,
    /// Bytes per second, slowly following; not while it is low.
    usual: u64,
    learnt_ns: u64,
    is_low: bool,
}

/// What changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Bytes per second now, and usually.
    Low(u64, u64),
    /// It is well again.
    Well,
}

impl Rate {
    /// So many bytes are safe now. Tells a change.
    pub fn hear(&mut self, now_ns: u64, safe_bytes: u64) -> Option<Verdict> {
        if let Some((newest_ns, newest_bytes)) = self.samples.back().copied() {
            if safe_bytes < newest_bytes {
                // Another process records: it counts anew.
                self.samples.clear();
            } else if now_ns.saturating_sub(newest_ns) < STEP_NS {
                return None;
            }
        }
        self.samples.push_back((now_ns, safe_bytes));
        let window_ns = nanos(RATE_WINDOW);
        while self.samples.get(1).is_some_and(|(at_ns, _)| now_ns.saturating_sub(*at_ns) >= window_ns) {
            self.samples.pop_front();
        }
        let (first_ns, first_bytes) = self.samples.front().copied()?;
        let window_is_full = now_ns.saturating_sub(first_ns) >= window_ns;
        if !window_is_full {
            return None;
        }
        let now = per_second(safe_bytes - first_bytes, now_ns - first_ns);
        let low = self.usual / 100 * RATE_LOW_PERCENT;
        let knows = self.learnt_ns >= nanos(RATE_LEARNING);
        let was_low = self.is_low;
        // Twice the threshold ends it, so that it does not flap.
        self.is_low = knows && now < if was_low { low * 2 } else { low };
        if !self.is_low {
            self.usual = if self.learnt_ns == 0 { now } else { (self.usual * 63 + now) / 64 };
            self.learnt_ns += STEP_NS;
        }
        match (was_low, self.is_low) {
            (false, true) => Some(Verdict::Low(now, self.usual)),
            (true, false) => Some(Verdict::Well),
            _ => None,
        }
    }
}

fn per_second(bytes: u64, elapsed_ns: u64) -> u64 {
    (bytes * 1000).checked_div(elapsed_ns / 1_000_000).unwrap_or(0)
}

/// A count of things that should not happen: told when it rises, well again when it has rested for a while.
#[derive(Debug, Default)]
pub struct Mishaps {
    count: u64,
    rose_ns: Option<u64>,
}

/// What changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// By so many.
    Rose(u64),
    /// It has rested.
    Rested,
}

impl Mishaps {
    /// The count as it was before anybody looked: no news.
    pub fn from(count: u64) -> Self {
        Self { count, rose_ns: None }
    }

    /// The count as it is now. A count that is smaller has begun anew.
    pub fn hear(&mut self, now_ns: u64, count: u64) -> Option<Change> {
        let before = std::mem::replace(&mut self.count, count);
        if count > before {
            self.rose_ns = Some(now_ns);
            return Some(Change::Rose(count - before));
        }
        self.rose_ns.take_if(|rose_ns| now_ns.saturating_sub(*rose_ns) >= nanos(QUIET)).map(|_| Change::Rested)
    }
}

#[cfg(test)]
mod tests {
    use super::{Change, Mishaps, Rate, STEP_NS, Verdict};

    #[test]
    fn a_recording_is_held_against_what_it_has_yielded() {
        let (mut rate, mut bytes) = (Rate::default(), 0);
        let mut changes = Vec::new();
        for second in 0..1000_u64 {
            // A busy picture, a covered lens, a busy picture; another process in between.
            bytes += match second {
                300..400 => 30_000,
                // Above the threshold, but not well above it.
                400..500 => 140_000,
                _ => 500_000,
            };
            if second == 700 {
                bytes = 0;
            }
            changes.extend(rate.hear(second * STEP_NS, bytes).map(|verdict| (second, verdict)));
        }
        let [(low, Verdict::Low(now, usual)), (well, Verdict::Well)] = changes[..] else { panic!("{changes:?}") };
        assert!((320..=330).contains(&low) && (500..=520).contains(&well), "{changes:?}");
        assert!(now < 100_000 && usual > 400_000, "{changes:?}");
    }

    #[test]
    fn what_is_new_is_not_low() {
        let mut rate = Rate::default();
        for second in 0..80_u64 {
            let bytes = if second < 40 { second * 1_000_000 } else { 40_000_000 };
            assert_eq!(rate.hear(second * STEP_NS, bytes), None, "{second}");
        }
    }

    #[test]
    fn mishaps_are_told_and_forgotten() {
        let mut drops = Mishaps::from(7);
        assert_eq!(drops.hear(0, 7), None);
        assert_eq!(drops.hear(1, 9), Some(Change::Rose(2)));
        assert_eq!(drops.hear(30 * STEP_NS, 9), None);
        assert_eq!(drops.hear(61 * STEP_NS, 9), Some(Change::Rested));
        assert_eq!(drops.hear(62 * STEP_NS, 9), None);
        // A new process counts from nothing.
        assert_eq!(drops.hear(63 * STEP_NS, 0), None);
        assert_eq!(drops.hear(64 * STEP_NS, 3), Some(Change::Rose(3)));
    }
}
