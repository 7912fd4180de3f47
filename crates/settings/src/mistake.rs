//! Mistakes in settings, told all at once and so that they can be mended.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Message, Renderer, Snippet};
use serde::Serialize;

use crate::source::{Origin, Source, Span};

/// Wide enough for a line of a file with its remedy, characters.
const WIDTH: usize = 160;

/// One mistake, or one thing to be warned of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mistake {
    /// Where it stands.
    pub place: Place,
    /// The key, with its table, as in `device.front.port`; empty if the mistake is not about one key.
    pub key: String,
    /// What was written there; secrets are masked.
    pub value: Option<String>,
    /// What is wrong.
    pub problem: String,
    /// What would be right.
    pub allowed: Option<String>,
    /// What to do about it.
    pub remedy: String,
    #[serde(skip)]
    pub(crate) span: Option<Span>,
    /// Another place that has to do with it, and how.
    #[serde(skip)]
    pub(crate) related: Option<(Span, String)>,
}

/// Where a mistake stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// In a file.
    File {
        /// Its path.
        path: PathBuf,
        /// From 1; 0 if the whole file is meant.
        line: usize,
        /// In characters, from 1; 0 if the whole line is meant.
        column: usize,
    },
    /// In an environment variable.
    Environment {
        /// Its name.
        variable: String,
    },
}

impl Mistake {
    /// A mistake about no key. Without a line to show.
    #[must_use]
    pub fn new(place: Place, problem: String, remedy: impl Into<String>) -> Self {
        let (key, remedy) = (String::new(), remedy.into());
        Self { place, key, value: None, problem, allowed: None, remedy, span: None, related: None }
    }

    /// A mistake in a file that is about none of its keys; `line` from 1, 0 for the whole of it.
    #[must_use]
    pub fn in_file(path: &Path, line: usize, problem: String, remedy: impl Into<String>) -> Self {
        Self::new(Place::File { path: path.to_owned(), line, column: 0 }, problem, remedy)
    }

    /// The line of the file where it stands, from 1; 0 where it is not in a line of a file.
    #[must_use]
    pub fn line(&self) -> usize {
        match self.place {
            Place::File { line, .. } => line,
            Place::Environment { .. } => 0,
        }
    }

    /// Another place has to do with it, in this way. Nothing is shown of what stands in no file.
    pub fn relate(&mut self, origin: &Origin, how: impl Into<String>) {
        self.related = origin.value().map(|span| (span.clone(), how.into()));
    }
}

/// All that is to be said of some files, in the order of the files. `Display` shows it with the lines.
#[derive(Debug, Clone)]
pub struct Mistakes {
    mistakes: Vec<Mistake>,
    sources: Vec<Source>,
    /// They are only warnings.
    warnings: bool,
}

impl std::error::Error for Mistakes {}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl Mistakes {
    /// The mistakes found in these sources; those that stand in no line come last.
    #[must_use]
    pub fn new(mut mistakes: Vec<Mistake>, sources: Vec<Source>) -> Self {
        mistakes.sort_by_key(|mistake| {
            mistake.span.as_ref().map_or((usize::MAX, 0), |span| (span.source, span.bytes.start))
        });
        Self { mistakes, sources, warnings: false }
    }

    /// What is right but hardly meant; what stands in no line comes first. `None`: nothing.
    #[must_use]
    pub fn warnings(mut warnings: Vec<Mistake>, sources: Vec<Source>) -> Option<Self> {
        warnings.sort_by_key(Mistake::line);
        (!warnings.is_empty()).then_some(Self { mistakes: warnings, sources, warnings: true })
    }

    /// Each of them; at least one.
    #[must_use]
    pub fn mistakes(&self) -> &[Mistake] {
        &self.mistakes
    }

    /// For people, each with its line; with terminal colours if asked for.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() }.term_width(WIDTH);
        let shown: Vec<String> = self.sources.iter().map(Source::shown).collect();
        let told: Vec<String> =
            self.mistakes.iter().map(|mistake| renderer.render(&[self.group(mistake, &shown)])).collect();
        told.join("\n\n").trim_end().to_owned()
    }

    fn group<'a>(&'a self, mistake: &'a Mistake, shown: &'a [String]) -> Group<'a> {
        let level = if self.warnings { Level::WARNING } else { Level::ERROR };
        let mut group = level.primary_title(&mistake.problem).elements(Vec::<Message<'_>>::new());
        let label = mistake.allowed.as_ref().map(|allowed| format!("allowed: {allowed}")).unwrap_or_default();
        let at = mistake.span.as_ref().and_then(|span| Some((span, self.snippet(span, shown)?)));
        if let Some((span, snippet)) = at {
            let primary = AnnotationKind::Primary.span(self.visible(span, shown)).label(label);
            let mut snippet = snippet.annotation(primary);
            let mut elsewhere = None;
            if let Some((other, how)) = &mistake.related {
                let note = AnnotationKind::Context.span(self.visible(other, shown)).label(how.as_str());
                if other.source == span.source {
                    snippet = snippet.annotation(note);
                } else {
                    elsewhere = self.snippet(other, shown).map(|other| other.annotation(note));
                }
            }
            group = group.element(snippet);
            if let Some(snippet) = elsewhere {
                group = group.element(snippet);
            }
        } else {
            let place = match &mistake.place {
                Place::File { path, .. } => path.to_string_lossy().into_owned(),
                Place::Environment { variable } => format!("environment variable {variable}"),
            };
            group = group.element(annotate_snippets::Origin::path(place));
            if !label.is_empty() {
                group = group.element(Level::NOTE.message(label));
            }
        }
        group.element(Level::HELP.message(mistake.remedy.as_str()))
    }

    /// The source of this place, nothing in it marked yet.
    fn snippet<'a>(&self, span: &Span, shown: &'a [String]) -> Option<Snippet<'a, Annotation<'a>>> {
        let path = self.sources.get(span.source)?.path.to_string_lossy().into_owned();
        Some(Snippet::source(shown.get(span.source)?.as_str()).path(path))
    }

    /// The place to mark in the shown text: never more than one line.
    fn visible(&self, span: &Span, shown: &[String]) -> Range<usize> {
        let (Some(source), Some(shown)) = (self.sources.get(span.source), shown.get(span.source)) else {
            return 0..0;
        };
        let bytes = source.shown_span(&span.bytes);
        let start = bytes.start.min(shown.len());
        let rest = shown.get(start..).unwrap_or_default();
        let line_end = rest.find('\n').map_or(shown.len(), |at| start + at);
        start..bytes.end.clamp(start, line_end)
    }
}
