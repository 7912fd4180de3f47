//! How fast to read, and how long to wait before trying again. Pure: times are given.

use std::time::Duration;

use tokio::time::Instant;

/// How much may come at once under a cap, as a part of a second of it.
const BURST: Duration = Duration::from_millis(100);

/// A token bucket that may be overdrawn: what has come is taken, and the debt is waited off.
#[derive(Debug)]
pub(crate) struct Bucket {
    /// Bytes that may come at once; negative while there is debt.
    balance: f64,
    at: Instant,
    bytes_per_second: u64,
}

impl Bucket {
    pub fn new(now: Instant) -> Self {
        Self { balance: 0.0, at: now, bytes_per_second: 0 }
    }

    /// Takes `bytes` that have come, and says how long to wait before more may come.
    #[expect(clippy::cast_precision_loss, reason = "2^53 bytes per second are enough")]
    pub fn take(&mut self, bytes: usize, bytes_per_second: u64, now: Instant) -> Duration {
        if bytes_per_second != self.bytes_per_second {
            // Debts of another rate are forgotten: a raised cap acts at once.
            *self = Self { balance: 0.0, at: now, bytes_per_second };
        }
        let rate = bytes_per_second.max(1) as f64;
        let earned = now.saturating_duration_since(self.at).as_secs_f64() * rate;
        self.balance = (self.balance + earned).min(rate * BURST.as_secs_f64()) - bytes as f64;
        self.at = now;
        Duration::try_from_secs_f64((-self.balance / rate).max(0.0)).unwrap_or(Duration::MAX)
    }
}

/// When to try again.
#[derive(Debug, Clone)]
pub struct Retries {
    /// First wait; doubled with every attempt that gains nothing.
    pub base: Duration,
    /// Longest wait of our own.
    pub max: Duration,
    /// Longest wait that a server may ask for with `Retry-After`.
    pub max_asked: Duration,
    /// Attempts in a row with nothing gained after which to give up; `None`: never.
    pub attempts: Option<u32>,
}

impl Default for Retries {
    /// From 1 s to 5 min, at most 1 h if the server asks, 20 attempts (about an hour and a half).
    fn default() -> Self {
        Self {
            base: Duration::from_secs(1),
            max: Duration::from_secs(300),
            max_asked: Duration::from_secs(3600),
            attempts: Some(20),
        }
    }
}

impl Retries {
    /// The wait after the `attempt`th failure in a row, counted from one. `chance` spreads it over the upper half, so that
    /// boxes that lost their server together don't come back together.
    pub(crate) fn wait(&self, attempt: u32, chance: u32, asked: Option<Duration>) -> Duration {
        let doubled = self.base.saturating_mul(2_u32.saturating_pow(attempt.saturating_sub(1).min(30)));
        let half = doubled.min(self.max) / 2;
        let part = f64::from(chance) / f64::from(u32::MAX);
        let own = half + half.mul_f64(part);
        // Spread over a tenth more, for the same reason; never earlier than asked.
        let asked = asked.map(|asked| asked.min(self.max_asked)).map(|asked| asked + asked.mul_f64(part / 10.0));
        asked.map_or(own, |asked| asked.max(own))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_cap_is_held_over_any_while() {
        let mut bucket = Bucket::new(Instant::now());
        let start = Instant::now();
        for _ in 0..100 {
            let wait = bucket.take(16 << 10, 1 << 20, Instant::now());
            tokio::time::sleep(wait).await;
        }
        let seconds = start.elapsed().as_secs_f64();
        let rate = f64::from(100 * (16 << 10)) / seconds;
        assert!((0.9..=1.0).contains(&(rate / f64::from(1 << 20))), "{rate}");
        // A long silence is not saved up.
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert!(bucket.take(1 << 20, 1 << 20, Instant::now()) >= Duration::from_millis(899));
    }

    #[tokio::test(start_paused = true)]
    async fn a_raised_cap_acts_at_once() {
        let mut bucket = Bucket::new(Instant::now());
        assert!(bucket.take(1 << 20, 1 << 10, Instant::now()) > Duration::from_secs(1000));
        assert_eq!(bucket.take(0, 1 << 20, Instant::now()), Duration::ZERO);
    }

    #[test]
    fn waits_grow_are_bounded_and_spread_and_the_server_is_heard() {
        let retries = Retries::default();
        let secs = Duration::from_secs;
        assert_eq!(retries.wait(1, 0, None), Duration::from_millis(500));
        assert_eq!(retries.wait(1, u32::MAX, None), secs(1));
        assert_eq!(retries.wait(4, u32::MAX, None), secs(8));
        assert_eq!(retries.wait(u32::MAX, u32::MAX, None), secs(300));
        assert_eq!(retries.wait(1, 0, Some(secs(60))), secs(60));
        assert_eq!(retries.wait(1, 0, Some(secs(86_400))), secs(3600));
        assert_eq!(retries.wait(20, 0, Some(secs(1))), secs(150));
    }
}
