//! A real recorder with real captures on a private bus, and what tests need to watch it: events with deadlines, no sleeps.
#![allow(dead_code, reason = "each test file uses its own part of this")]

pub mod disk;
pub mod interrupted;

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use holdfast_dbus::{InputProxy, RecorderProxy, SessionProxy, StartOptions, StopOptions, input_path};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use zbus::Connection;
use zbus::zvariant::OwnedObjectPath;

/// Longer than anything here should ever take, on a busy machine too.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// The capture program. Always built first: cargo builds no other package's programs for a package's tests, and one that lies
/// there from before may be another than the one under test.
pub fn capture_program() -> PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        let recorder = Path::new(env!("CARGO_BIN_EXE_holdfast-recorder"));
        let release = recorder.parent().is_some_and(|directory| directory.ends_with("release")).then_some("--release");
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--package", "holdfast-capture"])
            .args(release)
            .status();
        let program = recorder.with_file_name("holdfast-capture");
        let is_new = built.is_ok_and(|status| status.success());
        assert!(program.is_file(), "holdfast-capture can't be built");
        if !is_new {
            holdfast_aloud::say("WARNING: holdfast-capture can't be built, an old one is tested with");
        }
        program
    };
    PROGRAM.get_or_init(build).clone()
}

/// A message bus of our own. Ends with it.
pub struct Bus {
    daemon: Child,
    pub address: String,
}

