//! Builds the [`Config`] from the tree, and checks what one row of the schema can't: what must fit together.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::error::Mistake;
use crate::reader::{Entry, Picked, Reader, Scope, nearest};
use crate::schema::{INPUT, Key, TABLES, cpus, is_input_name};
use crate::source::{Origin, Source, Span};
use crate::tree::{Node, Table, Value, input_name};
use crate::types;

mod storage;

/// The longest path a Unix socket may have on Linux.
const SOCKET_PATH_MAX: usize = 107;
const MIB: u64 = 1024 * 1024;

pub(crate) fn build(tree: &Table, sources: &[Source]) -> (Option<types::Config>, Vec<Entry>, Vec<Mistake>) {
    let mut reader = Reader { sources, mistakes: Vec::new(), entries: Vec::new() };
    top_level(&mut reader, tree);
    let storage = storage::build(&mut reader, scope(tree, 0));
    let recording = recording(&mut reader, scope(tree, 1));
    let (recorder, runtime_dir) = recorder(&mut reader, scope(tree, 2)).unzip();
    let protection = protection(&mut reader, scope(tree, 3));
    let inputs = inputs(&mut reader, tree, runtime_dir.as_ref());
    let config = (|| {
        Some(types::Config {
            storage: storage?,
            recording: recording?,
            recorder: recorder?,
            protection: protection?,
            inputs: inputs?,
        })
    })();
    (config, reader.entries, reader.mistakes)
}

fn scope(tree: &Table, index: usize) -> Scope<'_> {
    let (name, keys): (&'static str, &'static [Key]) = TABLES[index];
    let node = tree.get(name);
    let values = node.and_then(|node| match &node.value {
        Value::Table(table) => Some(table),
        _ => None,
    });
    Scope { path: name, table: name, input: None, values, origin: node.map(|node| &node.origin), keys }
}

/// Only known tables, and each of the right kind.
fn top_level(reader: &mut Reader<'_>, tree: &Table) {
    let root = Scope { path: "", table: "", input: None, values: Some(tree), origin: None, keys: &[] };
    for (name, node) in tree {
        let known = TABLES.iter().any(|(table, _)| table == name);
        match (&node.value, known, name.as_str()) {
            (Value::Table(_), true, _) | (Value::Array(_), _, "input") => {}
            (_, true, _) => {
                let mut mistake = reader.at_key(root, name, &node.origin);
                mistake.problem = format!("{name} is {}, not a table", node.value.kind());
                mistake.remedy = format!("write a header on a line of its own: [{name}]");
                reader.mistakes.push(mistake);
            }
            (_, _, "input") => {
                let mut mistake = reader.at_key(root, name, &node.origin);
                mistake.problem = format!("input is {}, not a list of tables", node.value.kind());
                mistake.remedy = "each input begins with a header in double brackets: [[input]]".to_owned();
                reader.mistakes.push(mistake);
            }
            (value, _, _) => {
                let tables = TABLES.iter().map(|(table, _)| *table).chain(["input"]);
                let home =
                    TABLES.iter().chain([&("input", INPUT)]).find(|(_, keys)| keys.iter().any(|key| key.name == name));
                let is_table = matches!(value, Value::Table(_) | Value::Array(_));
                let mut mistake = reader.at_key(root, name, &node.origin);
                mistake.problem = format!("unknown {} {name}", if is_table { "table" } else { "key" });
                mistake.allowed = Some("[storage], [recording], [recorder], [protection], [[input]]".to_owned());
                mistake.remedy = match (nearest(name, tables), home) {
                    (Some("input"), _) if is_table => "did you mean [[input]]?".to_owned(),
                    (Some(near), _) if is_table => format!("did you mean [{near}]?"),
                    (_, Some(("input", _))) => format!("{name} belongs into an [[input]]"),
                    (_, Some((table, _))) => format!("{name} belongs into [{table}]; put it below that header"),
                    _ => "remove it".to_owned(),
                };
                reader.mistakes.push(mistake);
            }
        }
    }
}

