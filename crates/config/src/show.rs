//! The configuration that holds, as a file that could be used, with the origin of each value.

use crate::load::Loaded;

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
            if table != Some((entry.header, entry.index)) {
                flush(&mut text, &mut lines);
                table = Some((entry.header, entry.index));
                text.push_str(&format!("\n{}\n", entry.header));
            }
            lines.push((format!("{} = {}", entry.key, entry.value), entry.origin.told(&self.sources)));
        }
        flush(&mut text, &mut lines);
        text
    }

    /// Where each value comes from: `(key, TOML value, origin)`, as in
    /// `("storage.root", "\"/srv\"", "/etc/holdfast/holdfast.toml:2")`. Inputs are numbered from 1: `input[1].name`.
    pub fn values(&self) -> impl Iterator<Item = (String, &str, String)> {
        self.entries.iter().map(|entry| {
            let table = entry.header.trim_matches(['[', ']']);
            let number = entry.index.map(|index| format!("[{}]", index + 1)).unwrap_or_default();
            (format!("{table}{number}.{}", entry.key), entry.value.as_str(), entry.origin.told(&self.sources))
        })
    }
}

fn flush(text: &mut String, lines: &mut Vec<(String, String)>) {
    let width = lines.iter().map(|(line, _)| line.chars().count()).max().unwrap_or(0).min(60);
    for (line, origin) in lines.drain(..) {
        text.push_str(&format!("{line:<width$}  # {origin}\n"));
    }
}
