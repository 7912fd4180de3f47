//! What time it is: the only place that asks.

use holdfast_segment::BootId;
use rustix::time::{ClockId, clock_gettime};

/// `CLOCK_MONOTONIC` in nanoseconds: orders everything within one boot.
pub fn mono_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    // The clock starts at boot and is never negative.
    let [seconds, nanoseconds] = [now.tv_sec, now.tv_nsec].map(|part| u64::try_from(part).unwrap_or_default());
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}

/// Unix time in nanoseconds: a label.
pub fn wall_ns() -> i64 {
    let now = clock_gettime(ClockId::Realtime);
    now.tv_sec.saturating_mul(1_000_000_000).saturating_add(now.tv_nsec)
}

/// `CLOCK_BOOTTIME` in nanoseconds: as the monotonic one, but it goes on while the box sleeps. Only for telling whether the wall
/// clock was set.
pub fn boottime_ns() -> i64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec.saturating_mul(1_000_000_000).saturating_add(now.tv_nsec)
}

/// This boot. Without `/proc` all boots look alike, and nothing of an earlier one is taken for our own.
pub fn boot_id() -> BootId {
    BootId::current().unwrap_or(BootId([0; 16]))
}
