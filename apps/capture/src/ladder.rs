//! What is done about an encoder that fails while it is used. Pure: no encoder, no clock, no process in here.
//!
//! Each encoder is first reset (another pipeline), then given another process, then replaced by the next of the table, which
//! ends with those that need no hardware. A recording that ends takes the slate with it: the next one begins with the first
//! choice again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// An encoder that has run this long since it failed last is well again: what fails then is a first failure.
pub const HEALTHY_AFTER: Duration = Duration::from_secs(600);

/// What to do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Try the same encoder in another pipeline.
    Reset,
    /// Try it in another process: its driver or library may hold on to what is broken.
    Restart,
    /// Use the next encoder.
    Replace,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Tried {
    encoder: String,
    /// Without a long healthy run in between.
    failures: u32,
    given_up: bool,
}

/// What has been tried in a recording. It survives the process, in which the second remedy costs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slate {
    failures: u32,
    tried: Vec<Tried>,
}

impl Slate {
    /// `encoder` failed after it had delivered for `ran`. `can_restart`: there is somebody to start this process again.
    pub fn failed(&mut self, encoder: &str, ran: Duration, can_restart: bool) -> Remedy {
        self.failures = self.failures.saturating_add(1);
        let known = self.tried.iter().position(|tried| tried.encoder == encoder);
        let index = known.unwrap_or_else(|| {
            self.tried.push(Tried { encoder: encoder.to_owned(), failures: 0, given_up: false });
            self.tried.len() - 1
        });
        let tried = &mut self.tried[index];
        if ran >= HEALTHY_AFTER {
            tried.failures = 0;
        }
        tried.failures = tried.failures.saturating_add(1);
        match tried.failures {
            1 => Remedy::Reset,
            2 if can_restart => Remedy::Restart,
            _ => {
                tried.given_up = true;
                Remedy::Replace
            }
        }
    }

    /// It must not be used as long as there is another.
    #[must_use]
    pub fn is_given_up(&self, encoder: &str) -> bool {
        self.tried.iter().any(|tried| tried.given_up && tried.encoder == encoder)
    }

    /// Every encoder was given up: one of them has to do, so all get another chance. What has been counted stays.
    pub fn forgive(&mut self) {
        self.tried.clear();
    }

    /// An encoder was given up.
    #[must_use]
    pub fn gave_up(&self) -> bool {
        self.tried.iter().any(|tried| tried.given_up)
    }

    /// Another recording begins with what is in use: only what was given up stays.
    pub fn begin_again(&mut self) {
        self.failures = 0;
        self.tried.retain(|tried| tried.given_up);
    }

    /// How often an encoder failed.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Nothing has failed.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.failures == 0
    }
}

#[cfg(test)]
mod tests {
    use super::{HEALTHY_AFTER, Remedy, Slate};
    use std::time::Duration;

    const SHORT: Duration = Duration::from_secs(5);

    #[test]
    fn reset_then_restart_then_the_next() {
        let mut slate = Slate::default();
        assert!(slate.is_clean());
        let steps: Vec<Remedy> = (0..3).map(|_| slate.failed("hw", SHORT, true)).collect();
        assert_eq!(steps, [Remedy::Reset, Remedy::Restart, Remedy::Replace]);
        assert!(slate.is_given_up("hw") && !slate.is_given_up("sw"));
        // The next encoder has its own chances.
        assert_eq!(slate.failed("sw", SHORT, true), Remedy::Reset);
        assert_eq!(slate.failures(), 4);
    }

    #[test]
    fn without_anybody_to_start_it_again_a_recording_never_ends_its_process() {
        let mut slate = Slate::default();
        let steps: Vec<Remedy> = (0..3).map(|_| slate.failed("hw", SHORT, false)).collect();
        assert_eq!(steps, [Remedy::Reset, Remedy::Replace, Remedy::Replace]);
    }

    #[test]
    fn what_was_well_for_long_fails_for_the_first_time() {
        let mut slate = Slate::default();
        slate.failed("hw", SHORT, true);
        assert_eq!(slate.failed("hw", HEALTHY_AFTER, true), Remedy::Reset);
        assert_eq!(slate.failed("hw", SHORT, true), Remedy::Restart);
        assert_eq!(slate.failures(), 3);
    }

    #[test]
    fn it_survives_the_process_that_the_second_step_costs() {
        let mut slate = Slate::default();
        slate.failed("hw", SHORT, true);
        slate.failed("hw", SHORT, true);
        let text = serde_json::to_string(&slate).unwrap();
        let mut next: Slate = serde_json::from_str(&text).unwrap();
        assert_eq!(next, slate);
        assert_eq!(next.failed("hw", SHORT, true), Remedy::Replace);
    }

    #[test]
    fn when_all_have_failed_all_get_another_chance() {
        let mut slate = Slate::default();
        for _ in 0..3 {
            slate.failed("only", SHORT, true);
        }
        slate.forgive();
        assert!(!slate.is_given_up("only"));
        assert_eq!((slate.failures(), slate.is_clean()), (3, false));
        assert_eq!(slate.failed("only", SHORT, true), Remedy::Reset);
    }
}
