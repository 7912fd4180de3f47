//! Everything that is printed goes through here: text for people or one JSON document, and no panic if nobody reads on.

use std::io::{IsTerminal as _, Write as _};

use console::Style;
use serde::Serialize;

use crate::args::{Color, Global};
use crate::failure::Failure;

/// How to talk.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    pub json: bool,
    /// Colours on standard output.
    pub color: bool,
    /// Colours on standard error.
    pub color_error: bool,
}

impl Output {
    pub fn new(global: &Global) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let wanted = |terminal: bool| match global.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal && !plain,
        };
        Self {
            json: global.json,
            color: wanted(std::io::stdout().is_terminal()),
            color_error: wanted(std::io::stderr().is_terminal()),
        }
    }

    /// The result: the document with `--json`, else the text.
    pub fn result<T: Serialize>(&self, document: &T, text: impl FnOnce() -> String) -> Result<(), Failure> {
        if self.json {
            let document = serde_json::to_string_pretty(document).map_err(|error| {
                Failure::failed(format!("the result is no JSON: {error}"), "this is a fault in Holdfast")
            })?;
            self.say(&document);
        } else {
            self.say(text().trim_end());
        }
        Ok(())
    }

    /// A line on standard output. If nobody reads any more, the program has nothing left to do.
    pub fn say(&self, text: &str) {
        let mut out = std::io::stdout().lock();
        if writeln!(out, "{text}").and_then(|()| out.flush()).is_err() {
            std::process::exit(0);
        }
    }

    /// A line on standard error, for people.
    pub fn note(&self, text: &str) {
        // Whom to tell that nobody listens?
        let _ = writeln!(std::io::stderr(), "{text}");
    }

    pub fn failure(&self, failure: &Failure) {
        if self.json {
            self.say(&format!("{:#}", failure.json()));
            return;
        }
        if let Some(rendered) = &failure.rendered {
            self.note(rendered);
            return;
        }
        let style = Style::new().force_styling(self.color_error);
        self.note(&format!("{}: {}", style.clone().red().bold().apply_to("error"), failure.message));
        if !failure.remedy.is_empty() {
            self.note(&format!(" {}: {}", style.bold().apply_to("help"), failure.remedy));
        }
    }

    pub fn style(&self) -> Style {
        Style::new().force_styling(self.color)
    }

    /// A word that says how something is, in its colour.
    pub fn state(&self, word: &str) -> String {
        let style = self.style();
        let style = match word {
            "recording" => style.red().bold(),
            "armed" | "ok" | "streaming" | "reachable" | "stopped" | "granted" => style.green(),
            "starting" | "stopping" | "connecting" | "waiting" | "warn" | "warning" | "interrupted" | "queued"
            | "revoked" => style.yellow(),
            "failed" | "error" | "low" | "critical" | "unavailable" | "unreachable" | "fail" | "unknown"
            | "overdue" => style.red(),
            _ => style,
        };
        style.apply_to(word).to_string()
    }
}

/// Columns as wide as they must be. Cells may hold colours.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |text: &str| console::measure_text_width(text);
    let widths: Vec<usize> = (0..head.len())
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| width(cell));
            cells.chain([width(head[column])]).max().unwrap_or(0)
        })
        .collect();
    let line = |cells: &[String]| {
        let mut line = String::new();
        for (cell, wide) in cells.iter().zip(&widths) {
            line.push_str(cell);
            line.push_str(&" ".repeat(wide.saturating_sub(width(cell)) + 2));
        }
        line.trim_end().to_owned()
    };
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    std::iter::once(line(&head)).chain(rows.iter().map(|row| line(row))).collect::<Vec<_>>().join("\n")
}

/// `812 MiB`
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = u128::from(bytes) * 10 / 1024;
    let mut unit = 0;
    while value >= 10_240 && unit + 1 < UNITS.len() {
        value /= 1024;
        unit += 1;
    }
    if value >= 1000 {
        format!("{} {}", value / 10, UNITS[unit])
    } else {
        format!("{}.{} {}", value / 10, value % 10, UNITS[unit])
    }
}

/// `0:12:31`, with days before it where there are some.
pub fn duration(usec: u64) -> String {
    let seconds = usec / 1_000_000;
    let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
    let rest = format!("{:02}:{:02}", seconds / 60 % 60, seconds % 60);
    if days > 0 { format!("{days}d {hours:02}:{rest}") } else { format!("{hours}:{rest}") }
}

/// `4.2 s`, `310 ms`: of gaps.
pub fn short(usec: u64) -> String {
    match usec {
        0..=999_999 => format!("{} ms", usec / 1000),
        1_000_000..=59_999_999 => format!("{}.{} s", usec / 1_000_000, usec / 100_000 % 10),
        _ => duration(usec),
    }
}

/// Unix microseconds as UTC.
pub fn time(usec: i64) -> String {
    jiff::Timestamp::from_microsecond(usec)
        .map_or_else(|_| "-".to_owned(), |time| time.strftime("%Y-%m-%d %H:%M:%SZ").to_string())
}

/// `1 file`, `2 files`
pub fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_well() {
        assert_eq!((bytes(0).as_str(), bytes(1023).as_str(), bytes(1024).as_str()), ("0 B", "1023 B", "1.0 KiB"));
        assert_eq!(bytes(812 << 20), "812 MiB");
        assert_eq!(bytes((1 << 40) + (1 << 39)), "1.5 TiB");
        assert_eq!(bytes(u64::MAX), "16383 PiB");
        assert_eq!(duration(751_000_000), "0:12:31");
        assert_eq!(duration(90_061_000_000), "1d 01:01:01");
        assert_eq!((short(310_000).as_str(), short(4_250_000).as_str()), ("310 ms", "4.2 s"));
        assert_eq!(time(1_795_245_303_000_000), "2026-11-21 07:15:03Z");
        assert_eq!(table(&["A", "BB"], &[vec!["ccc".into(), "d".into()]]), "A    BB\nccc  d");
    }
}
