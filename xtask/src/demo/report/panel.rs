//! What the panel has told: for people, and as JSON; and whether it was true.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::bail;
use console::style;

use crate::demo::lights::{BELIEVED, Entry, History, What};
use crate::panel::RECORD;
use crate::terminal;

/// How many lines of what happened are printed.
const LINES: usize = 30;

/// What was seen of the panel.
#[derive(Default)]
pub struct Told {
    pub history: History,
    /// Alerts that held at the end: why the status light tells a warning.
    pub alerts: Vec<String>,
    /// Where the demo pressed the button by itself.
    pub figures: Option<Figures>,
}

/// How long things took.
pub struct Figures {
    /// Since the panel was looked at.
    pub pressed_at: Duration,
    pub press_to_light: Duration,
    pub press_to_safe: Duration,
    pub press_to_solid: Duration,
    /// `None`: footage was safe again before the light had to doubt.
    pub kill_to_told: Option<Duration>,
    pub kill_to_safe: Duration,
    pub hold_to_closed: Duration,
    pub hold_to_armed: Duration,
    pub marks: usize,
}

impl Told {
    pub fn print(&self) {
        if self.history.entries().is_empty() {
            return;
        }
        let zero = self.figures.as_ref().map_or(Duration::ZERO, |figures| figures.pressed_at);
        eprintln!("  {}", style("the panel: seconds, what was done, what its lights told").bold().for_stderr());
        let shown: Vec<&Entry> = self.history.entries().iter().filter(is_worth_a_line).collect();
        if shown.len() > LINES {
            eprintln!("    … {} lines before", shown.len() - LINES);
        }
        for Entry { at, what } in shown.iter().skip(shown.len().saturating_sub(LINES)) {
            let seconds = signed_ms(*at, zero) as f64 / 1e3;
            match what {
                What::Done(what) => eprintln!("  {seconds:>7.2}  {}", style(what).cyan().for_stderr()),
                What::Tells { light, condition } => eprintln!("  {seconds:>7.2}    {light:<7} {condition}"),
            }
        }
        if matches!(self.history.now("status"), "warning" | "critical") && !self.alerts.is_empty() {
            eprintln!("  the status light asks to look at: {}", self.alerts.join(", "));
        }
        if let Some(figures) = &self.figures {
            eprintln!(
                "  press → light {} · press → safe {} · press → solid {} · hold → files closed {} · hold → standing by {}",
                terminal::duration(figures.press_to_light),
                terminal::duration(figures.press_to_safe),
                terminal::duration(figures.press_to_solid),
                terminal::duration(figures.hold_to_closed),
                terminal::duration(figures.hold_to_armed),
            );
            let safe = terminal::duration(figures.kill_to_safe);
            match figures.kill_to_told {
                Some(told) => eprintln!(
                    "  the kill was told by the record light after {}; footage was safe again after {safe}",
                    terminal::duration(told)
                ),
                None => eprintln!(
                    "  the record light stayed solid over the kill: footage was safe again after {safe}, and it doubts after 2 s"
                ),
            }
        }
        eprintln!();
    }

    pub fn json(&self) -> serde_json::Value {
        let zero = self.figures.as_ref().map_or(Duration::ZERO, |figures| figures.pressed_at);
        let mut lights: BTreeMap<&str, Vec<serde_json::Value>> = BTreeMap::new();
        for Entry { at, what } in self.history.entries() {
            if let What::Tells { light, condition } = what {
                let change = serde_json::json!({ "at_ms": signed_ms(*at, zero), "shows": condition });
                lights.entry(light).or_default().push(change);
            }
        }
        let mut json = serde_json::json!({
            "solid_ms": whole_ms(self.history.solid()),
            "solid_without_safe_ms": whole_ms(self.history.longest_without_safe()),
            "lights": lights,
        });
        if let (Some(figures), Some(object)) = (&self.figures, json.as_object_mut()) {
            for (key, time) in [
                ("press_to_light_ms", Some(figures.press_to_light)),
                ("press_to_safe_ms", Some(figures.press_to_safe)),
                ("press_to_solid_ms", Some(figures.press_to_solid)),
                ("kill_to_told_ms", figures.kill_to_told),
                ("kill_to_safe_ms", Some(figures.kill_to_safe)),
                ("hold_to_closed_ms", Some(figures.hold_to_closed)),
                ("hold_to_armed_ms", Some(figures.hold_to_armed)),
            ] {
                object.insert(key.to_owned(), time.map(tenths_ms).into());
            }
            object.insert("marks".to_owned(), figures.marks.into());
        }
        json
    }

