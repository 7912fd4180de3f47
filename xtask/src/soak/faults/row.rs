//! What a fault cost, once or many times over, against what it may cost.

use std::time::Duration;

use serde_json::{Value, json};

use super::count::Losses;
use super::stage::Times;
use super::table::Fault;

/// A recording beside which something happened must have kept this much of the pace of one beside which nothing did.
const PACE: f64 = 0.99;

/// How often a row may be tried in CI, whose machine may be busy with anything, until its usual time is known.
pub const CI_TRIES: usize = 3;

/// Which time of several is held to the bound. What was lost, and what was never noticed, is always that of the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judged {
    /// The 95th percentile: for figures, on a machine that does nothing else.
    P95,
    /// The usual one: for CI, on a machine that may be busy just then.
    P50,
}

/// One time.
pub struct Run {
    pub times: Times,
    pub losses: Losses,
}

/// All times that a fault was tried.
pub struct Row {
    pub fault: &'static Fault,
    pub runs: Vec<Result<Run, String>>,
    /// Why it could not be tried here.
    pub skipped: Option<&'static str>,
    /// Which times are held to the bounds.
    pub judged: Judged,
    /// Safe frames a second of a recording that nothing happened to, in the same hour on the same machine.
    pub undisturbed: Option<f64>,
}

/// Times of several runs, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spread {
    pub p50: u64,
    pub p95: u64,
    pub max: u64,
}

