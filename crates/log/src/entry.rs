//! An event, owned, so that another thread can hand it on.

use std::fmt::{Debug, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use crate::trace::Trace;

/// Longer lines are cut: an entry has to fit into a datagram.
const LINE_LIMIT_BYTES: usize = 16 * 1024;

/// What an event says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub level: Level,
    /// For people.
    pub message: String,
    /// Those that the event has, then those of the spans around it, then those of the process.
    pub fields: Vec<(&'static str, String)>,
    /// Where in our sources it was said.
    pub origin: String,
}

/// Fields of a span, and of an event beside its message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Fields {
    pub message: String,
    pub list: Vec<(&'static str, String)>,
}

impl Entry {
    pub(crate) fn of(event: &Event<'_>) -> Self {
        let mut said = Fields::default();
        event.record(&mut said);
        let metadata = event.metadata();
        Self {
            level: *metadata.level(),
            message: said.message,
            fields: said.list,
            origin: format!("{}:{}", metadata.file().unwrap_or_default(), metadata.line().unwrap_or_default()),
        }
    }

    /// Something that no event says.
    pub(crate) fn new(level: Level, message: String, origin: &str) -> Self {
        Self { level, message, fields: Vec::new(), origin: origin.to_owned() }
    }

    /// Adds a field of the surroundings; the event's own, or that of an inner span, goes first.
    pub(crate) fn surround(&mut self, name: &'static str, value: &str) {
        if !value.is_empty() && self.field(name).is_none() {
            self.fields.push((name, value.to_owned()));
        }
    }

    /// A field to search by.
    pub(crate) fn field(&self, wanted: &str) -> Option<&str> {
        self.fields.iter().find(|(name, value)| *name == wanted && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// For people: the fields that the message does not name itself, as `name=value`.
    pub(crate) fn details(&self) -> String {
        let mut line = String::new();
        for (name, value) in &self.fields {
            // Which task it was is for the journal's fields, unless something broke.
            let is_noise = *name == "task" && self.level > Level::ERROR;
            if value.is_empty() || is_noise || self.message.contains(value.as_str()) {
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
        line
    }

    /// For people: message and fields in one line.
    pub(crate) fn line(&self) -> String {
        let mut line = self.message.clone();
        let details = self.details();
        if !line.is_empty() && !details.is_empty() {
            line.push(' ');
        }
        line.push_str(&details);
        line.truncate(line.floor_char_boundary(LINE_LIMIT_BYTES));
        line
    }
}

impl Fields {
    fn keep(&mut self, field: &Field, value: String) {
        if field.name() == "message" {
            self.message = value;
            return;
        }
        // A span may say a value later than its name, or say it anew.
        match self.list.iter_mut().find(|(name, _)| *name == field.name()) {
            Some((_, known)) => *known = value,
            None => self.list.push((field.name(), value)),
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.keep(field, value.to_owned());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        let text = match (field.name(), value) {
            ("trace", 0) => String::new(),
            ("trace", trace) => Trace(trace).to_string(),
            (_, number) => number.to_string(),
        };
        self.keep(field, text);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.keep(field, format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::{Entry, LINE_LIMIT_BYTES};
    use tracing::Level;

    fn said(message: &str, fields: &[(&'static str, &str)]) -> String {
        let mut entry = Entry::new(Level::INFO, message.to_owned(), "");
        entry.fields = fields.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        entry.line()
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

    #[test]
    fn the_innermost_says_it() {
        let mut entry = Entry::new(Level::INFO, String::new(), "");
        entry.fields.push(("session", "own".to_owned()));
        entry.surround("session", "outer");
        entry.surround("input", "cam0");
        entry.surround("input", "cam1");
        entry.surround("trace", "");
        assert_eq!(
            (entry.field("session"), entry.field("input"), entry.field("trace")),
            (Some("own"), Some("cam0"), None)
        );
    }
}
