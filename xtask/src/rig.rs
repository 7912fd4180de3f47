//! A whole Holdfast of our own: private bus, recorder, captures; in a directory of its own, ended with us.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use holdfast_dbus::{InputProxy, RecorderProxy};
use rustix::process::Signal;
use zbus::proxy::CacheProperties;

use crate::interrupt::Interrupt;
use crate::process::{self, Guarded};
use crate::workspace::{self, Programs};

/// How long programs may take to come up on a busy machine.
const START_DEADLINE: Duration = Duration::from_secs(20);
/// What we make in a directory.
const CONFIG: &str = "holdfast.toml";
/// The panel's, where there is one.
pub const PANEL_CONFIG: &str = "panel.toml";
const RECORDER_LOG: &str = "recorder.log";
const DIRECTORIES: [&str; 3] = ["recordings", "state", "logs"];

/// Where the footage, logs and configuration of a run lie. Below `target/`, not in `/tmp`: that is often memory, where a
/// sync costs nothing.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    // Held until the end.
    _lock: Option<std::fs::File>,
    temporary: Option<tempfile::TempDir>,
}

impl Directory {
    /// One that goes away at the end.
    pub fn temporary() -> anyhow::Result<Self> {
        let target = workspace::target();
        std::fs::create_dir_all(&target).with_context(|| format!("{} can't be made", target.display()))?;
        let temporary = tempfile::Builder::new().prefix("bench-").tempdir_in(&target);
        let temporary = temporary.with_context(|| format!("no temporary directory in {}", target.display()))?;
        Ok(Self { path: temporary.path().to_owned(), _lock: None, temporary: Some(temporary) })
    }

