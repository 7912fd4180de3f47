//! The rig at work: a recording survives every cut, and writers and disks that cheat are caught.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Each rig uses all cores.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn rig() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_holdfast-powercut"))
}

/// Runs the rig; `None` where there can be none, which is told.
fn run(arguments: &[&str]) -> Option<Value> {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    // What it says goes past the harness: these tests take minutes.
    let output = Command::new(rig()).args(arguments).stderr(Stdio::inherit()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{arguments:?}: {}", output.status);
    let found: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    if let Some(why) = found["skipped"].as_str() {
        holdfast_aloud::skip(format_args!("no power was cut: {why}"));
        return None;
    }
    Some(found)
}

fn number(found: &Value, key: &str) -> u64 {
    found[key].as_u64().unwrap_or_else(|| panic!("no {key} in {found}"))
}

/// The programs that the recording takes: cargo does not build other packages' programs for a package's tests.
fn build_programs() {
    let profile = rig().parent().is_some_and(|directory| directory.ends_with("release")).then_some("--release");
    for words in [
        &["-p", "holdfast-recorder", "-p", "holdfast-ctl", "-p", "holdfast-capture", "--bins"][..],
        &["-p", "holdfast-capture", "--example", "short-rotation"],
    ] {
        let built = Command::new(env!("CARGO")).args(["build", "-q"]).args(words).args(profile).status().unwrap();
        assert!(built.success(), "{words:?} can't be built");
    }
}

/// 520 images of a real recording with rotation, a killed capture, retention, recycled blocks and journals; the same
/// recording on a disk that answers one flush without doing it; and with a file taken away that nobody has given up.
#[test]
fn nothing_that_was_safe_is_missing_after_any_cut_and_lying_disks_and_thieves_are_caught() {
    build_programs();
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("powercut");
    let (programs, kept) = (rig().parent().unwrap().to_str().unwrap(), kept.to_str().unwrap());
    let arguments = ["soak", "--programs", programs, "--keep", kept, "--images", "520", "--decode-every", "4"];
    let Some(found) = run(&[&arguments[..], &["--liar", "80", "--thief", "40", "--boots", "2"]].concat()) else {
        return;
    };
    assert_eq!(number(&found, "images"), 520);
    for what in ["safe_frames_lost", "files_unplayable", "images_bad", "images_with_loss"] {
        assert_eq!(number(&found, what), 0, "{what}: {}", found["problems"]);
    }
    assert!(number(&found, "chunks_missing_max") <= 1, "{}", found["problems"]);
    // It was about something.
    assert!(number(&found, "frames_owed") > 10_000, "{found}");
    assert!(number(&found, "writes_lost") > 100, "{found}");
    let retention = &found["retention"];
    assert!(number(retention, "files_deleted") > 2 && number(retention, "files_recycled") > 0, "{retention}");
    assert!(number(&found, "pictures_decoded") > 500, "{found}");
    assert_eq!(number(&found, "boots"), 2, "{found}");
    let liar = &found["liar"];
    assert!(number(liar, "images_bad") > 4 && number(liar, "safe_frames_lost") > 0, "{liar}");
    let thief = &found["thief"];
    assert!(number(thief, "stolen") > 20, "{thief}");
    assert_eq!(number(thief, "images_bad"), number(thief, "stolen"), "{thief}");
}

#[test]
fn the_writer_as_it_is_is_not_blamed() {
    let Some(found) = run(&["sloppy", "--mistake", "none", "--images", "150"]) else { return };
    assert_eq!(number(&found, "images"), 150);
    assert_eq!(number(&found, "images_bad"), 0, "{}", found["problems"]);
    assert!(number(&found, "frames_owed") > 10_000, "{found}");
}

#[test]
fn skipped_syncs_and_hasty_names_are_caught() {
    for mistake in ["skip-fdatasync", "rename-before-fsync", "skip-directory-sync"] {
        let Some(found) = run(&["sloppy", "--mistake", mistake, "--images", "60"]) else { return };
        assert!(number(&found, "images_with_loss") >= 10, "{mistake}: {found}");
        assert!(number(&found, "safe_frames_lost") >= 100, "{mistake}: {found}");
    }
}

/// Loop devices on images of a rig: their names, and which use of them this is.
fn loop_devices() -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for device in std::fs::read_dir("/sys/block").into_iter().flatten().flatten().map(|entry| entry.path()) {
        let text = |name: &str| std::fs::read_to_string(device.join(name)).unwrap_or_default().trim().to_owned();
        if text("loop/backing_file").ends_with("/image") {
            found.insert((device.display().to_string(), text("diskseq")));
        }
    }
    found
}

fn until(what: &str, mut look: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !look() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_rig_that_is_ended_or_killed_leaves_no_loop_device() {
    // Tells why, if there can be no rig.
    if run(&["sloppy", "--mistake", "none", "--images", "1"]).is_none() {
        return;
    }
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    for signal in ["TERM", "INT", "KILL"] {
        let before = loop_devices();
        let mut command = Command::new(rig());
        command.args(["sloppy", "--mistake", "none", "--images", "100000"]).stdout(Stdio::null()).stderr(Stdio::null());
        let mut rig = command.spawn().unwrap();
        until("images are judged", || loop_devices().difference(&before).count() > 3);
        assert!(Command::new("kill").args(["-s", signal, &rig.id().to_string()]).status().unwrap().success());
        let during = loop_devices();
        until("the rig has ended", || rig.try_wait().unwrap().is_some());
        // Another rig on this machine uses its devices again and again: each use has a number of its own.
        let left = || loop_devices().intersection(&during).filter(|device| !before.contains(device)).count();
        until("its devices are gone", || left() == 0);
    }
}
