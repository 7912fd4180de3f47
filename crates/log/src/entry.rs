//! An event as an entry of the journal: <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>.

use std::fmt::{Debug, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Level};

/// Before the names of our fields, so that they are nobody else's.
const PREFIX: &str = "HOLDFAST_";
/// Longer values are cut: an entry has to fit into a datagram.
const VALUE_LIMIT_BYTES: usize = 8 * 1024;

/// The bytes of an entry.
pub(crate) fn encode(event: &Event<'_>, identifier: &str) -> Vec<u8> {
    let mut said = Said::default();
    event.record(&mut said);
    let metadata = event.metadata();
    let mut entry = Vec::with_capacity(512);
    put(&mut entry, "MESSAGE", &said.line());
    put(&mut entry, "PRIORITY", priority(*metadata.level()));
    put(&mut entry, "SYSLOG_IDENTIFIER", identifier);
    if let Some(file) = metadata.file() {
        put(&mut entry, "CODE_FILE", file);
    }
    if let Some(line) = metadata.line() {
        put(&mut entry, "CODE_LINE", &line.to_string());
    }
    for (name, value) in &said.fields {
        put(&mut entry, &field_name(name), value);
    }
    entry
}

fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        _ => "7",
    }
}

/// Journald takes capital letters, digits and underscores.
fn field_name(name: &str) -> String {
    let letters = name.chars().map(|letter| {
        if letter.is_ascii_alphanumeric() {
            letter.to_ascii_uppercase()
        } else {
            '_'
        }
    });
    PREFIX.chars().chain(letters).collect()
}

/// `NAME=value`, or for values of several lines: the name, the length, the value.
fn put(entry: &mut Vec<u8>, name: &str, value: &str) {
    let value = clip(value);
    entry.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        entry.push(b'\n');
        entry.extend_from_slice(&u64::try_from(value.len()).unwrap_or(0).to_le_bytes());
    } else {
        entry.push(b'=');
    }
    entry.extend_from_slice(value.as_bytes());
    entry.push(b'\n');
}

fn clip(value: &str) -> &str {
    &value[..value.floor_char_boundary(VALUE_LIMIT_BYTES)]
}

/// What an event says.
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
    use super::{Said, VALUE_LIMIT_BYTES, field_name, put};

    fn said(message: &str, fields: &[(&'static str, &str)]) -> String {
        let fields = fields
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect();
        Said {
            message: message.to_owned(),
            fields,
        }
        .line()
    }

    #[test]
    fn a_line_tells_all_and_nothing_twice() {
        assert_eq!(
            said("state", &[("from", "idle"), ("to", "starting")]),
            "state from=idle to=starting"
        );
        assert_eq!(
            said("the source failed", &[("error", "no route to host")]),
            "the source failed error=\"no route to host\""
        );
        assert_eq!(
            said("input cam0 is gone", &[("input", "cam0"), ("label", "")]),
            "input cam0 is gone"
        );
        assert_eq!(said("", &[("frames", "7")]), "frames=7");
    }

    #[test]
    fn names_are_what_journald_takes() {
        assert_eq!(field_name("frames_lost"), "HOLDFAST_FRAMES_LOST");
        assert_eq!(field_name("log.target"), "HOLDFAST_LOG_TARGET");
    }

    #[test]
    fn a_value_cannot_make_another_field() {
        let mut entry = vec![];
        put(&mut entry, "MESSAGE", "a\nPRIORITY=0");
        assert_eq!(entry, b"MESSAGE\n\x0c\0\0\0\0\0\0\0a\nPRIORITY=0\n");
        entry.clear();
        put(&mut entry, "MESSAGE", "one line");
        assert_eq!(entry, b"MESSAGE=one line\n");
    }

    #[test]
    fn long_values_are_cut_between_characters() {
        let mut entry = vec![];
        put(&mut entry, "MESSAGE", &"ä".repeat(VALUE_LIMIT_BYTES));
        assert!(entry.len() <= VALUE_LIMIT_BYTES + 16);
        assert!(String::from_utf8(entry).is_ok());
    }
}
