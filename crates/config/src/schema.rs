//! Every key there is: one row each. Reading, checking, the environment and `show` all go by these rows.

use holdfast_settings::texts::{BUS, NAME, is_line, is_word};
use holdfast_settings::{Absent, Key, Takes};

const fn number(name: &'static str, bounds: (u64, u64), what: &'static str, default: &'static str) -> Key {
    Key::with_default(name, Takes::Number { min: bounds.0, max: bounds.1, what }, default)
}

const fn path(name: &'static str, absent: Absent, example: &'static str) -> Key {
    Key::new(name, Takes::Text { allowed: "an absolute path", test: is_absolute }, absent, example)
}

/// `[storage]`
pub(crate) const STORAGE: &[Key] = &[
    path("root", Absent::Mistake, "\"/var/lib/holdfast/recordings\"").or_environment("HOLDFAST_STORAGE_ROOT"),
    Key::with_default(
        "filesystem",
        Takes::Text { allowed: "\"any\", \"mounted\", \"uuid:…\" or \"label:…\"", test: is_filesystem },
        "\"mounted\"",
    )
    .or_environment("HOLDFAST_STORAGE_FILESYSTEM"),
    number("warn_percent", (1, 99), "a whole number of percent", "80").or_environment("HOLDFAST_STORAGE_WARN_PERCENT"),
    number("block_percent", (1, 99), "a whole number of percent", "90")
        .or_environment("HOLDFAST_STORAGE_BLOCK_PERCENT"),
    number("warn_floor_mib", (0, 1_048_576), "a whole number of MiB", "5120")
        .or_environment("HOLDFAST_STORAGE_WARN_FLOOR_MIB"),
    number("start_floor_mib", (0, 1_048_576), "a whole number of MiB", "2048")
        .or_environment("HOLDFAST_STORAGE_START_FLOOR_MIB"),
    number("stop_floor_mib", (0, 1_048_576), "a whole number of MiB", "1024")
        .or_environment("HOLDFAST_STORAGE_STOP_FLOOR_MIB"),
    number("ballast_mib", (0, 4096), "a whole number of MiB", "64").or_environment("HOLDFAST_STORAGE_BALLAST_MIB"),
    number("keep_days", (0, 3650), "a whole number of days", "0").or_environment("HOLDFAST_STORAGE_KEEP_DAYS"),
    number("keep_gib", (0, 1_048_576), "a whole number of GiB", "0").or_environment("HOLDFAST_STORAGE_KEEP_GIB"),
    number("keep_free_percent", (0, 90), "a whole number of percent", "0")
        .or_environment("HOLDFAST_STORAGE_KEEP_FREE_PERCENT"),
    Key::with_default("archive", Takes::Flag, "false"),
];

/// `[recording]`
pub(crate) const RECORDING: &[Key] = &[
    number("rotation_minutes", (1, 1440), "a whole number of minutes", "5").or_environment("HOLDFAST_ROTATION_MINUTES"),
    number("rotation_mib", (16, 65536), "a whole number of MiB", "2048").or_environment("HOLDFAST_ROTATION_MIB"),
    number("sync_interval_ms", (50, 1000), "a whole number of milliseconds", "500")
        .or_environment("HOLDFAST_SYNC_INTERVAL_MS"),
    number("preroll_seconds", (0, 120), "a whole number of seconds", "5").or_environment("HOLDFAST_PREROLL_SECONDS"),
    number("preroll_mib", (0, 1024), "a whole number of MiB", "64").or_environment("HOLDFAST_PREROLL_MIB"),
    number("buffer_mib", (8, 1024), "a whole number of MiB", "32").or_environment("HOLDFAST_BUFFER_MIB"),
];

