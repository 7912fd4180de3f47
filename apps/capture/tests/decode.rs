//! Decoding of what was recorded, in a process of its own: the real program on real footage.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Box_, start};
use holdfast_capture::encoders;
use holdfast_segment::verify::verify_files;
use serde_json::Value;

const SMALL: &str = "source = \"test\"\nwidth = 320\nheight = 240\nframerate = 30\nbitrate_kbps = 500";

/// Records so many frames with this encoder; the files, and where they are.
fn record(encoder: &str, frames: u64, audio: bool) -> (Box_, Vec<PathBuf>) {
    let input = format!("{SMALL}\naudio = {audio}\nencoder = \"{encoder}\"");
    let station = Box_::new("sync_interval_ms = 200", &input);
    let mut capture = station.capture_with_rotation(2000);
    let client = capture.client();
    client.start(start("s1"));
    client.started();
    client.until_safe(frames);
    client.stop("s1");
    assert!(capture.shut_down().success());
    let files = station.files("s1");
    // Whatever is in the pictures: it is what the encoder gave.
    let report = verify_files(&files);
    assert!(report.is_ok(), "{report}");
    (station, files)
}

fn decode(arguments: &[&Path]) -> (i32, Value) {
    let program = env!("CARGO_BIN_EXE_holdfast-capture");
    let output = Command::new(program).arg("decode").args(arguments).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let answer = text.lines().last().unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code().unwrap(), serde_json::from_str(answer).unwrap())
}

fn sum(answer: &Value, key: &str) -> u64 {
    answer["files"].as_array().unwrap().iter().map(|file| file[key].as_u64().unwrap()).sum()
}

fn fault(answer: &Value) -> (String, String) {
    let of = |file: &Value| {
        let fault = file.get("fault").filter(|fault| !fault.is_null())?;
        Some((fault["kind"].as_str()?.to_owned(), fault["text"].as_str()?.to_owned()))
    };
    answer["files"].as_array().unwrap().iter().find_map(of).unwrap_or_default()
}

#[test]
fn good_footage_of_every_encoder_is_decoded_and_compared() {
    gstreamer::init().unwrap();
    for encoder in ["x264enc", "openh264enc", "x265enc"] {
        if !encoders::row(encoder).unwrap().is_installed() {
            holdfast_aloud::skip(format_args!("{encoder} is not installed"));
            continue;
        }
        let (station, files) = record(encoder, 90, true);
        let (code, answer) = decode(&[&station.root()]);
        assert_eq!((code, &answer["complete"]), (0, &Value::Bool(true)), "{encoder}: {answer:#}");
        let frames = sum(&answer, "frames");
        assert!(frames >= 90, "{encoder}: {answer:#}");
        assert_eq!((sum(&answer, "pictures"), sum(&answer, "numbered")), (frames, frames), "{encoder}: {answer:#}");
        assert!(sum(&answer, "keyframes") >= 3 && sum(&answer, "packets") > 30, "{encoder}: {answer:#}");
        assert_eq!(answer["files"].as_array().unwrap().len(), files.len());
        assert_eq!(answer["files"][0]["extent"], "whole");

        // Of its end alone, from a keyframe on.
        let (code, part) = decode(&[Path::new("--last-seconds"), Path::new("1"), &station.root()]);
        let few = sum(&part, "frames");
        assert!(code == 0 && few >= 30 && few < frames && few == sum(&part, "pictures"), "{encoder}: {part:#}");
        assert!(part["files"].as_array().unwrap().iter().all(|file| file["extent"] == "part"), "{part:#}");
    }
}

#[test]
fn whole_bytes_that_are_no_pictures_are_found() {
    let (_station, files) = record("sim-smear", 120, false);
    let paths: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    let (code, answer) = decode(&paths);
    let (kind, text) = fault(&answer);
    assert!(code == 1 && kind == "undecodable" && !text.is_empty(), "{answer:#}");
}

#[test]
fn pictures_that_stand_still_are_found() {
    let (_station, files) = record("sim-freeze", 120, false);
    let paths: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    let (code, answer) = decode(&paths);
    let (kind, text) = fault(&answer);
    assert!(code == 1 && kind == "differs" && text.contains("is the one before it again"), "{answer:#}");
}

#[test]
fn what_is_being_written_is_decoded_as_far_as_it_is_safe() {
    let station = Box_::new("sync_interval_ms = 200", &format!("{SMALL}\naudio = false\nencoder = \"x264enc\""));
    let mut capture = station.capture();
    let client = capture.client();
    client.start(start("s1"));
    client.started();
    client.until_safe(60);
    let (code, answer) = decode(&[Path::new("--last-seconds"), Path::new("30"), &station.root()]);
    assert!(code == 0 && sum(&answer, "pictures") >= 60, "{answer:#}");
    assert!(answer["files"][0]["path"].as_str().unwrap().ends_with(".part"), "{answer:#}");
    let stopped = client.stop("s1");
    assert_eq!(stopped.counts.source, stopped.counts.safe, "it cost the recording frames");
    assert!(capture.shut_down().success());
}

#[test]
fn what_is_no_footage_and_a_time_that_is_over_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let noise = directory.path().join("000001.mp4");
    std::fs::write(&noise, [7; 4096]).unwrap();
    let (code, answer) = decode(&[&noise]);
    assert!(code == 1 && fault(&answer).0 == "undecodable", "{answer:#}");
    let (_station, files) = record("x264enc", 30, false);
    let (code, answer) = decode(&[Path::new("--within-seconds"), Path::new("0"), &files[0]]);
    assert_eq!((code, &answer["complete"]), (1, &Value::Bool(false)), "{answer:#}");
}
