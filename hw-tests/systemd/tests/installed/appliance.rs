//! A rig with Holdfast installed, configured with one test input, its storage on a filesystem of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use holdfast_systemd_tests::{Output, Rig, install, possible};
use serde_json::Value;

pub(crate) const NAME: &str = "org.holdfast.Recorder1";
pub(crate) const RECORDER: &str = "holdfast-recorder.service";
pub(crate) const CAPTURE: &str = "holdfast-capture@test.service";
pub(crate) const PROBE: &str = "holdfast-probe@test.service";
pub(crate) const DECODE: &str = "holdfast-decode.service";
pub(crate) const ROOT: &str = "/var/lib/holdfast/recordings";
/// Member of the group holdfast; a person, not a service.
pub(crate) const OPERATOR: &str = "operator";
pub(crate) const FRAMERATE: u64 = 25;
/// For what happens within a second on an idle machine.
pub(crate) const SOON: Duration = Duration::from_secs(20);

const MANAGER_PATH: &str = "/org/holdfast/Recorder1";
const INPUT_PATH: &str = "/org/holdfast/Recorder1/input/test";

pub(crate) struct Appliance {
    pub(crate) rig: Rig,
    _one_at_a_time: MutexGuard<'static, ()>,
}

/// Where footage is.
#[derive(Clone, Copy)]
pub(crate) enum Disk<'a> {
    /// In memory, gone with the rig.
    Memory,
    /// In this directory.
    Directory(&'a Path),
}

impl Appliance {
    /// Boots one; `None`, said aloud, where that can't be.
    pub(crate) fn boot(disk: Disk<'_>) -> Option<Self> {
        Self::boot_with(disk, &[])
    }

    /// With more files laid over those.
    pub(crate) fn boot_with(disk: Disk<'_>, more: &[&Path]) -> Option<Self> {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        if !possible() {
            return None;
        }
        let guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let ours = tempfile::tempdir().unwrap();
        let put = |path: &str, text: String| {
            let path = ours.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put(
            "etc/fstab",
            match disk {
                Disk::Memory => format!("footage {ROOT} tmpfs size=256M\n"),
                Disk::Directory(_) => format!("/run/host/disk {ROOT} none bind\n"),
            },
        );
        put("etc/sysusers.d/rig.conf", format!("u {OPERATOR} - \"a person\"\nm {OPERATOR} holdfast\n"));
        put(
            "etc/holdfast/holdfast.toml.d/rig.toml",
            format!(
                "[storage]\nwarn_floor_mib = 0\nstart_floor_mib = 0\nstop_floor_mib = 16\nballast_mib = 8\n\
                 [recording]\nsync_interval_ms = 200\n[[input]]\nname = \"test\"\nsource = \"test\"\nwidth = 320\nheight = 240\n\
                 framerate = {FRAMERATE}\narmed = false\n"
            ),
        );
        let directory = match disk {
            Disk::Memory => None,
            Disk::Directory(path) => Some(path),
        };
        let rig = Rig::boot(&[&[installed(), ours.path()], more].concat(), directory).unwrap();
        Some(Self { rig, _one_at_a_time: guard })
    }

    /// Calls a method of the recorder.
    pub(crate) fn call_as(&self, user: &str, method: &str, arguments: &[&str]) -> Output {
        let call = ["busctl", "--json=short", "--timeout=25", "call", NAME, MANAGER_PATH, NAME, method];
        self.rig.run_as(user, &[&call[..], arguments].concat())
    }

    /// Starts recording as a person would, and returns the session's path once its first chunk is safe.
    pub(crate) fn start(&self) -> String {
        let said = self.call_as(OPERATOR, "Start", &["a{sv}", "1", "wait_ms", "u", "20000"]);
        assert!(said.ok(), "{}\n{}", said.err, self.rig.log(60));
        json(&said)["data"][0].as_str().unwrap().to_owned()
    }

    /// Stops it, and returns the totals.
    pub(crate) fn stop(&self) -> Totals {
        let said = self.call_as(OPERATOR, "Stop", &["a{sv}", "0"]);
        assert!(said.ok(), "{}\n{}", said.err, self.rig.log(60));
        Totals(json(&said)["data"][0].clone())
    }

    /// A property of the recorder, as anyone may read it.
    pub(crate) fn recorder(&self, property: &str) -> Value {
        self.property(MANAGER_PATH, NAME, property)
    }

    /// A property of the input.
    pub(crate) fn input(&self, property: &str) -> Value {
        self.property(INPUT_PATH, "org.holdfast.Recorder1.Input", property)
    }

    pub(crate) fn property(&self, path: &str, interface: &str, property: &str) -> Value {
        let said =
            self.rig.run_as("nobody", &["busctl", "--json=short", "get-property", NAME, path, interface, property]);
        if !said.ok() {
            // Between two recorders nobody answers.
            return Value::Null;
        }
        json(&said)["data"].clone()
    }

    /// Waits until so many more frames are safe than are now, and returns how many that are.
    pub(crate) fn safe_frames_more(&self, more: u64) -> u64 {
        let safe = || self.input("SafeFrames").as_u64();
        let what = format!("{more} more frames are safe");
        let before = self.rig.until("the recorder answers", SOON, safe).unwrap();
        self.rig.until(&what, SOON, || safe().filter(|now| *now >= before + more)).unwrap()
    }

    /// What `holdfast verify` says of the last session.
    pub(crate) fn verify(&self) -> Value {
        let said = self.rig.run(&["holdfast", "verify", "--json", "last"]);
        assert!(said.ok(), "{}\n{}", said.err, said.out);
        json(&said)
    }
}

/// What Stop returns.
#[derive(Debug)]
pub(crate) struct Totals(Value);

impl Totals {
    pub(crate) fn number(&self, key: &str) -> u64 {
        self.0[key]["data"].as_u64().unwrap()
    }

    pub(crate) fn text(&self, key: &str) -> &str {
        self.0[key]["data"].as_str().unwrap()
    }
}

pub(crate) fn json(said: &Output) -> Value {
    serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {said:?}"))
}

/// Installed once for all tests, anew in each run.
fn installed() -> &'static Path {
    static INSTALLED: OnceLock<PathBuf> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("installed");
        if root.exists() {
            fs::remove_dir_all(&root).unwrap();
        }
        install(&root).unwrap_or_else(|error| panic!("{error}"));
        root
    })
}

/// Without polkit the recorder may not start its captures: there is nothing to test then.
pub(crate) fn has_polkit(appliance: &Appliance) -> bool {
    let there = appliance.rig.run(&["systemctl", "cat", "polkit.service"]).ok();
    if !there {
        holdfast_aloud::skip("polkit is not installed, so the recorder can't start captures as units here");
    }
    there
}
