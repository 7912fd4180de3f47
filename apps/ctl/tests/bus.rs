//! The real program against the real recorder with a real capture, on a bus of its own.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{Run, Shelf, json, run_with};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const DEADLINE: Duration = Duration::from_secs(30);

/// A process that ends with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

struct Bus {
    shelf: Shelf,
    address: String,
    _daemon: Process,
}

impl Bus {
    /// `None` where there is no dbus-daemon.
    fn start() -> Option<Self> {
        let shelf = Shelf::new();
        let address = format!("unix:path={}", shelf.path("bus").display());
        let daemon = Command::new("dbus-daemon")
            .args(["--session", "--nofork", "--nopidfile", "--print-address=1", "--address"])
            .arg(&address)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut daemon) = daemon else {
            holdfast_aloud::skip("dbus-daemon is not installed");
            return None;
        };
        // It says its address once it listens.
        let mut line = String::new();
        BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("unix:"), "{line}");
        Some(Self { shelf, address, _daemon: Process(daemon) })
    }

    fn config(&self) -> String {
        let dir = |name: &str| self.shelf.path(name).display().to_string();
        self.shelf.config(&format!(
            "[recorder]\nbus = \"{}\"\nruntime_dir = \"{}\"\nstate_dir = \"{}\"\nsupervisor = \"spawn\"\n\
             capture_program = \"{}\"\n[[input]]\nname = \"cam-0\"\nsource = \"test\"\nwidth = 320\nheight = 240\nframerate = 30\n",
            self.address,
            dir("run"),
            dir("state"),
            beside("holdfast-capture").display(),
        ))
    }

    fn protect(&self, lines: &str) {
        let path = self.shelf.path("holdfast.toml.d");
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("protection.toml"), format!("[protection]\n{lines}\n")).unwrap();
    }

    fn holdfast(&self, arguments: &[&str]) -> Run {
        run_with(arguments, &[("HOLDFAST_CONFIG", &self.config())])
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let run = self.holdfast(&[arguments, &["--json"]].concat());
        assert_eq!(run.code, 0, "{arguments:?}: {}{}", run.out, run.err);
        json(&run.out)
    }

    /// Watches until what is shown is as wanted.
    fn wait(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
        command.args(["watch", "--json", "--config", &self.config()]).stdout(Stdio::piped());
        let mut watch = Process(command.spawn().unwrap());
        let lines = BufReader::new(watch.0.stdout.take().unwrap()).lines();
        let begun = Instant::now();
        for line in lines {
            let shown = json(&line.unwrap());
            if wanted(&shown) {
                return shown;
            }
            assert!(begun.elapsed() < DEADLINE, "still not: {shown}");
        }
        panic!("watch ended");
    }
}

/// A program that the same build made.
fn beside(program: &str) -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_holdfast")).with_file_name(program)
}

/// The recorder, and the captures it leaves running when it ends.
struct Recorder<'a> {
    bus: &'a Bus,
    process: Process,
}

impl Drop for Recorder<'_> {
    fn drop(&mut self) {
        let inputs = self.bus.holdfast(&["inputs", "--json"]);
        drop(self.process.0.kill());
        let inputs: Value = serde_json::from_str(&inputs.out).unwrap_or_default();
        for input in inputs.as_array().into_iter().flatten() {
            let pid = input["pid"].as_i64().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
            if let Some(pid) = pid {
                let _ = kill_process(pid, Signal::TERM);
            }
        }
    }
}

#[test]
fn a_recorder_that_is_not_there_is_told() {
    let Some(bus) = Bus::start() else { return };
    for arguments in [&["status"][..], &["start"], &["stop"], &["mark", "x"], &["sessions"], &["show", "last"]] {
        let run = bus.holdfast(arguments);
        assert_eq!(run.code, 4, "{arguments:?}: {}", run.err);
        assert!(run.err.contains("not running") && run.err.contains("help: start it"), "{arguments:?}: {}", run.err);
    }
    let run = bus.holdfast(&["doctor", "--json"]);
    let report = json(&run.out);
    assert_eq!((run.code, &report["ok"]), (1, &Value::Bool(false)), "{report}");
    let of =
        |name: &str| report["checks"].as_array().unwrap().iter().find(|check| check["name"] == name).unwrap().clone();
    assert_eq!(of("config")["level"], "ok");
    assert_eq!(of("storage")["level"], "ok");
    assert_eq!(of("bus")["level"], "ok");
    assert_eq!(of("recorder")["level"], "fail");
    assert!(of("recorder")["remedy"].as_str().unwrap().contains("systemctl start"));

    // A bus that is not there, named in each of the three ways.
    for (arguments, variable) in [
        (&["status", "--bus", "unix:path=/nonexistent/bus"][..], ""),
        (&["status", "--config", "/nonexistent"], "unix:path=/nonexistent/bus"),
    ] {
        let run = run_with(arguments, &[("HOLDFAST_BUS", variable)]);
        assert_eq!(run.code, 4);
        assert!(run.err.contains("the bus at unix:path=/nonexistent/bus can't be reached"), "{}", run.err);
    }
}

