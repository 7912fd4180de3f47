//! `holdfast leases` and `holdfast lease`: the real program, the real recorder, a real recording that takes a lease back.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::bus::{Bus, Recorder};
use rustix::process::{Pid, test_kill_process};

const DEADLINE: Duration = Duration::from_secs(60);

/// What waits for the end of a recording has its turn at once, not after the seconds in which the next may begin.
const NO_GRACE: &str = "lease_grace_seconds = 0";

fn spawn(bus: &Bus, arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
    command.args(arguments).env("HOLDFAST_CONFIG", bus.config()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn leases(bus: &Bus) -> Vec<serde_json::Value> {
    bus.json(&["leases"]).as_array().unwrap().clone()
}

/// How a command ended, in time.
fn ended(child: &mut Child) -> Option<i32> {
    until("the command ends", || child.try_wait().unwrap().is_some());
    child.wait().unwrap().code()
}

fn until(what: &str, mut look: impl FnMut() -> bool) {
    let began = Instant::now();
    while !look() {
        assert!(began.elapsed() < DEADLINE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn said(child: &mut Child) -> String {
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_command_runs_under_a_lease_and_ends_when_a_recording_begins() {
    let Some(bus) = Bus::start() else { return };
    bus.protect(NO_GRACE);
    let Some(_recorder) = Recorder::start_at_ease(&bus) else { return };
    let run = bus.holdfast(&["lease", "heavy-io", "--", "sh", "-c", "echo ran; exit 3"]);
    assert_eq!((run.code, run.out.as_str()), (3, "ran\n"), "{}", run.err);
    assert_eq!(bus.holdfast(&["leases"]).out, "no leases\n");
    for (arguments, code) in [
        (&["lease", "coffee", "--", "true"][..], 5),
        (&["lease", "heavy-io"], 2),
        (&["lease", "heavy-io", "--", "/no/such/program"], 7),
        (&["leases", "revoke", "4711"], 5),
    ] {
        let run = bus.holdfast(arguments);
        assert_eq!(run.code, code, "{arguments:?}: {}", run.err);
    }

    // A shell with a child of its own: both are to end, the child without being asked by the shell.
    let pids = bus.shelf.path("pids");
    let script = format!("sleep 1000 & echo $! > {0}.new; mv {0}.new {0}; wait", pids.display());
    let mut holder = spawn(&bus, &["lease", "heavy-io", "--reason", "the job", "--", "sh", "-c", &script]);
    until("the command runs", || pids.exists());
    let sleeper = std::fs::read_to_string(&pids).unwrap().trim().parse().ok().and_then(Pid::from_raw).unwrap();
    let listed = leases(&bus);
    assert_eq!((listed.len(), &listed[0]["state"], &listed[0]["reason"]), (1, &"granted".into(), &"the job".into()));
    assert_eq!(listed[0]["pid"], holder.id());
    let table = bus.holdfast(&["leases"]).out;
    assert!(table.contains("heavy-io") && table.contains("the job"), "{table}");
    // Who does not want to wait is told what it would wait for.
    let run = bus.holdfast(&["lease", "heavy-io", "--now", "--", "true"]);
    assert!(run.code == 5 && run.err.contains("comes first"), "{}", run.err);
    // Who waits, waits.
    let mut waiting = spawn(&bus, &["lease", "heavy-io", "--", "true"]);
    until("the second waits", || leases(&bus).len() == 2);

    let run = bus.holdfast(&["start"]);
    assert_eq!(run.code, 0, "{}", run.err);
    let code = ended(&mut holder);
    let text = said(&mut holder);
    assert_eq!(code, Some(5), "{text}");
    assert!(text.contains("recording"), "{text}");
    until("all of the command is gone", || test_kill_process(sleeper).is_err());
    assert_eq!(leases(&bus).len(), 1);
    // The other has its turn after the recording.
    let run = bus.holdfast(&["stop"]);
    assert_eq!(run.code, 0, "{}", run.err);
    let code = ended(&mut waiting);
    let text = said(&mut waiting);
    assert!(code == Some(0) && text.contains("waiting for lease"), "{text}");
    assert_eq!(bus.holdfast(&["leases"]).out, "no leases\n");
}

#[test]
fn an_operator_takes_a_lease_back() {
    let Some(bus) = Bus::start() else { return };
    bus.protect(NO_GRACE);
    let Some(_recorder) = Recorder::start_at_ease(&bus) else { return };
    let ran = bus.shelf.path("ran");
    let script = format!("touch {}; sleep 1000", ran.display());
    let mut holder = spawn(&bus, &["lease", "install", "--", "sh", "-c", &script]);
    until("the command runs", || ran.exists());
    let id = leases(&bus)[0]["id"].to_string();
    let run = bus.holdfast(&["leases", "revoke", &id]);
    assert_eq!(run.code, 0, "{}", run.err);
    assert_eq!(ended(&mut holder), Some(5));
    assert!(said(&mut holder).contains("operator"));
    until("it is over", || leases(&bus).is_empty());

    // The holder dies without a word: its lease goes with it.
    std::fs::remove_file(&ran).unwrap();
    let mut holder = spawn(&bus, &["lease", "install", "--", "sh", "-c", &script]);
    until("the command runs", || ran.exists());
    holder.kill().unwrap();
    holder.wait().unwrap();
    until("its lease is gone", || leases(&bus).is_empty());
}
