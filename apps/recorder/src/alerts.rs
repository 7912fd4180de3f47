//! The register of alerts: what holds now, and the last hundred that did.
//!
//! Whoever notices something raises it by code and source, as often as it happens; whoever sees it gone clears it. Raising
//! again only counts, so that what happens again and again does not flood anybody.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use holdfast_dbus::{AlertCode, AlertInfo};
use tokio::sync::broadcast;

/// Alerts that are kept, cleared ones first to go.
const KEPT: usize = 100;
/// Raised and cleared ones that wait for whoever listens.
const NEWS: usize = 128;

/// The register. Clones share it.
#[derive(Debug, Clone)]
pub struct Alerts {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    list: Mutex<VecDeque<Alert>>,
    /// Each alert as it is raised, and as it is cleared. Full (128): who is slow loses the oldest, and reads the list instead.
    news: broadcast::Sender<Alert>,
}

/// One alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// What.
    pub code: AlertCode,
    /// About what: an input, `storage`, `recorder`, …
    pub source: String,
    /// What happened, for people.
    pub text: String,
    /// Unix time in nanoseconds; a label.
    pub since_wall_ns: i64,
    /// The same, of the last time.
    pub last_wall_ns: i64,
    /// How often since.
    pub count: u32,
    /// When it was cleared.
    pub cleared_wall_ns: Option<i64>,
}

impl Default for Alerts {
    fn default() -> Self {
        // Full: see the field.
        let news = broadcast::channel(NEWS).0;
        let shared = Shared { list: Mutex::default(), news };
        Self { shared: Arc::new(shared) }
    }
}

impl Alerts {
    /// This holds, or has happened again. True if it did not hold before.
    pub fn raise(&self, code: AlertCode, source: &str, text: impl Into<String>) -> bool {
        self.put(code, source, text.into(), true)
    }

    /// This no longer holds. True if it did.
    pub fn clear(&self, code: AlertCode, source: &str) -> bool {
        let cleared = {
            let mut list = self.lock();
            let held = list.iter_mut().find(|alert| alert.is(code, source));
            held.map(|alert| {
                alert.cleared_wall_ns = Some(crate::clock::wall_ns());
                alert.clone()
            })
        };
        let Some(alert) = cleared else { return false };
        tracing::info!(alert = code.name(), source, "cleared");
        self.tell(alert);
        true
    }

    /// Raises or clears what is looked at again and again: as long as it holds it counts once, whatever its text.
    pub fn set(&self, holds: bool, code: AlertCode, source: &str, text: impl FnOnce() -> String) {
        if holds {
            self.put(code, source, text(), false);
        } else {
            self.clear(code, source);
        }
    }

    /// Nothing of this source holds any longer, as it is not there any more.
    pub fn clear_all(&self, codes: &[AlertCode], source: &str) {
        for code in codes {
            self.clear(*code, source);
        }
    }

    /// It holds now.
    pub fn holds(&self, code: AlertCode, source: &str) -> bool {
        self.lock().iter().any(|alert| alert.is(code, source))
    }

    fn put(&self, code: AlertCode, source: &str, text: String, again: bool) -> bool {
        let now = crate::clock::wall_ns();
        let raised = {
            let mut list = self.lock();
            if let Some(alert) = list.iter_mut().find(|alert| alert.is(code, source)) {
                if !again && alert.text == text {
                    return false;
                }
                if again {
                    alert.count = alert.count.saturating_add(1);
                    alert.last_wall_ns = now;
                }
                alert.text = text;
                None
            } else {
                make_room(&mut list);
                let alert = Alert {
                    code,
                    source: source.to_owned(),
                    text,
                    since_wall_ns: now,
                    last_wall_ns: now,
                    count: 1,
                    cleared_wall_ns: None,
                };
                list.push_back(alert.clone());
                Some(alert)
            }
        };
        let Some(alert) = raised else { return false };
        tracing::warn!(alert = code.name(), level = code.level().name(), source, "{}", alert.text);
        self.tell(alert);
        true
    }

    fn tell(&self, alert: Alert) {
        // Nobody listens: then nobody misses it.
        let _ = self.shared.news.send(alert);
    }

