//! How soon a capture is started again.

use std::time::Duration;

/// A capture that ran this long was well: the next death is a first one again.
pub const HEALTHY: Duration = Duration::from_secs(10);
/// So was one that made footage safe for this long: starting it again at once gains more than waiting.
pub const HEALTHY_RECORDING: Duration = Duration::from_secs(1);

/// How long to wait before the next start, after this many failures in a row: none after the first, then 1 s, 2 s, … 30 s, and
/// so on for ever.
pub fn restart_delay(failures: u32) -> Duration {
    match failures {
        0 | 1 => Duration::ZERO,
        2..=6 => Duration::from_secs(1 << (failures - 2)),
        _ => Duration::from_secs(30),
    }
}

#[cfg(test)]
mod tests {
    use super::restart_delay;

    #[test]
    fn at_once_then_slower_but_for_ever() {
        let seconds: Vec<_> = (0..9).map(|failures| restart_delay(failures).as_secs()).collect();
        assert_eq!(seconds, [0, 0, 1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(restart_delay(u32::MAX).as_secs(), 30);
    }
}
