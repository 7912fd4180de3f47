//! `holdfast leases` and `holdfast lease`: the real program, the real recorder, a real recording that takes a lease back.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{Run, Shelf, built, json, run_with};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, test_kill_process, waitid};

const DEADLINE: Duration = Duration::from_secs(60);

/// A bus and a recorder on it. All ends with the test.
struct Rig {
    shelf: Shelf,
    config: String,
    daemon: Child,
    recorder: Child,
}

impl Rig {
    fn start() -> Option<Self> {
        let (program, capture) = (built("holdfast-recorder")?, built("holdfast-capture")?);
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
        let mut line = String::new();
        BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let dir = |name: &str| shelf.path(name).display().to_string();
        let config = shelf.config(&format!(
            "[recorder]\nbus = \"{address}\"\nruntime_dir = \"{}\"\nstate_dir = \"{}\"\n\
             supervisor = \"spawn\"\ncapture_program = \"{}\"\n[protection]\nlease_grace_seconds = 0\n\
             [[input]]\nname = \"cam-0\"\nsource = \"test\"\nwidth = 320\nheight = 240\nframerate = 30\narmed = false\n",
            dir("run"),
            dir("state"),
            capture.display(),
        ));
        let recorder = Command::new(program)
            .args(["--config", &config])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let rig = Self { shelf, config, daemon, recorder };
        rig.until("the recorder answers", || {
            assert!(!has_ended(&rig.recorder), "the recorder has ended; is its configuration right?");
            rig.holdfast(&["status"]).code == 0
        });
        Some(rig)
    }

    fn holdfast(&self, arguments: &[&str]) -> Run {
        run_with(arguments, &[("HOLDFAST_CONFIG", &self.config)])
    }

    fn spawn(&self, arguments: &[&str]) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
        command.args(arguments).env("HOLDFAST_CONFIG", &self.config).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    fn leases(&self) -> Vec<serde_json::Value> {
        let run = self.holdfast(&["leases", "--json"]);
        assert_eq!(run.code, 0, "{}{}", run.out, run.err);
        json(&run.out).as_array().unwrap().clone()
    }

    fn until(&self, what: &str, mut look: impl FnMut() -> bool) {
        let began = Instant::now();
        while !look() {
            assert!(began.elapsed() < DEADLINE, "waited in vain: {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let inputs: serde_json::Value =
            serde_json::from_str(&self.holdfast(&["inputs", "--json"]).out).unwrap_or_default();
        drop(self.recorder.kill());
        drop(self.recorder.wait());
        for input in inputs.as_array().into_iter().flatten() {
            if let Some(pid) = input["pid"].as_i64().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        drop(self.daemon.kill());
        drop(self.daemon.wait());
    }
}

/// Leaves the child as it is: a zombie, if it has ended.
fn has_ended(child: &Child) -> bool {
    let pid = Pid::from_child(child);
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    waitid(WaitId::Pid(pid), options).is_ok_and(|ended| ended.is_some())
}

fn said(child: &mut Child) -> String {
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_command_runs_under_a_lease_and_ends_when_a_recording_begins() {
    let Some(rig) = Rig::start() else { return };
    let run = rig.holdfast(&["lease", "heavy-io", "--", "sh", "-c", "echo ran; exit 3"]);
    assert_eq!((run.code, run.out.as_str()), (3, "ran\n"), "{}", run.err);
    assert_eq!(rig.holdfast(&["leases"]).out, "no leases\n");
    for (arguments, code) in [
        (&["lease", "coffee", "--", "true"][..], 5),
        (&["lease", "heavy-io"], 2),
        (&["lease", "heavy-io", "--", "/no/such/program"], 7),
        (&["leases", "revoke", "4711"], 5),
    ] {
        let run = rig.holdfast(arguments);
        assert_eq!(run.code, code, "{arguments:?}: {}", run.err);
    }

    // A shell with a child of its own: both are to end, the child without being asked by the shell.
    let pids = rig.shelf.path("pids");
    let script = format!("sleep 1000 & echo $! > {0}.new; mv {0}.new {0}; wait", pids.display());
    let mut holder = rig.spawn(&["lease", "heavy-io", "--reason", "the job", "--", "sh", "-c", &script]);
    rig.until("the command runs", || pids.exists());
    let sleeper = std::fs::read_to_string(&pids).unwrap().trim().parse().ok().and_then(Pid::from_raw).unwrap();
    let listed = rig.leases();
    assert_eq!((listed.len(), &listed[0]["state"], &listed[0]["reason"]), (1, &"granted".into(), &"the job".into()));
    assert_eq!(listed[0]["pid"], holder.id());
    let table = rig.holdfast(&["leases"]).out;
    assert!(table.contains("heavy-io") && table.contains("the job"), "{table}");
    // Who does not want to wait is told what it would wait for.
    let run = rig.holdfast(&["lease", "heavy-io", "--now", "--", "true"]);
    assert!(run.code == 5 && run.err.contains("comes first"), "{}", run.err);
    // Who waits, waits.
    let mut waiting = rig.spawn(&["lease", "heavy-io", "--", "true"]);
    rig.until("the second waits", || rig.leases().len() == 2);

    let run = rig.holdfast(&["start"]);
    assert_eq!(run.code, 0, "{}", run.err);
    let status = holder.wait().unwrap();
    let text = said(&mut holder);
    assert_eq!(status.code(), Some(5), "{text}");
    assert!(text.contains("recording"), "{text}");
    rig.until("all of the command is gone", || test_kill_process(sleeper).is_err());
    assert_eq!(rig.leases().len(), 1);
    // The other has its turn after the recording.
    let run = rig.holdfast(&["stop"]);
    assert_eq!(run.code, 0, "{}", run.err);
    let status = waiting.wait().unwrap();
    let text = said(&mut waiting);
    assert!(status.success() && text.contains("waiting for lease"), "{text}");
    assert_eq!(rig.holdfast(&["leases"]).out, "no leases\n");
}

#[test]
fn an_operator_takes_a_lease_back() {
    let Some(rig) = Rig::start() else { return };
    let ran = rig.shelf.path("ran");
    let script = format!("touch {}; sleep 1000", ran.display());
    let mut holder = rig.spawn(&["lease", "install", "--", "sh", "-c", &script]);
    rig.until("the command runs", || ran.exists());
    let id = rig.leases()[0]["id"].to_string();
    let run = rig.holdfast(&["leases", "revoke", &id]);
    assert_eq!(run.code, 0, "{}", run.err);
    assert_eq!(holder.wait().unwrap().code(), Some(5));
    assert!(said(&mut holder).contains("operator"));
    rig.until("it is over", || rig.leases().is_empty());

    // The holder dies without a word: its lease goes with it.
    std::fs::remove_file(&ran).unwrap();
    let mut holder = rig.spawn(&["lease", "install", "--", "sh", "-c", &script]);
    rig.until("the command runs", || ran.exists());
    holder.kill().unwrap();
    holder.wait().unwrap();
    rig.until("its lease is gone", || rig.leases().is_empty());
}