impl Bus {
    pub fn start(dir: &Path) -> Self {
        let config = dir.join("bus.conf");
        let socket = dir.join("bus.sock");
        let text = format!(
            r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:path={}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/></policy></busconfig>"#,
            socket.display()
        );
        fs::write(&config, text).unwrap();
        let mut daemon = Command::new("dbus-daemon")
            .arg(format!("--config-file={}", config.display()))
            .args(["--nofork", "--print-address"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("dbus-daemon is needed for this test: install dbus");
        let mut address = String::new();
        BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Self { daemon, address: format!("unix:path={}", socket.display()) }
    }

    pub async fn connect(&self) -> Connection {
        zbus::connection::Builder::address(self.address.as_str()).unwrap().build().await.unwrap()
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// An input of the test source. Without sound: whether a late first sound begins a new file is the capture's affair.
pub fn test_input(name: &str, armed: bool) -> String {
    format!(
        "[[input]]\nname = \"{name}\"\nsource = \"test\"\nwidth = 320\nheight = 240\nframerate = 30\narmed = {armed}\naudio = false\nencoder = \"x264enc\"\n"
    )
}

/// A recorder, its bus and its directories. All that it started ends with it.
pub struct Box {
    pub dir: TempDir,
    pub bus: Bus,
    pub client: Connection,
    recorder: Option<Child>,
    /// What is started as the recorder.
    pub recorder_program: PathBuf,
    environment: Vec<(String, String)>,
    /// More arguments for recorders started from now on.
    pub arguments: Vec<String>,
}

impl Box {
    /// With these inputs (as TOML), and a recorder that is ready.
    pub async fn new(inputs: &str) -> Self {
        let mut new = Self::without_recorder("", inputs).await;
        new.start_recorder().await;
        new
    }

    /// `storage`: more lines for `[storage]`.
    pub async fn without_recorder(storage: &str, inputs: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("holdfast-").tempdir().unwrap();
        let bus = Bus::start(dir.path());
        for name in ["root", "run", "state"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let path = |name: &str| dir.path().join(name).display().to_string();
        let storage = if storage.is_empty() { "warn_percent = 98\nblock_percent = 99\n" } else { storage };
        // Tests run on disks as small as they come. What a test says itself counts.
        let floors = ["warn_floor_mib", "start_floor_mib", "stop_floor_mib", "ballast_mib"];
        let off = floors.iter().filter(|key| !storage.contains(**key)).map(|key| format!("{key} = 0\n"));
        let storage = format!("{storage}{}", off.collect::<String>());
        let config = format!(
            "[storage]\nroot = {:?}\nfilesystem = \"any\"\n{storage}\n[recorder]\nbus = {:?}\nruntime_dir = {:?}\nstate_dir = {:?}\nsupervisor = \"spawn\"\ncapture_program = {:?}\n{inputs}",
            path("root"),
            bus.address,
            path("run"),
            path("state"),
            capture_program().display().to_string(),
        );
        fs::write(dir.path().join("holdfast.toml"), config).unwrap();
        let client = bus.connect().await;
        let recorder_program = PathBuf::from(env!("CARGO_BIN_EXE_holdfast-recorder"));
        Self { dir, bus, client, recorder: None, recorder_program, environment: Vec::new(), arguments: Vec::new() }
    }

    pub fn config_path(&self) -> PathBuf {
        self.dir.path().join("holdfast.toml")
    }

    pub fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// For recorders started from now on.
    pub fn set_environment(&mut self, key: &str, value: &str) {
        self.environment.push((key.to_owned(), value.to_owned()));
    }

    /// Replaces text in the configuration.
    pub fn edit_config(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.config_path()).unwrap();
        assert!(text.contains(from), "{from:?} is not in the configuration");
        fs::write(self.config_path(), text.replace(from, to)).unwrap();
    }

    /// What the recorder and its captures said, for failures.
    pub fn log(&self) -> String {
        let mut text = fs::read_to_string(self.dir.path().join("recorder.log")).unwrap_or_default();
        for entry in fs::read_dir(self.dir.path().join("run/capture")).into_iter().flatten().flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "log") {
                text += &format!("--- {}\n", entry.file_name().display());
                text += &fs::read_to_string(entry.path()).unwrap_or_default();
            }
        }
        text
    }

    pub fn spawn_recorder(&mut self) -> &mut Child {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.dir.path().join("recorder.log")).unwrap();
        let child = Command::new(&self.recorder_program)
            .arg("--config")
            .arg(self.config_path())
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.recorder.insert(child)
    }

    /// Something that was started with this configuration still runs.
    pub fn runs(&self) -> bool {
        !captures(&self.config_path()).is_empty()
    }

    /// What the recorder has open.
    pub fn open_files(&self) -> Vec<PathBuf> {
        let pid = self.recorder.as_ref().unwrap().id();
        let fds = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
        fds.filter_map(|fd| fs::read_link(fd.path()).ok()).collect()
    }

    /// Starts the recorder and waits for its name.
    pub async fn start_recorder(&mut self) {
        let dbus = zbus::fdo::DBusProxy::new(&self.client).await.unwrap();
        let filter = [(0, holdfast_dbus::BUS_NAME)];
        let mut owners = dbus.receive_name_owner_changed_with_args(&filter).await.unwrap();
        self.spawn_recorder();
        let named = async {
            while let Some(change) = owners.next().await {
                if change.args().unwrap().new_owner().is_some() {
                    return;
                }
            }
        };
        if tokio::time::timeout(DEADLINE, named).await.is_err() {
            panic!("no recorder on the bus:\n{}", self.log());
        }
    }

    /// The recorder dies as by a crash. Its captures go on.
    pub fn kill_recorder(&mut self) {
        let mut recorder = self.recorder.take().unwrap();
        recorder.kill().unwrap();
        recorder.wait().unwrap();
    }

    /// How the recorder ends by itself, within the deadline.
    pub fn wait_for_exit(&mut self) -> std::process::ExitStatus {
        let recorder = self.recorder.as_mut().unwrap();
        let pid = Pid::from_child(recorder);
        let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
        let mut fds = [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)];
        let timeout = rustix::event::Timespec { tv_sec: 60, tv_nsec: 0 };
        assert_eq!(rustix::event::poll(&mut fds, Some(&timeout)).unwrap(), 1, "still running:\n{}", self.log());
        recorder.wait().unwrap()
    }

    pub fn terminate_recorder(&mut self) -> std::process::ExitStatus {
        kill_process(Pid::from_child(self.recorder.as_ref().unwrap()), Signal::TERM).unwrap();
        let status = self.wait_for_exit();
        self.recorder = None;
        status
    }

