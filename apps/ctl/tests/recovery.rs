//! `holdfast recovery` against a real recorder that was killed with its captures: what is listed, and that nothing is moved or
//! deleted before somebody has said so.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use common::bus::{Bus, Recorder};
use common::json;
use serde_json::Value;

/// A session that everything died under; its id. What runs then is the next recorder.
fn interrupted<'a>(bus: &'a Bus, recorder: Recorder<'a>, label: &str) -> (String, Recorder<'a>) {
    let started = bus.json(&["start", "--label", label]);
    let before = |shown: &Value| shown["safe_frames"].as_u64() >= Some(45) && shown["session"] == started["session"];
    bus.wait(before);
    recorder.dies();
    let recorder = Recorder::start(bus).unwrap();
    (started["session"].as_str().unwrap().to_owned(), recorder)
}

fn ids(sessions: &Value) -> Vec<&str> {
    sessions.as_array().unwrap().iter().map(|session| session["id"].as_str().unwrap()).collect()
}

/// Runs it as at a terminal, where somebody types this.
fn typed(bus: &Bus, arguments: &[&str], answer: &str) -> (i32, String) {
    let config = bus.config();
    let words = [&[env!("CARGO_BIN_EXE_holdfast"), "--config", &config], arguments].concat();
    let mut script = Command::new("script")
        .args(["--quiet", "--return", "--command", &words.join(" "), "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    script.stdin.take().unwrap().write_all(format!("{answer}\n").as_bytes()).unwrap();
    let output = script.wait_with_output().unwrap();
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn what_was_interrupted_is_listed_kept_and_discarded_only_when_that_is_meant() {
    let Some(bus) = Bus::start() else { return };
    bus.protect("resume = \"never\"");
    let Some(recorder) = Recorder::start(&bus) else { return };
    let run = bus.holdfast(&["recovery"]);
    assert!(run.code == 0 && run.out.contains("no session was ever interrupted"), "{}{}", run.out, run.err);
    let (id, _recorder) = interrupted(&bus, recorder, "cut off");

    // List, and show.
    let listed = bus.json(&["recovery"]);
    let session = &listed["interrupted"][0];
    assert_eq!((listed["interrupted"].as_array().unwrap().len(), session["id"].as_str()), (1, Some(id.as_str())));
    assert_eq!((session["state"].as_str(), session["label"].as_str()), (Some("interrupted"), Some("cut off")));
    assert_eq!((&session["rebooted"], &session["protected"]), (&Value::Bool(false), &Value::Bool(false)), "{listed}");
    let recovered = session["recovered"].as_array().unwrap();
    assert_eq!(recovered.len(), 1, "{listed}");
    assert!(recovered[0]["frames"].as_u64() >= Some(45) && session["safe_until"].as_i64() > Some(0), "{listed}");
    assert!(listed["set_aside"].as_array().unwrap().is_empty(), "{listed}");
    let run = bus.holdfast(&["recovery", "list"]);
    assert!(run.out.contains(&id) && run.out.contains("interrupted") && run.out.contains("cut off"), "{}", run.out);
    for word in ["last", &id[..16]] {
        let run = bus.holdfast(&["recovery", "show", word]);
        let reason = session["reason"].as_str().unwrap();
        assert!(run.code == 0 && run.out.contains(&format!("reason    {reason}: ")), "{}{}", run.out, run.err);
        assert!(run.out.contains("recovered ") && run.out.contains(" frames)"), "{}", run.out);
    }
    assert_eq!(bus.json(&["recovery", "show", &id])["recovered"], session["recovered"]);
    let run = bus.holdfast(&["recovery", "show", "20200101"]);
    assert!(run.code == 5 && run.err.contains("is none of the sessions that were interrupted"), "{}", run.err);
    for word in ["resume", "dismiss"] {
        let run = bus.holdfast(&["recovery", word]);
        assert!(run.code == 5 && run.err.contains("no session waits"), "{word}: {}", run.err);
    }

    // Kept: neither retention nor anybody else takes it.
    bus.json(&["recovery", "keep", "last"]);
    assert_eq!(bus.json(&["sessions"])[0]["protected"], true);
    let run = bus.holdfast(&["recovery", "discard", "--yes", &id]);
    assert!(run.code == 5 && run.err.contains("[-1015]"), "{}", run.err);
    bus.json(&["unprotect", &id]);

    // Discarded only if that was said: no terminal, JSON, another word than yes.
    let files = bus.shelf.root().join(recovered[0]["path"].as_str().unwrap());
    let unmoved = |why: &str| {
        assert!(files.exists(), "{why}: moved without a yes");
        assert_eq!(ids(&bus.json(&["sessions"])), [&id], "{why}");
    };
    for more in [&[][..], &["--json"]] {
        let run = bus.holdfast(&[&["recovery", "discard", &id], more].concat());
        assert_eq!(run.code, 2, "{}{}", run.out, run.err);
        assert!(format!("{}{}", run.out, run.err).contains("--yes"), "{}{}", run.out, run.err);
        unmoved("nobody there");
    }
    for answer in ["no", "", "y"] {
        let (code, said) = typed(&bus, &["recovery", "discard", &id], answer);
        assert!(
            code == 2 && said.contains("Type yes") && said.contains("nothing was done"),
            "{answer:?}: {code} {said}"
        );
        unmoved(answer);
    }
    let (code, said) = typed(&bus, &["recovery", "discard", &id], "yes");
    assert!(code == 0 && said.contains(&id), "{code} {said}");
    assert!(!files.exists() && ids(&bus.json(&["sessions"])).is_empty());

    // Out of the way is not gone: it is listed, and comes back.
    let aside = bus.json(&["recovery"])["set_aside"].clone();
    assert_eq!((aside.as_array().unwrap().len(), aside[0]["session"].as_str()), (1, Some(id.as_str())), "{aside}");
    bus.json(&["recovery", "restore", &id]);
    unmoved("restored");
    let discarded = bus.json(&["recovery", "discard", "--yes", &id]);
    let moved = discarded["discarded"][0]["moved"].as_str().unwrap().to_owned();
    assert!(Path::new(&moved).is_dir(), "{discarded}");

    // Purged for good, and only then.
    let run = bus.holdfast(&["recovery", "purge", &moved]);
    assert!(run.code == 2 && run.err.contains("FOR GOOD"), "{}", run.err);
    let (code, said) = typed(&bus, &["recovery", "purge", &moved], "no");
    assert!(code == 2 && Path::new(&moved).is_dir(), "{code} {said}");
    let run = bus.holdfast(&["recovery", "purge", "--yes", bus.shelf.root().to_str().unwrap()]);
    assert!(run.code == 5 && bus.shelf.root().is_dir(), "{}", run.err);
    bus.json(&["recovery", "purge", "--yes", &moved]);
    assert!(!Path::new(&moved).exists());
    assert!(bus.json(&["recovery"])["set_aside"].as_array().unwrap().is_empty());
}

#[test]
fn what_waits_is_resumed_or_dismissed() {
    let Some(bus) = Bus::start() else { return };
    bus.protect("resume = \"ask\"");
    let Some(recorder) = Recorder::start(&bus) else { return };
    let (id, recorder) = interrupted(&bus, recorder, "to go on");
    let run = bus.holdfast(&["recovery"]);
    assert!(run.out.contains("a session waits: holdfast recovery resume"), "{}", run.out);
    assert_eq!(bus.json(&["recovery", "resume"])["resumed"], id.as_str());
    bus.wait(|shown| shown["state"] == "recording" && shown["session"] == id.as_str());
    bus.wait(|shown| shown["safe_frames"].as_u64() >= Some(90));
    let run = bus.holdfast(&["recovery"]);
    assert!(run.out.contains(&format!("{id} went on ")), "{}", run.out);
    let totals = bus.json(&["stop"]);
    assert_eq!((totals["session"].as_str(), &totals["gaps"]), (Some(id.as_str()), &Value::from(1)), "{totals}");

    let (id, _recorder) = interrupted(&bus, recorder, "not to go on");
    let run = bus.holdfast(&["recovery", "dismiss", "20200101T000000Z-aaaaaa", "--json"]);
    assert_eq!(run.code, 5, "{}", run.out);
    assert!(json(&run.out)["error"]["code"].is_i64(), "{}", run.out);
    assert_eq!(bus.json(&["recovery", "dismiss", &id[..18]])["dismissed"], id.as_str());
    let listed = bus.json(&["recovery"]);
    let states: Vec<_> = listed["interrupted"].as_array().unwrap().iter().map(|session| &session["state"]).collect();
    assert_eq!(states, ["interrupted", "stopped"], "{listed}");
    assert_eq!(bus.json(&["status"])["state"], "idle");
}
