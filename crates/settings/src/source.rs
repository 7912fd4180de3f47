//! The text that settings came from, and where in it a value stands. Passwords never leave this module readable.

use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::mistake::Place;

const MASK: &str = "***";

/// One file, as read.
#[derive(Debug, Clone)]
pub struct Source {
    /// Where it is, or what stands for that in messages.
    pub path: PathBuf,
    pub(crate) text: String,
    /// Bytes of `text` that must not be shown, in order, without overlap.
    secrets: Vec<Range<usize>>,
}

/// Where a value stands in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Index into the list of sources.
    pub source: usize,
    /// Bytes of the text.
    pub bytes: Range<usize>,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Written nowhere; the built-in default.
    Default,
    /// Written in a file.
    File {
        /// The bytes of the key, in the same file; empty for an item of a list.
        key: Range<usize>,
        /// The value.
        value: Span,
    },
    /// Set by this environment variable.
    Environment(String),
}

impl Origin {
    /// Where the key stands, or, without one, the value; `None` outside files.
    pub(crate) fn key(&self) -> Option<Span> {
        match self {
            Self::File { key, value } if !key.is_empty() => Some(Span { source: value.source, bytes: key.clone() }),
            _ => self.value().cloned(),
        }
    }

    /// Where the value stands; `None` outside files.
    pub(crate) fn value(&self) -> Option<&Span> {
        match self {
            Self::File { value, .. } => Some(value),
            Self::Default | Self::Environment(_) => None,
        }
    }

    /// In words: `default`, `environment SOME_VARIABLE`, `/etc/some.toml:3`. The sources are those that it
    /// was read from.
    #[must_use]
    pub fn told(&self, sources: &[Source]) -> String {
        match self {
            Self::Default => "default".to_owned(),
            Self::Environment(variable) => format!("environment {variable}"),
            Self::File { value, .. } => match sources.get(value.source) {
                Some(source) => format!("{}:{}", source.path.display(), source.line_column(value.bytes.start).0),
                None => "a file".to_owned(),
            },
        }
    }
}

impl Source {
    pub(crate) fn new(path: &Path, text: String) -> Self {
        let secrets = find_secrets(&text);
        Self { path: path.to_owned(), text, secrets }
    }

    /// Hides these bytes too.
    pub(crate) fn hide(&mut self, bytes: Range<usize>) {
        self.secrets.push(bytes);
        self.secrets.sort_by_key(|range| (range.start, range.end));
        let mut merged: Vec<Range<usize>> = Vec::with_capacity(self.secrets.len());
        for range in self.secrets.drain(..) {
            match merged.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => merged.push(range),
            }
        }
        self.secrets = merged;
    }

    /// The text with its secrets masked.
    pub(crate) fn shown(&self) -> String {
        let mut shown = String::with_capacity(self.text.len());
        let mut from = 0;
        for secret in &self.secrets {
            shown.push_str(self.text.get(from..secret.start).unwrap_or_default());
            shown.push_str(MASK);
            from = secret.end;
        }
        shown.push_str(self.text.get(from..).unwrap_or_default());
        shown
    }

    /// The place in [`Source::shown`] that corresponds to a place in `text`.
    fn shown_offset(&self, offset: usize, end: bool) -> usize {
        let mut shown = offset;
        for secret in &self.secrets {
            if secret.end <= offset {
                shown = shown + MASK.len() - secret.len();
            } else if secret.start < offset {
                let inside = shown - (offset - secret.start);
                return if end { inside + MASK.len() } else { inside };
            }
        }
        shown
    }

    pub(crate) fn shown_span(&self, bytes: &Range<usize>) -> Range<usize> {
        self.shown_offset(bytes.start, false)..self.shown_offset(bytes.end, true)
    }

    /// The text at `bytes`, secrets masked.
    pub(crate) fn excerpt(&self, bytes: &Range<usize>) -> String {
        let span = self.shown_span(bytes);
        self.shown().get(span).unwrap_or_default().to_owned()
    }

    /// A place in this file.
    pub(crate) fn place(&self, offset: usize) -> Place {
        let (line, column) = self.line_column(offset);
        Place::File { path: self.path.clone(), line, column }
    }

    /// Line and column (in characters), both from 1.
    pub(crate) fn line_column(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let line = before.rsplit('\n').next().unwrap_or_default();
        (before.matches('\n').count() + 1, line.chars().count() + 1)
    }
}

