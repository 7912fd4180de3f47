//! What is wrong with the panel itself, as the recorder is told: so that it stands among the alerts that an operator looks at, also
//! where nobody stands before the box. Pure: what is wrong at this moment in, what is to be reported out.

use std::collections::BTreeMap;

use holdfast_dbus::{AlertCode, Reported};

use crate::buttons::Shown;
use crate::model::Button;

/// What is well again within this is on the light only: a bus that is plugged in again, a finger that rests on a button.
pub const SETTLE_NS: u64 = 3_000_000_000;
/// The recorder takes so many from one reporter.
const MAX_REPORTED: usize = 16;
/// And so many bytes of each text.
const MAX_TEXT_BYTES: usize = 500;
/// And of each source.
const MAX_SOURCE_BYTES: usize = 64;

/// See the module.
#[derive(Debug, Default)]
pub struct Troubles {
    /// What is wrong, and since when.
    since: BTreeMap<(&'static str, String), u64>,
}

impl Troubles {
    /// What is to be reported, of what is `wrong` at this moment: all that has been for [`SETTLE_NS`].
    pub fn settle(&mut self, now_ns: u64, mut wrong: Vec<Reported>) -> Vec<Reported> {
        let since = wrong.iter().filter_map(|one| {
            let key = key(one)?;
            let since_ns = self.since.get(&key).copied().unwrap_or(now_ns);
            Some((key, since_ns))
        });
        self.since = since.collect();
        wrong.retain(|one| {
            let since_ns = key(one).and_then(|key| self.since.get(&key).copied());
            since_ns.is_some_and(|since_ns| now_ns.saturating_sub(since_ns) >= SETTLE_NS)
        });
        wrong.truncate(MAX_REPORTED);
        wrong
    }
}

fn key(reported: &Reported) -> Option<(&'static str, String)> {
    AlertCode::from_name(&reported.code).map(|code| (code.name(), reported.source.clone()))
}

/// A device that does not answer.
#[must_use]
pub fn of_device(name: &str, kind: &str, error: &str) -> Reported {
    reported(AlertCode::PanelDevice, name, &format!("the device {name} ({kind}): {error}"))
}

/// A button that means nothing; `None` if nothing is wrong with it.
#[must_use]
pub fn of_button(button: &Button, shown: &Shown) -> Option<Reported> {
    let what = match shown {
        Shown { stuck: true, .. } => "is stuck: it has been down for longer than anybody presses",
        Shown { chattering: true, .. } => "chatters, and is ignored until it is quiet",
        _ => return None,
    };
    Some(reported(AlertCode::PanelButton, &button.0, &format!("the button {button} {what}")))
}

fn reported(code: AlertCode, about: &str, text: &str) -> Reported {
    let source = plain(&format!("panel/{about}"), MAX_SOURCE_BYTES);
    Reported { code: code.name().to_owned(), source, text: plain(text, MAX_TEXT_BYTES) }
}

/// As the recorder takes it: on one line, and no longer than this.
fn plain(text: &str, max_bytes: usize) -> String {
    let mut line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    line.truncate(line.floor_char_boundary(max_bytes));
    line
}

#[cfg(test)]
mod tests {
    use super::{MAX_REPORTED, SETTLE_NS, Troubles, of_button, of_device};
    use crate::buttons::Shown;
    use crate::model::Button;

    #[test]
    fn only_what_stays_is_reported() {
        let mut troubles = Troubles::default();
        let gone = || vec![of_device("io", "modbus", "no answer")];
        assert_eq!(troubles.settle(0, gone()), []);
        assert_eq!(troubles.settle(SETTLE_NS - 1, gone()), []);
        assert_eq!(troubles.settle(SETTLE_NS, gone()), gone());
        // Its text may change without a new beginning.
        let other = vec![of_device("io", "modbus", "no route")];
        assert_eq!(troubles.settle(SETTLE_NS + 1, other.clone()), other);
        // It was well for a moment: from the beginning.
        assert_eq!(troubles.settle(SETTLE_NS + 2, Vec::new()), []);
        assert_eq!(troubles.settle(SETTLE_NS + 3, gone()), []);
    }

    #[test]
    fn buttons_are_told_apart_and_the_well_ones_not_at_all() {
        let button = Button("record".into());
        assert_eq!(of_button(&button, &Shown::default()), None);
        let stuck = of_button(&button, &Shown { stuck: true, ..Shown::default() }).unwrap();
        let chatters = of_button(&button, &Shown { chattering: true, ..Shown::default() }).unwrap();
        assert_eq!((stuck.code.as_str(), stuck.source.as_str()), ("panel-button", "panel/record"));
        assert_ne!(stuck.text, chatters.text);
    }

    #[test]
    fn the_recorder_takes_whatever_a_device_says() {
        let odd = of_device("io", "modbus", &format!("line\nbreak {}", "ö".repeat(400)));
        assert!(odd.text.len() <= 500 && !odd.text.contains('\n'), "{odd:?}");
        let mut troubles = Troubles::default();
        let many: Vec<_> = (0..40).map(|n| of_device(&format!("io{n}"), "modbus", "")).collect();
        troubles.settle(0, many.clone());
        assert_eq!(troubles.settle(SETTLE_NS, many).len(), MAX_REPORTED);
    }
}
