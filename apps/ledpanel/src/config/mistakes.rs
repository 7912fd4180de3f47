//! What is wrong with a `panel.toml`, told all at once and so that it can be mended.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Message, Origin, Renderer, Snippet};

/// Wide enough for a line of a file with its remedy.
const WIDTH: usize = 160;

/// One mistake, or one thing to be warned of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// From 1; 0 where it is not in a line of the file.
    pub line: usize,
    /// The key, as in `panel.hold_ms` or `device.front.chip`; empty where it is not about one.
    pub key: String,
    /// What was written there.
    pub value: Option<String>,
    /// What is wrong.
    pub problem: String,
    /// What would be right.
    pub allowed: Option<String>,
    /// What to do about it.
    pub remedy: String,
    /// Where it stands, in bytes of the text.
    pub(super) bytes: Option<Range<usize>>,
}

/// All that is to be said of a file, in the order of its lines. `Display` shows it with the lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistakes {
    pub(super) list: Vec<Mistake>,
    /// The file's path, or the environment variable.
    pub(super) path: String,
    pub(super) text: String,
    /// They are only warnings.
    pub(super) warnings: bool,
}

impl std::error::Error for Mistakes {}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl Mistakes {
    /// Each of them.
    #[must_use]
    pub fn list(&self) -> &[Mistake] {
        &self.list
    }

    /// For people, each with its line of the file; with terminal colours if asked for.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() }.term_width(WIDTH);
        let told: Vec<String> = self.list.iter().map(|mistake| renderer.render(&[self.group(mistake)])).collect();
        told.join("\n\n").trim_end().to_owned()
    }

    fn group<'a>(&'a self, mistake: &'a Mistake) -> Group<'a> {
        let level = if self.warnings { Level::WARNING } else { Level::ERROR };
        let mut group = level.primary_title(mistake.problem.as_str()).elements(Vec::<Message<'_>>::new());
        let label = mistake.allowed.as_ref().map(|allowed| format!("allowed: {allowed}")).unwrap_or_default();
        group = match &mistake.bytes {
            Some(bytes) => group.element(
                Snippet::source(self.text.as_str())
                    .path(self.path.as_str())
                    .annotation(AnnotationKind::Primary.span(self.visible(bytes)).label(label)),
            ),
            None if label.is_empty() => group.element(Origin::path(self.path.as_str())),
            None => group.element(Origin::path(self.path.as_str())).element(Level::NOTE.message(label)),
        };
        group.element(Level::HELP.message(mistake.remedy.as_str()))
    }

    /// The place to mark: never more than one line.
    fn visible(&self, bytes: &Range<usize>) -> Range<usize> {
        let start = bytes.start.min(self.text.len());
        let line_end = self.text[start..].find('\n').map_or(self.text.len(), |at| start + at);
        start..bytes.end.clamp(start, line_end)
    }
}

/// The line of a place in a text, from 1.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    text.get(..offset).unwrap_or(text).matches('\n').count() + 1
}
