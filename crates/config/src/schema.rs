//! Every key there is: one row each. Reading, checking, the environment and `show` all go by these rows.

/// What a key takes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// A whole number within these bounds.
    Number { min: u64, max: u64, unit: &'static str },
    /// `true` or `false`.
    Bool,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Text that passes this test.
    Text { allowed: &'static str, test: fn(&str) -> bool },
}

/// What holds when a key is not written.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Absent {
    /// This value, as TOML.
    Default(&'static str),
    /// Nothing; the key may be left out.
    Nothing,
    /// It must be written.
    Mistake,
}

/// One key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) absent: Absent,
    /// The environment variable that overrides it; none for the keys of inputs.
    pub(crate) environment: Option<&'static str>,
    /// For `[[input]]`: the sources that have it; empty for all.
    pub(crate) sources: &'static [&'static str],
    /// A good value, for the remedy.
    pub(crate) example: &'static str,
}

const fn number(
    name: &'static str,
    environment: Option<&'static str>,
    bounds: (u64, u64),
    unit: &'static str,
    default: &'static str,
) -> Key {
    Key {
        name,
        kind: Kind::Number { min: bounds.0, max: bounds.1, unit },
        absent: Absent::Default(default),
        environment,
        sources: &[],
        example: default,
    }
}

const fn path(name: &'static str, environment: Option<&'static str>, absent: Absent, example: &'static str) -> Key {
    let kind = Kind::Text { allowed: "an absolute path", test: is_absolute };
    Key { name, kind, absent, environment, sources: &[], example }
}

/// `[storage]`
pub(crate) const STORAGE: &[Key] = &[
    path("root", Some("HOLDFAST_STORAGE_ROOT"), Absent::Mistake, "\"/var/lib/holdfast/recordings\""),
    Key {
        name: "filesystem",
        kind: Kind::Text { allowed: "\"any\", \"mounted\", \"uuid:…\" or \"label:…\"", test: is_filesystem },
        absent: Absent::Default("\"mounted\""),
        environment: Some("HOLDFAST_STORAGE_FILESYSTEM"),
        sources: &[],
        example: "\"mounted\"",
    },
    number("warn_percent", Some("HOLDFAST_STORAGE_WARN_PERCENT"), (1, 99), "percent", "80"),
    number("block_percent", Some("HOLDFAST_STORAGE_BLOCK_PERCENT"), (1, 99), "percent", "90"),
    number("warn_floor_mib", Some("HOLDFAST_STORAGE_WARN_FLOOR_MIB"), (0, 1_048_576), "MiB", "5120"),
    number("start_floor_mib", Some("HOLDFAST_STORAGE_START_FLOOR_MIB"), (0, 1_048_576), "MiB", "2048"),
    number("stop_floor_mib", Some("HOLDFAST_STORAGE_STOP_FLOOR_MIB"), (0, 1_048_576), "MiB", "1024"),
    number("ballast_mib", Some("HOLDFAST_STORAGE_BALLAST_MIB"), (0, 4096), "MiB", "64"),
    number("keep_days", Some("HOLDFAST_STORAGE_KEEP_DAYS"), (0, 3650), "days", "0"),
    number("keep_gib", Some("HOLDFAST_STORAGE_KEEP_GIB"), (0, 1_048_576), "GiB", "0"),
    number("keep_free_percent", Some("HOLDFAST_STORAGE_KEEP_FREE_PERCENT"), (0, 90), "percent", "0"),
    Key {
        name: "archive",
        kind: Kind::Bool,
        absent: Absent::Default("false"),
        environment: None,
        sources: &[],
        example: "false",
    },
];

/// `[recording]`
pub(crate) const RECORDING: &[Key] = &[
    number("rotation_minutes", Some("HOLDFAST_ROTATION_MINUTES"), (1, 1440), "minutes", "5"),
    number("rotation_mib", Some("HOLDFAST_ROTATION_MIB"), (16, 65536), "MiB", "2048"),
    number("sync_interval_ms", Some("HOLDFAST_SYNC_INTERVAL_MS"), (50, 1000), "milliseconds", "500"),
    number("preroll_seconds", Some("HOLDFAST_PREROLL_SECONDS"), (0, 120), "seconds", "5"),
    number("preroll_mib", Some("HOLDFAST_PREROLL_MIB"), (0, 1024), "MiB", "64"),
    number("buffer_mib", Some("HOLDFAST_BUFFER_MIB"), (8, 1024), "MiB", "32"),
];

