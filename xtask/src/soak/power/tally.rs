//! What many cuts come to.

use std::collections::BTreeMap;

use anyhow::bail;
use serde::{Deserialize, Serialize};

use crate::terminal;

/// In so few cuts the disk may not have been full enough.
const RETENTION_MAY_IDLE: u64 = 3;

/// One cut, as the suite writes it down.
#[derive(Debug, Clone, Deserialize)]
pub struct Seen {
    pub phase: String,
    #[serde(default)]
    pub moment: Option<String>,
    pub logged: bool,
    /// The box answered again.
    pub boots: bool,
    /// From power-on until the session went on.
    #[serde(default)]
    pub recording_s: Option<f64>,
    /// Frames that were found again, or are on record as given up by retention: to be compared with what was safe before.
    #[serde(default)]
    pub safe_after: Option<u64>,
    #[serde(default)]
    pub lost: u64,
    /// Files that retention gave up before the cut.
    #[serde(default)]
    pub given_up: u64,
    /// Of updates that were followed to their end since the cut before.
    #[serde(default)]
    pub updates_ended: Vec<String>,
    pub seconds: f64,
    #[serde(default)]
    pub problem: Option<String>,
}

/// For programs.
#[derive(Debug, Default, Serialize)]
pub struct Tally {
    cuts: u64,
    logged_cuts: u64,
    /// Cuts of a recording behind which all that had been safe was counted.
    compared: u64,
    /// Cuts of a recording that went on.
    comparable: u64,
    files_given_up: u64,
    /// How many updates ended good, and how many otherwise.
    updates_ended: BTreeMap<String, u64>,
    failed: u64,
    boots_failed: u64,
    safe_frames_lost: u64,
    power_on_to_recording_s: Spread,
    by_phase: BTreeMap<String, PhaseTally>,
}

#[derive(Debug, Default, PartialEq, Serialize)]
struct Spread {
    median: f64,
    p95: f64,
    max: f64,
}

#[derive(Debug, Default, Serialize)]
struct PhaseTally {
    cuts: u64,
    failed: u64,
    safe_frames_lost: u64,
    seconds_per_cut: f64,
}

impl Tally {
    pub fn of(seen: &[Seen]) -> Self {
        let mut tally = Self { power_on_to_recording_s: spread(seen), ..Self::default() };
        let mut seconds: BTreeMap<&str, f64> = BTreeMap::new();
        for cut in seen {
            let (failed, boot_failed) = (u64::from(cut.problem.is_some()), u64::from(!cut.boots));
            tally.cuts += 1;
            tally.logged_cuts += u64::from(cut.logged);
            tally.compared += u64::from(cut.safe_after.is_some());
            tally.comparable += u64::from(cut.recording_s.is_some());
            tally.files_given_up += cut.given_up;
            for end in &cut.updates_ended {
                *tally.updates_ended.entry(end.clone()).or_default() += 1;
            }
            tally.failed += failed;
            // One that failed before its moment was not cut.
            tally.boots_failed += if cut.moment.is_some() { boot_failed } else { 0 };
            tally.safe_frames_lost += cut.lost;
            let phase = tally.by_phase.entry(cut.phase.clone()).or_default();
            phase.cuts += 1;
            phase.failed += failed;
            phase.safe_frames_lost += cut.lost;
            let sum = seconds.entry(&cut.phase).or_default();
            *sum += cut.seconds;
            #[allow(clippy::cast_precision_loss, reason = "some thousand cuts at most")]
            let cuts = phase.cuts as f64;
            phase.seconds_per_cut = *sum / cuts;
        }
        tally
    }

    pub fn print(&self) {
        super::table(self.by_phase.iter().map(|(name, phase)| {
            let numbers = [phase.cuts, phase.failed, phase.safe_frames_lost].map(|number| number.to_string());
            let [cuts, failed, lost] = numbers;
            [name.clone(), cuts, failed, lost, format!("{:.0}", phase.seconds_per_cut)]
        }));
        let ends: Vec<String> = self.updates_ended.iter().map(|(end, times)| format!("{times} {end}")).collect();
        terminal::note(&format!(
            "all that was safe was counted after {} of {} cuts of a recording; retention gave up {} files; updates: {}",
            self.compared,
            self.comparable,
            self.files_given_up,
            if ends.is_empty() { "none".to_owned() } else { ends.join(", ") }
        ));
    }

