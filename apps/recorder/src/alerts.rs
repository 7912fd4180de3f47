//! The register of alerts: what holds now, and the last hundred that did.
//!
//! Whoever notices something raises it by code and source, as often as it notices; whoever sees it gone clears it. Raising
//! again only counts, so that a condition which flaps does not flood anybody.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use holdfast_dbus::{AlertCode, AlertInfo};
use tokio::sync::watch;

/// Alerts that are kept, cleared ones first to go.
const KEPT: usize = 100;

/// The register. Clones share it.
#[derive(Debug, Clone)]
pub struct Alerts {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    list: Mutex<VecDeque<Alert>>,
    /// Counts changes; whoever listens reads the list anew.
    changes: watch::Sender<u64>,
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
        let shared = Shared { list: Mutex::default(), changes: watch::channel(0).0 };
        Self { shared: Arc::new(shared) }
    }
}

impl Alerts {
    /// This holds. True if it did not before.
    pub fn raise(&self, code: AlertCode, source: &str, text: impl Into<String>) -> bool {
        let (text, now) = (text.into(), crate::clock::wall_ns());
        let is_new = {
            let mut list = self.lock();
            let known = list.iter_mut().find(|alert| alert.is(code, source));
            let is_new = known.is_none();
            match known {
                Some(alert) => {
                    alert.count = alert.count.saturating_add(1);
                    alert.last_wall_ns = now;
                    alert.text.clone_from(&text);
                }
                None => {
                    make_room(&mut list);
                    list.push_back(Alert {
                        code,
                        source: source.to_owned(),
                        text: text.clone(),
                        since_wall_ns: now,
                        last_wall_ns: now,
                        count: 1,
                        cleared_wall_ns: None,
                    });
                }
            }
            is_new
        };
        if is_new {
            tracing::warn!(alert = code.name(), level = code.level().name(), source, "{text}");
        }
        self.shared.changes.send_modify(|count| *count += 1);
        is_new
    }

    /// This no longer holds. True if it did.
    pub fn clear(&self, code: AlertCode, source: &str) -> bool {
        let held = {
            let mut list = self.lock();
            let held = list.iter_mut().find(|alert| alert.is(code, source));
            let was_there = held.is_some();
            if let Some(alert) = held {
                alert.cleared_wall_ns = Some(crate::clock::wall_ns());
            }
            was_there
        };
        if held {
            tracing::info!(alert = code.name(), source, "cleared");
            self.shared.changes.send_modify(|count| *count += 1);
        }
        held
    }

    /// Raises or clears.
    pub fn set(&self, holds: bool, code: AlertCode, source: &str, text: impl FnOnce() -> String) {
        if holds {
            self.raise(code, source, text());
        } else {
            self.clear(code, source);
        }
    }

    /// All that are kept, oldest first.
    pub fn list(&self) -> Vec<Alert> {
        self.lock().iter().cloned().collect()
    }

    /// Tells when something changes; the number means nothing.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
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
        let changes = alerts.changes();
        assert!(alerts.raise(CaptureDied, "cam0", "once"));
        assert!(!alerts.raise(CaptureDied, "cam0", "twice"));
        assert!(alerts.raise(CaptureDied, "cam1", "another"));
        let first = alerts.list().remove(0);
        assert_eq!((first.count, first.text.as_str(), first.is_active()), (2, "twice", true));
        assert!(alerts.clear(CaptureDied, "cam0"));
        assert!(!alerts.clear(CaptureDied, "cam0"));
        // What comes back is a new alert; the old one is history.
        assert!(alerts.raise(CaptureDied, "cam0", "again"));
        assert_eq!(alerts.list().len(), 3);
        assert_eq!(*changes.borrow(), 5);
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