impl Spread {
    /// `None` if there are none, or if one is missing: what never happened has no time.
    pub fn of(times: impl IntoIterator<Item = Option<Duration>>) -> Option<Self> {
        let times: Option<Vec<Duration>> = times.into_iter().collect();
        let mut sorted: Vec<u64> = times?.into_iter().map(ms).collect();
        sorted.sort_unstable();
        // The nearest rank: a time that was really taken.
        let rank = |percent: usize| sorted.get((sorted.len() * percent).div_ceil(100).saturating_sub(1)).copied();
        Some(Self { p50: rank(50)?, p95: rank(95)?, max: rank(100)? })
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Row {
    pub fn new(fault: &'static Fault) -> Self {
        Self { fault, runs: Vec::new(), skipped: None, judged: Judged::P95, undisturbed: None }
    }

    fn whole(&self) -> impl Iterator<Item = &Run> + Clone {
        self.runs.iter().flatten()
    }

    pub fn detected(&self) -> Option<Spread> {
        Spread::of(self.whole().map(|run| run.times.detected))
    }

    pub fn recovered(&self) -> Option<Spread> {
        Spread::of(self.whole().map(|run| run.times.recovered))
    }

    /// Of all runs together, but for `lost`, which is that of the worst.
    pub fn losses(&self) -> Option<Losses> {
        let mut sum = Losses::default();
        self.whole().for_each(|run| sum.add(&run.losses));
        sum.lost = self.whole().map(|run| run.losses.lost).max()?;
        Some(sum)
    }

    /// Safe frames a second.
    pub fn pace(&self) -> Option<f64> {
        self.losses()?.pace()
    }

    /// What is not as it should be.
    pub fn complaints(&self) -> Vec<String> {
        self.failures().into_iter().chain(self.slow()).collect()
    }

    /// Only slow: what a machine that is busy with something else may be.
    pub fn is_only_slow(&self) -> bool {
        !self.runs.is_empty() && self.failures().is_empty() && !self.slow().is_empty()
    }

    /// What took too long.
    fn slow(&self) -> Vec<String> {
        let bound = &self.fault.bound;
        let held = |took: Spread| match self.judged {
            Judged::P95 => took.p95,
            Judged::P50 => took.p50,
        };
        let beyond = |what: &str, took: Option<Spread>, bound_ms: u64| {
            let took_ms = took.map(held).filter(|took_ms| bound_ms > 0 && *took_ms > bound_ms)?;
            Some(format!("{what} after {took_ms} ms instead of {bound_ms}"))
        };
        let noticed = beyond("noticed", self.detected(), bound.detected_ms);
        noticed.into_iter().chain(beyond("recovered", self.recovered(), bound.recovered_ms)).collect()
    }

    /// What did not happen, or was lost.
    fn failures(&self) -> Vec<String> {
        let mut complaints: Vec<String> = self.runs.iter().filter_map(|run| run.as_ref().err().cloned()).collect();
        let Some(losses) = self.losses() else { return complaints };
        let bound = &self.fault.bound;
        if self.detected().is_none() && bound.detected_ms > 0 {
            complaints.push("never noticed".to_owned());
        }
        if self.recovered().is_none() {
            complaints.push("never recovered".to_owned());
        }
        if losses.lost > bound.frames_lost {
            complaints.push(format!("{} frames lost instead of {}", losses.lost, bound.frames_lost));
        }
        if losses.unaccounted > 0 {
            complaints.push(format!("{} frames unaccounted for", losses.unaccounted));
        }
        if losses.beside > 0 {
            complaints.push(format!("{} frames of another input lost", losses.beside));
        }
        if self.fault.compared
            && let (Some(pace), Some(undisturbed)) = (self.pace(), self.undisturbed)
            && pace < undisturbed * PACE
        {
            complaints
                .push(format!("{pace:.2} safe frames a second, and {undisturbed:.2} of an undisturbed recording"));
        }
        complaints
    }

    pub fn ok(&self) -> bool {
        self.skipped.is_none() && !self.runs.is_empty() && self.complaints().is_empty()
    }

    /// `detected_ms` and `recovered_ms` are the 95th percentile where it was tried more than once.
    pub fn json(&self) -> Value {
        let (detected, recovered, losses) = (self.detected(), self.recovered(), self.losses());
        let mut row = json!({
            "fault": self.fault.name,
            "runs": self.runs.len(),
            "detected_ms": detected.map(|took| took.p95),
            "recovered_ms": recovered.map(|took| took.p95),
            "frames_lost": losses.as_ref().map(|losses| losses.lost),
            "frames_unaccounted": losses.as_ref().map(|losses| losses.unaccounted),
            "frames_safe": losses.as_ref().map(|losses| losses.safe),
            "bound": self.fault.bound.frames_lost,
            "bound_detected_ms": self.fault.bound.detected_ms,
            "bound_recovered_ms": self.fault.bound.recovered_ms,
            "ok": self.ok(),
        });
        if self.runs.len() > 1 {
            for (what, took) in [("detected", detected), ("recovered", recovered)] {
                row[format!("p50_{what}_ms")] = took.map(|took| took.p50).into();
                row[format!("p95_{what}_ms")] = took.map(|took| took.p95).into();
                row[format!("max_{what}_ms")] = took.map(|took| took.max).into();
            }
        }
        if self.fault.compared {
            let rounded = |pace: Option<f64>| pace.map(|pace| (pace * 1000.0).round() / 1000.0);
            row["safe_frames_per_second"] = rounded(self.pace()).into();
            row["undisturbed_frames_per_second"] = rounded(self.undisturbed).into();
        }
        if let Some(why) = self.skipped {
            row["skipped"] = why.into();
        } else if !self.ok() {
            row["complaints"] = self.complaints().into();
        }
        row
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Judged, Row, Run, Spread};
    use crate::soak::faults::count::Losses;
    use crate::soak::faults::rows::FAULTS;
    use crate::soak::faults::stage::Times;

    fn run(detected_ms: u64, recovered_ms: u64, losses: Losses) -> Result<Run, String> {
        let [detected, recovered] = [detected_ms, recovered_ms].map(|ms| Some(Duration::from_millis(ms)));
        Ok(Run { times: Times { detected, recovered }, losses })
    }

    #[test]
    fn percentiles_are_times_that_were_taken() {
        let some = |ms| Some(Duration::from_millis(ms));
        assert_eq!(Spread::of((1..=20).map(some)), Some(Spread { p50: 10, p95: 19, max: 20 }));
        assert_eq!(Spread::of([some(7)]), Some(Spread { p50: 7, p95: 7, max: 7 }));
        assert_eq!(Spread::of([some(7), None]), None);
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn one_slow_recovery_in_twenty_is_within_the_bound_and_two_are_not() {
        let fault = FAULTS.iter().find(|fault| fault.name == "capture-killed").unwrap();
        let mut row = Row::new(fault);
        assert!(!row.ok(), "it was not tried");
        row.runs = (0..20).map(|n| run(10, if n == 7 { 5000 } else { 200 }, Losses::default())).collect();
        assert!(row.ok(), "{:?}", row.complaints());
        row.runs[8] = run(10, 5000, Losses::default());
        assert!(!row.ok());
        row.runs[8] = run(10, 200, Losses { unaccounted: 1, ..Losses::default() });
        assert_eq!(row.complaints(), ["1 frames unaccounted for"]);
        row.runs[8] = run(10, 200, Losses::default());
        row.runs[7] = Err("it broke".to_owned());
        assert_eq!(row.complaints(), ["it broke"]);
    }

    #[test]
    fn a_busy_machine_may_be_slow_once_and_may_not_lose_once() {
        let fault = FAULTS.iter().find(|fault| fault.name == "capture-killed").unwrap();
        let mut row = Row { judged: Judged::P50, ..Row::new(fault) };
        row.runs.push(run(10, 5000, Losses::default()));
        assert!(!row.ok() && row.is_only_slow());
        row.runs.push(run(10, 200, Losses::default()));
        assert!(row.ok() && !row.is_only_slow(), "{:?}", row.complaints());
        row.runs[1] = run(10, 3000, Losses::default());
        row.runs.push(run(10, 3000, Losses::default()));
        assert_eq!(row.complaints(), ["recovered after 3000 ms instead of 1000"]);
        row.runs[0] = run(10, 200, Losses { unaccounted: 1, ..Losses::default() });
        assert!(!row.ok() && !row.is_only_slow());
    }

    #[test]
    fn a_recording_that_is_slower_than_an_undisturbed_one_is_no_good() {
        let mut row = Row::new(FAULTS.iter().find(|fault| fault.name == "cpu-hog").unwrap());
        row.runs = vec![run(0, 10, Losses { steps: 240, span_ns: 10_000_000_000, ..Losses::default() })];
        assert!(row.ok());
        row.undisturbed = Some(24.0);
        assert!(row.ok());
        row.undisturbed = Some(25.0);
        assert!(row.complaints()[0].contains("24.00 safe frames a second"), "{:?}", row.complaints());
    }
}
