//! The two clocks: the monotonic one that orders everything, and the wall clock that is only a label.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Nanoseconds in a second.
pub const NS_PER_S: u64 = 1_000_000_000;
/// Nanoseconds in a millisecond.
pub const NS_PER_MS: u64 = 1_000_000;

fn to_ns(time: Timespec) -> i64 {
    time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
}

/// `CLOCK_MONOTONIC` in nanoseconds.
#[must_use]
pub fn mono_ns() -> u64 {
    // The monotonic clock starts near zero at boot and is never negative.
    u64::try_from(to_ns(clock_gettime(ClockId::Monotonic))).unwrap_or(0)
}

/// Unix time in nanoseconds. Asked by way of the C library, where tests can set it for one process.
#[must_use]
pub fn wall_ns() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |ns| -ns),
    }
}

/// A wall clock: the system's, or another one that a test can set.
#[derive(Clone)]
pub struct Wall(Arc<dyn Fn() -> i64 + Send + Sync>);

impl Wall {
    /// A clock that tells Unix time in nanoseconds.
    pub fn new(now_ns: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(now_ns))
    }

    /// Unix time in nanoseconds.
    #[must_use]
    pub fn now_ns(&self) -> i64 {
        (self.0)()
    }
}

impl Default for Wall {
    fn default() -> Self {
        Self::new(wall_ns)
    }
}

impl std::fmt::Debug for Wall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wall")
    }
}

/// `20261121T071503Z` for a Unix time in nanoseconds: the form of file names.
#[must_use]
pub fn utc_stamp(wall_ns: i64) -> String {
    let time = jiff::Timestamp::from_second(wall_ns.div_euclid(1_000_000_000)).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.strftime("%Y%m%dT%H%M%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::{mono_ns, utc_stamp};

    #[test]
    fn stamps_are_utc() {
        assert_eq!(utc_stamp(1_795_245_303_900_000_000), "20261121T071503Z");
        assert_eq!(utc_stamp(-1), "19691231T235959Z");
    }

    #[test]
    fn the_monotonic_clock_advances() {
        let before = mono_ns();
        assert!(mono_ns() >= before);
    }
}
