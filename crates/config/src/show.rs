//! The configuration that holds, as a file that could be used, with the origin of each value.

use crate::load::Loaded;
use crate::source::Origin;

impl Loaded {
    /// The effective configuration as TOML; behind each value, as a comment, where it comes from. Secrets are masked.
    #[must_use]
    pub fn show(&self) -> String {
        let mut text = String::from("# The configuration that holds. Read from:\n");
        for file in self.files() {
            text.push_str(&format!("#   {}\n", file.display()));
        }
        let mut table = None;
        let mut lines: Vec<(String, String)> = Vec::new();
        for entry in &self.entries {
            if table != Some((entry.table, entry.input)) {
                flush(&mut text, &mut lines);
                table = Some((entry.table, entry.input));
                let header = if entry.input.is_some() { "[[input]]".to_owned() } else { format!("[{}]", entry.table) };
                text.push_str(&format!("\n{header}\n"));
            }
            lines.push((format!("{} = {}", entry.key, entry.value), self.origin(&entry.origin)));
        }
        flush(&mut text, &mut lines);
        text
    }

    /// Where each value comes from: `(key, TOML value, origin)`, as in
    /// `("storage.root", "\"/srv\"", "/etc/holdfast/holdfast.toml:2")`. Inputs are numbered from 1: `input[1].name`.
    pub fn values(&self) -> impl Iterator<Item = (String, &str, String)> {
        self.entries.iter().map(|entry| {
            let key = match entry.input {
                Some(index) => format!("input[{}].{}", index + 1, entry.key),
                None => format!("{}.{}", entry.table, entry.key),
            };
            (key, entry.value.as_str(), self.origin(&entry.origin))
        })
    }

    fn origin(&self, origin: &Origin) -> String {
        match origin {
            Origin::Default => "default".to_owned(),
            Origin::Environment(variable) => format!("environment {variable}"),
            Origin::File { value, .. } => {
                let source = &self.sources[value.source];
                format!("{}:{}", source.path.display(), source.line_column(value.bytes.start).0)
            }
        }
    }
}

fn flush(text: &mut String, lines: &mut Vec<(String, String)>) {
    let width = lines.iter().map(|(line, _)| line.chars().count()).max().unwrap_or(0).min(60);
    for (line, origin) in lines.drain(..) {
        text.push_str(&format!("{line:<width$}  # {origin}\n"));
    }
}