/// A value as it may be shown: without the user and password of a URL, without passwords in a query.
pub(crate) fn mask(value: &str) -> String {
    Source::new(Path::new(""), value.to_owned()).shown()
}

/// Does this key ask for a secret?
#[must_use]
pub fn is_secret_key(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    ["passw", "pwd", "secret", "token"].iter().any(|word| key.contains(word)) || key == "pass"
}

/// Finds secrets by the look of the text alone, so that they stay hidden even when the file is not valid TOML.
/// Rather hides too much than too little.
fn find_secrets(text: &str) -> Vec<Range<usize>> {
    let mut secrets: Vec<Range<usize>> = Vec::new();
    let mut line_start = 0;
    for line in text.split_inclusive('\n') {
        let content = line.trim_end_matches(['\n', '\r']);
        let found = user_part(content).into_iter().chain(secret_values(content));
        secrets.extend(found.map(|range| line_start + range.start..line_start + range.end));
        line_start += line.len();
    }
    secrets.sort_by_key(|range| (range.start, range.end));
    let mut last_end = 0;
    secrets.retain(|range| {
        let apart = range.start >= last_end && !range.is_empty();
        if apart {
            last_end = range.end;
        }
        apart
    });
    secrets
}

/// User and password of a URL: from the first `://` of the line to its last `@`.
fn user_part(line: &str) -> Option<Range<usize>> {
    let at = line.rfind('@')?;
    let before = line.get(..at)?;
    let start = match before.find("://") {
        Some(scheme) => scheme + 3,
        // The rest of a URL that began on another line or behind an escape.
        None if before.contains([':', '\\']) => match before.find(['"', '\'']) {
            Some(quote) => quote + 1,
            None => line.len() - line.trim_start().len(),
        },
        None => return None,
    };
    (start < at).then_some(start..at)
}

/// What is assigned to a name that asks for a secret: to the end of the line, or, in the query of a URL, of the value.
fn secret_values(line: &str) -> Vec<Range<usize>> {
    let mut values = Vec::new();
    for (equals, _) in line.match_indices('=') {
        let (before, value) = line.split_at(equals);
        let before = before.trim_end().trim_end_matches(['"', '\'']);
        let name_start = before.rfind(|c: char| !c.is_alphanumeric() && c != '-').map_or(0, |other| other + 1);
        if !is_secret_key(before.get(name_start..).unwrap_or_default()) {
            continue;
        }
        let value = value.strip_prefix('=').unwrap_or(value).trim_start();
        let start = line.len() - value.len();
        let in_query = before.len() == equals && (before.contains("://") || before.contains(['&', '?']));
        let stops: &[char] = if in_query { &['&', '"', '\'', ' ', '#', '_'] } else { &[] };
        let length = value.find(stops).filter(|_| in_query).unwrap_or(value.len());
        values.push(start..start + length);
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hides_users_and_passwords_however_they_are_written() {
        for (text, shown) in [
            ("url = \"rtsp://user:pa@ss/w?rd@cam/1\" # x", "url = \"rtsp://***@cam/1\" # x"),
            ("url = \"rtsp://user@cam/1\"", "url = \"rtsp://***@cam/1\""),
            ("url = \"rtsp://user:open", "url = \"rtsp://user:open"),
            (
                "url = \"rtsp://cam/1?user=a&password=b&channel=1\"",
                "url = \"rtsp://cam/1?user=a&password=***&channel=1\"",
            ),
            ("password = \"hunter2\"\nname = 1", "password = ***\nname = 1"),
            ("  \"api-token\"='x'", "  \"api-token\"=***"),
            ("url = \"rtsp:\\u002f/user:pass@h\"", "url = \"***@h\""),
            ("  user:pass@h/1\"\"\"", "  ***@h/1\"\"\""),
            (" = password = \"x\"", " = password = ***"),
            ("password =", "password ="),
            ("nothing = 1", "nothing = 1"),
        ] {
            assert_eq!(mask(text), shown);
        }
    }

    #[test]
    fn places_follow_the_mask() {
        let source = Source::new(Path::new("x"), "a = \"rtsp://user:password@h\"\nb = 2\n".to_owned());
        let at = source.text.find("b = 2").unwrap();
        assert_eq!(source.excerpt(&(at..at + 5)), "b = 2");
        assert_eq!(source.line_column(at), (2, 1));
        assert_eq!(source.excerpt(&(4..29)), "\"rtsp://***@h\"\n");
    }
}