/// `[recorder]`
pub(crate) const RECORDER: &[Key] = &[
    Key {
        name: "bus",
        kind: Kind::Text {
            allowed: "\"system\", \"session\" or a D-Bus address such as \"unix:path=/run/dbus/x\"",
            test: is_bus,
        },
        absent: Absent::Default("\"system\""),
        environment: Some("HOLDFAST_BUS"),
        sources: &[],
        example: "\"system\"",
    },
    path("runtime_dir", Some("HOLDFAST_RUNTIME_DIR"), Absent::Default("\"/run/holdfast\""), "\"/run/holdfast\""),
    path("state_dir", Some("HOLDFAST_STATE_DIR"), Absent::Default("\"/var/lib/holdfast\""), "\"/var/lib/holdfast\""),
    Key {
        name: "supervisor",
        kind: Kind::Choice(&["auto", "systemd", "spawn"]),
        absent: Absent::Default("\"auto\""),
        environment: Some("HOLDFAST_SUPERVISOR"),
        sources: &[],
        example: "\"auto\"",
    },
    Key {
        name: "capture_program",
        kind: Kind::Text { allowed: "the name of a program or an absolute path", test: is_program },
        absent: Absent::Default("\"holdfast-capture\""),
        environment: Some("HOLDFAST_CAPTURE_PROGRAM"),
        sources: &[],
        example: "\"holdfast-capture\"",
    },
    path("metrics_file", Some("HOLDFAST_METRICS_FILE"), Absent::Nothing, "\"/var/lib/node_exporter/holdfast.prom\""),
    number("metrics_interval_seconds", Some("HOLDFAST_METRICS_INTERVAL_SECONDS"), (1, 3600), "seconds", "15"),
    path("metrics_socket", Some("HOLDFAST_METRICS_SOCKET"), Absent::Nothing, "\"/run/holdfast/metrics.sock\""),
];

/// `[protection]`
pub(crate) const PROTECTION: &[Key] = &[
    Key {
        name: "capture_cpus",
        kind: Kind::Text { allowed: "\"auto\", \"all\" or a list of CPUs such as \"1-3,5\"", test: is_cpus },
        absent: Absent::Default("\"auto\""),
        environment: Some("HOLDFAST_CAPTURE_CPUS"),
        sources: &[],
        example: "\"auto\"",
    },
    number("memory_alert_mib", Some("HOLDFAST_MEMORY_ALERT_MIB"), (16, 1_048_576), "MiB", "1024"),
    number("cpu_alert_percent", Some("HOLDFAST_CPU_ALERT_PERCENT"), (1, 6400), "percent", "150"),
    Key {
        name: "resume",
        kind: Kind::Choice(&["always", "ask", "never"]),
        absent: Absent::Default("\"always\""),
        environment: Some("HOLDFAST_RESUME"),
        sources: &[],
        example: "\"always\"",
    },
    number("resume_within_hours", Some("HOLDFAST_RESUME_WITHIN_HOURS"), (1, 8760), "hours", "24"),
    number("lease_grace_seconds", Some("HOLDFAST_LEASE_GRACE_SECONDS"), (0, 3600), "seconds", "10"),
];

/// `[[input]]`
pub(crate) const INPUT: &[Key] = &[
    Key {
        name: "name",
        kind: Kind::Text {
            allowed: "1 to 32 ASCII letters, digits, \"-\" and \"_\", the first a letter or digit",
            test: is_input_name,
        },
        absent: Absent::Mistake,
        environment: None,
        sources: &[],
        example: "\"cam0\"",
    },
    Key {
        name: "source",
        kind: Kind::Choice(&["rtsp", "v4l2", "test", "file"]),
        absent: Absent::Mistake,
        environment: None,
        sources: &[],
        example: "\"rtsp\"",
    },
    Key {
        name: "url",
        kind: Kind::Text { allowed: "rtsp://host[:port]/path or rtsps://…", test: is_rtsp_url },
        absent: Absent::Mistake,
        environment: None,
        sources: &["rtsp"],
        example: "\"rtsp://192.168.1.20/stream1\"",
    },
    Key { sources: &["rtsp"], ..path("credentials_file", None, Absent::Nothing, "\"/etc/holdfast/cam0.credentials\"") },
    Key {
        name: "transport",
        kind: Kind::Choice(&["tcp", "udp"]),
        absent: Absent::Default("\"tcp\""),
        environment: None,
        sources: &["rtsp"],
        example: "\"tcp\"",
    },
    Key { sources: &["v4l2"], ..path("device", None, Absent::Mistake, "\"/dev/video0\"") },
    Key {
        name: "audio_device",
        kind: Kind::Text { allowed: "the name of an ALSA device such as \"hw:1,0\"", test: is_line },
        absent: Absent::Nothing,
        environment: None,
        sources: &["v4l2"],
        example: "\"hw:1,0\"",
    },
    Key { absent: Absent::Nothing, sources: &["v4l2", "test"], ..number("width", None, (16, 16384), "pixels", "1920") },
    Key {
        absent: Absent::Nothing,
        sources: &["v4l2", "test"],
        ..number("height", None, (16, 16384), "pixels", "1080")
    },
    Key {
        absent: Absent::Nothing,
        sources: &["v4l2", "test"],
        ..number("framerate", None, (1, 240), "frames per second", "30")
    },
    Key { sources: &["file"], ..path("path", None, Absent::Mistake, "\"/srv/footage.mp4\"") },
    Key {
        name: "audio",
        kind: Kind::Bool,
        absent: Absent::Default("true"),
        environment: None,
        sources: &[],
        example: "true",
    },
    Key {
        name: "armed",
        kind: Kind::Bool,
        absent: Absent::Default("true"),
        environment: None,
        sources: &[],
        example: "true",
    },
    Key {
        name: "encoder",
        kind: Kind::Text { allowed: "\"auto\" or the name of an encoder such as \"x264enc\"", test: is_word },
        absent: Absent::Default("\"auto\""),
        environment: None,
        sources: &[],
        example: "\"auto\"",
    },
    Key {
        name: "codec",
        kind: Kind::Choice(&["h264", "h265"]),
        absent: Absent::Default("\"h264\""),
        environment: None,
        sources: &[],
        example: "\"h264\"",
    },
    number("bitrate_kbps", None, (100, 100_000), "kbit/s", "4000"),
];

