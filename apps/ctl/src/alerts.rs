//! `alerts`: what is wrong, and what to do about it.

use std::collections::HashMap;

use futures_util::{StreamExt as _, stream};
use holdfast_dbus::{AlertCode, AlertInfo, AlertLevel, AlertsProxy};
use serde::Serialize;
use zbus::proxy::CacheProperties;

use crate::args::Global;
use crate::bus::{self, Link};
use crate::failure::{Exit, Failure, Outcome};
use crate::output::{self, Output};

/// An alert, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Alert {
    pub code: String,
    pub level: String,
    pub source: String,
    pub text: String,
    pub remedy: String,
    /// Unix time in microseconds.
    pub since: i64,
    pub last: i64,
    pub count: u32,
    pub active: bool,
    /// 0 while it holds.
    pub cleared: i64,
}

impl From<AlertInfo> for Alert {
    fn from(info: AlertInfo) -> Self {
        let AlertInfo { code, level, source, text, remedy, since, last, count, active, cleared } = info;
        // The remedy of our own table is the one for this command line; a recorder that is newer knows more codes.
        let remedy = AlertCode::from_name(&code).map_or(remedy, |code| code.remedy().to_owned());
        Self { code, level, source, text, remedy, since, last, count, active, cleared }
    }
}

/// Where alerts are asked for.
pub async fn proxy(link: &Link) -> zbus::Result<AlertsProxy<'static>> {
    AlertsProxy::builder(&link.connection).cache_properties(CacheProperties::No).build().await
}

/// Those that hold now, the worst first.
pub async fn active(link: &Link) -> zbus::Result<Vec<Alert>> {
    let alerts = proxy(link).await?.active().await?.into_iter().map(Alert::from).collect();
    Ok(worst_first(alerts))
}

fn worst_first(mut alerts: Vec<Alert>) -> Vec<Alert> {
    alerts.sort_by_key(|alert| (std::cmp::Reverse(alert.rank()), alert.since));
    alerts
}

pub async fn run(global: &Global, out: &Output, all: bool, follow: bool) -> Outcome {
    let link = bus::connect(global).await?;
    bus::recorder(&link).await?;
    let fail = |error: zbus::Error| bus::failure(&link, &error);
    let proxy = proxy(&link).await.map_err(fail)?;
    // Listen first, then look: what comes in between is told twice rather than not at all.
    let raised = proxy.receive_alert_raised().await.map_err(fail)?;
    let cleared = proxy.receive_alert_cleared().await.map_err(fail)?;
    let shown: Vec<Alert> = if all {
        proxy.list_alerts(HashMap::new()).await.map_err(fail)?.into_iter().map(Alert::from).collect()
    } else {
        active(&link).await.map_err(fail)?
    };
    if !follow {
        out.result(&shown, || list(&shown, all, out))?;
        return Ok(Exit::Ok);
    }
    // A stream of lines has the newest at its end.
    shown.iter().rev().for_each(|alert| tell(out, alert));
    let raised = raised.filter_map(|signal| async move { signal.args().ok().map(|args| Alert::from(args.alert)) });
    let cleared = cleared.filter_map(|signal| async move { signal.args().ok().map(|args| Alert::from(args.alert)) });
    let mut changes = stream::select(Box::pin(raised), Box::pin(cleared));
    while let Some(alert) = changes.next().await {
        tell(out, &alert);
    }
    Err(Failure::new(Exit::Unreachable, format!("{} has gone", link.name), "run it again when the bus is back"))
}

/// One line.
fn tell(out: &Output, alert: &Alert) {
    if out.json {
        out.say(&serde_json::to_string(alert).unwrap_or_default());
    } else {
        let (word, at) = if alert.active { (alert.level.as_str(), alert.since) } else { ("cleared", alert.cleared) };
        out.say(&format!("{}  {}  {} {}: {}", output::time(at), out.state(word), alert.code, alert.source, alert.text));
    }
}

fn list(alerts: &[Alert], all: bool, out: &Output) -> String {
    if alerts.is_empty() {
        return if all { "no alerts since the recorder started" } else { "no alerts: nothing is known to be wrong" }
            .to_owned();
    }
    alerts.iter().map(|alert| alert.text(out)).collect::<Vec<_>>().join("\n")
}

/// Explains every code.
pub fn codes(out: &Output) -> Outcome {
    #[derive(Serialize)]
    struct Code {
        code: &'static str,
        level: &'static str,
        meaning: &'static str,
        remedy: &'static str,
    }
    let codes: Vec<Code> = AlertCode::ALL
        .iter()
        .map(|code| Code {
            code: code.name(),
            level: code.level().name(),
            meaning: code.meaning(),
            remedy: code.remedy(),
        })
        .collect();
    out.result(&codes, || {
        let lines = codes.iter().map(|code| {
            let Code { code, level, meaning, remedy } = code;
            format!("{code} ({})  {meaning}\n    → {remedy}", out.state(level))
        });
        lines.collect::<Vec<_>>().join("\n")
    })?;
    Ok(Exit::Ok)
}

