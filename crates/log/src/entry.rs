//! An event, owned, so that another thread can hand it on.

use std::fmt::{Debug, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Level};

/// Longer lines are cut: an entry has to fit into a datagram.
const LINE_LIMIT_BYTES: usize = 16 * 1024;

/// What an event says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub level: Level,
    /// For people: the message, and all fields that it does not name itself.
    pub line: String,
    /// The fields to search by.
    pub session: Option<String>,
    pub input: Option<String>,
    pub trace: Option<String>,
    /// Where in our sources it was said.
    pub origin: String,
}

impl Entry {
    pub(crate) fn of(event: &Event<'_>) -> Self {
        let mut said = Said::default();
        event.record(&mut said);
        let metadata = event.metadata();
        let field = |wanted: &str| said.fields.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.clone());
        Self {
            level: *metadata.level(),
            line: said.line(),
            session: field("session"),
            input: field("input"),
            trace: field("trace"),
            origin: format!("{}:{}", metadata.file().unwrap_or_default(), metadata.line().unwrap_or_default()),
        }
    }
}

#[derive(Debug, Default)]
struct Said {
    message: String,
    fields: Vec<(&'static str, String)>,
}

impl Said {
    /// The message with the fields behind it, but for those that it names itself.
    fn line(&self) -> String {
        let mut line = self.message.clone();
        for (name, value) in &self.fields {
            if value.is_empty() || self.message.contains(value.as_str()) {
                continue;
            }
            if !line.is_empty() {
                line.push(' ');
            }
            // Writing to a String does not fail.
            let _ = if value.contains([' ', '\n', '"']) {
                write!(line, "{name}={value:?}")
            } else {
                write!(line, "{name}={value}")
            };
        }
        line.truncate(line.floor_char_boundary(LINE_LIMIT_BYTES));
        line
    }

    fn keep(&mut self, field: &Field, value: String) {
        if field.name() == "message" {
            self.message = value;
        } else {
            self.fields.push((field.name(), value));
        }
    }
}

impl Visit for Said {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.keep(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.keep(field, format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::{LINE_LIMIT_BYTES, Said};

    fn said(message: &str, fields: &[(&'static str, &str)]) -> String {
        let fields = fields.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Said { message: message.to_owned(), fields }.line()
    }

    #[test]
    fn a_line_tells_all_and_nothing_twice() {
        assert_eq!(said("state", &[("from", "idle"), ("to", "starting")]), "state from=idle to=starting");
        assert_eq!(
            said("the source failed", &[("error", "no route to host")]),
            "the source failed error=\"no route to host\""
        );
        assert_eq!(said("input cam0 is gone", &[("input", "cam0"), ("label", "")]), "input cam0 is gone");
        assert_eq!(said("", &[("frames", "7")]), "frames=7");
    }

    #[test]
    fn long_lines_are_cut_between_characters() {
        let line = said(&"ä".repeat(LINE_LIMIT_BYTES), &[]);
        assert!(line.len() <= LINE_LIMIT_BYTES);
        assert!(line.ends_with('ä'));
    }
}