/// `[recorder]`
pub(crate) const RECORDER: &[Key] = &[
    Key::with_default("bus", BUS, "\"system\"").or_environment("HOLDFAST_BUS"),
    path("runtime_dir", Absent::Default("\"/run/holdfast\""), "\"/run/holdfast\"")
        .or_environment("HOLDFAST_RUNTIME_DIR"),
    path("state_dir", Absent::Default("\"/var/lib/holdfast\""), "\"/var/lib/holdfast\"")
        .or_environment("HOLDFAST_STATE_DIR"),
    Key::with_default("supervisor", Takes::Choice(&["auto", "systemd", "spawn"]), "\"auto\"")
        .or_environment("HOLDFAST_SUPERVISOR"),
    Key::with_default(
        "capture_program",
        Takes::Text { allowed: "the name of a program or an absolute path", test: is_program },
        "\"holdfast-capture\"",
    )
    .or_environment("HOLDFAST_CAPTURE_PROGRAM"),
    path("metrics_file", Absent::Nothing, "\"/var/lib/node_exporter/holdfast.prom\"")
        .or_environment("HOLDFAST_METRICS_FILE"),
    number("metrics_interval_seconds", (1, 3600), "a whole number of seconds", "15")
        .or_environment("HOLDFAST_METRICS_INTERVAL_SECONDS"),
    path("metrics_socket", Absent::Nothing, "\"/run/holdfast/metrics.sock\"").or_environment("HOLDFAST_METRICS_SOCKET"),
];

/// `[protection]`
pub(crate) const PROTECTION: &[Key] = &[
    Key::with_default(
        "capture_cpus",
        Takes::Text { allowed: "\"auto\", \"all\" or a list of CPUs such as \"1-3,5\"", test: is_cpus },
        "\"auto\"",
    )
    .or_environment("HOLDFAST_CAPTURE_CPUS"),
    number("memory_alert_mib", (16, 1_048_576), "a whole number of MiB", "1024")
        .or_environment("HOLDFAST_MEMORY_ALERT_MIB"),
    number("cpu_alert_percent", (1, 6400), "a whole number of percent", "150")
        .or_environment("HOLDFAST_CPU_ALERT_PERCENT"),
    Key::with_default("resume", Takes::Choice(&["always", "ask", "never"]), "\"always\"")
        .or_environment("HOLDFAST_RESUME"),
    number("resume_within_hours", (1, 8760), "a whole number of hours", "24")
        .or_environment("HOLDFAST_RESUME_WITHIN_HOURS"),
    number("lease_grace_seconds", (0, 3600), "a whole number of seconds", "10")
        .or_environment("HOLDFAST_LEASE_GRACE_SECONDS"),
];

/// `[[input]]`
pub(crate) const INPUT: &[Key] = &[
    Key::new("name", NAME, Absent::Mistake, "\"cam0\""),
    Key::new("source", Takes::Choice(&["rtsp", "v4l2", "test", "file"]), Absent::Mistake, "\"rtsp\""),
    Key::new(
        "url",
        Takes::Text { allowed: "rtsp://host[:port]/path or rtsps://…", test: is_rtsp_url },
        Absent::Mistake,
        "\"rtsp://192.168.1.20/stream1\"",
    )
    .only_for(&["rtsp"]),
    path("credentials_file", Absent::Nothing, "\"/etc/holdfast/cam0.credentials\"").only_for(&["rtsp"]),
    Key::with_default("transport", Takes::Choice(&["tcp", "udp"]), "\"tcp\"").only_for(&["rtsp"]),
    path("device", Absent::Mistake, "\"/dev/video0\"").only_for(&["v4l2"]),
    Key::new(
        "audio_device",
        Takes::Text { allowed: "the name of an ALSA device such as \"hw:1,0\"", test: is_line },
        Absent::Nothing,
        "\"hw:1,0\"",
    )
    .only_for(&["v4l2"]),
    Key { absent: Absent::Nothing, ..number("width", (16, 16384), "a whole number of pixels", "1920") }
        .only_for(&["v4l2", "test"]),
    Key { absent: Absent::Nothing, ..number("height", (16, 16384), "a whole number of pixels", "1080") }
        .only_for(&["v4l2", "test"]),
    Key { absent: Absent::Nothing, ..number("framerate", (1, 240), "a whole number of frames per second", "30") }
        .only_for(&["v4l2", "test"]),
    path("path", Absent::Mistake, "\"/srv/footage.mp4\"").only_for(&["file"]),
    Key::with_default("audio", Takes::Flag, "true"),
    Key::with_default("armed", Takes::Flag, "true"),
    Key::with_default(
        "encoder",
        Takes::Text { allowed: "\"auto\" or the name of an encoder such as \"x264enc\"", test: is_word },
        "\"auto\"",
    ),
    Key::with_default("codec", Takes::Choice(&["h264", "h265"]), "\"h264\""),
    number("bitrate_kbps", (100, 100_000), "a whole number of kbit/s", "4000"),
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