    /// One that stays: `path`, which must be empty or not there; or `target/demo` in place of that of the last run.
    pub fn lasting(path: Option<&Path>) -> anyhow::Result<Self> {
        let default = workspace::target().join("demo");
        let path = path.unwrap_or(&default);
        let cannot = || format!("{} can't be made", path.display());
        std::fs::create_dir_all(path).with_context(cannot)?;
        let path = path.canonicalize().with_context(cannot)?;
        let lock = std::fs::File::create(path.join(".lock")).with_context(cannot)?;
        if lock.try_lock().is_err() {
            bail!(
                "another demo is running in {}; give this one a directory of its own with --keep DIR",
                path.display()
            );
        }
        for entry in std::fs::read_dir(&path).with_context(cannot)? {
            let entry = entry?;
            match entry.file_name().to_str() {
                Some(".lock") => {}
                _ if path != default => bail!("{} is not empty", path.display()),
                Some(CONFIG | PANEL_CONFIG) => std::fs::remove_file(entry.path())?,
                Some(name) if DIRECTORIES.contains(&name) => std::fs::remove_dir_all(entry.path())?,
                _ => bail!("{} is none of ours; take it away", entry.path().display()),
            }
        }
        Ok(Self { path, _lock: Some(lock), temporary: None })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves it where it is: what lies in it explains a failure.
    pub fn keep(&mut self) -> &Path {
        if let Some(temporary) = self.temporary.take() {
            self.path = temporary.keep();
        }
        &self.path
    }
}

/// A simulated camera.
#[derive(Debug)]
pub struct Camera {
    process: Guarded,
    pub urls: Vec<String>,
}

impl Camera {
    pub fn start<S: AsRef<std::ffi::OsStr>>(
        programs: &Programs,
        args: impl IntoIterator<Item = S>,
    ) -> anyhow::Result<Self> {
        let mut command = Command::new(programs.path("holdfast-simcam"));
        command.arg("--end-with-stdin").args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Guarded::spawn(&mut command)?;
        let output = process.child().stdout.take().context("a camera without output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).context("the camera says nothing")?;
        let announced: serde_json::Value =
            serde_json::from_str(&line).context("the simulated camera did not start (see above)")?;
        let urls = announced["urls"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|url| url.as_str().map(str::to_owned))
            .collect();
        Ok(Self { process, urls })
    }

    /// An error if it has ended.
    pub fn must_run(&mut self) -> anyhow::Result<()> {
        self.process.must_run()
    }

    /// Says a word to it: drop, mute, unmute, switch.
    pub fn tell(&mut self, word: &str) -> anyhow::Result<()> {
        let input = self.process.child().stdin.as_mut().context("a camera that does not listen")?;
        writeln!(input, "{word}").context("the camera does not listen any more")
    }

    /// Its first address.
    pub fn url(&self) -> anyhow::Result<&str> {
        self.urls.first().map(String::as_str).context("a camera without an address")
    }
}

/// What goes into `holdfast.toml`.
#[derive(Debug, Default)]
pub struct Settings {
    /// The storage root, where it is not to be below the directory of the run.
    pub root: Option<PathBuf>,
    /// Lines of `[storage]`, instead of those that let a run pass on a disk that is almost full.
    pub storage: Vec<String>,
    /// Tables of their own, as TOML.
    pub tables: String,
    /// Lines of `[recording]`.
    pub recording: Vec<String>,
    /// The tables `[[input]]`: name and lines.
    pub inputs: Vec<(String, Vec<String>)>,
    /// Of the recorder and its captures.
    pub environment: Vec<(&'static str, PathBuf)>,
    /// The recorder sees a box that is not pressed, however busy this machine is: leases are given by what is recorded alone.
    pub calm: bool,
}

/// Directories and configuration of a run.
#[derive(Debug)]
pub struct Place {
    /// `holdfast.toml`
    pub config: PathBuf,
    /// The storage root.
    pub root: PathBuf,
    /// The recorder's state.
    pub state: PathBuf,
    /// Sockets. In `/tmp`, because the address of a socket has at most 108 bytes.
    pub runtime: PathBuf,
    /// What programs say.
    pub logs: PathBuf,
    /// Address of the private bus.
    pub address: String,
    environment: Vec<(&'static str, PathBuf)>,
    /// Stands for the kernel's files of pressure, and is empty.
    calm: Option<PathBuf>,
    _runtime_directory: tempfile::TempDir,
}

impl Place {
    pub fn new(programs: &Programs, directory: &Path, settings: &Settings) -> anyhow::Result<Self> {
        let runtime_directory =
            tempfile::Builder::new().prefix("holdfast-").tempdir().context("no temporary directory")?;
        let runtime = runtime_directory.path().to_owned();
        let [root, state, logs] = DIRECTORIES.map(|name| directory.join(name));
        let root = settings.root.clone().unwrap_or(root);
        for path in [&root, &state, &logs] {
            std::fs::create_dir_all(path).with_context(|| format!("{} can't be made", path.display()))?;
        }
        let address = format!("unix:path={}", runtime.join("bus").display());
        let config = directory.join(CONFIG);
        std::fs::write(&config, toml(settings, &root, &runtime, &state, &address, programs)?)
            .with_context(|| format!("{} can't be written", config.display()))?;
        let environment = settings.environment.clone();
        let calm = settings.calm.then(|| runtime.join("calm"));
        if let Some(calm) = &calm {
            std::fs::create_dir(calm).with_context(|| format!("{} can't be made", calm.display()))?;
        }
        Ok(Self {
            config,
            root,
            state,
            runtime,
            logs,
            address,
            environment,
            calm,
            _runtime_directory: runtime_directory,
        })
    }
}

/// A running recorder on a bus of its own.
#[derive(Debug)]
pub struct Rig {
    connection: zbus::Connection,
    recorder_program: PathBuf,
    recorder_process: Guarded,
    // Behind the recorder: the bus goes last.
    bus: Guarded,
    place: Place,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.recorder_process.end();
        // Captures are detached, so that they outlive the recorder. Not us.
        process::end_with_argument(self.place.config.as_os_str());
        self.bus.end();
    }
}

impl Rig {
    pub async fn start(
        programs: &Programs,
        directory: &Path,
        settings: &Settings,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Self> {
        let place = Place::new(programs, directory, settings)?;
        let bus = start_bus(&place)?;
        let recorder_program = programs.path("holdfast-recorder");
        let recorder_process = start_recorder(&recorder_program, &place)?;
        let connection = connect(&place).await?;
        let mut rig = Self { connection, recorder_program, recorder_process, bus, place };
        rig.wait_for_recorder(interrupt).await?;
        Ok(rig)
    }

    /// The recorder's process.
    pub fn recorder_pid(&self) -> u32 {
        self.recorder_process.pid()
    }

    /// How the recorder has ended, if it has.
    pub fn recorder_ended(&mut self) -> anyhow::Result<Option<std::process::ExitStatus>> {
        Ok(self.recorder_process.child().try_wait()?)
    }

    /// Starts a recorder in place of one that has ended, as a service manager does; it need not be ready yet.
    pub fn start_recorder(&mut self) -> anyhow::Result<()> {
        self.recorder_process = start_recorder(&self.recorder_program, &self.place)?;
        Ok(())
    }

    /// Ends the bus at once and starts one at the same address. All proxies of before are dead.
    pub async fn restart_bus(&mut self) -> anyhow::Result<()> {
        process::signal(self.bus.pid(), Signal::KILL);
        self.bus.end();
        self.bus = start_bus(&self.place)?;
        self.connection = connect(&self.place).await?;
        Ok(())
    }

    /// Returns once the recorder answers.
    pub async fn wait_for_recorder(&mut self, interrupt: &Interrupt) -> anyhow::Result<()> {
        let recorder = self.recorder().await?;
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            interrupt.check()?;
            let Err(error) = recorder.state().await else {
                return Ok(());
            };
            let why = match self.recorder_process.must_run() {
                Ok(()) if Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    continue;
                }
                Ok(()) => format!("the recorder does not answer: {error}"),
                Err(error) => error.to_string(),
            };
            let said = std::fs::read_to_string(self.place.logs.join(RECORDER_LOG)).unwrap_or_default();
            let tail: Vec<&str> = said.lines().rev().take(15).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            bail!("{why}\nIts last words:\n{}", tail.join("\n"));
        }
    }