    /// Nothing failed, nothing was lost, and there was something to see.
    pub fn verdict(&self) -> anyhow::Result<()> {
        let retention = self.by_phase.get("retention").map_or(0, |phase| phase.cuts);
        if retention > RETENTION_MAY_IDLE && self.files_given_up == 0 {
            bail!("retention was cut {retention} times and had nothing to give up");
        }
        if self.failed + self.boots_failed + self.safe_frames_lost > 0 {
            bail!("what was promised does not hold (see above)");
        }
        if self.compared < self.comparable {
            bail!(
                "only after {} of {} cuts of a recording was all that was safe counted",
                self.compared,
                self.comparable
            );
        }
        Ok(())
    }
}

fn spread(seen: &[Seen]) -> Spread {
    let mut seconds: Vec<f64> = seen.iter().filter_map(|cut| cut.recording_s).collect();
    seconds.sort_by(f64::total_cmp);
    let at = |percent: usize| {
        let place = (seconds.len() * percent).div_ceil(100).saturating_sub(1);
        seconds.get(place).copied().unwrap_or(0.0)
    };
    Spread { median: at(50), p95: at(95), max: at(100) }
}

#[cfg(test)]
mod tests {
    use super::{Seen, Spread, Tally};

    fn seen(line: &str) -> Seen {
        serde_json::from_str(line).unwrap()
    }

    #[test]
    fn cuts_are_counted_and_whatever_failed_fails_all() {
        let good = r#"{"phase":"recording","moment":"2 s on","logged":true,"boots":true,"recording_s":30.5,"safe_after":90,"seconds":40,"cut":1}"#;
        let lost = r#"{"phase":"recording","moment":"2 s on","logged":false,"boots":true,"lost":3,"seconds":50,"problem":"x"}"#;
        let dead =
            r#"{"phase":"environment","moment":"2 s on","logged":false,"boots":false,"seconds":600,"problem":"x"}"#;
        let given_up = r#"{"phase":"retention","moment":"1 file given up","logged":false,"boots":true,"safe_after":90,"seconds":9}"#;
        let early = r#"{"phase":"rotation","logged":false,"boots":false,"seconds":6,"problem":"x"}"#;
        assert!(Tally::of(&[seen(good), seen(given_up)]).verdict().is_ok());
        for bad in [lost, dead, early] {
            assert!(Tally::of(&[seen(good), seen(bad)]).verdict().is_err(), "{bad}");
        }
        let tally = Tally::of(&[good, lost, dead, given_up, early].map(seen));
        let told = serde_json::to_value(&tally).unwrap();
        assert_eq!((tally.cuts, tally.failed, tally.boots_failed, tally.safe_frames_lost), (5, 3, 1, 3));
        assert_eq!((tally.compared, tally.comparable), (2, 1));
        assert_eq!(told["by_phase"]["recording"]["cuts"], 2);
        assert_eq!(told["by_phase"]["recording"]["seconds_per_cut"], 45.0);
        assert_eq!(told["power_on_to_recording_s"]["median"], 30.5);
    }

    #[test]
    fn a_campaign_that_saw_nothing_proves_nothing() {
        let cut = |phase: &str, more: &str| {
            seen(&format!(
                r#"{{"phase":"{phase}","moment":"x","logged":false,"boots":true,"recording_s":30,"seconds":9{more}}}"#
            ))
        };
        let counted = || cut("recording", r#","safe_after":9"#);
        let blind = || cut("retention", r#","safe_after":null"#);
        assert!(Tally::of(&[counted(), counted()]).verdict().is_ok());
        assert!(Tally::of(&[counted(), counted(), blind()]).verdict().unwrap_err().to_string().contains("2 of 3"));
        let idle = || cut("retention", r#","safe_after":9,"given_up":0"#);
        assert!(Tally::of(&[idle(), idle(), idle(), idle()]).verdict().is_err());
        let busy = cut("retention", r#","safe_after":9,"given_up":2,"updates_ended":["good","cancelled"]"#);
        let tally = Tally::of(&[idle(), idle(), idle(), busy]);
        assert!(tally.verdict().is_ok());
        assert_eq!((tally.files_given_up, tally.updates_ended["good"]), (2, 1));
    }

    #[test]
    fn a_spread_is_of_what_came_to_record() {
        let line = |seconds: u32| {
            seen(&format!(r#"{{"phase":"r","logged":false,"boots":true,"recording_s":{seconds},"seconds":1}}"#))
        };
        let cuts: Vec<Seen> = (1..=100).rev().map(line).collect();
        assert_eq!(super::spread(&cuts), Spread { median: 50.0, p95: 95.0, max: 100.0 });
        assert_eq!(super::spread(&[]), Spread::default());
    }
}
