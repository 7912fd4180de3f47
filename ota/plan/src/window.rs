//! When the box may be disturbed without a person's word.

/// Now, as the plan is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Nanoseconds since the boot; never goes back.
    pub ns: u64,
    /// Unix time in seconds: a label.
    pub unix_s: i64,
    /// Seconds since midnight on the clock on the wall; `None` while the box does not know what time it is.
    pub day_s: Option<u32>,
}

/// A part of every day, by the clock on the wall: from its beginning to just before its end. It may go over midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Minutes since midnight.
    from_min: u32,
    /// The same.
    until_min: u32,
}

const DAY_S: u32 = 24 * 60 * 60;

impl Window {
    /// From `02:00-05:00`, hours and minutes of a day. `None`: it is not written so, or it is empty.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let minutes = |text: &str| {
            let (hours, minutes) = text.split_once(':')?;
            let number = |text: &str, below: u32| {
                let is_number = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
                text.parse().ok().filter(|number: &u32| is_number && *number < below)
            };
            Some(number(hours, 24)? * 60 + number(minutes, 60)?)
        };
        let (from, until) = text.split_once('-')?;
        let (from_min, until_min) = (minutes(from.trim())?, minutes(until.trim())?);
        (from_min != until_min).then_some(Self { from_min, until_min })
    }

    /// Now is within it. Who does not know the time does not know that it is.
    #[must_use]
    pub fn is_open(&self, now: Moment) -> bool {
        now.day_s.is_some_and(|day_s| since(self.from_min * 60, day_s) < since(self.from_min * 60, self.until_min * 60))
    }

    /// When it opens next, in nanoseconds since the boot, if no clock is set meanwhile.
    pub(crate) fn opens_ns(&self, now: Moment) -> Option<u64> {
        let wait_s = since(now.day_s?, self.from_min * 60);
        Some(now.ns.saturating_add(u64::from(wait_s) * 1_000_000_000))
    }
}

impl std::fmt::Display for Window {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [from, until] =
            [self.from_min, self.until_min].map(|minutes| format!("{:02}:{:02}", minutes / 60, minutes % 60));
        write!(f, "{from}-{until}")
    }
}

/// Seconds from one time of day to the next that another one is.
fn since(from_s: u32, to_s: u32) -> u32 {
    (to_s % DAY_S + DAY_S - from_s % DAY_S) % DAY_S
}

#[cfg(test)]
mod tests {
    use super::{Moment, Window};

    fn at(hours: u32, minutes: u32) -> Moment {
        Moment { ns: 0, unix_s: 0, day_s: Some(hours * 3600 + minutes * 60) }
    }

    #[test]
    fn it_is_open_from_its_beginning_to_just_before_its_end_over_midnight_too() {
        let window = Window::parse("02:00-05:00").unwrap();
        assert!(window.is_open(at(2, 0)) && window.is_open(at(4, 59)));
        assert!(!window.is_open(at(1, 59)) && !window.is_open(at(5, 0)) && !window.is_open(at(14, 0)));
        let night = Window::parse("23:30 - 00:15").unwrap();
        assert!(night.is_open(at(23, 30)) && night.is_open(at(0, 0)) && night.is_open(at(0, 14)));
        assert!(!night.is_open(at(0, 15)) && !night.is_open(at(23, 29)) && !night.is_open(at(12, 0)));
        assert!(!window.is_open(Moment { day_s: None, ..at(3, 0) }), "the box does not know the time");
        assert_eq!((window.to_string(), night.to_string()), ("02:00-05:00".into(), "23:30-00:15".into()));
        const MINUTE: u64 = 60_000_000_000;
        assert_eq!((window.opens_ns(at(1, 0)), window.opens_ns(at(5, 0))), (Some(60 * MINUTE), Some(21 * 60 * MINUTE)));
    }

    #[test]
    fn what_is_no_part_of_a_day_is_refused() {
        for bad in ["", "02:00", "2:00-5:00", "02:00-24:00", "02:60-03:00", "02:00-02:00", "+2:00-05:00", "a-b"] {
            assert_eq!(Window::parse(bad), None, "{bad}");
        }
    }
}