fn recording(reader: &mut Reader<'_>, scope: Scope<'_>) -> Option<types::Recording> {
    let rotation_minutes = reader.number(scope, "rotation_minutes");
    let rotation_mib = reader.number(scope, "rotation_mib");
    let sync_interval_ms = reader.number(scope, "sync_interval_ms");
    let preroll_seconds = reader.number(scope, "preroll_seconds");
    let preroll_mib = reader.number(scope, "preroll_mib");
    let buffer_mib = reader.number(scope, "buffer_mib");
    reader.unknown_keys(scope, None);
    Some(types::Recording {
        rotation: Duration::from_secs(rotation_minutes?.value * 60),
        rotation_bytes: rotation_mib?.value * MIB,
        sync_interval: Duration::from_millis(sync_interval_ms?.value),
        preroll: Duration::from_secs(preroll_seconds?.value),
        preroll_bytes: preroll_mib?.value * MIB,
        buffer_bytes: buffer_mib?.value * MIB,
    })
}

fn recorder(reader: &mut Reader<'_>, scope: Scope<'_>) -> Option<(types::Recorder, Picked<String>)> {
    let bus = reader.text(scope, "bus");
    let runtime_dir = reader.text(scope, "runtime_dir");
    let state_dir = reader.text(scope, "state_dir");
    let supervisor = reader.text(scope, "supervisor");
    let capture_program = reader.text(scope, "capture_program");
    let metrics_file = reader.text(scope, "metrics_file");
    let metrics_interval = reader.number(scope, "metrics_interval_seconds");
    let metrics_socket = reader.text(scope, "metrics_socket");
    reader.unknown_keys(scope, None);
    let runtime_dir = runtime_dir?;
    let recorder = types::Recorder {
        bus: match bus?.value.as_str() {
            "system" => types::Bus::System,
            "session" => types::Bus::Session,
            address => types::Bus::Address(address.to_owned()),
        },
        runtime_dir: PathBuf::from(&runtime_dir.value),
        state_dir: PathBuf::from(state_dir?.value),
        supervisor: match supervisor?.value.as_str() {
            "systemd" => types::Supervisor::Systemd,
            "spawn" => types::Supervisor::Spawn,
            _ => types::Supervisor::Auto,
        },
        capture_program: PathBuf::from(capture_program?.value),
        metrics_file: metrics_file.map(|path| PathBuf::from(path.value)),
        metrics_interval: Duration::from_secs(metrics_interval?.value),
        metrics_socket: metrics_socket
            .map_or_else(|| PathBuf::from(&runtime_dir.value).join("metrics.sock"), |path| PathBuf::from(path.value)),
    };
    Some((recorder, runtime_dir))
}

fn protection(reader: &mut Reader<'_>, scope: Scope<'_>) -> Option<types::Protection> {
    let capture_cpus = reader.text(scope, "capture_cpus");
    let memory_alert_mib = reader.number(scope, "memory_alert_mib");
    let cpu_alert_percent = reader.number(scope, "cpu_alert_percent");
    let resume = reader.text(scope, "resume");
    let resume_within_hours = reader.number(scope, "resume_within_hours");
    let lease_grace = reader.number(scope, "lease_grace_seconds");
    reader.unknown_keys(scope, None);
    Some(types::Protection {
        capture_cpus: cpus(&capture_cpus?.value)?,
        memory_alert_mib: memory_alert_mib?.value,
        cpu_alert_percent: cpu_alert_percent?.value,
        resume: match resume?.value.as_str() {
            "ask" => types::Resume::Ask,
            "never" => types::Resume::Never,
            _ => types::Resume::Always,
        },
        resume_within: Duration::from_secs(resume_within_hours?.value * 3600),
        lease_grace: Duration::from_secs(lease_grace?.value),
    })
}