    /// All that are kept, oldest first.
    pub fn list(&self) -> Vec<Alert> {
        self.lock().iter().cloned().collect()
    }

    /// Each alert as it is raised and as it is cleared, from now on.
    pub fn news(&self) -> broadcast::Receiver<Alert> {
        self.shared.news.subscribe()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Alert>> {
        self.shared.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Alert {
    /// It holds now.
    pub fn is_active(&self) -> bool {
        self.cleared_wall_ns.is_none()
    }

    fn is(&self, code: AlertCode, source: &str) -> bool {
        self.is_active() && self.code == code && self.source == source
    }

    /// As on D-Bus.
    pub fn info(&self) -> AlertInfo {
        AlertInfo {
            code: self.code.name().to_owned(),
            level: self.code.level().name().to_owned(),
            source: self.source.clone(),
            text: self.text.clone(),
            remedy: self.code.remedy().to_owned(),
            since: self.since_wall_ns / 1000,
            last: self.last_wall_ns / 1000,
            count: self.count,
            active: self.is_active(),
            cleared: self.cleared_wall_ns.unwrap_or_default() / 1000,
        }
    }
}

/// The oldest cleared one goes; only a hundred things that are wrong at once let the oldest of those go.
fn make_room(list: &mut VecDeque<Alert>) {
    if list.len() < KEPT {
        return;
    }
    let oldest = list.iter().position(|alert| !alert.is_active()).unwrap_or(0);
    list.remove(oldest);
}

#[cfg(test)]
mod tests {
    use super::{Alerts, KEPT};
    use holdfast_dbus::AlertCode::{CaptureDied, DiskSlow};

    #[test]
    fn raising_again_counts_and_clearing_ends_it() {
        let alerts = Alerts::default();
        assert!(alerts.raise(CaptureDied, "cam0", "once"));
        assert!(!alerts.raise(CaptureDied, "cam0", "once"));
        assert!(!alerts.raise(CaptureDied, "cam0", "thrice"));
        assert!(alerts.raise(CaptureDied, "cam1", "another"));
        let first = alerts.list().remove(0);
        assert_eq!((first.count, first.text.as_str(), first.is_active()), (3, "thrice", true));
        assert!(alerts.clear(CaptureDied, "cam0"));
        assert!(!alerts.clear(CaptureDied, "cam0"));
        // What comes back is a new alert; the old one is history.
        assert!(alerts.raise(CaptureDied, "cam0", "again"));
        assert_eq!(alerts.list().len(), 3);
    }

    #[test]
    fn what_is_looked_at_again_and_again_counts_once() {
        let alerts = Alerts::default();
        let mut news = alerts.news();
        for text in ["slow", "slow", "slower"] {
            alerts.set(true, DiskSlow, "storage", || text.to_owned());
        }
        let alert = alerts.list().remove(0);
        assert_eq!((alert.count, alert.text.as_str()), (1, "slower"));
        assert!(alerts.holds(DiskSlow, "storage") && !alerts.holds(DiskSlow, "another"));
        alerts.set(false, DiskSlow, "storage", String::new);
        alerts.set(false, DiskSlow, "storage", String::new);
        // Who listens hears of its beginning and its end, once each.
        let (raised, cleared) = (news.try_recv().unwrap(), news.try_recv().unwrap());
        assert!(raised.is_active() && !cleared.is_active() && news.try_recv().is_err());
        assert_eq!((raised.text.as_str(), cleared.text.as_str()), ("slow", "slower"));
    }

    #[test]
    fn a_hundred_are_kept_and_those_that_hold_stay_longest() {
        let alerts = Alerts::default();
        alerts.raise(DiskSlow, "storage", "holds");
        for n in 0..2 * KEPT {
            let source = format!("cam{n}");
            alerts.raise(CaptureDied, &source, "");
            alerts.clear(CaptureDied, &source);
        }
        let list = alerts.list();
        assert_eq!(list.len(), KEPT);
        assert!(list.iter().any(|alert| alert.code == DiskSlow), "{list:?}");
    }
}
