//! The power is cut at every write of the updater's state: no two bad slots, no lost result.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

/// The programs that the story takes: cargo does not build other packages' programs for a package's tests.
fn build_programs(rig: &Path) {
    let profile = rig.parent().is_some_and(|directory| directory.ends_with("release")).then_some("--release");
    let packages =
        ["-p", "holdfast-updater", "-p", "holdfast-recorder", "-p", "holdfast-ctl", "-p", "holdfast-capture"];
    for words in
        [&[&packages[..], &["--bins"]].concat()[..], &["-p", "holdfast-capture", "--example", "short-rotation"]]
    {
        let built = Command::new(env!("CARGO")).args(["build", "-q"]).args(words).args(profile).status().unwrap();
        assert!(built.success(), "{words:?} can't be built");
    }
}

/// 120 images of two real updates, of which one is rolled back: the updater killed in between, RAUC's slots, their status and the boot
/// order on the same disk. And as many of a disk that answers one flush without doing it, which must be noticed.
#[test]
fn no_cut_of_an_update_leaves_two_bad_slots_or_loses_a_result() {
    let rig = Path::new(env!("CARGO_BIN_EXE_holdfast-powercut"));
    build_programs(rig);
    // What it says goes past the harness: it takes a minute or two.
    let output = Command::new(rig)
        .arg("update")
        .arg("--programs")
        .arg(rig.parent().unwrap())
        .args(["--images", "120", "--liar", "200", "--boots", "1"])
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", output.status);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    if let Some(why) = found["skipped"].as_str() {
        holdfast_aloud::skip(format_args!("no power was cut of an update: {why}"));
        return;
    }
    let number = |found: &Value, key: &str| found[key].as_u64().unwrap_or_else(|| panic!("no {key} in {found}"));
    assert_eq!(number(&found, "images"), 120);
    for what in [
        "records_lost",
        "results_lost",
        "results_told_twice",
        "two_bad_slots",
        "half_systems_first",
        "bundles_lost",
        "stuck",
        "images_bad",
    ] {
        assert_eq!(number(&found, what), 0, "{what}: {}", found["problems"]);
    }
    // It was about something.
    assert!(number(&found, "cuts") > 60 && number(&found, "writes_lost") > 10, "{found}");
    assert!(number(&found, "half_written") > 0, "no image has a half written slot: {found}");
    assert!(found["phases"].as_object().unwrap().len() >= 6, "{found}");
    assert_eq!(number(&found, "boots"), 1, "{found}");
    assert!(number(&found["liar"], "images_bad") > 0, "{found}");
}
