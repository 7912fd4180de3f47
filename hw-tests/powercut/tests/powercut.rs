//! The rig at work: a recording survives every cut, and writers and disks that cheat are caught.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;

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

/// 520 images of a real recording with rotation, a killed capture, retention, recycled blocks and journals; and the same
/// recording on a disk that answers one flush without doing it.
#[test]
fn nothing_that_was_safe_is_missing_after_any_cut_and_a_disk_that_lies_is_caught() {
    build_programs();
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("powercut");
    let (programs, kept) = (rig().parent().unwrap().to_str().unwrap(), kept.to_str().unwrap());
    let arguments = ["soak", "--programs", programs, "--keep", kept, "--images", "520", "--decode-every", "4"];
    let Some(found) = run(&[&arguments[..], &["--liar", "80", "--boots", "2"]].concat()) else {
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
    assert!(number(&found, "files_recycled") > 1, "{found}");
    assert!(number(&found, "pictures_decoded") > 500, "{found}");
    assert_eq!(number(&found, "boots"), 2, "{found}");
    let liar = &found["liar"];
    assert!(number(liar, "images_bad") > 4 && number(liar, "safe_frames_lost") > 0, "{liar}");
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
