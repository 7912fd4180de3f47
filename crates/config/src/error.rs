//! Configuration mistakes, told all at once and so that they can be mended.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use annotate_snippets::{AnnotationKind, Group, Level, Message, Renderer, Snippet};
use serde::Serialize;

use crate::source::{Source, Span};

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mistake {
    /// Where it stands.
    pub place: Place,
    /// The key, as in `recording.rotation_minutes` or `input.cam0.url`; empty if the mistake is not about one key.
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

/// All mistakes of a configuration, in the order of the files. `Display` shows them with source lines.
#[derive(Debug, Clone)]
pub struct ConfigErrors {
    pub(crate) mistakes: Vec<Mistake>,
    pub(crate) sources: Vec<Source>,
}

impl std::error::Error for ConfigErrors {}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl ConfigErrors {
    /// The mistakes; at least one.
    #[must_use]
    pub fn mistakes(&self) -> &[Mistake] {
        &self.mistakes
    }

    /// The mistakes for people, each with its source line; with terminal colours if asked for.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() }.term_width(160);
        let shown: Vec<String> = self.sources.iter().map(Source::shown).collect();
        let mut text = String::new();
        for mistake in &self.mistakes {
            text.push_str(&renderer.render(&[self.group(mistake, &shown)]));
            text.push_str("\n\n");
        }
        text.truncate(text.trim_end().len());
        text
    }

    fn group<'a>(&'a self, mistake: &'a Mistake, shown: &'a [String]) -> Group<'a> {
        let mut group = Level::ERROR.primary_title(&mistake.problem).elements(Vec::<Message<'_>>::new());
        let label = mistake.allowed.as_ref().map(|allowed| format!("allowed: {allowed}")).unwrap_or_default();
        if let Some(span) = &mistake.span {
            let source = &self.sources[span.source];
            let mut snippet = Snippet::source(shown[span.source].as_str())
                .path(source.path.to_string_lossy().into_owned())
                .annotation(AnnotationKind::Primary.span(self.visible(span)).label(label));
            let mut elsewhere = None;
            if let Some((other, how)) = &mistake.related {
                let note = AnnotationKind::Context.span(self.visible(other)).label(how.as_str());
                if other.source == span.source {
                    snippet = snippet.annotation(note);
                } else {
                    elsewhere = Some(
                        Snippet::source(shown[other.source].as_str())
                            .path(self.sources[other.source].path.to_string_lossy().into_owned())
                            .annotation(note),
                    );
                }
            }
            group = group.element(snippet);
            if let Some(snippet) = elsewhere {
                group = group.element(snippet);
            }
        } else {
            match &mistake.place {
                Place::File { path, .. } => {
                    group = group.element(annotate_snippets::Origin::path(path.to_string_lossy().into_owned()));
                }
                Place::Environment { variable } => {
                    group = group.element(annotate_snippets::Origin::path(format!("environment variable {variable}")));
                }
            }
            if !label.is_empty() {
                group = group.element(Level::NOTE.message(label));
            }
        }
        group.element(Level::HELP.message(mistake.remedy.as_str()))
    }

    /// The place to mark in the shown text: never more than one line, never nothing.
    fn visible(&self, span: &Span) -> Range<usize> {
        let source = &self.sources[span.source];
        let bytes = source.shown_span(&span.bytes);
        let shown = source.shown();
        let start = bytes.start.min(shown.len());
        let line = shown[start..].find('\n').map_or(shown.len(), |at| start + at);
        start..bytes.end.clamp(start, line)
    }
}
