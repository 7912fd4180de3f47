//! The encoder table and the evidence that an encoder of it works.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use common::frames::assert_whole;
use common::{Box_, PATIENCE, start};
use holdfast_capture::encoders::{self, Job, Row};
use holdfast_capture::probe::Probe;
use holdfast_link::SourceState;
use holdfast_segment::Reader;

const JOB: Job = Job { width: 320, height: 180, framerate: 30, bitrate_kbps: 500 };

fn real() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_holdfast-capture"))
}

fn installed() -> Vec<&'static Row> {
    gstreamer::init().unwrap();
    encoders::TABLE.iter().filter(|row| row.is_installed()).collect()
}

#[test]
fn the_table_says_what_the_facts_say() {
    let row = |name: &str| encoders::row(name).unwrap();
    let value = |name: &str, property: &str| {
        let row = row(name);
        let found = row.bitrate.iter().chain(row.gop).chain(row.fixed).find(|(known, _)| *known == property);
        found.map(|(_, template)| row.fill(template, &JOB))
    };
    for (name, property, expected) in [
        ("mpph264enc", "bps", "500000"),
        ("mpph265enc", "gop", "30"),
        ("mpph264enc", "header-mode", "each-idr"),
        ("nvv4l2h264enc", "bitrate", "500000"),
        ("nvv4l2h264enc", "iframeinterval", "30"),
        ("nvv4l2h264enc", "idrinterval", "30"),
        ("nvv4l2h265enc", "insert-sps-pps", "true"),
        ("vah264enc", "bitrate", "500"),
        ("vah264enc", "key-int-max", "30"),
        ("x264enc", "bitrate", "500"),
        ("openh264enc", "bitrate", "500000"),
        ("openh264enc", "gop-size", "30"),
    ] {
        assert_eq!(value(name, property).as_deref(), Some(expected), "{name} {property}");
    }
    assert!(value("v4l2h264enc", "extra-controls").unwrap().contains("video_bitrate=500000,h264_i_frame_period=30"));
    assert!(row("nvv4l2h264enc").colour_path.contains("nvvidconv ! video/x-raw(memory:NVMM)"));
    let unknown = encoders::row("h264magic").unwrap_err().to_string();
    assert!(unknown.contains("h264magic") && unknown.contains("x264enc"), "{unknown}");
}

#[test]
fn every_installed_encoder_works_or_says_why_not() {
    let runtime = tempfile::tempdir().unwrap();
    let probe = Probe::new(real().to_owned(), runtime.path());
    for row in installed() {
        match probe.works(row, &JOB) {
            Ok(()) => println!("{} works", row.element),
            Err(reason) => {
                assert!(!reason.is_empty());
                assert!(!["x264enc", "openh264enc", "x265enc"].contains(&row.element), "{}: {reason}", row.element);
            }
        }
    }
    // What was found is kept: asking again runs no child, not even one that would hang.
    let hanging = script(runtime.path(), "sleep 1000");
    let kept = Probe::new(hanging, runtime.path());
    let begin = Instant::now();
    for row in installed() {
        let _ = kept.works(row, &JOB);
    }
    assert!(begin.elapsed() < Duration::from_secs(1));
}

fn script(directory: &Path, line: &str) -> std::path::PathBuf {
    let path = directory.join("program");
    std::fs::write(&path, format!("#!/bin/sh\nexec {line}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn a_probe_that_hangs_or_crashes_is_no_evidence() {
    let Some(row) = installed().first().copied() else {
        holdfast_aloud::skip("no encoder is installed");
        return;
    };
    for (line, expected) in
        [("sleep 1000", "hung"), ("sh -c 'kill -SEGV $$'", "signal"), ("echo nonsense", "ended with")]
    {
        let runtime = tempfile::tempdir().unwrap();
        let program = script(runtime.path(), line);
        let probe = Probe::new(program, runtime.path()).with_deadline(Duration::from_millis(500));
        let begin = Instant::now();
        let reason = probe.works(row, &JOB).unwrap_err();
        assert!(reason.contains(expected), "{line}: {reason}");
        assert!(begin.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn every_installed_encoder_records() {
    for row in installed() {
        let codec = if row.codec == holdfast_config::Codec::H265 { "h265" } else { "h264" };
        let station = Box_::new(
            "sync_interval_ms = 200",
            &format!(
                "source = \"test\"\nwidth = 320\nheight = 180\nframerate = 30\naudio = false\nencoder = \"{}\"\ncodec = \"{codec}\"",
                row.element
            ),
        );
        let mut capture = station.capture();
        let client = capture.client();
        client.start(start("s1"));
        client.started();
        client.until_safe(75);
        assert_eq!(client.status().encoder.as_str(), row.element);
        let stopped = client.stop("s1");
        assert_eq!(stopped.counts.source, stopped.counts.safe, "{}", row.element);
        let files = station.files("s1");
        assert_eq!(assert_whole(&files).len() as u64, stopped.counts.safe);
        station.verify("s1");
        // A keyframe every second, none of them further apart.
        let reader = Reader::open(&files[0]).unwrap();
        let samples: Vec<_> = reader.chunks().flat_map(|chunk| chunk.unwrap().samples).collect();
        let keyframes: Vec<usize> = (0..samples.len()).filter(|index| samples[*index].sync).collect();
        assert!(keyframes.windows(2).all(|pair| pair[1] - pair[0] <= 30), "{}: {keyframes:?}", row.element);
        assert!(samples.iter().all(|sample| sample.pts == i64::try_from(sample.dts).unwrap()), "no B-frames");
    }
}

#[test]
fn a_named_encoder_that_is_missing_says_where_to_get_it() {
    gstreamer::init().unwrap();
    let Some(missing) = encoders::TABLE.iter().find(|row| !row.is_installed()) else {
        holdfast_aloud::skip("every encoder of the table is installed");
        return;
    };
    for (name, expected) in [(missing.element, "not installed. Install"), ("h264magic", "there is no encoder")] {
        let station = Box_::new("", &format!("source = \"test\"\nencoder = \"{name}\""));
        let mut capture = station.capture();
        let client = capture.client();
        client.until("the failure", PATIENCE, |client| matches!(client.status().source, SourceState::Waiting { .. }));
        let SourceState::Waiting { error, .. } = &client.status().source else { panic!() };
        assert!(error.contains(name) && error.contains(expected), "{error}");
    }
}

#[test]
fn a_missing_device_says_so() {
    let station = Box_::new("", "source = \"v4l2\"\ndevice = \"/dev/video-that-is-not-there\"");
    let mut capture = station.capture();
    let client = capture.client();
    client.until("the failure", PATIENCE, |client| matches!(client.status().source, SourceState::Waiting { .. }));
    let SourceState::Waiting { error, .. } = &client.status().source else { panic!() };
    assert!(error.contains("/dev/video-that-is-not-there") && error.contains("is not there"), "{error}");
}
