//! A box with a real RAUC and file-backed slots, a real recorder with a real capture, and the real updater, on a bus of their own.

#![allow(dead_code, reason = "each test file uses its own part of this")]

pub mod stick;
pub mod tls;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use holdfast_dbus::updater::{InstallOptions, OutcomeInfo, UpdaterProxy};
use holdfast_dbus::{RecorderProxy, StartOptions};
use holdfast_rauc_rig::{Plan, Rig, Wrap};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use zbus::Connection;
use zbus::proxy::CacheProperties;

/// Longer than anything here should ever take, on a busy machine too.
pub const DEADLINE: Duration = Duration::from_secs(150);

const CRC_OF_59_ZEROS: u32 = 0xc6c5_6da0;

/// Ended when dropped.
pub struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A program of another package, built first: cargo builds no other package's programs for a package's tests.
fn built(package: &str) -> PathBuf {
    let ours = Path::new(env!("CARGO_BIN_EXE_holdfast-updater"));
    let release = ours.parent().is_some_and(|directory| directory.ends_with("release")).then_some("--release");
    let status = Command::new(env!("CARGO")).args(["build", "--quiet", "--package", package]).args(release).status();
    assert!(status.unwrap().success(), "{package} can't be built");
    ours.with_file_name(package)
}

/// See the module.
pub struct Site {
    pub rig: Rig,
    pub client: Connection,
    dir: TempDir,
    boots: u32,
    /// More of `[update]`.
    more: String,
    /// What cam0 is encoded by.
    pub encoder: &'static str,
    /// How long the recording is that a new system makes, in seconds.
    pub probe_seconds: u32,
    /// Somebody records as soon as the recorder is there after a boot, and before the updater is.
    pub records_at_boot: bool,
    /// More of `holdfast.toml`.
    pub inputs: String,
    updater: Option<Process>,
    panel: Option<Process>,
    server: Option<Process>,
    recorder: Option<Process>,
}

impl Site {
    /// Running; `None`, aloud, where there can be no RAUC.
    pub async fn start() -> Option<Self> {
        Self::start_with("").await
    }