fn inputs(reader: &mut Reader<'_>, tree: &Table, runtime_dir: Option<&Picked<String>>) -> Option<Vec<types::Input>> {
    let Some(Node { value: Value::Array(nodes), .. }) = tree.get("input") else {
        return if tree.contains_key("input") { None } else { Some(Vec::new()) };
    };
    let mut seen: BTreeMap<String, Origin> = BTreeMap::new();
    let mut devices: BTreeMap<String, (String, Origin)> = BTreeMap::new();
    let mut inputs = Vec::with_capacity(nodes.len());
    for (index, node) in nodes.iter().enumerate() {
        let path = input_name(node)
            .filter(|name| is_input_name(name))
            .map_or_else(|| format!("input[{}]", index + 1), |name| format!("input.{name}"));
        let Value::Table(values) = &node.value else {
            let scope = Scope { path: "", table: "input", input: Some(index), values: None, origin: None, keys: INPUT };
            let mut mistake = reader.mistake(scope, &path, &node.origin);
            mistake.problem = format!("{path} is {}, not a table", node.value.kind());
            mistake.remedy = "each input begins with a header in double brackets: [[input]]".to_owned();
            reader.mistakes.push(mistake);
            continue;
        };
        let scope = Scope {
            path: &path,
            table: "input",
            input: Some(index),
            values: Some(values),
            origin: Some(&node.origin),
            keys: INPUT,
        };
        let name = reader.text(scope, "name");
        if let Some(name) = &name {
            unique_name(reader, scope, name, &mut seen);
            if let Some(runtime_dir) = runtime_dir {
                socket_fits(reader, scope, &name.value, runtime_dir);
            }
        }
        inputs.push(input(reader, scope, name, &mut devices));
    }
    inputs.into_iter().collect()
}

fn input(
    reader: &mut Reader<'_>,
    scope: Scope<'_>,
    name: Option<Picked<String>>,
    devices: &mut BTreeMap<String, (String, Origin)>,
) -> Option<types::Input> {
    let kind = reader.text(scope, "source");
    let source = kind.as_ref().and_then(|kind| match kind.value.as_str() {
        "rtsp" => rtsp(reader, scope),
        "v4l2" => v4l2(reader, scope, devices),
        "test" => Some(types::Source::Test { picture: picture(reader, scope) }),
        _ => reader.text(scope, "path").map(|path| types::Source::File { path: PathBuf::from(path.value) }),
    });
    let audio = reader.flag(scope, "audio");
    let armed = reader.flag(scope, "armed");
    let encoder = reader.text(scope, "encoder");
    let codec = reader.text(scope, "codec");
    let bitrate_kbps = reader.number(scope, "bitrate_kbps");
    reader.unknown_keys(scope, kind.as_ref().map(|kind| kind.value.as_str()));
    Some(types::Input {
        name: name?.value,
        source: source?,
        audio: audio?.value,
        armed: armed?.value,
        encoding: types::Encoding {
            encoder: Some(encoder?.value).filter(|encoder| encoder != "auto"),
            codec: if codec?.value == "h265" { types::Codec::H265 } else { types::Codec::H264 },
            bitrate_kbps: u32::try_from(bitrate_kbps?.value).ok()?,
        },
    })
}

fn rtsp(reader: &mut Reader<'_>, scope: Scope<'_>) -> Option<types::Source> {
    let url = match scope.values.and_then(|values| values.get("url")) {
        Some(Node { value: Value::Text(url), origin }) if has_user(url) => {
            url_with_user(reader, scope, origin);
            None
        }
        _ => reader.text(scope, "url"),
    };
    let credentials_file = reader.text(scope, "credentials_file");
    let transport = reader.text(scope, "transport");
    Some(types::Source::Rtsp {
        url: url?.value,
        credentials_file: credentials_file.map(|path| PathBuf::from(path.value)),
        transport: if transport?.value == "udp" { types::RtspTransport::Udp } else { types::RtspTransport::Tcp },
    })
}

