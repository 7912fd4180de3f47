//! A real recorder with a real capture, and the real panel, on a bus of their own.
#![allow(dead_code, reason = "each test file uses its own part of this")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use holdfast_dbus::panel::{LightInfo, PanelProxy};
use holdfast_dbus::{AlertsProxy, RecorderProxy};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use zbus::Connection;
use zbus::proxy::CacheProperties;

/// Longer than anything here should ever take, on a busy machine too.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Ended when dropped.
pub struct Process(pub Child);

impl Process {
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A program of another package, built first: cargo builds no other package's programs for a package's tests.
fn built(package: &str) -> PathBuf {
    let ours = Path::new(env!("CARGO_BIN_EXE_holdfast-panel"));
    let release = ours.parent().is_some_and(|directory| directory.ends_with("release")).then_some("--release");
    let status = Command::new(env!("CARGO")).args(["build", "--quiet", "--package", package]).args(release).status();
    assert!(status.unwrap().success(), "{package} can't be built");
    ours.with_file_name(package)
}

/// See the module.
pub struct Station {
    pub dir: TempDir,
    pub address: String,
    pub client: Connection,
    panel: Option<Process>,
    recorder: Option<Process>,
    _bus: Process,
}

impl Station {
    /// With the bus alone.
    pub async fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("holdfast-panel-").tempdir().unwrap();
        let address = format!("unix:path={}", dir.path().join("bus").display());
        let mut bus = Command::new("dbus-daemon")
            .args(["--session", "--nofork", "--nopidfile", "--print-address=1", "--address", &address])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("dbus-daemon is needed for this test: install dbus");
        let mut line = String::new();
        BufReader::new(bus.stdout.take().unwrap()).read_line(&mut line).unwrap();
        for name in ["root", "run", "state", "leds"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        for led in ["rec", "stat"] {
            let led = dir.path().join("leds").join(led);
            fs::create_dir(&led).unwrap();
            for (name, text) in [("brightness", "0"), ("max_brightness", "255"), ("trigger", "[none] timer heartbeat")]
            {
                fs::write(led.join(name), text).unwrap();
            }
        }
        let client = zbus::connection::Builder::address(address.as_str()).unwrap().build().await.unwrap();
        Self { dir, address, client, panel: None, recorder: None, _bus: Process(bus) }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// What an LED of the kernel would show now.
    pub fn led(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join("leds").join(name).join("brightness")).unwrap().trim().to_owned()
    }

    pub fn start_recorder(&mut self) {
        let config = format!(
            "[storage]\nroot = {:?}\nfilesystem = \"any\"\nwarn_percent = 98\nblock_percent = 99\nwarn_floor_mib = 0\n\
             start_floor_mib = 0\nstop_floor_mib = 0\nballast_mib = 0\n[recorder]\nbus = {:?}\nruntime_dir = {:?}\n\
             state_dir = {:?}\nsupervisor = \"spawn\"\ncapture_program = {:?}\n[[input]]\nname = \"cam0\"\nsource = \"test\"\n\
             width = 320\nheight = 240\nframerate = 30\naudio = false\nencoder = \"x264enc\"\n",
            self.path("root"),
            self.address,
            self.path("run"),
            self.path("state"),
            built("holdfast-capture"),
        );
        fs::write(self.path("holdfast.toml"), config).unwrap();
        self.recorder = Some(self.spawn(&built("holdfast-recorder"), &["--config", &self.path("holdfast.toml")]));
    }

    pub fn recorder_signal(&self, signal: Signal) {
        self.recorder.as_ref().unwrap().signal(signal);
    }

    /// It is gone; its captures go on.
    pub fn kill_recorder(&mut self) {
        self.recorder = None;
    }

