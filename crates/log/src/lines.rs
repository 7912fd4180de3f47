//! Lines on standard error: plain in a file, laid out on a terminal.

use std::io::{IsTerminal as _, Write as _};

use tracing::Level;

use crate::entry::Entry;
use crate::layer::Sink;

/// Writes each entry as a line.
pub(crate) struct Lines {
    pretty: bool,
}

impl Lines {
    pub(crate) fn new() -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { pretty: std::io::stderr().is_terminal() && !plain }
    }
}

impl Sink for Lines {
    fn take(&self, entry: Entry) {
        let line = layout(&entry, &jiff::Timestamp::now(), self.pretty);
        // Whom to tell that nobody listens?
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }
}

/// In a file with date and all; for eyes with the time of day, the level in its colour, and what is for machines dimmed.
fn layout(entry: &Entry, now: &jiff::Timestamp, pretty: bool) -> String {
    if !pretty {
        return format!("{} {:>5} {}\n", now.strftime("%Y-%m-%dT%H:%M:%S.%6fZ"), entry.level, entry.line());
    }
    let (level, colour) = match entry.level {
        Level::ERROR => ("error", "\x1b[1;31m"),
        Level::WARN => (" warn", "\x1b[33m"),
        Level::INFO => (" info", "\x1b[32m"),
        Level::DEBUG => ("debug", "\x1b[34m"),
        Level::TRACE => ("trace", "\x1b[35m"),
    };
    const DIM: &str = "\x1b[2m";
    const PLAIN: &str = "\x1b[0m";
    let time = now.strftime("%H:%M:%S.%3fZ");
    let details = entry.details();
    let gap = if entry.message.is_empty() || details.is_empty() { "" } else { "  " };
    format!("{DIM}{time}{PLAIN} {colour}{level}{PLAIN} {}{gap}{DIM}{details}{PLAIN}\n", entry.message)
}

#[cfg(test)]
mod tests {
    use super::layout;
    use crate::entry::Entry;
    use tracing::Level;

    #[test]
    fn lines_are_for_files_or_for_eyes() {
        let mut entry = Entry::new(Level::WARN, "gap".to_owned(), "");
        entry.fields.push(("input", "cam0".to_owned()));
        let now = jiff::Timestamp::from_microsecond(1_795_245_303_012_345).unwrap();
        assert_eq!(layout(&entry, &now, false), "2026-11-21T07:15:03.012345Z  WARN gap input=cam0\n");
        assert_eq!(
            layout(&entry, &now, true),
            "\x1b[2m07:15:03.012Z\x1b[0m \x1b[33m warn\x1b[0m gap  \x1b[2minput=cam0\x1b[0m\n"
        );
    }
}
