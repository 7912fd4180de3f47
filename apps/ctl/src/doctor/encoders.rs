//! What the capture program finds out about encoders: it knows GStreamer, this program does not.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use holdfast_config::{Config, Source};
use serde::Deserialize;
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
    let Ok(rows) = serde_json::from_slice::<Vec<Row>>(&output.stdout) else {
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
    judge(config, &program, &rows)
}

/// An encoder of the capture program's table, and whether it works here.
#[derive(Debug, Deserialize)]
struct Row {
    encoder: String,
    codec: Codec,
    works: bool,
    installed: bool,
    evidence: Option<Evidence>,
    package: String,
}

#[derive(Debug, Deserialize)]
struct Evidence {
    error: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum Codec {
    H264,
    H265,
    #[serde(other)]
    Other,
}

impl Row {
    fn why(&self) -> String {
        match (
            self.installed,
            self.evidence.as_ref().and_then(|evidence| evidence.error.as_deref()),
        ) {
            (false, _) => format!("it is not installed; it comes with {}", self.package),
            (true, Some(error)) => error.to_owned(),
            (true, None) => "too few pictures came back".to_owned(),
        }
    }
}

fn judge(config: &Config, program: &Path, rows: &[Row]) -> Vec<Check> {
    let names = |rows: &mut dyn Iterator<Item = &Row>| {
        let names: Vec<&str> = rows.map(|row| row.encoder.as_str()).collect();
        if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ")
        }
    };
    let working = names(&mut rows.iter().filter(|row| row.works));
    let mut checks = Vec::new();
    // A camera that encodes by itself needs no encoder here.
    for input in config
        .inputs
        .iter()
        .filter(|input| !matches!(input.source, Source::Rtsp { .. }))
    {
        let (name, wanted) = (&input.name, input.encoding.codec);
        let problem = match &input.encoding.encoder {
            Some(encoder) => match rows.iter().find(|row| row.encoder == *encoder) {
                Some(row) if row.works => continue,
                Some(row) => (
                    format!("encoder {encoder} does not work here: {}", row.why()),
                    format!("use encoder = \"auto\"; working: {working}"),
                ),
                None => (
                    format!("there is no encoder {encoder}"),
                    format!("use encoder = \"auto\", or one of: {}", names(&mut rows.iter())),
                ),
            },
            None => {
                let (codec, text) = match wanted {
                    holdfast_config::Codec::H264 => (Codec::H264, "H.264"),
                    holdfast_config::Codec::H265 => (Codec::H265, "H.265"),
                };
                let fitting = || rows.iter().filter(move |row| row.codec == codec);
                if fitting().any(|row| row.works) {
                    continue;
                }
                let packages: BTreeSet<&str> = fitting()
                    .filter(|row| !row.installed)
                    .map(|row| row.package.as_str())
                    .collect();
                let packages: Vec<&str> = packages.into_iter().collect();
                (
                    format!("no encoder for {text} works here"),
                    format!(
                        "install one ({}), or choose another codec; working: {working}",
                        packages.join(", ")
                    ),
                )
            }
        };
        checks.push(Check::new(
            "encoders",
            Level::Fail,
            format!("{name}: {}", problem.0),
            problem.1,
        ));
    }
    if checks.is_empty() {
        checks.push(Check::ok(
            "encoders",
            format!("working: {working} ({})", program.display()),
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