    pub async fn recorder(&self) -> RecorderProxy<'static> {
        // Nothing cached: tests want to know what is, not what was told.
        RecorderProxy::builder(&self.client).cache_properties(zbus::proxy::CacheProperties::No).build().await.unwrap()
    }

    pub async fn input(&self, name: &str) -> InputProxy<'static> {
        InputProxy::builder(&self.client)
            .path(input_path(name))
            .unwrap()
            .cache_properties(zbus::proxy::CacheProperties::No)
            .build()
            .await
            .unwrap()
    }

    pub async fn session(&self, path: &OwnedObjectPath) -> SessionProxy<'static> {
        SessionProxy::builder(&self.client)
            .path(path.clone())
            .unwrap()
            .cache_properties(zbus::proxy::CacheProperties::No)
            .build()
            .await
            .unwrap()
    }

    /// Starts, and waits until footage is safe.
    pub async fn start(&self, label: &str) -> OwnedObjectPath {
        let began = Instant::now();
        let options = StartOptions { label: Some(label.to_owned()), wait_ms: Some(20_000), ..StartOptions::default() };
        let (session, created) =
            self.recorder().await.start(options).await.unwrap_or_else(|error| panic!("{error}\n{}", self.log()));
        assert!(began.elapsed() < Duration::from_secs(15), "safe only after {:?}\n{}", began.elapsed(), self.log());
        assert!(created);
        assert!(self.recorder().await.safe_frames().await.unwrap() > 0, "answered before anything was safe");
        session
    }

    pub async fn stop(&self) -> holdfast_dbus::Totals {
        self.recorder()
            .await
            .stop(StopOptions::default())
            .await
            .unwrap_or_else(|error| panic!("{error}\n{}", self.log()))
    }

    /// Waits until `true`, looking again whenever the recorder tells of a change (and 20 times a second for what it does not tell).
    pub async fn until<F: Future<Output = bool>>(&self, what: &str, mut look: impl FnMut() -> F) {
        let began = Instant::now();
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        while !look().await {
            assert!(began.elapsed() < DEADLINE, "waited in vain: {what}\n{}", self.log());
            ticks.tick().await;
        }
    }

    /// Waits until an input has so many safe frames in its session.
    pub async fn until_safe_frames(&self, input: &str, frames: u64) {
        let proxy = self.input(input).await;
        self.until(&format!("{frames} safe frames of {input}"), || async {
            proxy.safe_frames().await.is_ok_and(|safe| safe >= frames)
        })
        .await;
    }

    /// All files below the root with this ending.
    pub fn files(&self, ending: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut dirs = vec![self.root()];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(dir).unwrap().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    dirs.push(path);
                } else if path.to_str().unwrap().ends_with(ending) {
                    found.push(path);
                }
            }
        }
        found.sort();
        found
    }
}

impl Drop for Box {
    fn drop(&mut self) {
        if let Some(mut recorder) = self.recorder.take() {
            let _ = recorder.kill();
            let _ = recorder.wait();
        }
        for pid in captures(&self.config_path()) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// What was started with this configuration: captures, listening yet or not, and the recorder.
fn captures(config: &Path) -> Vec<Pid> {
    let config = config.as_os_str().as_encoded_bytes();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_ours = |pid: &i32| {
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        arguments.split(|byte| *byte == 0).any(|argument| argument == config)
    };
    pids.filter(is_ours).filter_map(Pid::from_raw).collect()
}

pub fn kill(pid: u32) {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), Signal::KILL).unwrap();
}

/// No options.
pub fn none() -> HashMap<String, zbus::zvariant::OwnedValue> {
    HashMap::new()
}

/// The code of a refusal.
pub fn code<T: std::fmt::Debug>(result: zbus::Result<T>) -> i32 {
    let error = result.expect_err("it should have been refused");
    holdfast_dbus::Error::from_zbus(&error).unwrap_or_else(|| panic!("not ours: {error}")).code.number()
}
