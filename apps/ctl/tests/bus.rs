//! The real program against the real recorder with a real capture, on a bus of its own.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use common::bus::{Bus, Process, Recorder};
use common::{json, run_with};
use serde_json::Value;

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
    let Some(_recorder) = Recorder::start(&bus) else { return };

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
    let verified = bus.json(&["verify", "--decode", "last"]);
    assert_eq!(verified["ok"], true, "{verified:#}");
    let decoded = &verified["decoded"][0];
    assert_eq!((&decoded["pictures"], &decoded["numbered"]), (&totals["safe_frames"], &totals["safe_frames"]));
    let out = bus.shelf.path("out.mp4");
    let exported = bus.json(&["export", "last", "-o", out.to_str().unwrap()]);
    assert_eq!(exported[0]["summary"]["tracks"][0]["frames"], totals["safe_frames"]);
    assert_eq!(exported[0]["summary"]["chapters"][0][1], "two words");
    misses_its_last_file(&bus, &session);

    bus.json(&["disarm"]);
    bus.wait(|shown| shown["inputs"][0]["armed"] == false);
    bus.json(&["arm", "cam-0"]);
    bus.wait(|shown| shown["inputs"][0]["state"] == "armed");
    let run = bus.holdfast(&["doctor"]);
    assert_eq!(run.code, 0, "{}{}", run.out, run.err);
}

/// Whoever is asked, the recorder or the disk, and for whatever: a program can tell it by one exit code and one number.
#[test]
fn a_session_that_is_not_there_is_told_alike_by_every_command() {
    let Some(bus) = Bus::start() else { return };
    let Some(_recorder) = Recorder::start(&bus) else { return };
    // There is one, but not this one.
    bus.json(&["start"]);
    bus.json(&["stop"]);
    let no = "20200101T000000Z-aaaaaa";
    for arguments in [
        &["show", no][..],
        &["protect", no],
        &["unprotect", no],
        &["stop", "--session", no],
        &["verify", no],
        &["export", no],
        &["recovery", "show", no],
        &["recovery", "keep", no],
        &["recovery", "resume", no],
        &["recovery", "dismiss", no],
        &["recovery", "discard", "--yes", no],
        &["recovery", "restore", no],
    ] {
        let run = bus.holdfast(&[arguments, &["--json"]].concat());
        let error = &json(&run.out)["error"];
        assert_eq!(
            (run.code, &error["exit"], &error["code"]),
            (5, &5.into(), &(-1003).into()),
            "{arguments:?}: {error}"
        );
        assert_eq!(error["name"], "org.holdfast.Error.UnknownSession", "{arguments:?}");
    }
    // As it is documented.
    let run = bus.holdfast(&["man"]);
    assert!(run.out.contains("a session or an input that is not there"), "{}", run.out);
}

/// What is gone from the end of a session shows in no chain of files: the session's journal knows it.
fn misses_its_last_file(bus: &Bus, session: &Value) {
    let name = session["file_list"].as_array().unwrap().last().unwrap()["path"].as_str().unwrap();
    let (file, aside) = (bus.shelf.root().join(name), bus.shelf.path("aside.mp4"));
    std::fs::rename(&file, &aside).unwrap();
    let input = file.parent().unwrap().to_str().unwrap();
    for what in ["last", input] {
        let run = bus.holdfast(&["verify", what]);
        assert_eq!(run.code, 1, "{}{}", run.out, run.err);
        let told = file.file_name().unwrap().to_string_lossy();
        assert!(run.out.contains(told.as_ref()) && run.out.contains("is not there: it was closed with"), "{}", run.out);
    }
    std::fs::rename(&aside, &file).unwrap();
    let run = bus.holdfast(&["verify", input]);
    assert!(run.code == 0 && run.out.contains("all that was recorded is there"), "{}{}", run.out, run.err);
}

/// What an input without a capture looks like: its camera is unplugged.
#[test]
fn a_camera_that_is_away_is_shown_before_it_is_recorded() {
    let Some(bus) = Bus::start() else { return };
    bus.more(
        "input.toml",
        "[[input]]\nname = \"away\"\nsource = \"file\"\npath = \"/no/such/file.mp4\"\narmed = false\n",
    );
    let Some(_recorder) = Recorder::start(&bus) else { return };
    let shown = bus.wait(|shown| shown["inputs"][1]["reachable"] == "no");
    let why = shown["inputs"][1]["reach_error"].as_str().unwrap();
    assert!(why.contains("/no/such/file.mp4: cannot be opened"), "{why}");
    for command in ["inputs", "status"] {
        let run = bus.holdfast(&[command]);
        let row = run.out.lines().find(|line| line.starts_with("away ")).unwrap_or_else(|| panic!("{}", run.out));
        assert!(row.contains("off") && row.contains("unreachable"), "{}", run.out);
        assert!(run.out.contains(&format!("\naway: {why}")), "{}", run.out);
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
    // No capture makes do with so little.
    bus.protect("memory_alert_mib = 16");
    let Some(_recorder) = Recorder::start(&bus) else { return };

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