impl Alert {
    /// How bad; what is not known is taken for a warning.
    pub fn rank(&self) -> AlertLevel {
        match self.level.as_str() {
            "info" => AlertLevel::Info,
            "critical" => AlertLevel::Critical,
            _ => AlertLevel::Warning,
        }
    }

    /// For people: what, since when, and what to do.
    fn text(&self, out: &Output) -> String {
        let mut text = format!("{}  {} {}: {}", out.state(&self.level), self.code, self.source, self.text);
        text.push_str(&format!("\n    since {}", output::time(self.since)));
        if self.count > 1 {
            text.push_str(&format!(", {} times, last {}", self.count, output::time(self.last)));
        }
        if self.active {
            text.push_str(&format!("\n    → {}", self.remedy));
        } else {
            text.push_str(&format!(", cleared {}", output::time(self.cleared)));
        }
        text
    }
}

/// `2 critical, 1 warning`
pub fn summary(alerts: &[Alert]) -> String {
    let counted = |level: AlertLevel, noun: &str| {
        let count = alerts.iter().filter(|alert| alert.rank() == level).count() as u64;
        let text = if noun == "warning" { output::count(count, noun) } else { format!("{count} {noun}") };
        (count > 0).then_some(text)
    };
    let levels = [(AlertLevel::Critical, "critical"), (AlertLevel::Warning, "warning"), (AlertLevel::Info, "info")];
    let counts: Vec<String> = levels.into_iter().filter_map(|(level, noun)| counted(level, noun)).collect();
    counts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::{Alert, list, summary, worst_first};
    use crate::output::Output;
    use holdfast_dbus::{AlertCode, AlertInfo, AlertLevel};

    const PLAIN: Output = Output { json: false, color: false, color_error: false };

    fn alert(code: AlertCode, since: i64) -> Alert {
        Alert::from(AlertInfo {
            code: code.name().to_owned(),
            level: code.level().name().to_owned(),
            since,
            last: since,
            ..info()
        })
    }

    fn info() -> AlertInfo {
        AlertInfo {
            code: String::new(),
            level: String::new(),
            source: "cam0".to_owned(),
            text: "it is so".to_owned(),
            remedy: "wait".to_owned(),
            since: 0,
            last: 0,
            count: 1,
            active: true,
            cleared: 0,
        }
    }

    #[test]
    fn the_worst_comes_first_and_of_equals_the_oldest() {
        let alerts = worst_first(vec![
            alert(AlertCode::StorageWarn, 5),
            alert(AlertCode::DiskStalled, 9),
            alert(AlertCode::DiskSlow, 4),
            alert(AlertCode::WriteFailed, 7),
        ]);
        let codes: Vec<_> = alerts.iter().map(|alert| alert.code.as_str()).collect();
        assert_eq!(codes, ["write-failed", "disk-stalled", "disk-slow", "storage-warn"]);
        assert_eq!(summary(&alerts), "2 critical, 2 warnings");
        assert_eq!(summary(&alerts[2..3]), "1 warning");
        assert_eq!(summary(&[]), "");
    }

    #[test]
    fn what_holds_has_a_remedy_and_what_is_over_has_an_end() {
        let holds = alert(AlertCode::DiskSlow, 1_000_000);
        let text = list(std::slice::from_ref(&holds), false, &PLAIN);
        assert!(text.starts_with("warning  disk-slow cam0: it is so\n    since 1970-"), "{text}");
        assert!(text.contains(AlertCode::DiskSlow.remedy()) && !text.contains("times"), "{text}");
        let over = Alert { active: false, cleared: 9_000_000, count: 3, last: 5_000_000, ..holds };
        let text = list(&[over], true, &PLAIN);
        assert!(text.contains(", 3 times, last ") && text.contains(", cleared "), "{text}");
        assert!(!text.contains('\u{2192}'), "nothing is to be done about it: {text}");
        assert!(list(&[], true, &PLAIN).contains("since the recorder started"));
        assert!(list(&[], false, &PLAIN).contains("nothing is known to be wrong"));
    }

    #[test]
    fn codes_of_a_newer_recorder_are_shown_as_they_are() {
        let info = AlertInfo { code: "moon-full".to_owned(), level: "odd".to_owned(), ..info() };
        let newer = Alert::from(info);
        assert_eq!((newer.remedy.as_str(), newer.rank()), ("wait", AlertLevel::Warning));
    }
}
