//! `panel.toml`: what the panel is wired to and what its buttons do. Read and checked once; all mistakes are told at
//! once, each with its line, what is allowed and what to do.

mod build;
mod build_device;
mod build_parts;
mod checks;
pub mod device;
mod parts;
mod reader;
mod schema;
mod show;
#[cfg(test)]
mod tests;
mod types;

use std::ffi::OsString;
use std::path::Path;

use holdfast_settings::{Expected, Files};

pub use holdfast_settings::{Mistake, Mistakes};
pub use types::{Action, Bus, ButtonConfig, ChordConfig, Config, Host, Night, Panel, Serial, ShortWhileRecording};

/// Where it is unless `HOLDFAST_PANEL_CONFIG` or `--config` says otherwise.
pub const DEFAULT_PATH: &str = "/etc/holdfast/panel.toml";
/// The environment variable that names another file; for the command line's parser.
pub const PATH_VARIABLE: &str = "HOLDFAST_PANEL_CONFIG";
/// Overrides `panel.bus`, as it does `recorder.bus`.
pub const BUS_VARIABLE: &str = "HOLDFAST_BUS";

const EXPECTED: Expected =
    Expected { name: "panel.toml", when_missing: "write one, or name another with --config or HOLDFAST_PANEL_CONFIG" };

/// A configuration that is right, and what to be warned of.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What holds.
    pub config: Config,
    /// What is right but hardly meant; `None`: nothing.
    pub warnings: Option<Mistakes>,
}

impl Loaded {
    /// Reads the file, its drop-ins (`<path>.d/*.toml`) and the environment.
    ///
    /// # Errors
    /// All mistakes; also if the file can't be read.
    pub fn load(path: &Path) -> Result<Self, Mistakes> {
        Self::load_with(path, &|variable| std::env::var_os(variable))
    }

    /// The same with an environment of the caller's. A variable that is empty counts as not set.
    ///
    /// # Errors
    /// As [`Loaded::load`].
    pub fn load_with(path: &Path, environment: &dyn Fn(&str) -> Option<OsString>) -> Result<Self, Mistakes> {
        // A drop-in may say more of a device or a button, or add one.
        let mut files = Files::new(&["device", "button"]);
        files.read_all(path, &EXPECTED);
        Self::from_files(files, environment)
    }

    /// The same from text. `name` stands for the file in mistakes.
    ///
    /// # Errors
    /// As [`Loaded::load`].
    pub fn from_toml(text: &str, name: &str, environment: &dyn Fn(&str) -> Option<OsString>) -> Result<Self, Mistakes> {
        let mut files = Files::default();
        files.add(Path::new(name), text.to_owned());
        Self::from_files(files, environment)
    }

    fn from_files(mut files: Files, environment: &dyn Fn(&str) -> Option<OsString>) -> Result<Self, Mistakes> {
        if !files.mistakes.is_empty() {
            // What follows from them is no mistake of its own.
            return Err(Mistakes::new(files.mistakes, files.sources));
        }
        files.overlay(&[("panel", schema::PANEL)], environment);
        let Files { sources, tree, mut mistakes, .. } = files;
        let (config, more, warnings) = build::build(&tree, &sources);
        mistakes.extend(more);
        if mistakes.is_empty() {
            return Ok(Self { config, warnings: Mistakes::warnings(warnings, sources) });
        }
        Err(Mistakes::new(mistakes, sources))
    }
}

impl Bus {
    /// By the word that stands for it.
    pub(crate) fn named(word: &str) -> Self {
        match word {
            "system" => Self::System,
            "session" => Self::Session,
            address => Self::Address(address.to_owned()),
        }
    }
}
