//! Whether the disk is slow: told while the queue still holds everything.

use crate::captures::InputState;
use crate::facade::InputEntry;

/// A sync that takes longer is slow. A healthy SSD or eMMC takes a few milliseconds, a worn card hundreds.
const SLOW_SYNC_US: u32 = 400_000;
/// A queue that is fuller than this fills faster than it drains.
const SLOW_QUEUE_PERCENT: u64 = 20;
/// So many of the last [`WINDOW`] seconds must be slow: one hiccup is none.
const SLOW_SECONDS: usize = 3;
const WINDOW: usize = 10;
/// So long all must be well before the disk counts as well again.
const CALM_NS: u64 = 30_000_000_000;

/// What one input says of the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// The slowest sync of the last second.
    pub sync_us: u32,
    /// How full its queue is.
    pub queue_percent: u64,
}

impl Figures {
    /// Of an input that writes; nothing of one that does not.
    pub fn of(input: &InputEntry, now_ns: u64) -> Self {
        let view = input.view.borrow();
        if !matches!(view.state, InputState::Recording | InputState::Stopping) {
            return Self::default();
        }
        let queue_percent = (view.queue_bytes * 100).checked_div(view.queue_capacity_bytes).unwrap_or(0);
        Self { sync_us: view.slowest.last_second(now_ns), queue_percent }
    }

    fn is_slow(self) -> bool {
        self.sync_us >= SLOW_SYNC_US || self.queue_percent >= SLOW_QUEUE_PERCENT
    }
}

/// Remembers the last seconds.
#[derive(Debug, Default)]
pub struct Slow {
    /// Which of the last seconds were slow, newest last.
    seconds: std::collections::VecDeque<bool>,
    holds: bool,
    /// The worst while it was slow.
    worst: Figures,
    slow_at_ns: u64,
}

impl Slow {
    /// Takes the figures of one second. Says when the disk becomes slow, or well again.
    pub fn observe(&mut self, now_ns: u64, inputs: impl Iterator<Item = Figures>) -> Option<bool> {
        let worst = inputs.fold(Figures::default(), |worst, input| Figures {
            sync_us: worst.sync_us.max(input.sync_us),
            queue_percent: worst.queue_percent.max(input.queue_percent),
        });
        let is_slow = worst.is_slow();
        self.seconds.push_back(is_slow);
        if self.seconds.len() > WINDOW {
            self.seconds.pop_front();
        }
        if is_slow {
            self.slow_at_ns = now_ns;
            self.worst = Figures {
                sync_us: self.worst.sync_us.max(worst.sync_us),
                queue_percent: self.worst.queue_percent.max(worst.queue_percent),
            };
        }
        if !self.holds && !self.seconds.contains(&true) {
            self.worst = Figures::default();
        }
        if !self.holds && self.seconds.iter().filter(|slow| **slow).count() >= SLOW_SECONDS {
            self.holds = true;
            return Some(true);
        }
        if self.holds && now_ns.saturating_sub(self.slow_at_ns) >= CALM_NS {
            *self = Self::default();
            return Some(false);
        }
        None
    }

    /// For people.
    pub fn text(&self) -> String {
        format!(
            "the disk is slow: a sync takes up to {} ms, and up to {} % of a queue wait; nothing is lost until a queue is full",
            self.worst.sync_us / 1000,
            self.worst.queue_percent
        )
    }
}

#[cfg(test)]
mod tests {
    use super::{Figures, Slow};

    const SECOND: u64 = 1_000_000_000;

    fn at(slow: &mut Slow, second: u64, sync_ms: u32, queue_percent: u64) -> Option<bool> {
        slow.observe(
            second * SECOND,
            [Figures { sync_us: sync_ms * 1000, queue_percent }, Figures::default()].into_iter(),
        )
    }

    #[test]
    fn a_hiccup_is_none_and_a_slow_disk_is_told_once_until_it_is_calm() {
        let mut slow = Slow::default();
        assert_eq!([at(&mut slow, 1, 2000, 0), at(&mut slow, 2, 5, 0), at(&mut slow, 3, 900, 0)], [None; 3]);
        for second in 4..20 {
            assert_eq!(at(&mut slow, second, 5, 3), None);
        }
        // Three in ten, by either figure.
        assert_eq!([at(&mut slow, 20, 500, 0), at(&mut slow, 22, 5, 25)], [None; 2]);
        assert_eq!(at(&mut slow, 24, 700, 0), Some(true));
        assert!(slow.text().contains("700 ms") && slow.text().contains("25 %"), "{}", slow.text());
        assert_eq!(at(&mut slow, 50, 600, 0), None, "told once");
        assert_eq!(at(&mut slow, 79, 5, 0), None, "calm for 29 s");
        assert_eq!(at(&mut slow, 80, 5, 0), Some(false));
        assert_eq!(at(&mut slow, 81, 500, 0), None, "forgotten");
    }
}
