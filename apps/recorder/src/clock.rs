//! What time it is: the only place that asks.

use std::time::{SystemTime, UNIX_EPOCH};

use holdfast_segment::BootId;
use rustix::time::{ClockId, clock_gettime};

/// `CLOCK_MONOTONIC` in nanoseconds: orders everything within one boot.
pub fn mono_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    // The clock starts at boot and is never negative.
    let [seconds, nanoseconds] = [now.tv_sec, now.tv_nsec].map(|part| u64::try_from(part).unwrap_or_default());
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}

/// Unix time in nanoseconds: a label. Asked by way of the C library, where tests can set it for one process.
pub fn wall_ns() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |ns| -ns),
    }
}

/// `CLOCK_BOOTTIME` in nanoseconds: as the monotonic one, but it goes on while the box sleeps. Only for telling whether the wall
/// clock was set.
pub fn boottime_ns() -> i64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec.saturating_mul(1_000_000_000).saturating_add(now.tv_nsec)
}

/// How long ago the kernel was started, sleep included.
pub fn uptime_ns() -> u64 {
    u64::try_from(boottime_ns()).unwrap_or_default()
}

/// This boot. Without `/proc` all boots look alike, and nothing of an earlier one is taken for our own.
pub fn boot_id() -> BootId {
    BootId::current().unwrap_or(BootId([0; 16]))
}