fn v4l2(
    reader: &mut Reader<'_>,
    scope: Scope<'_>,
    devices: &mut BTreeMap<String, (String, Origin)>,
) -> Option<types::Source> {
    let device = reader.text(scope, "device");
    let audio_device = reader.text(scope, "audio_device");
    let picture = picture(reader, scope);
    let device = device?;
    if let Some((owner, first)) = devices.get(&device.value) {
        let mut mistake = reader.mistake(scope, "device", &device.origin);
        mistake.problem = format!("{} is the device of {owner} already", device.value);
        mistake.allowed = Some("a device that no other input uses".to_owned());
        mistake.remedy = "a device gives its pictures to one program only; remove one of the two inputs".to_owned();
        mistake.related = span(first).map(|span| (span, format!("used by {owner}")));
        reader.mistakes.push(mistake);
    } else {
        devices.insert(device.value.clone(), (scope.path.to_owned(), device.origin));
    }
    let audio_device = audio_device.map(|device| device.value);
    Some(types::Source::V4l2 { device: PathBuf::from(device.value), audio_device, picture })
}

fn picture(reader: &mut Reader<'_>, scope: Scope<'_>) -> types::Picture {
    let mut number = |name| reader.number(scope, name).and_then(|picked| u32::try_from(picked.value).ok());
    types::Picture { width: number("width"), height: number("height"), framerate: number("framerate") }
}

/// A user part as the standard has it, or a password with a slash in it, which makes the URL invalid as well.
fn has_user(url: &str) -> bool {
    let Some((_, rest)) = url.split_once("://") else {
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let port_is_number = authority.rsplit_once(':').is_none_or(|(_, port)| port.chars().all(|c| c.is_ascii_digit()));
    authority.contains('@') || (rest.contains('@') && !authority.starts_with('[') && !port_is_number)
}

fn url_with_user(reader: &mut Reader<'_>, scope: Scope<'_>, origin: &Origin) {
    let mut mistake = reader.mistake(scope, "url", origin);
    mistake.problem = format!("{}.url has a user or password in it", scope.path);
    mistake.allowed = Some("rtsp://host[:port]/path".to_owned());
    mistake.remedy =
        "this file may be read by all: write user and password into a file of two lines that only the service \
                      may read (chmod 640), and name it: credentials_file = \"/etc/holdfast/cam0.credentials\""
            .to_owned();
    reader.mistakes.push(mistake);
}

fn unique_name(reader: &mut Reader<'_>, scope: Scope<'_>, name: &Picked<String>, seen: &mut BTreeMap<String, Origin>) {
    if let Some(first) = seen.get(&name.value) {
        let mut mistake = reader.mistake(scope, "name", &name.origin);
        mistake.problem = format!("two inputs have the name \"{}\"", name.value);
        mistake.allowed = Some("a name of its own for each input".to_owned());
        mistake.remedy = "footage is filed by the input's name; rename one of them".to_owned();
        mistake.related = span(first).map(|span| (span, "first used here".to_owned()));
        reader.mistakes.push(mistake);
    } else {
        seen.insert(name.value.clone(), name.origin.clone());
    }
}

fn socket_fits(reader: &mut Reader<'_>, scope: Scope<'_>, name: &str, runtime_dir: &Picked<String>) {
    let length = runtime_dir.value.len() + "/capture/".len() + name.len() + ".sock".len();
    let told = reader.mistakes.iter().any(|mistake| mistake.key == "recorder.runtime_dir");
    if length <= SOCKET_PATH_MAX || told {
        return;
    }
    let recorder = Scope { path: "recorder", table: "recorder", ..scope };
    let mut mistake = reader.mistake(recorder, "runtime_dir", &runtime_dir.origin);
    mistake.problem = format!(
        "recorder.runtime_dir makes the socket of input {name} {length} bytes long; Linux allows {SOCKET_PATH_MAX}"
    );
    mistake.allowed = Some(format!("at most {} bytes", SOCKET_PATH_MAX - (length - runtime_dir.value.len())));
    mistake.remedy = "use a shorter path such as /run/holdfast".to_owned();
    reader.mistakes.push(mistake);
}

/// What a source line can't show.
fn set_elsewhere(origin: &Origin) -> String {
    match origin {
        Origin::File { .. } => String::new(),
        Origin::Default => " (the default)".to_owned(),
        Origin::Environment(variable) => format!(" (from {variable})"),
    }
}

fn span(origin: &Origin) -> Option<Span> {
    match origin {
        Origin::File { value, .. } => Some(value.clone()),
        _ => None,
    }
}
