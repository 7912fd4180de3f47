//! What the capture program finds out about encoders: it knows GStreamer, this program does not.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use holdfast_config::{Config, Source};
use serde_json::Value;
use tokio::process::Command;

use super::{Check, Level};

/// Probes run every encoder for a moment, each in a child with a deadline of its own.
const DEADLINE: Duration = Duration::from_secs(120);

pub async fn check(config: &Config) -> Vec<Check> {
    let Some(program) = find(&config.recorder.capture_program) else {
        return vec![Check::new(
            "encoders",
            Level::Fail,
            format!(
                "the capture program {} is not found",
                config.recorder.capture_program.display()
            ),
            "install it beside this program or in PATH, or set recorder.capture_program to where it is",
        )];
    };
    let mut command = Command::new(&program);
    command
        .args(["probe-encoders", "--json"])
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let fail = |message: String, remedy: &str| vec![Check::new("encoders", Level::Fail, message, remedy)];
    let output = match tokio::time::timeout(DEADLINE, command.output()).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => {
            return fail(
                format!("{} can't be run: {error}", program.display()),
                "check the file and its permissions",
            );
        }
        Err(_) => {
            return fail(
                format!(
                    "{} probe-encoders did not end within {} s",
                    program.display(),
                    DEADLINE.as_secs()
                ),
                "an encoder's driver hangs: look at dmesg, and name a working encoder in the configuration",
            );
        }
    };
    let said = String::from_utf8_lossy(&output.stderr);
    let Ok(report) = serde_json::from_slice::<Value>(&output.stdout) else {
        let last = said
            .lines()
            .rev()
            .find(|line| !line.trim().is_empty())
            .unwrap_or("nothing")
            .trim();
        return fail(
            format!("{} probe-encoders failed and said: {last}", program.display()),
            "install GStreamer and its plugins: gstreamer1.0-plugins-base, -good, -bad and -ugly, gstreamer1.0-libav",
        );
    };
    judge(config, &program, &rows(&report))
}

/// An encoder and whether it works here.
struct Row {
    name: String,
    works: bool,
    why: String,
}

/// A list of objects, or an object that holds one; each with a name and a verdict.
fn rows(report: &Value) -> Vec<Row> {
    let list = report
        .as_array()
        .or_else(|| report.as_object()?.values().find_map(Value::as_array));
    let text = |row: &Value, names: &[&str]| {
        names
            .iter()
            .find_map(|name| row.get(name)?.as_str())
            .unwrap_or_default()
            .to_owned()
    };
    let works = |row: &Value| {
        ["works", "ok", "usable", "available"]
            .iter()
            .find_map(|name| row.get(name)?.as_bool())
            .unwrap_or(false)
    };
    let row = |row: &Value| Row {
        name: text(row, &["name", "encoder", "element"]),
        works: works(row),
        why: text(row, &["reason", "why", "error", "message", "detail"]),
    };
    list.map(|list| list.iter().map(row).collect()).unwrap_or_default()
}

fn judge(config: &Config, program: &Path, rows: &[Row]) -> Vec<Check> {
    let working: Vec<&str> = rows
        .iter()
        .filter(|row| row.works)
        .map(|row| row.name.as_str())
        .collect();
    // A camera that encodes by itself needs no encoder here.
    let needing = || {
        config
            .inputs
            .iter()
            .filter(|input| !matches!(input.source, Source::Rtsp { .. }))
    };
    let mut checks = Vec::new();
    for input in needing() {
        let Some(name) = &input.encoding.encoder else { continue };
        if !working.contains(&name.as_str()) {
            let why = rows
                .iter()
                .find(|row| row.name == *name)
                .map_or("it is not in the table", |row| row.why.as_str());
            checks.push(Check::new(
                "encoders",
                Level::Fail,
                format!("input {}: encoder {name} does not work here: {why}", input.name),
                format!("use encoder = \"auto\", or one of: {}", working.join(", ")),
            ));
        }
    }
    if working.is_empty() {
        let level = if needing().next().is_some() {
            Level::Fail
        } else {
            Level::Warning
        };
        checks.push(Check::new(
            "encoders",
            level,
            "no encoder works on this box",
            "install one: gstreamer1.0-plugins-ugly has x264enc; for hardware see the vendor's GStreamer plugins",
        ));
    } else if checks.is_empty() {
        checks.push(Check::ok(
            "encoders",
            format!("{} ({})", working.join(", "), program.display()),
        ));
    }
    checks
}

/// A name without a slash is looked for beside this program, then in `PATH`.
fn find(program: &Path) -> Option<PathBuf> {
    if program.is_absolute() {
        return program.is_file().then(|| program.to_owned());
    }
    let beside = std::env::current_exe()
        .ok()
        .and_then(|exe| Some(exe.parent()?.join(program)));
    let path = std::env::var_os("PATH").unwrap_or_default();
    beside
        .into_iter()
        .chain(std::env::split_paths(&path).map(|dir| dir.join(program)))
        .find(|path| path.is_file())
}
