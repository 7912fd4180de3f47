//! From files and environment to one tree, and from there to a [`Config`].

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use crate::build;
use crate::error::{ConfigErrors, Mistake, Place};
use crate::reader::Entry;
use crate::schema::TABLES;
use crate::source::{Origin, Source, Span};
use crate::tree::{self, Node, Table, Value};
use crate::types::Config;

/// Where the configuration is unless `HOLDFAST_CONFIG` or `--config` says otherwise.
pub const DEFAULT_PATH: &str = "/etc/holdfast/holdfast.toml";

/// A configuration, and where each of its values comes from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    pub(crate) sources: Vec<Source>,
    pub(crate) entries: Vec<Entry>,
}

impl Config {
    /// Reads the file, its drop-ins (`<path>.d/*.toml`) and the environment.
    ///
    /// # Errors
    /// All mistakes, with their places and remedies; also if a file can't be read.
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        Loaded::load(path).map(|loaded| loaded.config)
    }

    /// Reads a configuration from text alone: no drop-ins, no environment. `name` stands for the file in errors.
    ///
    /// # Errors
    /// All mistakes, with their places and remedies.
    pub fn from_toml(text: &str, name: &str) -> Result<Self, ConfigErrors> {
        Loaded::from_sources(vec![Source::new(Path::new(name), text.to_owned())], Vec::new(), &|_| None)
            .map(|loaded| loaded.config)
    }
}

/// The environment variables that override a key: `(variable, key)`, as in `("HOLDFAST_STORAGE_ROOT", "storage.root")`.
pub fn environment_variables() -> impl Iterator<Item = (&'static str, String)> {
    TABLES.iter().flat_map(|(table, keys)| {
        keys.iter().filter_map(move |key| key.environment.map(|variable| (variable, format!("{table}.{}", key.name))))
    })
}

impl Loaded {
    /// Like [`Config::load`], and remembers where each value comes from.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        Self::load_with(path, &|variable| std::env::var_os(variable))
    }

    /// Like [`Loaded::load`] with an environment of the caller's. A variable that is empty counts as not set.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_with(path: &Path, environment: &dyn Fn(&str) -> Option<OsString>) -> Result<Self, ConfigErrors> {
        let mut sources = Vec::new();
        let mut mistakes = Vec::new();
        read(path, &mut sources, &mut mistakes);
        for drop_in in drop_ins(path, &mut mistakes) {
            read(&drop_in, &mut sources, &mut mistakes);
        }
        Self::from_sources(sources, mistakes, environment)
    }

    fn from_sources(
        mut sources: Vec<Source>,
        mut mistakes: Vec<Mistake>,
        environment: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<Self, ConfigErrors> {
        let mut tree = Table::new();
        let incomplete = !mistakes.is_empty();
        for (index, source) in sources.iter_mut().enumerate() {
            let (table, errors) = {
                let (parsed, errors) = DeTable::parse_recoverable(&source.text);
                (tree::from_table(parsed.get_ref(), index), errors)
            };
            tree::hide_secrets(&table, source);
            mistakes.extend(errors.iter().map(|error| syntax_mistake(error, index, source)));
            tree::merge(&mut tree, table);
        }
        let broken = mistakes.clone();
        overlay_environment(&mut tree, environment, &mut mistakes);

        let (config, entries, more) = build::build(&tree, &sources);
        // What follows from a syntax error is no mistake of its own: lines already told of, and keys that seem missing.
        mistakes.extend(more.into_iter().filter(|mistake| {
            broken.is_empty()
                || (mistake.value.is_some()
                    && mistake.key.contains('.')
                    && !broken.iter().any(|syntax| same_line(&syntax.place, &mistake.place)))
        }));
        match config {
            Some(config) if mistakes.is_empty() && !incomplete => Ok(Self { config, sources, entries }),
            _ => {
                mistakes.sort_by_key(|mistake| {
                    mistake.span.as_ref().map_or((usize::MAX, 0), |span| (span.source, span.bytes.start))
                });
                Err(ConfigErrors { mistakes, sources })
            }
        }
    }

    /// The files that were read, in order.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.sources.iter().map(|source| source.path.as_path())
    }
}

fn same_line(a: &Place, b: &Place) -> bool {
    match (a, b) {
        (Place::File { path: a, line: line_a, .. }, Place::File { path: b, line: line_b, .. }) => {
            a == b && line_a == line_b
        }
        _ => false,
    }
}

