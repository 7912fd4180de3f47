//! `updater.toml`: read and checked once; all mistakes are told at once.

use std::path::{Path, PathBuf};
use std::time::Duration;

use holdfast_settings::texts::{BUS, is_word};
use holdfast_settings::{Absent, Expected, Files, Key, Mistakes, Reader, Scope, Takes};
use holdfast_update_plan::{Policy, Window, Wish};

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

fn is_url(text: &str) -> bool {
    text.starts_with("https://") || text.starts_with("http://")
}

fn is_https(text: &str) -> bool {
    text.starts_with("https://")
}

fn is_window(text: &str) -> bool {
    Window::parse(text).is_some()
}

const HTTPS: Takes = Takes::Text { allowed: "an https:// address", test: is_https };
const WINDOW: Takes = Takes::Text { allowed: "hours of a day, as in \"02:00-05:00\"", test: is_window };
const URL: Takes = Takes::Text { allowed: "an https:// address", test: is_url };
const WORD: Takes = Takes::Text { allowed: "a name without spaces", test: is_word };
const PATH: Takes = Takes::Text { allowed: "an absolute path", test: is_absolute };

/// `[update]`
const UPDATE: &[Key] = &[
    Key::with_default("bus", BUS, "\"system\"").or_environment("HOLDFAST_BUS"),
    Key::with_default("state_dir", PATH, "\"/var/lib/holdfast-updater\""),
    Key::with_default("automatic", Takes::Choice(&["tell", "download", "install", "reboot"]), "\"tell\""),
    Key::new("window", WINDOW, Absent::Nothing, "\"02:00-05:00\""),
    Key::with_default("usb", Takes::Choice(&["off", "tell", "install", "reboot"]), "\"tell\""),
    Key::new("channel_url", HTTPS, Absent::Nothing, "\"https://updates.example.org/stable.toml\""),
    Key::with_default("channel", WORD, "\"stable\""),
    Key::with_default("channel_poll_seconds", Takes::Number { min: 60, max: 604_800, what: "seconds" }, "21600"),
    Key::with_default("install_beside_recording", Takes::Flag, "false"),
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
    Key::with_default("least_battery_percent", Takes::Number { min: 0, max: 100, what: "per cent" }, "30"),
    Key::new("server_ca", PATH, Absent::Nothing, "\"/etc/holdfast/update-ca.pem\""),
    Key::new("fleet_url", URL, Absent::Nothing, "\"https://updates.example.org\""),
    Key::with_default("fleet_tenant", WORD, "\"DEFAULT\""),
    Key::new("fleet_id", WORD, Absent::Nothing, "\"box-17\""),
    Key::new("fleet_token_file", PATH, Absent::Nothing, "\"/etc/holdfast/fleet.token\""),
    Key::with_default("fleet_token", Takes::Choice(&["target", "gateway"]), "\"target\""),
    Key::new("fleet_certificate", PATH, Absent::Nothing, "\"/etc/holdfast/fleet.crt\""),
    Key::new("fleet_key", PATH, Absent::Nothing, "\"/etc/holdfast/fleet.key\""),
    Key::with_default("fleet_plain_http", Takes::Flag, "false"),
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
    /// A slot may be written while something is recorded, as slowly as the recording needs it.
    pub install_beside: bool,
    /// How long the recording is that a new system has to make.
    pub probe: Duration,
    /// Bytes per second that a download takes at most; `None`: as many as come.
    pub download_cap: Option<u64>,
    /// Bytes that a download leaves free, whatever it needs: footage comes first.
    pub keep_free_bytes: u64,
    /// Below it a box that runs on its battery is not updated.
    pub least_battery_percent: u8,
    /// Whom to trust as a server, as PEM; `None`: whom the distribution trusts.
    pub server_ca: Option<PathBuf>,
    /// How far goes by itself what is on a stick; `None`: sticks are not looked at.
    pub usb: Option<Wish>,
    /// The channel of releases that the box is of.
    pub channel: String,
    /// Where that is published, and how often it is asked for.
    channel_url: Option<(String, Duration)>,
    /// What the box is called, where it has a name; its machine-id is it otherwise.
    pub fleet_id: Option<String>,
    /// Reboots the box instead of systemd-logind.
    pub reboot_program: Option<PathBuf>,
    /// The fleet's server, where there is one.
    pub fleet: Option<FleetConfig>,
}

