//! What the capture program finds out about GStreamer, which this program does not know.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use holdfast_config::{Config, Input, Source};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::process::Command;

use super::{Check, Level};
use crate::args::Global;

/// Probes run every encoder for a moment, each in a child with a deadline of its own.
const DEADLINE: Duration = Duration::from_secs(120);

/// Are the elements there that the inputs need, and does an encoder work?
pub async fn check(config: &Config, global: &Global) -> Vec<Check> {
    let Some(program) = find(&config.recorder.capture_program) else {
        return vec![Check::new(
            "encoders",
            Level::Fail,
            format!("the capture program {} is not found", config.recorder.capture_program.display()),
            "install it beside this program or in PATH, or set recorder.capture_program to where it is",
        )];
    };
    let path = global.config.display().to_string();
    let mut checks = match ask(&program, &["--config", &path, "probe-elements", "--json"]).await {
        Ok(needs) => elements(needs),
        Err(problem) => vec![problem.told_as("elements")],
    };
    for (job, inputs) in jobs(config) {
        let options: Vec<&str> = job.iter().map(String::as_str).collect();
        match ask(&program, &[&["probe-encoders", "--json"], &options[..]].concat()).await {
            Ok(rows) => checks.extend(judge(&inputs, &program, &rows)),
            Err(problem) => checks.push(problem.told_as("encoders")),
        }
    }
    checks
}

/// What encoders have to do here, as options of the capture program, and for which inputs: one may be fast enough for small pictures
/// only. Where nothing is to be encoded, what works for the program's own pictures is told.
fn jobs(config: &Config) -> BTreeMap<Vec<String>, Vec<&Input>> {
    let mut jobs: BTreeMap<Vec<String>, Vec<&Input>> = BTreeMap::new();
    for input in &config.inputs {
        // What a camera or a file has encoded is taken as it is.
        let (Source::V4l2 { picture, .. } | Source::Test { picture }) = &input.source else { continue };
        let wanted = [
            ("--width", picture.width),
            ("--height", picture.height),
            ("--framerate", picture.framerate),
            ("--bitrate-kbps", Some(input.encoding.bitrate_kbps)),
        ];
        let set = wanted.into_iter().filter_map(|(option, value)| Some([option.to_owned(), value?.to_string()]));
        jobs.entry(set.flatten().collect()).or_default().push(input);
    }
    if jobs.is_empty() {
        jobs.insert(Vec::new(), Vec::new());
    }
    jobs
}

/// What kept the capture program from answering, and the remedy.
struct Problem(String, &'static str);

impl Problem {
    fn told_as(self, name: &'static str) -> Check {
        Check::new(name, Level::Fail, self.0, self.1)
    }
}

async fn ask<T: DeserializeOwned>(program: &Path, arguments: &[&str]) -> Result<Vec<T>, Problem> {
    let asked = format!("{} {}", program.display(), arguments.join(" "));
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let output = match tokio::time::timeout(DEADLINE, command.output()).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => {
            return Err(Problem(
                format!("{} can't be run: {error}", program.display()),
                "check the file and its permissions",
            ));
        }
        Err(_) => {
            return Err(Problem(
                format!("{asked} did not end within {} s", DEADLINE.as_secs()),
                "an encoder's driver hangs: look at dmesg, and name a working encoder in the configuration",
            ));
        }
    };
    serde_json::from_slice(&output.stdout).map_err(|_| {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().rev().find(|line| !line.trim().is_empty());
        Problem(
            format!("{asked} failed and said: {}", last.unwrap_or("nothing").trim()),
            "install GStreamer and its plugins: gstreamer1.0-plugins-base, -good, -bad and -ugly, gstreamer1.0-libav",
        )
    })
}

/// What an input lacks.
#[derive(Debug, Deserialize)]
struct Needs {
    input: String,
    missing: Vec<Missing>,
}

#[derive(Debug, Deserialize)]
struct Missing {
    element: String,
    package: String,
    #[serde(default)]
    costs: Costs,
}

/// What there is not without an element.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Costs {
    Sound,
    #[default]
    #[serde(other)]
    Recording,
}

/// One finding for each input that lacks something it does not record without, and one where it is only the sound.
fn elements(needs: Vec<Needs>) -> Vec<Check> {
    let mut checks = Vec::new();
    for Needs { input, missing } in needs {
        for (costs, level, without) in [
            (Costs::Recording, Level::Fail, ""),
            (Costs::Sound, Level::Warning, "; until then it records without sound"),
        ] {
            let lacks: Vec<&Missing> = missing.iter().filter(|missing| missing.costs == costs).collect();
            if lacks.is_empty() {
                continue;
            }
            let named: Vec<String> =
                lacks.iter().map(|missing| format!("{} ({})", missing.element, missing.package)).collect();
            let packages: BTreeSet<&str> = lacks.iter().map(|missing| missing.package.as_str()).collect();
            let packages: Vec<&str> = packages.into_iter().collect();
            checks.push(Check::new(
                "elements",
                level,
                format!("{input} needs what GStreamer lacks here: {}{without}", named.join(", ")),
                format!("sudo apt install {}", packages.join(" ")),
            ));
        }
    }
    if checks.is_empty() {
        checks.push(Check::ok("elements", "all GStreamer elements that the inputs need are installed"));
    }
    checks
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
        match (self.installed, self.evidence.as_ref().and_then(|evidence| evidence.error.as_deref())) {
            (false, _) => format!("it is not installed; it comes with {}", self.package),
            (true, Some(error)) => error.to_owned(),
            (true, None) => "too few pictures came back".to_owned(),
        }
    }
}

fn judge(inputs: &[&Input], program: &Path, rows: &[Row]) -> Vec<Check> {
    let names = |rows: &mut dyn Iterator<Item = &Row>| {
        let names: Vec<&str> = rows.map(|row| row.encoder.as_str()).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    };
    let working = names(&mut rows.iter().filter(|row| row.works));
    let mut checks = Vec::new();
    for input in inputs {
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
                let packages: BTreeSet<&str> =
                    fitting().filter(|row| !row.installed).map(|row| row.package.as_str()).collect();
                let packages: Vec<&str> = packages.into_iter().collect();
                (
                    format!("no encoder for {text} works here"),
                    format!("install one ({}), or choose another codec; working: {working}", packages.join(", ")),
                )
            }
        };
        checks.push(Check::new("encoders", Level::Fail, format!("{name}: {}", problem.0), problem.1));
    }
    if checks.is_empty() {
        let names: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
        let what = if names.is_empty() { String::new() } else { format!(" for {}", names.join(", ")) };
        checks.push(Check::ok("encoders", format!("working{what}: {working} ({})", program.display())));
    }
    checks
}

/// A name without a slash is looked for beside this program, then in `PATH`.
pub fn find(program: &Path) -> Option<PathBuf> {
    if program.is_absolute() {
        return program.is_file().then(|| program.to_owned());
    }
    let beside = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join(program)));
    let path = std::env::var_os("PATH").unwrap_or_default();
    beside.into_iter().chain(std::env::split_paths(&path).map(|dir| dir.join(program))).find(|path| path.is_file())
}