/// The tables with single keys, in the order in which they are shown.
pub(crate) const TABLES: &[(&str, &[Key])] =
    &[("storage", STORAGE), ("recording", RECORDING), ("recorder", RECORDER), ("protection", PROTECTION)];

fn is_absolute(text: &str) -> bool {
    text.starts_with('/') && is_line(text)
}

fn is_program(text: &str) -> bool {
    is_line(text) && (text.starts_with('/') || !text.contains('/'))
}

fn is_line(text: &str) -> bool {
    !text.trim().is_empty() && !text.chars().any(char::is_control)
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
}

/// Names stand in paths, unit names and D-Bus object paths.
pub(crate) fn is_input_name(text: &str) -> bool {
    is_word(text) && text.len() <= 32 && text.starts_with(|c: char| c.is_ascii_alphanumeric())
}

fn is_bus(text: &str) -> bool {
    let address = |part: &str| {
        part.split_once(':').is_some_and(|(transport, rest)| {
            !transport.is_empty() && transport.chars().all(|c| c.is_ascii_lowercase() || c == '-') && rest.contains('=')
        })
    };
    matches!(text, "system" | "session") || (is_line(text) && text.split(';').all(address))
}

fn is_cpus(text: &str) -> bool {
    cpus(text).is_some()
}

/// `auto`, `all`, or numbers and ranges of them, separated by commas.
pub(crate) fn cpus(text: &str) -> Option<crate::CaptureCpus> {
    use crate::CaptureCpus;
    let list = |text: &str| -> Option<Vec<u16>> {
        let mut all = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last): (u16, u16) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
            // As many as the kernel's sets have.
            if first > last || last >= 1024 {
                return None;
            }
            all.extend(first..=last);
        }
        all.sort_unstable();
        all.dedup();
        Some(all)
    };
    match text {
        "auto" => Some(CaptureCpus::Auto),
        "all" => Some(CaptureCpus::All),
        _ => list(text).map(CaptureCpus::These),
    }
}

fn is_filesystem(text: &str) -> bool {
    filesystem(text).is_some()
}

pub(crate) fn filesystem(text: &str) -> Option<crate::Filesystem> {
    use crate::Filesystem;
    match text {
        "any" => return Some(Filesystem::Any),
        "mounted" => return Some(Filesystem::Mounted),
        _ => {}
    }
    let (kind, id) = text.split_once([':', '='])?;
    // Names below /dev/disk; a slash would lead out of it.
    if !is_line(id) || id.contains('/') || id.starts_with('.') {
        return None;
    }
    match kind.to_ascii_lowercase().as_str() {
        "uuid" => Some(Filesystem::Uuid(id.to_owned())),
        "label" => Some(Filesystem::Label(id.to_owned())),
        _ => None,
    }
}

/// Checks the form only; a user part is judged elsewhere, because that mistake has a remedy of its own.
fn is_rtsp_url(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("rtsp://").or_else(|| text.strip_prefix("rtsps://")) else {
        return false;
    };
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return false;
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host_port = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (host, port) = if let Some(v6) = host_port.strip_prefix('[') {
        let Some((host, after)) = v6.split_once(']') else {
            return false;
        };
        (host, after.strip_prefix(':').or(if after.is_empty() { None } else { Some("bad") }))
    } else {
        host_port.split_once(':').map_or((host_port, None), |(host, port)| (host, Some(port)))
    };
    !host.is_empty() && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port != 0))
}
