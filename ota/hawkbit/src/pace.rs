//! When to come again. A pure core: no clock, no sleep; the caller waits.

use std::time::Duration;

use crate::{Error, Poll};

/// Bounds of all waiting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Shortest time between two polls, whatever the server wishes; 30 s.
    pub poll_min: Duration,
    /// Longest time between two polls; 24 h.
    pub poll_max: Duration,
    /// Time between two polls of a server that says none; 5 min, as hawkBit's default.
    pub poll_default: Duration,
    /// How far a wait is spread, so that a fleet does not come all at once: up to this share of it is added or (for
    /// polls) taken away; 10 %.
    pub spread_percent: u32,
    /// Wait after a first failure, doubled with each further one; 5 s.
    pub retry_first: Duration,
    /// Longest wait after failures; 15 min.
    pub retry_max: Duration,
    /// Longest wait that a `Retry-After` can ask for; 1 h.
    pub asked_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        Self {
            poll_min: Duration::from_secs(30),
            poll_max: minutes(24 * 60),
            poll_default: minutes(5),
            spread_percent: 10,
            retry_first: Duration::from_secs(5),
            retry_max: minutes(15),
            asked_max: minutes(60),
        }
    }
}

/// A wait before the next try. Nothing in here waits: the caller does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RetryIn(pub Duration);

/// Counts failures, and says how long to wait.
#[derive(Debug, Clone)]
pub struct Pace {
    limits: Limits,
    random: fastrand::Rng,
    failures: u32,
}

impl Pace {
    /// `seed` decides how waits are spread: give each device another one, such as a hash of its id.
    pub fn new(limits: Limits, seed: u64) -> Self {
        Self { limits, random: fastrand::Rng::with_seed(seed), failures: 0 }
    }

    /// After a poll that went well: when the next is due.
    pub fn after_poll(&mut self, poll: &Poll) -> Duration {
        self.failures = 0;
        let wished = poll.sleep.unwrap_or(self.limits.poll_default);
        let spread = self.spread(wished);
        let spread = if self.random.bool() { wished.saturating_add(spread) } else { wished.saturating_sub(spread) };
        // As `clamp`, but without its panic should the bounds be crossed.
        spread.min(self.limits.poll_max).max(self.limits.poll_min)
    }

    /// After any other request that went well.
    pub fn after_success(&mut self) {
        self.failures = 0;
    }

    /// After a failure: when the next try is due. What the server asked for is kept, within bounds.
    pub fn after_error(&mut self, error: &Error) -> RetryIn {
        let doubled = self.limits.retry_first.saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX));
        self.failures = self.failures.saturating_add(1).min(31);
        let own = doubled.min(self.limits.retry_max);
        let wait = match error {
            Error::Busy { retry_after: Some(asked), .. } => {
                (*asked).min(self.limits.asked_max).max(self.limits.retry_first)
            }
            // Only a person can help: there is no hurry.
            Error::Denied { .. } | Error::Redirected { .. } | Error::Refused { .. } => {
                own.max(self.limits.poll_default).min(self.limits.retry_max)
            }
            _ => own,
        };
        RetryIn(wait.saturating_add(self.spread(wait)))
    }

    fn spread(&mut self, wait: Duration) -> Duration {
        let share = self.random.u32(0..=1000).saturating_mul(self.limits.spread_percent);
        wait.saturating_mul(share) / 100_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn busy(retry_after: Option<u64>) -> Error {
        let url = Box::new("https://h/".parse().unwrap());
        Error::Busy { url, status: 429, retry_after: retry_after.map(Duration::from_secs) }
    }

    fn within(found: Duration, low: u64, high: u64) {
        let bounds = Duration::from_secs(low)..=Duration::from_secs(high);
        assert!(bounds.contains(&found), "{found:?} is not in {bounds:?}");
    }

    #[test]
    fn polls_are_spread_within_bounds() {
        let mut found = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let mut pace = Pace::new(Limits::default(), seed);
            let poll = |sleep| Poll { sleep: Some(Duration::from_secs(sleep)), ..Poll::default() };
            let next = pace.after_poll(&poll(1000));
            within(next, 900, 1100);
            found.insert(next);
            within(pace.after_poll(&poll(0)), 30, 30);
            within(pace.after_poll(&poll(u64::from(u32::MAX) * 3600)), 86_400, 86_400);
            within(pace.after_poll(&Poll::default()), 270, 330);
        }
        assert!(found.len() > 100, "{} different waits of 200 devices", found.len());
    }

    #[test]
    fn failures_double_the_wait_and_success_ends_it() {
        let mut pace = Pace::new(Limits::default(), 1);
        for (low, high) in [(5, 6), (10, 11), (20, 22), (40, 44), (80, 88), (160, 176), (320, 352), (640, 704)] {
            within(pace.after_error(&busy(None)).0, low, high);
        }
        for _ in 0..100 {
            within(pace.after_error(&busy(None)).0, 900, 990);
        }
        pace.after_success();
        within(pace.after_error(&busy(None)).0, 5, 6);
    }

    #[test]
    fn what_the_server_asks_for_is_kept_within_bounds() {
        let mut pace = Pace::new(Limits::default(), 1);
        within(pace.after_error(&busy(Some(120))).0, 120, 132);
        within(pace.after_error(&busy(Some(0))).0, 5, 6);
        within(pace.after_error(&busy(Some(u64::MAX))).0, 3600, 3960);
    }
}
