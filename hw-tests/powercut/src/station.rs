//! A whole Holdfast on a data partition: private bus, recorder, captures. Ended with us.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use rustix::process::Signal;

use crate::process::{Guarded, patiently, run, tell, until};

/// Where footage lies on the data partition.
pub const STORAGE: &str = "recordings";
/// And the recorder's state.
pub const STATE: &str = "state";
/// Recycled blocks, below [`STORAGE`].
pub const POOL: &str = ".holdfast/recycle";

/// The programs of the house.
#[derive(Debug, Clone)]
pub struct Programs(PathBuf);

impl Programs {
    /// Those in a directory.
    ///
    /// # Errors
    /// One is missing.
    pub fn in_directory(directory: &Path) -> anyhow::Result<Self> {
        let directory = directory.canonicalize().with_context(|| format!("{} is not there", directory.display()))?;
        for program in ["holdfast", "holdfast-recorder", "holdfast-capture", "examples/short-rotation"] {
            if !directory.join(program).is_file() {
                bail!("{program} is not in {}: build it first", directory.display());
            }
        }
        Ok(Self(directory))
    }

    /// One of them.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

/// What it is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Files are as short as this, which no configuration allows.
    pub rotation_ms: u32,
    /// Retention keeps so much of the disk free; 0 for no retention.
    pub keep_free_percent: u8,
    /// The tables `[[input]]`: name and lines.
    pub inputs: Vec<(String, String)>,
}

/// A running bus and recorder.
#[derive(Debug)]
pub struct Station {
    recorder: Guarded,
    _bus: Guarded,
    config: PathBuf,
    programs: Programs,
    /// Sockets.
    pub runtime: PathBuf,
    log: PathBuf,
}

impl Station {
    /// `data`: the partition. `directory`: for what is not on it.
    ///
    /// # Errors
    /// It does not come up; with its last words.
    pub fn start(programs: &Programs, directory: &Path, data: &Path, settings: &Settings) -> anyhow::Result<Self> {
        let runtime = directory.join("run");
        for path in [&runtime, &data.join(STORAGE), &data.join(STATE)] {
            std::fs::create_dir_all(path).with_context(|| format!("{} can't be made", path.display()))?;
        }
        let address = format!("unix:path={}", runtime.join("bus").display());
        let config = directory.join("holdfast.toml");
        let capture = capture_program(programs, directory, settings.rotation_ms)?;
        std::fs::write(&config, toml(data, &runtime, &address, &capture, settings)?).context("no configuration")?;
        let mut command = Command::new("dbus-daemon");
        command.args(["--session", "--nofork", "--nosyslog", "--print-address=1", &format!("--address={address}")]);
        let mut bus = Guarded::spawn(command.stdout(Stdio::piped()).stderr(Stdio::null()))?;
        let mut line = String::new();
        let output = bus.child().stdout.take().context("a bus without output")?;
        // Printed once it listens.
        BufReader::new(output).read_line(&mut line).context("the bus says nothing")?;
        let log = directory.join("recorder.log");
        let words = std::fs::File::create(&log).context("no log")?;
        let mut command = Command::new(programs.path("holdfast-recorder"));
        command.arg("--config").arg(&config).stdout(words.try_clone()?).stderr(words);
        let recorder = Guarded::spawn(&mut command)?;
        let mut station = Self { recorder, _bus: bus, config, programs: programs.clone(), runtime, log };
        let up = until("the recorder answers", || {
            station.recorder.must_run()?;
            Ok(station.holdfast(&["status"]).is_ok().then_some(()))
        });
        up.with_context(|| station.last_words())?;
        Ok(station)
    }

    /// Runs the command line program.
    ///
    /// # Errors
    /// It says no; with what it said and everybody's last words.
    pub fn holdfast(&self, words: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new(self.programs.path("holdfast"));
        command.arg("--config").arg(&self.config).args(words).env("NO_COLOR", "1");
        run(&mut command).with_context(|| self.last_words())
    }

    /// What recorder and captures said last.
    #[must_use]
    pub fn last_words(&self) -> String {
        let captures = std::fs::read_dir(self.runtime.join("capture")).into_iter().flatten().flatten();
        let logs = captures.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|kind| kind == "log"));
        let mut words = String::from("last words:");
        for log in std::iter::once(self.log.clone()).chain(logs) {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            let lines: Vec<&str> = said.lines().collect();
            words += &format!("\n{}:\n{}", log.display(), lines[lines.len().saturating_sub(15)..].join("\n"));
        }
        words
    }

    /// Ends the recorder, and the captures, which outlive it.
    ///
    /// # Errors
    /// They do not end.
    pub fn end(mut self) -> anyhow::Result<()> {
        self.recorder.end(Signal::TERM);
        self.end_captures(Signal::TERM)
    }

    /// The power goes: nobody closes anything.
    pub fn kill(mut self) {
        self.recorder.end(Signal::KILL);
        let _ = self.end_captures(Signal::KILL);
    }

    fn end_captures(&self, signal: Signal) -> anyhow::Result<()> {
        let captures = || with_argument(self.config.as_os_str().as_encoded_bytes());
        for pid in captures() {
            tell(pid, signal);
        }
        patiently("the captures have ended", || Ok(captures().is_empty().then_some(())))
    }
}

impl Drop for Station {
    fn drop(&mut self) {
        self.recorder.end(Signal::KILL);
        for pid in with_argument(self.config.as_os_str().as_encoded_bytes()) {
            tell(pid, Signal::KILL);
        }
    }
}

/// Living processes that have these bytes on their command line, word for word.
pub(crate) fn with_argument(argument: &[u8]) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    // Of one that has ended and that nobody has waited for, the command line is empty.
    let has = |pid: &u32| {
        std::fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| line.split(|byte| *byte == 0).any(|word| word == argument))
    };
    pids.filter(has).collect()
}

/// The capture as it is, but for the length of its files.
fn capture_program(programs: &Programs, directory: &Path, rotation_ms: u32) -> anyhow::Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    let script = directory.join("capture");
    let program = programs.path("examples/short-rotation");
    std::fs::write(&script, format!("#!/bin/sh\nexec '{}' --rotation-ms {rotation_ms} \"$@\"\n", program.display()))
        .and_then(|()| std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)))
        .context("no script for the capture")?;
    Ok(script)
}

fn toml(data: &Path, runtime: &Path, address: &str, capture: &Path, settings: &Settings) -> anyhow::Result<String> {
    let mut text = String::from("# Made by the power-cut rig.\n");
    writeln!(
        text,
        "[storage]\nroot = {:?}\nfilesystem = \"any\"\nwarn_percent = 98\nblock_percent = 99",
        data.join(STORAGE)
    )?;
    if settings.keep_free_percent > 0 {
        writeln!(text, "keep_free_percent = {}", settings.keep_free_percent)?;
    }
    writeln!(text, "[recorder]\nbus = {address:?}\nruntime_dir = {runtime:?}\nstate_dir = {:?}", data.join(STATE))?;
    writeln!(text, "supervisor = \"spawn\"\ncapture_program = {capture:?}")?;
    for (name, lines) in &settings.inputs {
        writeln!(text, "[[input]]\nname = {name:?}\n{lines}")?;
    }
    Ok(text)
}
