//! How long to wait between attempts. Pure: the random part is handed in.

use std::time::Duration;

/// The first wait.
pub const FIRST: Duration = Duration::from_secs(1);
/// The longest.
pub const LONGEST: Duration = Duration::from_secs(30);
/// A source that has run this long is healthy again: the next failure starts from [`FIRST`].
pub const HEALTHY_AFTER: Duration = Duration::from_secs(10);
/// One that delivered at all, however shortly, waits no longer than so many times what it delivered, or than [`LONGEST_DELIVERING`]: a
/// camera behind a link that breaks every few seconds is recorded for a good part of the time, and not for two seconds in every half
/// minute.
pub const WAIT_PER_DELIVERED: u32 = 2;
/// One that gives a picture and dies is not asked for more than this often for ever.
pub const LONGEST_DELIVERING: Duration = Duration::from_secs(5);

/// Attempts that failed in a row, and what follows from that.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// An attempt ended after it had delivered for `ran`. Returns how long to wait before the next.
    ///
    /// `jitter` in 0..=255 spreads the attempts of many boxes over a quarter of the wait, to both sides, so that a switch that
    /// restarts is not met by all cameras' recorders at once.
    pub fn failed(&mut self, ran: Duration, jitter: u8) -> Duration {
        if ran >= HEALTHY_AFTER {
            self.failures = 0;
        }
        let doublings = self.failures.min(5);
        self.failures = self.failures.saturating_add(1);
        let delivered = ran.saturating_mul(WAIT_PER_DELIVERED).clamp(LONGEST_DELIVERING, LONGEST);
        let longest = if ran.is_zero() { LONGEST } else { delivered };
        let wait = (FIRST * 2_u32.pow(doublings)).min(longest);
        let spread = wait / 2;
        let wait = wait - spread / 2 + spread * u32::from(jitter) / 255;
        wait.clamp(FIRST, longest)
    }

    /// How many attempts have failed in a row.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::{Backoff, FIRST, LONGEST};
    use std::time::Duration;

    #[test]
    fn doubles_up_to_the_longest_and_never_gives_up() {
        let mut backoff = Backoff::default();
        let waits: Vec<u64> = (0..8).map(|_| backoff.failed(Duration::ZERO, 128).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(backoff.failures(), 8);
        for _ in 0..1_000_000 {
            let wait = backoff.failed(Duration::ZERO, 255);
            assert!(wait >= FIRST && wait <= LONGEST);
        }
    }

    #[test]
    fn jitter_spreads_to_both_sides() {
        let after = |jitter| {
            let mut backoff = Backoff::default();
            backoff.failed(Duration::ZERO, 0);
            backoff.failed(Duration::ZERO, 0);
            backoff.failed(Duration::ZERO, jitter)
        };
        assert_eq!(after(0), Duration::from_secs(3));
        assert_eq!(after(255), Duration::from_secs(5));
    }

    #[test]
    fn a_source_that_delivers_is_not_kept_waiting_long() {
        let mut backoff = Backoff::default();
        let mut waits = |ran| -> Vec<u64> { (0..6).map(|_| backoff.failed(ran, 128).as_secs()).collect() };
        assert_eq!(waits(Duration::from_millis(300)), [1, 2, 4, 5, 5, 5]);
        assert_eq!(waits(Duration::from_secs(4)), [8; 6]);
        assert_eq!(waits(Duration::ZERO), [30; 6]);
        for jitter in 0..=255 {
            assert!(backoff.failed(Duration::from_secs(4), jitter) <= Duration::from_secs(8));
        }
    }

    #[test]
    fn a_source_that_was_healthy_is_tried_soon_again() {
        let mut backoff = Backoff::default();
        for _ in 0..6 {
            backoff.failed(Duration::from_secs(2), 128);
        }
        assert_eq!(backoff.failed(Duration::from_secs(60), 128).as_secs(), 1);
        assert_eq!(backoff.failed(Duration::ZERO, 128).as_secs(), 2);
    }
}
