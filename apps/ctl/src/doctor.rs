//! `doctor`: what is missing on this box, and what to do about it.

mod capture;
mod checks;
mod updates;

pub use capture::find as find_capture;

use holdfast_config::Config;
use serde::Serialize;
use serde_json::json;

use crate::args::Global;
use crate::failure::{Exit, Outcome};
use crate::output::{self, Output};

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Ok,
    /// Could not be looked at, because something else is missing.
    Skipped,
    /// It records, but not as it should.
    Warning,
    /// It does not record like this.
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub struct Check {
    pub name: &'static str,
    pub level: Level,
    /// What was found.
    pub message: String,
    /// What to do about it; empty where nothing needs to be done.
    pub remedy: String,
}

impl Check {
    fn new(name: &'static str, level: Level, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, level, message: message.into(), remedy: remedy.into() }
    }

    fn ok(name: &'static str, message: impl Into<String>) -> Self {
        Self::new(name, Level::Ok, message, "")
    }

    fn skipped(name: &'static str, why: &str) -> Self {
        Self::new(name, Level::Skipped, why, "")
    }
}

pub async fn run(global: &Global, out: &Output) -> Outcome {
    let config = Config::load(&global.config);
    let mut found = vec![checks::config(&config, global)];
    match &config {
        Ok(config) => {
            found.extend(checks::storage(config));
            found.extend(checks::inputs(config));
            found.push(checks::unfinished(config));
            found.extend(capture::check(config, global).await);
            found.push(checks::directories(config));
        }
        Err(_) => found.extend(
            ["storage", "inputs", "recovery", "elements", "encoders"]
                .map(|name| Check::skipped(name, "the configuration must be right first")),
        ),
    }
    found.extend(checks::bus(global).await);
    found.push(checks::clock());
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    if checks::has_its_own_devices(&mounts) {
        trust_the_recorder(&mut found);
    }

    let failed = found.iter().filter(|check| check.level == Level::Fail).count();
    let warned = found.iter().filter(|check| check.level == Level::Warning).count();
    out.result(&json!({ "ok": failed == 0, "checks": found }), || {
        let mut text = String::new();
        for check in &found {
            let word = match check.level {
                Level::Ok => "ok",
                Level::Skipped => "skipped",
                Level::Warning => "warning",
                Level::Fail => "fail",
            };
            let pad = " ".repeat(8_usize.saturating_sub(word.len()));
            let message = check.message.replace('\n', "\n                     ");
            text.push_str(&format!("{}{pad} {:<11} {message}\n", out.state(word), check.name));
            if !check.remedy.is_empty() {
                text.push_str(&format!("         {:<11} → {}\n", "", check.remedy));
            }
        }
        text.push_str(&match (failed, warned) {
            (0, 0) => "this box is ready to record".to_owned(),
            (0, _) => format!("this box records, with {}", output::count(warned as u64, "warning")),
            _ => format!("{} to be mended before this box records", output::count(failed as u64, "thing")),
        });
        text
    })?;
    Ok(if failed > 0 { Exit::Findings } else { Exit::Ok })
}

/// Looked at from a place where little of the box is to be seen (an appliance's SSH sessions), a disk seems read-only and a camera away. The
/// recorder sees both: as long as it knows of nothing that is wrong, nothing is.
fn trust_the_recorder(found: &mut [Check]) {
    let is_ok = |name| {
        found.iter().any(|check| check.name == name)
            && found.iter().all(|check| check.name != name || check.level == Level::Ok)
    };
    if !is_ok("recorder") || !is_ok("alerts") {
        return;
    }
    for check in
        found.iter_mut().filter(|check| check.level == Level::Fail && ["storage", "inputs"].contains(&check.name))
    {
        let message = format!(
            "not to be seen from here ({}); the recorder sees it, and knows of nothing that is wrong",
            check.message
        );
        *check = Check { message, ..Check::skipped(check.name, "") };
    }
}

#[cfg(test)]
mod tests {
    use super::{Check, Level, trust_the_recorder};

    #[test]
    fn what_can_not_be_seen_from_here_is_the_recorders_to_say() {
        let fail = |name| Check::new(name, Level::Fail, "away", "plug it in");
        let ok = |name| Check::ok(name, "well");
        let levels = |mut found: Vec<Check>| {
            trust_the_recorder(&mut found);
            found.iter().map(|check| check.level).collect::<Vec<_>>()
        };
        let content = levels(vec![fail("config"), fail("storage"), fail("inputs"), ok("recorder"), ok("alerts")]);
        assert_eq!(content, [Level::Fail, Level::Skipped, Level::Skipped, Level::Ok, Level::Ok]);
        // It knows of something, or does not run: then what was seen stands.
        assert_eq!(levels(vec![fail("inputs"), ok("recorder"), ok("alerts"), fail("alerts")])[0], Level::Fail);
        assert_eq!(levels(vec![fail("inputs"), fail("recorder")])[0], Level::Fail);
        assert_eq!(levels(vec![fail("inputs"), ok("recorder")])[0], Level::Fail);
    }
}
