//! From files and environment to one tree.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::string::FromUtf8Error;

use toml::de::DeTable;

use crate::mistake::{Mistake, Place};
use crate::schema::Key;
use crate::source::{Origin, Source, Span, mask};
use crate::tree::{self, Node, Table, Value};

/// A file that is looked for.
#[derive(Debug, Clone, Copy)]
pub struct Expected {
    /// Its usual name, without directories.
    pub name: &'static str,
    /// What to do where there is none.
    pub when_missing: &'static str,
}

/// What some files say, the later over the earlier. Nothing of it has been checked.
#[derive(Debug, Default)]
pub struct Files {
    /// The files, in the order in which they were read.
    pub sources: Vec<Source>,
    /// What holds.
    pub tree: Table,
    /// What could not be read, or is no TOML.
    pub mistakes: Vec<Mistake>,
    named: &'static [&'static str],
}

impl Files {
    /// Nothing yet. In the lists of tables `named`, entries with the same `name` become one.
    #[must_use]
    pub fn new(named: &'static [&'static str]) -> Self {
        Self { named, ..Self::default() }
    }

    /// Reads a file. What can't be read is noted.
    pub fn read(&mut self, path: &Path, expected: &Expected) {
        match std::fs::read(path).map(String::from_utf8) {
            Ok(Ok(text)) => self.add(path, text),
            Ok(Err(error)) => self.mistakes.push(no_text(path, &error)),
            Err(error) => self.mistakes.push(unreadable(path, &error, expected)),
        }
    }

    /// Reads a file and its drop-ins, `<path>.d/*.toml` in the order of their names; there need be none.
    pub fn read_all(&mut self, path: &Path, expected: &Expected) {
        self.read(path, expected);
        for drop_in in drop_ins(path, &mut self.mistakes) {
            self.read(&drop_in, expected);
        }
    }

    /// Takes a text as that of the file at `path`. What is no TOML is noted, the rest of it holds.
    pub fn add(&mut self, path: &Path, text: String) {
        let index = self.sources.len();
        let mut source = Source::new(path, text);
        let (table, errors) = {
            let (parsed, errors) = DeTable::parse_recoverable(&source.text);
            (tree::from_table(parsed.get_ref(), index), errors)
        };
        tree::hide_secrets(&table, &mut source);
        self.mistakes.extend(errors.iter().map(|error| no_toml(error, index, &source)));
        tree::merge(&mut self.tree, table, self.named);
        self.sources.push(source);
    }

    /// Lays the environment over these tables, by the variables of their rows. A variable that is empty counts as not set.
    pub fn overlay(
        &mut self,
        tables: &[(&'static str, &'static [Key])],
        environment: &dyn Fn(&str) -> Option<OsString>,
    ) {
        for (table, key) in tables.iter().flat_map(|(table, keys)| keys.iter().map(move |key| (table, key))) {
            let Some(variable) = key.environment else { continue };
            let Some(value) = environment(variable).filter(|value| !value.is_empty()) else { continue };
            let Ok(text) = value.into_string() else {
                let problem = format!("{variable} is not UTF-8 text");
                let remedy = format!("set it to text such as {}, or unset it", key.example);
                let place = Place::Environment { variable: variable.to_owned() };
                let key = format!("{table}.{}", key.name);
                self.mistakes.push(Mistake { key, ..Mistake::new(place, problem, remedy) });
                continue;
            };
            let origin = Origin::Environment(variable.to_owned());
            let section = self
                .tree
                .entry((*table).to_owned())
                .or_insert_with(|| Node { value: Value::Table(Table::new()), origin: origin.clone() });
            // A file that makes the table something else is a mistake that is told by itself.
            if let Value::Table(section) = &mut section.value {
                section.insert(key.name.to_owned(), Node { value: Value::Text(text), origin });
            }
        }
    }
}

fn drop_ins(path: &Path, mistakes: &mut Vec<Mistake>) -> Vec<PathBuf> {
    let mut directory = path.as_os_str().to_owned();
    directory.push(".d");
    let directory = PathBuf::from(directory);
    let entries = match std::fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            let problem = format!("the drop-ins in {} can't be read: {error}", directory.display());
            mistakes.push(Mistake::in_file(&directory, 0, problem, "make it a readable directory or remove it"));
            return Vec::new();
        }
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    files
}

fn no_text(path: &Path, error: &FromUtf8Error) -> Mistake {
    let good = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
    let line = good.filter(|byte| **byte == b'\n').count() + 1;
    let problem = format!("line {line} is not UTF-8 text");
    Mistake::in_file(path, line, problem, "save the file as UTF-8; if it is not text at all, the path is wrong")
}

fn unreadable(path: &Path, error: &std::io::Error, expected: &Expected) -> Mistake {
    let shown = path.display();
    let (problem, remedy) = match error.kind() {
        ErrorKind::NotFound => (format!("there is no configuration at {shown}"), expected.when_missing.to_owned()),
        ErrorKind::PermissionDenied => (
            format!("{shown} may not be read by this user"),
            format!("run as a user who may, or give the right: chmod a+r {shown} (it holds no passwords)"),
        ),
        ErrorKind::IsADirectory => {
            (format!("{shown} is a directory"), format!("name the file in it, such as {}", expected.name))
        }
        _ => (format!("{shown} can't be read: {error}"), "check the disk and the path".to_owned()),
    };
    Mistake::in_file(path, 0, problem, remedy)
}

fn no_toml(error: &toml::de::Error, index: usize, source: &Source) -> Mistake {
    let bytes = error.span().unwrap_or(0..0);
    let (line, _) = source.line_column(bytes.start);
    let line = source.text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    let remedy = if line.matches('"').count() % 2 == 1 {
        "text stands in quotes on one line: key = \"value\""
    } else if error.message().contains("duplicate") {
        "write each key once per table; remove one of the two"
    } else {
        "TOML is [table] headers, key = value lines and # comments; text in quotes, numbers without"
    };
    // The parser's words could repeat what is written on the line; the line itself is shown masked.
    let problem = mask(&format!("this is not TOML: {}", error.message().lines().next().unwrap_or_default()));
    let place = source.place(bytes.start);
    Mistake { span: Some(Span { source: index, bytes }), ..Mistake::new(place, problem, remedy) }
}
