//! `panel.toml`: what the panel is wired to and what its buttons do. Read and checked once; all mistakes are told at
//! once, each with its line, what is allowed and what to do.

mod build;
mod build_device;
mod checks;
pub mod device;
mod mistakes;
mod parts;
mod reader;
mod schema;
mod show;
#[cfg(test)]
mod tests;
mod types;

use std::ffi::OsString;
use std::path::Path;

use toml::de::DeTable;

pub use mistakes::{Mistake, Mistakes};
pub use types::{Action, Bus, ButtonConfig, ChordConfig, Config, Host, Night, Panel, Serial, ShortWhileRecording};

/// Where it is unless `HOLDFAST_PANEL_CONFIG` or `--config` says otherwise.
pub const DEFAULT_PATH: &str = "/etc/holdfast/panel.toml";
/// The environment variable that names another file; for the command line's parser.
pub const PATH_VARIABLE: &str = "HOLDFAST_PANEL_CONFIG";
/// Overrides `panel.bus`, as it does `recorder.bus`.
pub const BUS_VARIABLE: &str = "HOLDFAST_BUS";

/// A configuration that is right, and what to be warned of.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What holds.
    pub config: Config,
    /// What is right but hardly meant; `None`: nothing.
    pub warnings: Option<Mistakes>,
}

impl Loaded {
    /// Reads the file and the environment.
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
        let name = path.display().to_string();
        let text = std::fs::read(path).map_err(|error| unreadable(&name, &error))?;
        let text = String::from_utf8(text).map_err(|error| {
            let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
            alone(&name, line, format!("line {line} is not UTF-8 text"), "save the file as UTF-8")
        })?;
        Self::from_toml(&text, &name, environment)
    }

    /// The same from text. `name` stands for the file in mistakes.
    ///
    /// # Errors
    /// As [`Loaded::load`].
    pub fn from_toml(text: &str, name: &str, environment: &dyn Fn(&str) -> Option<OsString>) -> Result<Self, Mistakes> {
        let of =
            |list: Vec<Mistake>, warnings| Mistakes { list, path: name.to_owned(), text: text.to_owned(), warnings };
        let (root, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            // What follows from them is no mistake of its own.
            return Err(of(errors.iter().map(|error| syntax(text, error)).collect(), false));
        }
        let (mut config, mut mistakes, mut warnings) = build::build(text, root.get_ref());
        if let Some(value) = environment(BUS_VARIABLE).filter(|value| !value.is_empty()) {
            match value.to_str().filter(|bus| checks::is_bus(bus)) {
                Some(bus) => config.panel.bus = Bus::named(bus),
                None => {
                    let problem = format!("the environment variable {BUS_VARIABLE} = {value:?} is no bus");
                    let remedy = "set it to \"system\", \"session\" or a D-Bus address, or unset it";
                    mistakes.extend(alone(name, 0, problem, remedy).list);
                }
            }
        }
        if mistakes.is_empty() {
            warnings.sort_by_key(|warning| warning.line);
            return Ok(Self { config, warnings: (!warnings.is_empty()).then(|| of(warnings, true)) });
        }
        mistakes.sort_by_key(|mistake| mistake.bytes.as_ref().map_or(usize::MAX, |bytes| bytes.start));
        Err(of(mistakes, false))
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

fn unreadable(name: &str, error: &std::io::Error) -> Mistakes {
    use std::io::ErrorKind;
    let (problem, remedy) = match error.kind() {
        ErrorKind::NotFound => (
            format!("there is no configuration at {name}"),
            "write one, or name another with --config or HOLDFAST_PANEL_CONFIG",
        ),
        ErrorKind::PermissionDenied => {
            (format!("{name} may not be read by this user"), "give the right: chmod a+r (it holds no secrets)")
        }
        _ => (format!("{name} can't be read: {error}"), "check the disk and the path"),
    };
    alone(name, 0, problem, remedy)
}

/// One mistake that is in no place that could be shown.
fn alone(name: &str, line: usize, problem: String, remedy: &str) -> Mistakes {
    let (key, remedy) = (String::new(), remedy.to_owned());
    let mistake = Mistake { line, key, value: None, problem, allowed: None, remedy, bytes: None };
    Mistakes { list: vec![mistake], path: name.to_owned(), text: String::new(), warnings: false }
}

fn syntax(text: &str, error: &toml::de::Error) -> Mistake {
    let bytes = error.span().unwrap_or(0..0);
    let remedy = if error.message().contains("duplicate") {
        "write each key once per table; remove one of the two"
    } else {
        "TOML is [table] headers, key = value lines and # comments; text in quotes, numbers without"
    };
    Mistake {
        line: mistakes::line_of(text, bytes.start),
        key: String::new(),
        value: None,
        problem: format!("this is not TOML: {}", error.message().lines().next().unwrap_or_default()),
        allowed: None,
        remedy: remedy.to_owned(),
        bytes: Some(bytes),
    }
}