    /// `more`: of `[update]`.
    pub async fn start_with(more: &str) -> Option<Self> {
        let rig = Rig::start(Plan::default()).await?;
        let dir = tempfile::Builder::new().prefix("holdfast-update-").tempdir().unwrap();
        for name in ["root", "run", "state", "updater", "calm"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let client = rig.connection().await;
        let mut site = Self {
            rig,
            client,
            dir,
            boots: 0,
            more: more.to_owned(),
            encoder: "x264enc",
            probe_seconds: 1,
            records_at_boot: false,
            inputs: String::new(),
            updater: None,
            panel: None,
            server: None,
            recorder: None,
        };
        let reboot = site.path("reboot");
        fs::write(&reboot, format!("#!/bin/sh\n: > {}\n", site.path("rebooting"))).unwrap();
        fs::set_permissions(&reboot, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        site.start_recorder();
        site.start_updater().await;
        Some(site)
    }

    pub fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    pub fn start_recorder(&mut self) {
        let config = format!(
            "[storage]\nroot = {:?}\nfilesystem = \"any\"\nwarn_percent = 98\nblock_percent = 99\nwarn_floor_mib = 0\n\
             start_floor_mib = 0\nstop_floor_mib = 0\nballast_mib = 0\n[recorder]\nbus = {:?}\nruntime_dir = {:?}\n\
             state_dir = {:?}\nsupervisor = \"spawn\"\ncapture_program = {:?}\n[protection]\nlease_grace_seconds = 0\n\
             [[input]]\nname = \"cam0\"\nsource = \"test\"\nwidth = 320\nheight = 240\nframerate = 30\naudio = false\n\
             encoder = {:?}\n{}",
            self.path("root"),
            self.rig.address(),
            self.path("run"),
            self.path("state"),
            built("holdfast-capture"),
            self.encoder,
            self.inputs,
        );
        fs::write(self.path("holdfast.toml"), config).unwrap();
        // A box that is not pressed, however busy the machine is that these tests run on.
        let arguments = ["--config", &self.path("holdfast.toml"), "--proc", &self.path("calm")];
        self.recorder = Some(self.spawn(&built("holdfast-recorder"), &arguments));
    }

    /// It does not come up on this system, or only when somebody starts it.
    pub fn break_recorder(&mut self) {
        self.recorder = None;
        self.end_captures();
    }

    /// With two LEDs of the kernel's kind.
    pub fn start_panel(&mut self) {
        for led in ["rec", "stat"] {
            let led = self.dir.path().join("leds").join(led);
            fs::create_dir_all(&led).unwrap();
            for (name, text) in [("brightness", "0"), ("max_brightness", "255"), ("trigger", "[none] timer")] {
                fs::write(led.join(name), text).unwrap();
            }
        }
        let config = format!(
            "[panel]\nbus = {:?}\n[[device]]\nname = \"front\"\nkind = \"leds\"\n[[device.light]]\n\
             light = \"record\"\nled = \"rec\"\n[[device.light]]\nlight = \"status\"\nled = \"stat\"\n",
            self.rig.address()
        );
        fs::write(self.path("panel.toml"), config).unwrap();
        let arguments = ["--config", &self.path("panel.toml"), "--leds", &self.path("leds")];
        self.panel = Some(self.spawn(&built("holdfast-panel"), &arguments));
    }

    pub async fn start_updater(&mut self) {
        let config = format!(
            "[update]\nbus = {:?}\nstate_dir = {:?}\ntrial_seconds = 20\nprobe_seconds = {}\nretry_seconds = 1\n\
             reboot_program = {:?}\n{}",
            self.rig.address(),
            self.path("updater"),
            self.probe_seconds,
            self.path("reboot"),
            self.more,
        );
        fs::write(self.path("updater.toml"), config).unwrap();
        fs::write(self.path("boot_id"), format!("boot-{}", self.boots)).unwrap();
        let program = Path::new(env!("CARGO_BIN_EXE_holdfast-updater"));
        let [config, boot_id, environment, variables, supplies] =
            ["updater.toml", "boot_id", "fw_env.config", "efivars", "supplies"].map(|name| self.path(name));
        let roots = ["--fw-env-config", &environment, "--efivars", &variables, "--power-supplies", &supplies];
        let arguments = [["--config", &config, "--boot-id", &boot_id].as_slice(), &roots].concat();
        self.updater = Some(self.spawn(program, &arguments));
        self.until("the updater", || async { self.updater().await.state().await.is_ok() }).await;
    }

    /// Started again with this configuration.
    pub async fn set(&mut self, more: &str) {
        more.clone_into(&mut self.more);
        self.restart_updater().await;
    }

    /// SIGKILL, and started again in the same boot.
    pub async fn restart_updater(&mut self) {
        self.updater = None;
        self.start_updater().await;
    }

    /// The box reboots. Its recorder, if it works, comes up with it.
    pub async fn reboot(&mut self) {
        self.updater = None;
        let has_recorder = self.recorder.take().is_some();
        self.end_captures();
        self.rig.reboot().await;
        self.boots += 1;
        drop(fs::remove_file(self.path("rebooting")));
        if has_recorder {
            self.start_recorder();
        }
        if self.records_at_boot {
            self.until("the recorder", || async { self.recorder().await.state().await.is_ok() }).await;
            let options = StartOptions { wait_ms: Some(20_000), ..StartOptions::default() };
            self.recorder().await.start(options).await.unwrap();
        }
        self.start_updater().await;
    }

    /// Waits until the box would reboot.
    pub async fn until_about_to_reboot(&self) {
        let flag = self.path("rebooting");
        self.until("a reboot", || async { Path::new(&flag).exists() }).await;
    }

    /// Waits until the box would reboot, and has it do so.
    pub async fn until_reboot(&mut self) {
        self.until_about_to_reboot().await;
        self.reboot().await;
    }

    /// Its supply is gone, and its battery has so much left.
    pub fn drain(&self, percent: u8) {
        for (supply, name, text) in [
            ("ac", "type", "Mains".to_owned()),
            ("ac", "online", "0".to_owned()),
            ("battery", "type", "Battery".to_owned()),
            ("battery", "capacity", percent.to_string()),
        ] {
            let supply = self.dir.path().join("supplies").join(supply);
            fs::create_dir_all(&supply).unwrap();
            fs::write(supply.join(name), text + "\n").unwrap();
        }
    }

    /// It has an environment of U-Boot's, all zeros but for the checksums: two copies, the second damaged or not.
    pub fn environment(&self, is_damaged: bool) {
        // Of 59 zeros, by `python3 -c 'import zlib; print(hex(zlib.crc32(bytes(59))))'`.
        let mut copy = vec![0; 64];
        copy[..4].copy_from_slice(&CRC_OF_59_ZEROS.to_ne_bytes());
        let mut disk = [copy.clone(), copy].concat();
        disk[100] = u8::from(is_damaged);
        fs::write(self.path("environment"), disk).unwrap();
        let place = self.path("environment");
        fs::write(self.path("fw_env.config"), format!("{place} 0 40\n{place} 0x40 40\n")).unwrap();
    }

    /// The command line, as people use it: its exit code, and what it prints.
    pub async fn holdfast(&self, arguments: &[&str]) -> (i32, String) {
        let program = built("holdfast-ctl").with_file_name("holdfast");
        let mut command = tokio::process::Command::new(program);
        command.args(["--bus", self.rig.address()]).args(arguments).kill_on_drop(true);
        let output = tokio::time::timeout(DEADLINE, command.output()).await.unwrap().unwrap();
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        (output.status.code().unwrap(), text)
    }

    /// A camera that sends from now on.
    pub fn start_camera(&self, address: std::net::SocketAddr) -> Process {
        let listen = address.to_string();
        self.spawn(&built("holdfast-simcam"), &["--listen", &listen, "--size", "320x240", "--audio", "none"])
    }

    fn spawn(&self, program: &Path, arguments: &[&str]) -> Process {
        let log = File::options().create(true).append(true).open(self.path("log")).unwrap();
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

    pub async fn updater(&self) -> UpdaterProxy<'static> {
        UpdaterProxy::builder(&self.client).cache_properties(CacheProperties::No).build().await.unwrap()
    }

    /// A signed bundle with a system image.
    pub fn bundle(&self, version: &str) -> String {
        let image = self.rig.image(version, 2 << 20, 7);
        self.rig.bundle(version, &image, Wrap { version, ..Wrap::default() }).display().to_string()
    }

    pub async fn install(&self, bundle: &str) {
        self.updater().await.install(bundle, InstallOptions::default()).await.unwrap();
    }

    pub async fn state(&self) -> String {
        self.updater().await.state().await.unwrap()
    }

    pub async fn until_state(&self, state: &str) {
        self.until(&format!("the state {state}"), || async { self.state().await == state }).await;
    }

    pub async fn outcomes(&self) -> Vec<OutcomeInfo> {
        self.updater().await.list_outcomes(std::collections::HashMap::new()).await.unwrap()
    }

    pub async fn until_outcome(&self, result: &str) -> OutcomeInfo {
        self.until("an outcome", || async { !self.outcomes().await.is_empty() }).await;
        let outcome = self.outcomes().await.remove(0);
        assert_eq!(outcome.result, result, "{outcome:?}\n{}", self.log());
        outcome
    }

    /// Waits until `true`, looking 50 times a second.
    pub async fn until<F: Future<Output = bool>>(&self, what: &str, mut look: impl FnMut() -> F) {
        let began = Instant::now();
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        while !look().await {
            assert!(began.elapsed() < DEADLINE, "waited in vain for {what}\n{}\n{}", self.log(), self.rig.log());
            ticks.tick().await;
        }
    }

    /// Captures live on without their recorder. One may just be starting another: until none is found.
    fn end_captures(&self) {
        let config = self.path("holdfast.toml");
        for _ in 0..100 {
            let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
            let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
            let ours: Vec<i32> = pids
                .filter(|pid| {
                    let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                    arguments.split(|byte| *byte == 0).any(|argument| argument == config.as_bytes())
                })
                .collect();
            if ours.is_empty() {
                return;
            }
            for pid in ours {
                let _ = Pid::from_raw(pid).map(|pid| kill_process(pid, Signal::KILL));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.recorder = None;
        self.end_captures();
    }
}
