//! What follows from a probe: pure, times are handed in and out.

use std::time::Duration;

use crate::health::{PROBE_IDLE, PROBE_RECORDING, PROBE_SETTLES, PROBE_SILENCES};

/// What is known of an input that nobody records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// Not looked yet, or it can't be looked, for this reason; or a capture serves it, which knows better.
    Unknown(String),
    /// It can be reached.
    Yes,
    /// It can't, for this reason.
    No(String),
}

impl Reach {
    /// Nothing is known, and nothing is wrong.
    pub fn unknown() -> Self {
        Self::Unknown(String::new())
    }

    /// As on D-Bus.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "unknown",
            Self::Yes => "yes",
            Self::No(_) => "no",
        }
    }

    /// Why.
    pub fn text(&self) -> &str {
        match self {
            Self::Yes => "",
            Self::Unknown(text) | Self::No(text) => text,
        }
    }
}

/// How a probe ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// The source can be reached, or not, and why.
    Answer(Reach),
    /// Nothing within the deadline.
    Nothing,
}

/// One input, over its probes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judge {
    /// What is known.
    pub reach: Reach,
    /// Probes in a row that said nothing.
    silences: u32,
}

impl Default for Judge {
    fn default() -> Self {
        Self { reach: Reach::unknown(), silences: 0 }
    }
}

impl Judge {
    /// A probe has ended.
    pub fn hear(&mut self, said: Said) {
        match said {
            Said::Answer(reach) => *self = Self { reach, silences: 0 },
            Said::Nothing => {
                self.silences += 1;
                // One may have had no time to run, on a box that records: at its priority that is no wonder.
                if self.silences >= PROBE_SILENCES {
                    let text = "looking at it hangs: no end within 2 s, again and again. Check the device and its driver: dmesg";
                    self.reach = Reach::No(text.to_owned());
                }
            }
        }
    }

    /// A capture serves the input.
    pub fn served(&mut self) {
        *self = Self::default();
    }

    /// How long after the beginning of the last probe the next one is due.
    pub fn pause(&self, recording: bool) -> Duration {
        // What hangs is looked at again soon: one silence alone says nothing.
        if recording || self.silences > 0 { PROBE_RECORDING } else { PROBE_IDLE }
    }
}

/// How long after its source has become nobody's an input of so many is looked at first: one after the other, not all at once.
pub fn first_pause(index: usize, inputs: usize) -> Duration {
    let [index, inputs] = [index, inputs.max(1)].map(|number| u32::try_from(number).unwrap_or(u32::MAX));
    let step = (PROBE_RECORDING / inputs).min(PROBE_SETTLES);
    PROBE_SETTLES + step * (index % inputs)
}

#[cfg(test)]
mod tests {
    use super::{Judge, Reach, Said, first_pause};
    use std::time::Duration;

    #[test]
    fn an_answer_counts_at_once_and_silence_only_when_it_repeats() {
        let mut judge = Judge::default();
        let mut after = |said| {
            judge.hear(said);
            (judge.reach.name(), judge.pause(false).as_secs(), judge.pause(true).as_secs())
        };
        assert_eq!(after(Said::Nothing), ("unknown", 10, 10));
        assert_eq!(after(Said::Answer(Reach::Yes)), ("yes", 30, 10));
        assert_eq!(after(Said::Nothing), ("yes", 10, 10));
        assert_eq!(after(Said::Nothing), ("no", 10, 10));
        assert_eq!(after(Said::Answer(Reach::Unknown("no polkit".into()))), ("unknown", 30, 10));
        assert_eq!(after(Said::Answer(Reach::No("unplugged".into()))), ("no", 30, 10));
        assert_eq!(after(Said::Nothing), ("no", 10, 10));
        assert_eq!(judge.reach.text(), "unplugged");
        judge.served();
        assert_eq!(judge, Judge::default());
        assert_eq!((judge.reach.name(), judge.reach.text()), ("unknown", ""));
    }

    #[test]
    fn inputs_are_looked_at_one_after_the_other() {
        let ms = |index, inputs| first_pause(index, inputs).as_millis();
        assert_eq!((ms(0, 1), ms(0, 4), ms(1, 4), ms(3, 4)), (1000, 1000, 2000, 4000));
        // Many share the shortest interval: each has been looked at before the first is due again.
        assert_eq!((ms(1, 100), ms(99, 100)), (1100, 10_900));
        assert_eq!(first_pause(5, 0), Duration::from_secs(1));
    }
}