    /// `more`: of `[panel]`.
    pub fn start_panel(&mut self, more: &str) {
        let config = format!(
            "[panel]\nbus = {:?}\n{more}\n[[device]]\nname = \"front\"\nkind = \"leds\"\n[[device.light]]\n\
             light = \"record\"\nled = \"rec\"\n[[device.light]]\nlight = \"status\"\nled = \"stat\"\n",
            self.address
        );
        fs::write(self.path("panel.toml"), config).unwrap();
        let program = Path::new(env!("CARGO_BIN_EXE_holdfast-panel"));
        self.panel = Some(self.spawn(program, &["--config", &self.path("panel.toml"), "--leds", &self.path("leds")]));
    }

    pub fn panel_signal(&self, signal: Signal) {
        self.panel.as_ref().unwrap().signal(signal);
    }

    pub fn panel_id(&self) -> u32 {
        self.panel.as_ref().unwrap().0.id()
    }

    /// How it ends by itself.
    pub fn panel_ends(&mut self) -> std::process::ExitStatus {
        self.panel.take().unwrap().0.wait().unwrap()
    }

    fn spawn(&self, program: &Path, arguments: &[&str]) -> Process {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("log")).unwrap();
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("HOLDFAST_")) {
            command.env_remove(name);
        }
        let command = command.args(arguments).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        Process(command.spawn().unwrap())
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    pub async fn recorder(&self) -> RecorderProxy<'static> {
        RecorderProxy::builder(&self.client).cache_properties(CacheProperties::No).build().await.unwrap()
    }

    pub async fn panel(&self) -> PanelProxy<'static> {
        PanelProxy::builder(&self.client).cache_properties(CacheProperties::No).build().await.unwrap()
    }

    pub async fn alerts(&self) -> AlertsProxy<'static> {
        AlertsProxy::builder(&self.client).cache_properties(CacheProperties::No).build().await.unwrap()
    }

    /// What a light tells; empty while there is no panel.
    pub async fn tells(&self, light: &str) -> String {
        let lights: Vec<LightInfo> = self.panel().await.lights().await.unwrap_or_default();
        lights.into_iter().find(|info| info.name == light).map(|info| info.condition).unwrap_or_default()
    }

    /// Waits until a light tells this.
    pub async fn until_tells(&self, light: &str, condition: &str) {
        let is_it = || async { self.tells(light).await == condition };
        self.until(&format!("{light} to tell {condition}"), is_it).await;
    }

    /// Waits until the recorder is heard of. It may warn of something: of a box that is busy, or of privileges that it lacks.
    pub async fn until_well(&self) {
        let is_well = || async { matches!(self.tells("status").await.as_str(), "ready" | "warning") };
        self.until("a panel that is well", is_well).await;
    }

    /// Waits until `true`, looking 50 times a second.
    pub async fn until<F: Future<Output = bool>>(&self, what: &str, mut look: impl FnMut() -> F) {
        let began = Instant::now();
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        while !look().await {
            assert!(began.elapsed() < DEADLINE, "waited in vain for {what}\n{}", self.log());
            ticks.tick().await;
        }
    }

    pub async fn until_state(&self, state: &str) {
        let recorder = self.recorder().await;
        self.until(state, || async { recorder.state().await.is_ok_and(|now| now == state) }).await;
    }

    pub async fn sessions(&self) -> usize {
        self.recorder().await.list_sessions(holdfast_dbus::ListOptions::default()).await.unwrap().len()
    }
}

impl Drop for Station {
    fn drop(&mut self) {
        // Captures live on without their recorder.
        let config = self.path("holdfast.toml");
        self.recorder = None;
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        for pid in processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok()) {
            let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            if arguments.split(|byte| *byte == 0).any(|argument| argument == config.as_bytes()) {
                let _ = Pid::from_raw(pid).map(|pid| kill_process(pid, Signal::KILL));
            }
        }
    }
}

/// No options, or these numbers.
pub fn options(numbers: &[(&str, u32)]) -> std::collections::HashMap<String, zbus::zvariant::OwnedValue> {
    numbers.iter().map(|(name, number)| ((*name).to_owned(), (*number).into())).collect()
}
