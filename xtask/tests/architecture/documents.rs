//! Links in documents, as a reader on the web would follow them.

use std::collections::{BTreeMap, BTreeSet};

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use crate::tree::TextFile;

/// Links of the Markdown files that lead nowhere. `exists` says whether a path from the root is a file or directory.
pub(crate) fn dead_links(files: &[TextFile], exists: impl Fn(&str) -> bool) -> Vec<String> {
    let documents: BTreeMap<&str, Document> = files
        .iter()
        .filter(|file| file.extension() == "md")
        .map(|file| (file.path.as_str(), Document::read(&file.text)))
        .collect();
    let mut dead = vec![];
    for (path, document) in &documents {
        for link in &document.links {
            let outside = link.contains("://") || link.starts_with("mailto:") || link.starts_with("tel:");
            let (target, anchor) = link.split_once('#').unwrap_or((link, ""));
            if outside || (target.is_empty() && anchor.is_empty()) {
                continue;
            }
            let Some(target) = resolve(path, target) else {
                dead.push(format!("{path}: `{link}` leads out of the repository"));
                continue;
            };
            if !target.is_empty() && !exists(&target) {
                dead.push(format!("{path}: `{link}` does not exist"));
            } else if !anchor.is_empty()
                && documents.get(target.as_str()).is_some_and(|there| !there.anchors.contains(anchor))
            {
                dead.push(format!("{path}: there is no heading for `{link}`"));
            }
        }
    }
    dead
}

/// The path from the root that a link in `from` means; `None` where it leaves the root.
fn resolve(from: &str, target: &str) -> Option<String> {
    if target.is_empty() {
        return Some(from.to_owned());
    }
    let mut parts: Vec<&str> = if target.starts_with('/') { vec![] } else { from.split('/').collect() };
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/").replace("%20", " "))
}

struct Document {
    links: Vec<String>,
    anchors: BTreeSet<String>,
}

impl Document {
    fn read(text: &str) -> Self {
        let (mut links, mut anchors, mut heading) = (vec![], BTreeSet::new(), None::<String>);
        let mut times: BTreeMap<String, usize> = BTreeMap::new();
        for event in Parser::new_ext(text, Options::ENABLE_TABLES | Options::ENABLE_FOOTNOTES) {
            match event {
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    links.push(dest_url.to_string())
                }
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    let slug = slug(&heading.take().unwrap_or_default());
                    let count = times.entry(slug.clone()).or_default();
                    anchors.insert(if *count == 0 { slug } else { format!("{slug}-{count}") });
                    *count += 1;
                }
                Event::Text(text) | Event::Code(text) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&text);
                    }
                }
                Event::Html(html) | Event::InlineHtml(html) => {
                    links.extend(["href", "src"].iter().flat_map(|name| attributes(&html, name)));
                    anchors.extend(["id", "name"].iter().flat_map(|name| attributes(&html, name)));
                }
                _ => {}
            }
        }
        Self { links, anchors }
    }
}

/// Values of an attribute in a piece of HTML.
fn attributes(html: &str, name: &str) -> Vec<String> {
    let start = format!(" {name}=\"");
    html.split(&start).skip(1).filter_map(|rest| rest.split_once('"')).map(|(value, _)| value.to_owned()).collect()
}

/// The anchor the usual forges make of a heading.
fn slug(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    kept.chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

/// Names of tests that a document gives as `architecture::<name>`.
pub(crate) fn tests_named(text: &str) -> Vec<&str> {
    text.split("architecture::")
        .skip(1)
        .map(|rest| rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default())
        .collect()
}

/// Of tables whose last column says which tests hold a row: the first cell of each, and the names.
pub(crate) fn held_by(text: &str) -> Vec<(String, Vec<String>)> {
    let mut rows = vec![];
    let (mut first, mut cells, mut names) = (String::new(), 0, vec![]);
    for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::TableRow) => (first, cells, names) = (String::new(), 0, vec![]),
            // Only those of the last cell are left at the end.
            Event::Start(Tag::TableCell) => names.clear(),
            Event::End(TagEnd::TableCell) => cells += 1,
            Event::Text(text) if cells == 0 => first.push_str(&text),
            Event::Code(code) => names.push(code.to_string()),
            Event::End(TagEnd::TableRow) => rows.push((std::mem::take(&mut first), std::mem::take(&mut names))),
            _ => {}
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_cell_names_the_tests() {
        let text = "`no` |\n\n| a | held by |\n|---|---|\n| x `no` | `one`, `two` |\n| y | nothing |\n";
        let held = held_by(text);
        assert_eq!(held, [("x ".to_owned(), vec!["one".to_owned(), "two".to_owned()]), ("y".to_owned(), vec![])]);
    }

    fn dead(text: &str) -> Vec<String> {
        let files =
            [TextFile::new("docs/a.md", text), TextFile::new("docs/b.md", "# One & `two`\n\n## Same\n\n## Same\n")];
        dead_links(&files, |path| ["docs/a.md", "docs/b.md", "README.md", "apps"].contains(&path))
    }

    #[test]
    fn dead_links_are_found() {
        for text in [
            "[x](missing.md)",
            "![x](picture.svg)",
            "[x](b.md#three)",
            "[x](#nowhere)",
            "[x][y]\n\n[y]: ../nothing",
            "<img src=\"gone.png\">",
            "[x](../../outside.md)",
        ] {
            assert_eq!(dead(text).len(), 1, "{text}");
        }
    }

    #[test]
    fn live_links_are_not() {
        let text = "# Here\n[a](b.md) [b](b.md#one--two) [c](b.md#same-1) [d](../README.md) [e](/apps) [f](#here) \
                    [g](https://example.org/x#y) `[h](missing.md)`\n\n```\n[i](missing.md)\n```\n";
        assert_eq!(dead(text), Vec::<String>::new());
    }
}
