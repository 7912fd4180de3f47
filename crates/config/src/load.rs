//! From files and environment to one tree, and from there to a [`Config`].

use std::ffi::OsString;
use std::path::Path;

use holdfast_settings::{Entry, Expected, Files, Mistakes as ConfigErrors, Place, Source};

use crate::build;
use crate::schema::TABLES;
use crate::types::Config;

/// Where the configuration is unless `HOLDFAST_CONFIG` or `--config` says otherwise.
pub const DEFAULT_PATH: &str = "/etc/holdfast/holdfast.toml";

const EXPECTED: Expected = Expected {
    name: "holdfast.toml",
    when_missing: "write one, or name another with --config or HOLDFAST_CONFIG; it needs at least [storage] with root",
};

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
        let mut files = files();
        files.add(Path::new(name), text.to_owned());
        Loaded::from_files(files, &|_| None).map(|loaded| loaded.config)
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
        let mut files = files();
        files.read_all(path, &EXPECTED);
        Self::from_files(files, environment)
    }

    fn from_files(mut files: Files, environment: &dyn Fn(&str) -> Option<OsString>) -> Result<Self, ConfigErrors> {
        let broken = files.mistakes.clone();
        files.overlay(TABLES, environment);
        let Files { sources, tree, mut mistakes, .. } = files;

        let (config, entries, more) = build::build(&tree, &sources);
        // What follows from a syntax error is no mistake of its own: lines already told of, and keys that seem missing.
        mistakes.extend(more.into_iter().filter(|mistake| {
            broken.is_empty()
                || (mistake.value.is_some()
                    && mistake.key.contains('.')
                    && !broken.iter().any(|syntax| same_line(&syntax.place, &mistake.place)))
        }));
        match config {
            Some(config) if mistakes.is_empty() => Ok(Self { config, sources, entries }),
            _ => Err(ConfigErrors::new(mistakes, sources)),
        }
    }

    /// The files that were read, in order.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.sources.iter().map(|source| source.path.as_path())
    }
}

/// Nothing yet. Of `[[input]]` the later files may say more.
fn files() -> Files {
    Files::new(&["input"])
}

fn same_line(a: &Place, b: &Place) -> bool {
    match (a, b) {
        (Place::File { path: a, line: line_a, .. }, Place::File { path: b, line: line_b, .. }) => {
            a == b && line_a == line_b
        }
        _ => false,
    }
}
