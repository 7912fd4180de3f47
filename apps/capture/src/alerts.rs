//! What holds at present and somebody should know. Pure.

use std::sync::{Mutex, MutexGuard, PoisonError};

use holdfast_link::{AlertCode, Text};

/// At most one alert for each code; a new text replaces the old one.
#[derive(Debug, Default)]
pub struct Alerts(Mutex<Vec<(AlertCode, Text)>>);

impl Alerts {
    /// True if that is news.
    pub fn raise(&self, code: AlertCode, text: &Text) -> bool {
        let mut all = self.lock();
        match all.iter_mut().find(|(known, _)| *known == code) {
            Some((_, known)) if known == text => false,
            Some((_, known)) => {
                known.clone_from(text);
                true
            }
            None => {
                all.push((code, text.clone()));
                true
            }
        }
    }

    /// True if that is news.
    pub fn clear(&self, code: AlertCode) -> bool {
        let mut all = self.lock();
        let before = all.len();
        all.retain(|(known, _)| *known != code);
        all.len() != before
    }

    /// All that hold, for somebody who has just come.
    pub fn all(&self) -> Vec<(AlertCode, Text)> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(AlertCode, Text)>> {
        // A panic ends the process, so a poisoned lock is never seen.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::Alerts;
    use holdfast_link::{AlertCode, clip};

    #[test]
    fn only_news_is_news() {
        let alerts = Alerts::default();
        assert!(!alerts.clear(AlertCode::Source));
        assert!(alerts.raise(AlertCode::Source, &clip("off")));
        assert!(!alerts.raise(AlertCode::Source, &clip("off")));
        assert!(alerts.raise(AlertCode::Source, &clip("wrong password")));
        assert!(alerts.raise(AlertCode::Dropped, &clip("slow")));
        assert_eq!(alerts.all().len(), 2);
        assert!(alerts.clear(AlertCode::Source) && !alerts.clear(AlertCode::Source));
        assert!(alerts.raise(AlertCode::Source, &clip("off")));
    }
}
