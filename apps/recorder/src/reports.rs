//! Alerts that other programs of Holdfast find: the panel's dead devices, for one. They stand in the same register as the
//! recorder's own, for there is one place where an operator looks.
//!
//! A reporter says all that holds, each time, so that no call need ever be made up for; what it no longer says is over. Who
//! leaves the bus can't take anything back, so that all it has said goes with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use holdfast_dbus::AlertCode;

use crate::alerts::Alerts;

/// Alerts that one reporter may have at a time. A panel has a dozen devices and buttons.
pub const MAX_ALERTS: usize = 16;
/// Reporters at a time: a box has a panel and an updater.
const MAX_REPORTERS: usize = 16;

/// An alert that somebody else found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What.
    pub code: AlertCode,
    /// About what.
    pub source: String,
    /// What happened, for people.
    pub text: String,
}

/// There are so many reporters that another one is not heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany;

/// Who reports what. Clones share it.
#[derive(Debug, Clone)]
pub struct Reports {
    alerts: Alerts,
    /// By unique name on the bus.
    held: Arc<Mutex<BTreeMap<String, BTreeSet<Key>>>>,
}

type Key = (AlertCode, String);

impl Reports {
    /// Reports go into this register.
    pub fn new(alerts: Alerts) -> Self {
        Self { alerts, held: Arc::default() }
    }

    /// This, and nothing else, holds for `reporter` now.
    ///
    /// # Errors
    /// There are too many reporters.
    pub fn replace(&self, reporter: &str, reports: Vec<Report>) -> Result<(), TooMany> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if !held.contains_key(reporter) && held.len() >= MAX_REPORTERS {
            return Err(TooMany);
        }
        let now: BTreeSet<Key> = reports.iter().map(|report| (report.code, report.source.clone())).collect();
        let before = if now.is_empty() {
            held.remove(reporter).unwrap_or_default()
        } else {
            held.insert(reporter.to_owned(), now).unwrap_or_default()
        };
        // Under the lock: two calls of one reporter must not be told in another order than they are held.
        self.clear(&held, before);
        for Report { code, source, text } in reports {
            self.alerts.set(true, code, &source, || text);
        }
        Ok(())
    }

    /// Has left the bus.
    pub fn gone(&self, reporter: &str) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = held.remove(reporter) {
            self.clear(&held, before);
        }
    }

    /// Clears those that nobody reports any more.
    fn clear(&self, held: &BTreeMap<String, BTreeSet<Key>>, before: BTreeSet<Key>) {
        for key in before {
            if !held.values().any(|keys| keys.contains(&key)) {
                self.alerts.clear(key.0, &key.1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use holdfast_dbus::AlertCode::{PanelButton, PanelDevice};

    use super::{MAX_REPORTERS, Report, Reports, TooMany};
    use crate::alerts::Alerts;

    fn device(source: &str, text: &str) -> Report {
        Report { code: PanelDevice, source: source.to_owned(), text: text.to_owned() }
    }

    fn reports() -> (Reports, Alerts) {
        let alerts = Alerts::default();
        (Reports::new(alerts.clone()), alerts)
    }

    #[test]
    fn what_is_no_longer_reported_is_cleared() {
        let (reports, alerts) = reports();
        let button = Report { code: PanelButton, source: "panel/a".into(), text: "stuck".into() };
        reports.replace(":1.1", vec![device("panel/a", "gone"), button.clone()]).unwrap();
        assert!(alerts.holds(PanelDevice, "panel/a") && alerts.holds(PanelButton, "panel/a"));
        // The same again is no news, and one that holds on is not told anew.
        let mut news = alerts.news();
        reports.replace(":1.1", vec![device("panel/a", "gone"), button]).unwrap();
        assert!(news.try_recv().is_err());
        reports.replace(":1.1", vec![device("panel/a", "still gone")]).unwrap();
        assert!(!alerts.holds(PanelButton, "panel/a"));
        let held = alerts.list().into_iter().find(|alert| alert.code == PanelDevice).unwrap();
        assert_eq!((held.text.as_str(), held.count), ("still gone", 1));
        reports.replace(":1.1", Vec::new()).unwrap();
        assert!(!alerts.holds(PanelDevice, "panel/a"));
    }

    #[test]
    fn whoever_leaves_takes_along_what_only_it_has_said() {
        let (reports, alerts) = reports();
        reports.replace(":1.1", vec![device("panel/a", "gone"), device("panel/b", "gone")]).unwrap();
        reports.replace(":1.2", vec![device("panel/a", "gone")]).unwrap();
        reports.gone(":1.1");
        assert!(alerts.holds(PanelDevice, "panel/a") && !alerts.holds(PanelDevice, "panel/b"));
        reports.gone(":1.3");
        reports.gone(":1.2");
        assert!(!alerts.holds(PanelDevice, "panel/a"));
    }

    #[test]
    fn reporters_are_bounded_and_make_room_as_they_leave() {
        let (reports, _) = reports();
        for n in 0..MAX_REPORTERS {
            reports.replace(&format!(":1.{n}"), vec![device("panel/a", "gone")]).unwrap();
        }
        assert_eq!(reports.replace(":2.0", vec![device("panel/a", "gone")]), Err(TooMany));
        reports.replace(":1.0", Vec::new()).unwrap();
        reports.replace(":2.0", vec![device("panel/a", "gone")]).unwrap();
    }
}
