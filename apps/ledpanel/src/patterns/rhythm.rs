//! On and off over time.

use super::{MS_NS, Span};

/// How a light that shows something goes on and off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rhythm {
    /// Always on.
    Solid,
    /// On, off, on, off, … for so many milliseconds each, over and over, from the moment on at which its condition
    /// began to hold.
    Repeat(&'static [u16]),
    /// The same once, then off.
    Once(&'static [u16]),
    /// On, off, on, off, … for so many thousandths of the whole time each: the nearer its end, the faster.
    Hastening(&'static [u16]),
    /// What can be seen best: off where the light was on, else on.
    Opposite,
}

/// A light at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// It is on.
    pub lit: bool,
    /// So long it stays so; `None`: for ever.
    pub until_ns: Option<u64>,
}

impl Rhythm {
    /// How a light is at `now_ns` if this began at `since_ns`. Before that it is dark. What hastens or is the
    /// opposite of something takes more to tell than a beginning: here it is on.
    #[must_use]
    pub fn at(self, since_ns: u64, now_ns: u64) -> Moment {
        let Some(passed_ns) = now_ns.checked_sub(since_ns) else {
            return Moment { lit: false, until_ns: Some(since_ns) };
        };
        match self {
            Self::Solid | Self::Hastening(_) | Self::Opposite => Moment { lit: true, until_ns: None },
            Self::Repeat(steps) => {
                let around_ns = steps.iter().map(|ms| u64::from(*ms) * MS_NS).sum::<u64>().max(1);
                step(steps, MS_NS, passed_ns % around_ns, now_ns)
            }
            Self::Once(steps) => step(steps, MS_NS, passed_ns, now_ns),
        }
    }
}

/// A hold is hastened over so long at most; a longer one blinks evenly until then. What is on for long would look
/// like a recording.
const HASTENED_NS: u64 = 3_000 * MS_NS;
const UNHURRIED_MS: u16 = 450;
const UNHURRIED: Rhythm = Rhythm::Repeat(&[UNHURRIED_MS, UNHURRIED_MS]);

/// How a light is that blinks the faster, the nearer the end of `span`.
pub(super) fn hastening(parts: &[u16], span: Span, now_ns: u64) -> Moment {
    let hurries_ns = span.from_ns.max(span.until_ns.saturating_sub(HASTENED_NS));
    match now_ns.checked_sub(hurries_ns) {
        Some(passed_ns) => step(parts, span.until_ns.saturating_sub(hurries_ns) / 1000, passed_ns, now_ns),
        // Counted from where it ends, so that it ends dark.
        None => {
            let around_ns = 2 * u64::from(UNHURRIED_MS) * MS_NS;
            let rounds = hurries_ns.saturating_sub(span.from_ns).div_ceil(around_ns);
            UNHURRIED.at(hurries_ns.saturating_sub(rounds * around_ns), now_ns)
        }
    }
}

/// `passed_ns` into steps of `unit_ns` each, which begin lit. After the last it is dark for ever.
fn step(steps: &[u16], unit_ns: u64, passed_ns: u64, now_ns: u64) -> Moment {
    let mut end_ns = 0;
    for (index, units) in steps.iter().enumerate() {
        end_ns += u64::from(*units) * unit_ns;
        if passed_ns < end_ns {
            return Moment { lit: index % 2 == 0, until_ns: Some(now_ns.saturating_add(end_ns - passed_ns)) };
        }
    }
    Moment { lit: false, until_ns: None }
}