    /// An error if a light was solid without newly safe footage behind it.
    pub fn judge(&self) -> anyhow::Result<()> {
        if let Some(lie) = self.history.lie() {
            bail!(
                "the light {} was solid from {:.2} s on, but for {} nothing of {} became safe, and it may believe that for \
                 {} at most; logs/panel.log and logs/recorder.log say more",
                lie.light,
                lie.from.as_secs_f64(),
                terminal::duration(lie.without),
                lie.input,
                terminal::duration(BELIEVED)
            );
        }
        let solid = self.history.solid();
        if !solid.is_zero() {
            terminal::good(&format!(
                "the record light was solid for {}, and never longer than {} without newly safe footage",
                terminal::duration(solid),
                terminal::duration(self.history.longest_without_safe())
            ));
        }
        Ok(())
    }
}

/// Lights of single inputs tell nothing beside the record light that people would miss; JSON has them.
fn is_worth_a_line(entry: &&Entry) -> bool {
    match &entry.what {
        What::Done(_) => true,
        What::Tells { light, .. } => light == RECORD || light == "status",
    }
}

fn signed_ms(at: Duration, zero: Duration) -> i64 {
    let ms = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    ms(at) - ms(zero)
}

fn whole_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn tenths_ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e4).round() / 10.0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Figures, Told};
    use crate::demo::lights::History;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn told(lies: bool) -> Told {
        let mut history = History::default();
        history.tells(ms(0), "record", "armed");
        history.safe(ms(0), "cam0", 0);
        history.done(ms(2000), "the button is pressed");
        history.safe(ms(2100), "cam0", 3);
        history.tells(ms(2200), "record", "recording");
        history.safe(ms(3000), "cam0", 30);
        history.tells(if lies { ms(9000) } else { ms(4000) }, "record", "armed");
        let figures = Figures {
            pressed_at: ms(2000),
            press_to_light: Duration::from_micros(2_340),
            press_to_safe: ms(60),
            press_to_solid: ms(200),
            kill_to_told: None,
            kill_to_safe: ms(300),
            hold_to_closed: ms(1600),
            hold_to_armed: ms(1700),
            marks: 1,
        };
        Told { history, alerts: Vec::new(), figures: Some(figures) }
    }

    #[test]
    fn json_has_the_figures_and_what_each_light_told_since_the_press() {
        let json = told(false).json();
        assert_eq!(json["press_to_light_ms"], 2.3);
        assert_eq!(json["press_to_safe_ms"], 60.0);
        assert!(json["kill_to_told_ms"].is_null());
        assert_eq!(json["marks"], 1);
        assert_eq!(json["solid_ms"], 1800);
        assert_eq!(json["solid_without_safe_ms"], 1000);
        let record = json["lights"]["record"].as_array().unwrap();
        let record: Vec<(i64, &str)> = record
            .iter()
            .map(|change| (change["at_ms"].as_i64().unwrap(), change["shows"].as_str().unwrap()))
            .collect();
        assert_eq!(record, [(-2000, "armed"), (200, "recording"), (2000, "armed")]);
    }

    #[test]
    fn a_light_that_lies_fails_the_demo() {
        told(false).judge().unwrap();
        let error = told(true).judge().unwrap_err().to_string();
        assert!(error.contains("cam0") && error.contains("record"), "{error}");
    }
}