/// How the fleet's server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetConfig {
    /// Its address.
    pub url: String,
    /// Its tenant.
    pub tenant: String,
    /// What this box is called there.
    pub id: String,
    /// Where its token is.
    pub token_file: Option<PathBuf>,
    /// That is a gateway's token, not this box's own.
    pub is_gateway: bool,
    /// Whom to believe about the server's name; `None`: whom the distribution believes.
    pub ca: Option<PathBuf>,
    /// This box's certificate and its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// Without TLS: whoever listens sees the token.
    pub plain_http: bool,
}

/// A release channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelConfig {
    /// Where its file is.
    pub url: String,
    /// Its name.
    pub channel: String,
    /// How often it is asked for.
    pub interval: Duration,
    /// Whom to trust as its server.
    pub ca: Option<PathBuf>,
}

impl Config {
    /// The channel that is asked for; `None`: none is configured.
    #[must_use]
    pub fn channel_source(&self) -> Option<ChannelConfig> {
        let (url, interval) = self.channel_url.clone()?;
        Some(ChannelConfig { url, channel: self.channel.clone(), interval, ca: self.server_ca.clone() })
    }

    /// Reads the file, its drop-ins (`<path>.d/*.toml`) and the environment.
    ///
    /// # Errors
    /// All mistakes; also if the file can't be read.
    pub fn load(path: &Path) -> Result<Self, Mistakes> {
        let mut files = Files::default();
        files.read_all(path, &EXPECTED);
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
    let window = reader.text(scope, "window");
    let usb = reader.text(scope, "usb");
    let channel_url = reader.text(scope, "channel_url");
    let channel = reader.text(scope, "channel");
    let channel_poll_s = reader.number::<u64>(scope, "channel_poll_seconds");
    let fleet_id = reader.text(scope, "fleet_id").map(|id| id.value);
    let install_beside = reader.flag(scope, "install_beside_recording");
    let attempts = reader.number(scope, "attempts");
    let retry_s = reader.number::<u64>(scope, "retry_seconds");
    let trial_s = reader.number::<u64>(scope, "trial_seconds");
    let probe_s = reader.number::<u64>(scope, "probe_seconds");
    let cap_kib = reader.number::<u64>(scope, "download_kib_per_second");
    let keep_free_mib = reader.number::<u64>(scope, "keep_free_mib");
    let least_battery_percent = reader.number::<u8>(scope, "least_battery_percent");
    let server_ca = reader.text(scope, "server_ca");
    let fleet = fleet(reader, scope, fleet_id.clone());
    let reboot_program = reader.text(scope, "reboot_program");
    Some(Config {
        bus: bus?.value,
        state_dir: state_dir?.value.into(),
        policy: Policy {
            automatic: wish(&automatic?.value),
            window: window.and_then(|window| Window::parse(&window.value)),
            attempts: attempts?.value,
            retry_ns: retry_s?.value * S,
            trial_ns: trial_s?.value * S,
            ..Policy::default()
        },
        install_beside: install_beside?.value,
        probe: Duration::from_secs(probe_s?.value),
        download_cap: Some(cap_kib?.value * 1024).filter(|cap| *cap > 0),
        keep_free_bytes: keep_free_mib?.value * 1024 * 1024,
        least_battery_percent: least_battery_percent?.value,
        fleet: fleet.map(|fleet| FleetConfig { ca: server_ca.as_ref().map(|path| path.value.clone().into()), ..fleet }),
        server_ca: server_ca.map(|path| path.value.into()),
        usb: usb.map(|usb| usb.value).filter(|usb| usb != "off").map(|usb| wish(&usb)),
        channel: channel?.value,
        channel_url: channel_url.map(|url| url.value).zip(channel_poll_s.map(|s| Duration::from_secs(s.value))),
        fleet_id,
        reboot_program: reboot_program.map(|path| path.value.into()),
    })
}

fn wish(word: &str) -> Wish {
    match word {
        "download" => Wish::Download,
        "install" => Wish::Install,
        "reboot" => Wish::Reboot,
        _ => Wish::Tell,
    }
}

/// `None`: there is none.
fn fleet(reader: &mut Reader<'_>, scope: &Scope<'_>, id: Option<String>) -> Option<FleetConfig> {
    let url = reader.text(scope, "fleet_url");
    let tenant = reader.text(scope, "fleet_tenant");
    let token_file = reader.text(scope, "fleet_token_file");
    let token = reader.text(scope, "fleet_token");
    let (certificate, key) = (reader.text(scope, "fleet_certificate"), reader.text(scope, "fleet_key"));
    let plain_http = reader.flag(scope, "fleet_plain_http");
    if scope.written("fleet_url").is_some() && scope.written("fleet_id").is_none() {
        reader.lacking(scope, "fleet_id", "add what this box is called there: fleet_id = \"box-17\"".to_owned());
    }
    if url.as_ref().is_some_and(|url| url.value.starts_with("http://"))
        && plain_http.as_ref().is_some_and(|plain| !plain.value)
    {
        let remedy = "use https://, or say that it is meant so: fleet_plain_http = true";
        reader.note(scope, "fleet_url", "shows the token to whoever listens", None, remedy);
    }
    if certificate.is_some() != key.is_some() {
        let name = if certificate.is_some() { "fleet_certificate" } else { "fleet_key" };
        reader.note(scope, name, "is of no use alone", None, "write both, fleet_certificate and fleet_key");
    }
    Some(FleetConfig {
        url: url?.value,
        tenant: tenant?.value,
        id: id?,
        token_file: token_file.map(|path| path.value.into()),
        is_gateway: token?.value == "gateway",
        ca: None,
        certificate: certificate.zip(key).map(|(chain, key)| (chain.value.into(), key.value.into())),
        plain_http: plain_http?.value,
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use holdfast_settings::Files;

    use super::{Config, UPDATE, Wish};

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
    fn drop_ins_say_more_and_their_mistakes_are_told_with_their_file() {
        let place = tempfile::tempdir().unwrap();
        let main = place.path().join("updater.toml");
        let drop_in = place.path().join("updater.toml.d/50-site.toml");
        std::fs::create_dir(drop_in.parent().unwrap()).unwrap();
        std::fs::write(&main, "[update]\ntrial_seconds = 60\nattempts = 2\n").unwrap();
        std::fs::write(&drop_in, "[update]\nattempts = 5\n").unwrap();
        let policy = Config::load(&main).unwrap().policy;
        assert_eq!((policy.trial_ns, policy.attempts), (60_000_000_000, 5));
        std::fs::write(&drop_in, "[update]\nattempts = 0\n").unwrap();
        let told = Config::load(&main).unwrap_err().render(false);
        assert!(told.contains("attempts") && told.contains("50-site.toml"), "{told}");
    }

    #[test]
    fn a_fleet_needs_a_name_and_keeps_its_token_to_itself() {
        let told = of("[update]\nfleet_url = \"http://updates.example.org\"\nfleet_key = \"/k\"\n").unwrap_err();
        for part in ["fleet_id", "fleet_plain_http = true", "is of no use alone"] {
            assert!(told.contains(part), "no {part} in:\n{told}");
        }
        let fleet = of("[update]\nfleet_url = \"https://a.example\"\nfleet_id = \"box-1\"\n").unwrap().fleet.unwrap();
        assert_eq!((fleet.tenant.as_str(), fleet.is_gateway), ("DEFAULT", false));
    }

    #[test]
    fn sticks_channels_and_windows_are_as_they_are_written() {
        let config = of("").unwrap();
        assert_eq!((config.usb, config.channel_source(), config.policy.window), (Some(Wish::Tell), None, None));
        let config = of("[update]\nusb = \"off\"\nwindow = \"23:00-01:30\"\nchannel = \"beta\"\n\
             channel_url = \"https://a.example/beta.toml\"\n")
        .unwrap();
        assert_eq!((config.usb, config.policy.window.unwrap().to_string()), (None, "23:00-01:30".to_owned()));
        let channel = config.channel_source().unwrap();
        assert_eq!((channel.channel.as_str(), channel.interval.as_secs()), ("beta", 21_600));
        let told = of("[update]\nusb = \"yes\"\nwindow = \"2-5\"\nchannel_url = \"http://a.example/x\"\n").unwrap_err();
        for part in ["usb", "\"reboot\"", "02:00-05:00", "channel_url", "an https:// address"] {
            assert!(told.contains(part), "no {part} in:\n{told}");
        }
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let told = of("[update]\nautomatik = \"reboot\"\nstate_dir = \"here\"\nattempts = 0\n[updates]\n").unwrap_err();
        for part in ["automatik", "automatic", "state_dir", "an absolute path", "attempts", "updates"] {
            assert!(told.contains(part), "no {part} in:\n{told}");
        }
    }
}