    /// A proxy that asks anew every time.
    pub async fn recorder(&self) -> anyhow::Result<RecorderProxy<'static>> {
        let proxy = RecorderProxy::builder(&self.connection).cache_properties(CacheProperties::No).build().await;
        proxy.context("no proxy for the recorder")
    }

    /// Likewise, for an input.
    pub async fn input(&self, name: &str) -> anyhow::Result<InputProxy<'static>> {
        let proxy = InputProxy::builder(&self.connection)
            .path(holdfast_dbus::input_path(name))?
            .cache_properties(CacheProperties::No)
            .build()
            .await;
        proxy.with_context(|| format!("no proxy for input {name}"))
    }

    pub fn connection(&self) -> &zbus::Connection {
        &self.connection
    }

    pub fn place(&self) -> &Place {
        &self.place
    }

    /// An error if the recorder has ended.
    pub fn must_run(&mut self) -> anyhow::Result<()> {
        self.recorder_process.must_run()
    }
}

async fn connect(place: &Place) -> anyhow::Result<zbus::Connection> {
    let connection = zbus::connection::Builder::address(place.address.as_str())?.build().await;
    connection.context("the private bus does not answer")
}

fn start_recorder(program: &Path, place: &Place) -> anyhow::Result<Guarded> {
    let log = place.logs.join(RECORDER_LOG);
    let log = std::fs::OpenOptions::new().create(true).append(true).open(&log);
    let log = log.with_context(|| format!("no log in {}", place.logs.display()))?;
    let mut recorder = Command::new(program);
    recorder.envs(place.environment.iter().cloned());
    if let Some(calm) = &place.calm {
        recorder.arg("--proc").arg(calm);
    }
    recorder.arg("--config").arg(&place.config).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    Guarded::spawn(&mut recorder)
}

fn start_bus(place: &Place) -> anyhow::Result<Guarded> {
    let mut command = Command::new("dbus-daemon");
    command.args(["--session", "--nofork", "--nosyslog", "--print-address=1"]);
    command.arg(format!("--address={}", place.address));
    let log = place.logs.join("bus.log");
    let log = std::fs::File::create(&log).with_context(|| format!("{} can't be made", log.display()))?;
    let mut bus = Guarded::spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log))
        .context("a private bus takes dbus-daemon: `cargo xtask setup` installs it")?;
    let output = bus.child().stdout.take().context("a bus without output")?;
    let mut line = String::new();
    // Printed once it listens.
    BufReader::new(output).read_line(&mut line).context("the private bus says nothing")?;
    if line.is_empty() {
        bail!("the private bus did not start (see {})", place.logs.join("bus.log").display());
    }
    Ok(bus)
}

fn toml(
    settings: &Settings,
    root: &Path,
    runtime: &Path,
    state: &Path,
    address: &str,
    programs: &Programs,
) -> anyhow::Result<String> {
    let mut text = String::from("# Made by cargo xtask.\n");
    let capture = programs.path("holdfast-capture");
    writeln!(text, "[storage]\nroot = {}", quoted(root)?)?;
    let lenient = ["filesystem = \"any\"", "warn_percent = 98", "block_percent = 99"].map(str::to_owned);
    writeln!(text, "{}", if settings.storage.is_empty() { &lenient[..] } else { &settings.storage }.join("\n"))?;
    // A PC or a small loop device: no gigabytes are held free.
    for (key, mib) in [("warn_floor_mib", 0), ("start_floor_mib", 0), ("stop_floor_mib", 0), ("ballast_mib", 0)] {
        if !settings.storage.iter().any(|line| line.starts_with(key)) {
            writeln!(text, "{key} = {mib}")?;
        }
    }
    writeln!(text, "[recording]\n{}", settings.recording.join("\n"))?;
    writeln!(text, "[recorder]\nbus = {}\nsupervisor = \"spawn\"", quoted(Path::new(address))?)?;
    for (key, path) in [("runtime_dir", runtime), ("state_dir", state), ("capture_program", &capture)] {
        writeln!(text, "{key} = {}", quoted(path)?)?;
    }
    writeln!(text, "{}", settings.tables)?;
    for (name, lines) in &settings.inputs {
        writeln!(text, "[[input]]\nname = \"{name}\"\n{}", lines.join("\n"))?;
    }
    Ok(text)
}

/// A path as a TOML string.
pub fn quoted(path: &Path) -> anyhow::Result<String> {
    let text = path.to_str().with_context(|| format!("{} is no UTF-8", path.display()))?;
    Ok(serde_json::to_string(text)?)
}