#[test]
fn a_recording_from_start_to_export() {
    let Some(bus) = Bus::start() else { return };
    if !beside("holdfast-recorder").exists() || !beside("holdfast-capture").exists() {
        return holdfast_aloud::skip(
            "holdfast-recorder and holdfast-capture are not built; build the workspace to run this test",
        );
    }
    let recorder = Command::new(beside("holdfast-recorder"))
        .args(["--config", &bus.config()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _recorder = Recorder { bus: &bus, process: Process(recorder) };
    bus.wait(|shown| shown["inputs"][0]["state"] == "armed");

    // Start, and start again: with the token it is the same, without it is refused.
    let started = bus.json(&["start", "--input", "cam-0", "--label", "a \"label\"", "--token", "t1"]);
    assert_eq!((&started["created"], &started["state"]), (&Value::Bool(true), &Value::from("recording")));
    let id = started["session"].as_str().unwrap().to_owned();
    let again = bus.json(&["start", "--input", "cam-0", "--label", "a \"label\"", "--token", "t1"]);
    assert_eq!((&again["created"], again["session"].as_str()), (&Value::Bool(false), Some(id.as_str())));
    let run = bus.holdfast(&["start", "--json"]);
    assert_eq!((run.code, &json(&run.out)["error"]["code"]), (5, &Value::from(-1006)), "{}", run.out);
    let run = bus.holdfast(&["start", "--input", "cam-7"]);
    assert!(run.code == 5 && run.err.contains("[-10"), "{}", run.err);

    bus.json(&["mark", "two", "words"]);
    let shown = bus.wait(|shown| shown["safe_frames"].as_u64() >= Some(45));
    assert_eq!((&shown["state"], shown["session"].as_str()), (&Value::from("recording"), Some(id.as_str())));
    assert_eq!((&shown["lost_frames"], &shown["storage"]["level"]), (&Value::from(0), &Value::from("ok")));
    let run = bus.holdfast(&["status"]);
    assert!(run.out.contains(&id) && run.out.contains("streaming"), "{}", run.out);
    let run = bus.holdfast(&["watch", "-n", "1"]);
    assert!(run.out.starts_with("recording ") && run.out.lines().count() == 1, "{}", run.out);

    let totals = bus.json(&["stop", "--session", "last"]);
    assert!(totals["safe_frames"].as_u64() >= Some(45), "{totals}");
    assert_eq!((&totals["lost_frames"], &totals["gaps"]), (&Value::from(0), &Value::from(0)), "{totals}");
    assert_eq!(bus.holdfast(&["stop"]).code, 5);

    // What was recorded is listed, whole and exportable.
    let sessions = bus.json(&["sessions"]);
    assert_eq!((sessions.as_array().unwrap().len(), &sessions[0]["label"]), (1, &Value::from("a \"label\"")));
    bus.json(&["protect", &id[..16]]);
    let session = bus.json(&["show", "last"]);
    assert_eq!(
        (&session["protected"], &session["mark_list"][0]["text"]),
        (&Value::Bool(true), &Value::from("two words"))
    );
    assert_eq!(session["file_list"][0]["frames"], totals["safe_frames"]);
    bus.json(&["unprotect", &id]);
    assert_eq!(bus.json(&["sessions"])[0]["protected"], false);
    assert_eq!(bus.json(&["verify", "last"])["ok"], true);
    let out = bus.shelf.path("out.mp4");
    let exported = bus.json(&["export", "last", "-o", out.to_str().unwrap()]);
    assert_eq!(exported[0]["summary"]["tracks"][0]["frames"], totals["safe_frames"]);
    assert_eq!(exported[0]["summary"]["chapters"][0][1], "two words");
    bus.misses_its_last_file(&session);

    bus.json(&["disarm"]);
    bus.wait(|shown| shown["inputs"][0]["armed"] == false);
    bus.json(&["arm", "cam-0"]);
    bus.wait(|shown| shown["inputs"][0]["state"] == "armed");
    let run = bus.holdfast(&["doctor"]);
    assert_eq!(run.code, 0, "{}{}", run.out, run.err);
}

impl Bus {
    /// What is gone from the end of a session shows in no chain of files: the session's journal knows it.
    fn misses_its_last_file(&self, session: &Value) {
        let name = session["file_list"].as_array().unwrap().last().unwrap()["path"].as_str().unwrap();
        let (file, aside) = (self.shelf.root().join(name), self.shelf.path("aside.mp4"));
        std::fs::rename(&file, &aside).unwrap();
        let input = file.parent().unwrap().to_str().unwrap();
        for what in ["last", input] {
            let run = self.holdfast(&["verify", what]);
            assert_eq!(run.code, 1, "{}{}", run.out, run.err);
            let told = file.file_name().unwrap().to_string_lossy();
            assert!(
                run.out.contains(told.as_ref()) && run.out.contains("is not there: it was closed with"),
                "{}",
                run.out
            );
        }
        std::fs::rename(&aside, &file).unwrap();
        let run = self.holdfast(&["verify", input]);
        assert!(run.code == 0 && run.out.contains("all that was recorded is there"), "{}{}", run.out, run.err);
    }
}

#[test]
fn alerts_are_shown_with_their_remedies_as_they_come_and_go() {
    // Every code is explained, with no bus in sight.
    let run = run_with(&["alerts", "--codes", "--json", "--bus", "unix:path=/nonexistent/bus"], &[]);
    let codes = json(&run.out);
    assert_eq!((run.code, codes.as_array().unwrap().len()), (0, holdfast_dbus::AlertCode::ALL.len()));
    assert!(codes.as_array().unwrap().iter().all(|code| !code["remedy"].as_str().unwrap().is_empty()));

    let Some(bus) = Bus::start() else { return };
    if !beside("holdfast-recorder").exists() || !beside("holdfast-capture").exists() {
        return holdfast_aloud::skip(
            "holdfast-recorder and holdfast-capture are not built; build the workspace to run this test",
        );
    }
    // No capture makes do with so little.
    bus.protect("memory_alert_mib = 16");
    let recorder = Command::new(beside("holdfast-recorder"))
        .args(["--config", &bus.config()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _recorder = Recorder { bus: &bus, process: Process(recorder) };
    bus.wait(|shown| shown["inputs"][0]["state"] == "armed");

    let mut follow = Command::new(env!("CARGO_BIN_EXE_holdfast"));
    follow.args(["alerts", "--follow", "--json", "--config", &bus.config()]).stdout(Stdio::piped());
    let mut follow = Process(follow.spawn().unwrap());
    let mut lines = BufReader::new(follow.0.stdout.take().unwrap()).lines();
    // The machine that runs the tests may be busy, or deny a priority: there may be other alerts.
    let is_ours = |alert: &Value| alert["code"] == "memory-high";
    let raised = lines.by_ref().map(|line| json(&line.unwrap())).find(is_ours).unwrap();
    assert_eq!((&raised["source"], &raised["active"]), (&Value::from("cam-0"), &Value::Bool(true)));

    let ours = |list: &Value| list.as_array().unwrap().iter().find(|alert| is_ours(alert)).cloned();
    let shown = bus.wait(|shown| ours(&shown["alerts"]).is_some());
    assert_eq!(ours(&shown["alerts"]).unwrap()["level"], "warning");
    let run = bus.holdfast(&["status"]);
    assert!(run.out.contains("\nalerts   ") && run.out.contains(" warning"), "{}", run.out);
    let run = bus.holdfast(&["watch", "-n", "1"]);
    assert!(run.out.contains("memory-high:cam-0"), "{}", run.out);
    assert_eq!(ours(&bus.json(&["alerts"])).unwrap()["active"], true);
    let run = bus.holdfast(&["alerts"]);
    let remedy = holdfast_dbus::AlertCode::MemoryHigh.remedy();
    assert!(run.out.contains("warning  memory-high cam-0: ") && run.out.contains(remedy), "{}", run.out);
    let run = bus.holdfast(&["doctor"]);
    assert!(run.out.contains("cam-0: memory-high since ") && run.out.contains(remedy), "{}", run.out);

    // Its process ends: so does the alert, for whoever follows and whoever asks.
    bus.json(&["disarm"]);
    let is_over = |alert: &Value| is_ours(alert) && alert["active"] == false;
    let cleared = lines.map(|line| json(&line.unwrap())).find(is_over).unwrap();
    assert!(cleared["cleared"].as_i64() > cleared["since"].as_i64(), "{cleared}");
    assert_eq!(ours(&bus.json(&["alerts"])), None);
    assert_eq!(ours(&bus.json(&["alerts", "--all"])).unwrap()["active"], false);
}
