//! Whether the wall clock was set, and whether it can be right. Pure: what the clocks say is handed in.

use super::{CLOCK_STEP, nanos};

/// No box that runs this was built before: 2026-01-01.
pub const BUILT_AFTER_NS: i64 = 1_767_225_600 * 1_000_000_000;

/// Watches the offset between the wall clock and the one that never jumps.
#[derive(Debug, Default)]
pub struct Steps {
    offset_ns: Option<i64>,
}

impl Steps {
    /// How far the wall clock was set since the last look; `None`: it was not. What a clock is slewed by is far less than a step.
    pub fn look(&mut self, wall_ns: i64, boottime_ns: i64) -> Option<i64> {
        let offset_ns = wall_ns.saturating_sub(boottime_ns);
        let step_ns = offset_ns.saturating_sub(self.offset_ns.replace(offset_ns)?);
        (step_ns.unsigned_abs() > nanos(CLOCK_STEP)).then_some(step_ns)
    }
}

/// It shows a time before this program was made.
pub fn is_wrong(wall_ns: i64) -> bool {
    wall_ns < BUILT_AFTER_NS
}

/// What to tell of a step.
pub fn text(step_ns: i64) -> String {
    let tenths = step_ns.unsigned_abs() / 100_000_000;
    let (days, rest) = (tenths / 864_000, tenths % 864_000);
    let (hours, minutes, seconds) = (rest / 36_000, rest / 600 % 60, rest % 600);
    let direction = if step_ns < 0 { "back" } else { "forward" };
    let days = if days > 0 { format!("{days} d ") } else { String::new() };
    format!("the clock was set {direction} by {days}{hours}:{minutes:02}:{:02}.{}", seconds / 10, seconds % 10)
}

#[cfg(test)]
mod tests {
    use super::{BUILT_AFTER_NS, Steps, is_wrong, text};

    const S: i64 = 1_000_000_000;

    #[test]
    fn steps_are_told_once_and_slewing_is_none() {
        let mut steps = Steps::default();
        let looks = [
            (100, 0, None),
            // NTP slews by at most half a thousandth.
            (101, 0, None),
            (102, 4, None),
            // An hour forward, then on as usual, then a day back.
            (3703, 4, Some(3600)),
            (3704, 4, None),
            (3705 - 86_400, 4, Some(-86_400)),
        ];
        for (n, (wall, tenths, step)) in (100..).zip(looks) {
            let told = steps.look(wall * S + tenths * S / 10, n * S);
            assert_eq!(told.map(|step_ns| (step_ns + S / 2).div_euclid(S)), step, "{wall}");
        }
    }

    #[test]
    fn a_clock_without_battery_is_wrong() {
        assert!(is_wrong(0) && is_wrong(BUILT_AFTER_NS - 1) && !is_wrong(BUILT_AFTER_NS));
        assert_eq!(text(-90_061_500_000_000), "the clock was set back by 1 d 1:01:01.5");
        assert_eq!(text(1_200_000_000), "the clock was set forward by 0:00:01.2");
    }
}
