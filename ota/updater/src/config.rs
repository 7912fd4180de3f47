//! `updater.toml`: read and checked once; all mistakes are told at once.

use std::path::{Path, PathBuf};
use std::time::Duration;

use holdfast_settings::texts::BUS;
use holdfast_settings::{Absent, Expected, Files, Key, Mistakes, Reader, Scope, Takes};
use holdfast_update_plan::{Policy, Wish};

/// Where it is unless `HOLDFAST_UPDATER_CONFIG` or `--config` says otherwise.
pub const DEFAULT_PATH: &str = "/etc/holdfast/updater.toml";
/// The environment variable that names another file; for the command line's parser.
pub const PATH_VARIABLE: &str = "HOLDFAST_UPDATER_CONFIG";

const EXPECTED: Expected = Expected {
    name: "updater.toml",
    when_missing: "write one (empty will do), or name another with --config or HOLDFAST_UPDATER_CONFIG",
};

fn is_absolute(text: &str) -> bool {
    Path::new(text).is_absolute()
}

const PATH: Takes = Takes::Text { allowed: "an absolute path", test: is_absolute };

/// `[update]`
const UPDATE: &[Key] = &[
    Key::with_default("bus", BUS, "\"system\"").or_environment("HOLDFAST_BUS"),
    Key::with_default("state_dir", PATH, "\"/var/lib/holdfast-updater\""),
    Key::with_default("automatic", Takes::Choice(&["tell", "download", "install", "reboot"]), "\"tell\""),
    Key::with_default("attempts", Takes::Number { min: 1, max: 20, what: "attempts" }, "3"),
    Key::with_default("retry_seconds", Takes::Number { min: 1, max: 86_400, what: "seconds" }, "300"),
    Key::with_default("trial_seconds", Takes::Number { min: 5, max: 7200, what: "seconds" }, "600"),
    Key::with_default("probe_seconds", Takes::Number { min: 1, max: 60, what: "seconds" }, "5"),
    Key::with_default(
        "download_kib_per_second",
        Takes::Number { min: 0, max: 10_000_000, what: "KiB per second" },
        "0",
    ),
    Key::with_default("keep_free_mib", Takes::Number { min: 0, max: 10_000_000, what: "MiB" }, "1024"),
    Key::new("server_ca", PATH, Absent::Nothing, "\"/etc/holdfast/update-ca.pem\""),
    Key::new("reboot_program", PATH, Absent::Nothing, "\"/usr/local/sbin/reboot-the-box\""),
];

/// What is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `system`, `session` or an address: where the recorder, RAUC and systemd are.
    pub bus: String,
    /// Where the updater keeps its state.
    pub state_dir: PathBuf,
    /// How far it goes by itself, how often it tries, how long a trial takes.
    pub policy: Policy,
    /// How long the recording is that a new system has to make.
    pub probe: Duration,
    /// Bytes per second that a download takes at most; `None`: as many as come.
    pub download_cap: Option<u64>,
    /// Bytes that a download leaves free, whatever it needs: footage comes first.
    pub keep_free_bytes: u64,
    /// Whom to trust as a server, as PEM; `None`: whom the distribution trusts.
    pub server_ca: Option<PathBuf>,
    /// Reboots the box instead of systemd-logind.
    pub reboot_program: Option<PathBuf>,
}

impl Config {
    /// Reads the file and the environment.
    ///
    /// # Errors
    /// All mistakes; also if the file can't be read.
    pub fn load(path: &Path) -> Result<Self, Mistakes> {
        let mut files = Files::default();
        files.read(path, &EXPECTED);
        Self::from_files(files)
    }

    fn from_files(mut files: Files) -> Result<Self, Mistakes> {
        if !files.mistakes.is_empty() {
            return Err(Mistakes::new(files.mistakes, files.sources));
        }
        files.overlay(&[("update", UPDATE)], &|variable| std::env::var_os(variable));
        let Files { sources, tree, mut mistakes, .. } = files;
        let reader = &mut Reader::new(&sources);
        let top = Scope::top(&tree);
        reader.unknown(&top, &["update"], |name| {
            UPDATE.iter().any(|key| key.name == name).then(|| format!("{name} belongs into [update]"))
        });
        let scope = &Scope::new("update", "[update]", top.written("update"), UPDATE);
        reader.unknown(scope, &[], |_| None);
        let config = read(reader, scope);
        mistakes.append(&mut reader.mistakes);
        match config {
            Some(config) if mistakes.is_empty() => Ok(config),
            _ => Err(Mistakes::new(mistakes, sources)),
        }
    }
}

/// `None`: a mistake, which has been noted.
fn read(reader: &mut Reader<'_>, scope: &Scope<'_>) -> Option<Config> {
    const S: u64 = 1_000_000_000;
    let bus = reader.text(scope, "bus");
    let state_dir = reader.text(scope, "state_dir");
    let automatic = reader.text(scope, "automatic");
    let attempts = reader.number(scope, "attempts");
    let retry_s = reader.number::<u64>(scope, "retry_seconds");
    let trial_s = reader.number::<u64>(scope, "trial_seconds");
    let probe_s = reader.number::<u64>(scope, "probe_seconds");
    let cap_kib = reader.number::<u64>(scope, "download_kib_per_second");
    let keep_free_mib = reader.number::<u64>(scope, "keep_free_mib");
    let server_ca = reader.text(scope, "server_ca");
    let reboot_program = reader.text(scope, "reboot_program");
    Some(Config {
        bus: bus?.value,
        state_dir: state_dir?.value.into(),
        policy: Policy {
            automatic: match automatic?.value.as_str() {
                "download" => Wish::Download,
                "install" => Wish::Install,
                "reboot" => Wish::Reboot,
                _ => Wish::Tell,
            },
            attempts: attempts?.value,
            retry_ns: retry_s?.value * S,
            trial_ns: trial_s?.value * S,
            ..Policy::default()
        },
        probe: Duration::from_secs(probe_s?.value),
        download_cap: Some(cap_kib?.value * 1024).filter(|cap| *cap > 0),
        keep_free_bytes: keep_free_mib?.value * 1024 * 1024,
        server_ca: server_ca.map(|path| path.value.into()),
        reboot_program: reboot_program.map(|path| path.value.into()),
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use holdfast_settings::Files;

    use super::{Config, UPDATE};

    fn of(text: &str) -> Result<Config, String> {
        let mut files = Files::default();
        files.add(Path::new("updater.toml"), text.to_owned());
        Config::from_files(files).map_err(|mistakes| mistakes.render(false))
    }

    #[test]
    fn an_empty_file_will_do_and_every_row_allows_its_own() {
        assert!(UPDATE.iter().all(holdfast_settings::Key::is_sound));
        let config = of("").unwrap();
        assert_eq!((config.bus.as_str(), config.policy.attempts), ("system", 3));
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let told = of("[update]\nautomatik = \"reboot\"\nstate_dir = \"here\"\nattempts = 0\n[updates]\n").unwrap_err();
        for part in ["automatik", "automatic", "state_dir", "an absolute path", "attempts", "updates"] {
            assert!(told.contains(part), "no {part} in:\n{told}");
        }
    }
}
