//! Builds the [`Config`] from the tree, and checks what one row of the schema can't: what must fit together.

use std::path::PathBuf;
use std::time::Duration;

use holdfast_settings::texts::nearest;
use holdfast_settings::{Entry, Mistake, Origin, Picked, Reader, Scope, Source, Table, Value, is_secret_key};

use crate::schema::{INPUT, PROTECTION, RECORDER, RECORDING, STORAGE, TABLES, cpus};
use crate::types;

mod inputs;
mod storage;

const MIB: u64 = 1024 * 1024;

pub(crate) fn build(tree: &Table, sources: &[Source]) -> (Option<types::Config>, Vec<Entry>, Vec<Mistake>) {
    let mut reader = Reader::new(sources);
    top_level(&mut reader, tree);
    let scope = |name, header, keys| Scope::new(name, header, tree.get(name), keys);
    let storage = storage::build(&mut reader, &scope("storage", "[storage]", STORAGE));
    let recording = recording(&mut reader, &scope("recording", "[recording]", RECORDING));
    let (recorder, runtime_dir) = recorder(&mut reader, &scope("recorder", "[recorder]", RECORDER)).unzip();
    let protection = protection(&mut reader, &scope("protection", "[protection]", PROTECTION));
    let inputs = inputs::build(&mut reader, tree, runtime_dir.as_ref());
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

/// Notes what no row knows, and where it belongs.
fn unknown(reader: &mut Reader<'_>, scope: &Scope<'_>) {
    reader.unknown(scope, &[], |name| elsewhere(scope, name));
}

fn elsewhere(scope: &Scope<'_>, name: &str) -> Option<String> {
    if scope.index.is_some() && (is_secret_key(name) || matches!(name, "user" | "username")) {
        let remedy = "write user and password into a file of two lines that only the service may read (chmod 640) and name it \
                      here: credentials_file = \"/etc/holdfast/cam0.credentials\"";
        return Some(remedy.to_owned());
    }
    match home(name)? {
        "input" => Some(format!("{name} belongs into an [[input]]")),
        table => Some(format!("{name} belongs into [{table}]")),
    }
}

/// The table that has this key.
fn home(name: &str) -> Option<&'static str> {
    let mut tables = TABLES.iter().chain([&("input", INPUT)]);
    tables.find(|(_, keys)| keys.iter().any(|key| key.name == name)).map(|(table, _)| *table)
}

/// Only known tables, and each of the right kind.
fn top_level(reader: &mut Reader<'_>, tree: &Table) {
    let root = Scope::top(tree);
    for (name, node) in tree {
        let known = TABLES.iter().any(|(table, _)| table == name);
        match (&node.value, known, name.as_str()) {
            (Value::Table(_), true, _) | (Value::Array(_), _, "input") => {}
            (_, true, _) => {
                let mut mistake = reader.mistake_at_key(&root, name, &node.origin);
                mistake.problem = format!("{name} is {}, not a table", node.value.kind());
                mistake.remedy = format!("write a header on a line of its own: [{name}]");
                reader.mistakes.push(mistake);
            }
            (_, _, "input") => {
                let mut mistake = reader.mistake_at_key(&root, name, &node.origin);
                mistake.problem = format!("input is {}, not a list of tables", node.value.kind());
                mistake.remedy = "each input begins with a header in double brackets: [[input]]".to_owned();
                reader.mistakes.push(mistake);
            }
            (value, _, _) => {
                let tables = TABLES.iter().map(|(table, _)| *table).chain(["input"]);
                let is_table = matches!(value, Value::Table(_) | Value::Array(_));
                let mut mistake = reader.mistake_at_key(&root, name, &node.origin);
                mistake.problem = format!("unknown {} {name}", if is_table { "table" } else { "key" });
                mistake.allowed = Some("[storage], [recording], [recorder], [protection], [[input]]".to_owned());
                mistake.remedy = match (nearest(name, tables), home(name)) {
                    (Some("input"), _) if is_table => "did you mean [[input]]?".to_owned(),
                    (Some(near), _) if is_table => format!("did you mean [{near}]?"),
                    (_, Some("input")) => format!("{name} belongs into an [[input]]"),
                    (_, Some(table)) => format!("{name} belongs into [{table}]; put it below that header"),
                    _ => "remove it".to_owned(),
                };
                reader.mistakes.push(mistake);
            }
        }
    }
}

fn recording(reader: &mut Reader<'_>, scope: &Scope<'_>) -> Option<types::Recording> {
    let rotation_minutes = reader.number::<u64>(scope, "rotation_minutes");
    let rotation_mib = reader.number::<u64>(scope, "rotation_mib");
    let sync_interval_ms = reader.number(scope, "sync_interval_ms");
    let preroll_seconds = reader.number(scope, "preroll_seconds");
    let preroll_mib = reader.number::<u64>(scope, "preroll_mib");
    let buffer_mib = reader.number::<u64>(scope, "buffer_mib");
    unknown(reader, scope);
    Some(types::Recording {
        rotation: Duration::from_secs(rotation_minutes?.value * 60),
        rotation_bytes: rotation_mib?.value * MIB,
        sync_interval: Duration::from_millis(sync_interval_ms?.value),
        preroll: Duration::from_secs(preroll_seconds?.value),
        preroll_bytes: preroll_mib?.value * MIB,
        buffer_bytes: buffer_mib?.value * MIB,
    })
}

fn recorder(reader: &mut Reader<'_>, scope: &Scope<'_>) -> Option<(types::Recorder, Picked<String>)> {
    let bus = reader.text(scope, "bus");
    let runtime_dir = reader.text(scope, "runtime_dir");
    let state_dir = reader.text(scope, "state_dir");
    let supervisor = reader.text(scope, "supervisor");
    let capture_program = reader.text(scope, "capture_program");
    let metrics_file = reader.text(scope, "metrics_file");
    let metrics_interval = reader.number(scope, "metrics_interval_seconds");
    let metrics_socket = reader.text(scope, "metrics_socket");
    unknown(reader, scope);
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

fn protection(reader: &mut Reader<'_>, scope: &Scope<'_>) -> Option<types::Protection> {
    let capture_cpus = reader.text(scope, "capture_cpus");
    let memory_alert_mib = reader.number(scope, "memory_alert_mib");
    let cpu_alert_percent = reader.number(scope, "cpu_alert_percent");
    let resume = reader.text(scope, "resume");
    let resume_within_hours = reader.number::<u64>(scope, "resume_within_hours");
    let lease_grace = reader.number(scope, "lease_grace_seconds");
    unknown(reader, scope);
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

/// What a source line can't show.
fn set_elsewhere(origin: &Origin) -> String {
    match origin {
        Origin::File { .. } => String::new(),
        Origin::Default => " (the default)".to_owned(),
        Origin::Environment(variable) => format!(" (from {variable})"),
    }
}