fn read(path: &Path, sources: &mut Vec<Source>, mistakes: &mut Vec<Mistake>) {
    match std::fs::read(path) {
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => sources.push(Source::new(path, text)),
            Err(error) => {
                let good = error.utf8_error().valid_up_to();
                let before = &error.as_bytes()[..good];
                let line = before.split(|byte| *byte == b'\n').count();
                mistakes.push(file_mistake(
                    path,
                    line,
                    format!("line {line} is not UTF-8 text"),
                    "save the file as UTF-8; if it is not text at all, the path is wrong".to_owned(),
                ));
            }
        },
        Err(error) => {
            let shown = path.display();
            let (problem, remedy) = match error.kind() {
                std::io::ErrorKind::NotFound => (
                    format!("there is no configuration at {shown}"),
                    "write one, or name another with --config or HOLDFAST_CONFIG; it needs at least [storage] with root"
                        .to_owned(),
                ),
                std::io::ErrorKind::PermissionDenied => (
                    format!("{shown} may not be read by this user"),
                    format!("run as a user who may, or give the right: chmod a+r {shown} (it holds no passwords)"),
                ),
                std::io::ErrorKind::IsADirectory => {
                    (format!("{shown} is a directory"), "name the file in it, such as holdfast.toml".to_owned())
                }
                _ => (format!("{shown} can't be read: {error}"), "check the disk and the path".to_owned()),
            };
            mistakes.push(file_mistake(path, 0, problem, remedy));
        }
    }
}

/// `<path>.d/*.toml` in the order of their names; none if there is no such directory.
fn drop_ins(path: &Path, mistakes: &mut Vec<Mistake>) -> Vec<PathBuf> {
    let mut directory = path.as_os_str().to_owned();
    directory.push(".d");
    let directory = PathBuf::from(directory);
    let entries = match std::fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            let problem = format!("the drop-ins in {} can't be read: {error}", directory.display());
            mistakes.push(file_mistake(&directory, 0, problem, "make it a readable directory or remove it".to_owned()));
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

fn file_mistake(path: &Path, line: usize, problem: String, remedy: String) -> Mistake {
    let place = Place::File { path: path.to_owned(), line, column: 0 };
    Mistake { place, key: String::new(), value: None, problem, allowed: None, remedy, span: None, related: None }
}

fn syntax_mistake(error: &toml::de::Error, index: usize, source: &Source) -> Mistake {
    let bytes = error.span().unwrap_or(0..0);
    let (line, column) = source.line_column(bytes.start);
    let line_text = source.text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    let remedy = if line_text.matches('"').count() % 2 == 1 {
        "text stands in quotes on one line: key = \"value\""
    } else if error.message().contains("duplicate") {
        "write each key once per table; remove one of the two"
    } else {
        "TOML is [table] headers, key = value lines and # comments; text in quotes, numbers without"
    };
    // The parser's words could repeat what is written on the line; the line itself is shown masked.
    let problem = format!("this is not TOML: {}", error.message().lines().next().unwrap_or_default());
    Mistake {
        place: Place::File { path: source.path.clone(), line, column },
        key: String::new(),
        value: None,
        problem: crate::source::mask(&problem),
        allowed: None,
        remedy: remedy.to_owned(),
        span: Some(Span { source: index, bytes }),
        related: None,
    }
}

fn overlay_environment(tree: &mut Table, environment: &dyn Fn(&str) -> Option<OsString>, mistakes: &mut Vec<Mistake>) {
    for (table, keys) in TABLES {
        for key in *keys {
            let Some(variable) = key.environment else { continue };
            let Some(value) = environment(variable).filter(|value| !value.is_empty()) else {
                continue;
            };
            let origin = Origin::Environment(variable.to_owned());
            let Ok(text) = value.into_string() else {
                mistakes.push(Mistake {
                    place: Place::Environment { variable: variable.to_owned() },
                    key: format!("{table}.{}", key.name),
                    value: None,
                    problem: format!("{variable} is not UTF-8 text"),
                    allowed: None,
                    remedy: format!("set it to text such as {}, or unset it", key.example),
                    span: None,
                    related: None,
                });
                continue;
            };
            let section = tree
                .entry((*table).to_owned())
                .or_insert_with(|| Node { value: Value::Table(Table::new()), origin: origin.clone() });
            // A file that makes the table something else is a mistake that is told by itself.
            if let Value::Table(section) = &mut section.value {
                section.insert(key.name.to_owned(), Node { value: Value::Text(text), origin });
            }
        }
    }
}
