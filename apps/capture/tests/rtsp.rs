//! Cameras that work, and all the ways in which they don't. The cameras are simulated; RTSP and the network are real.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::os::unix::fs::PermissionsExt as _;

use common::camera::Camera;
use common::frames::numbers;
use common::{Box_, Capture, Client, PATIENCE, start};
use holdfast_link::{Event, GapCause, Phase, SourceState};
use holdfast_segment::{CloseReason, Codec, Reader};

fn station(url: &str, more: &str) -> Box_ {
    Box_::new("sync_interval_ms = 200", &format!("source = \"rtsp\"\nurl = \"{url}\"\n{more}"))
}

/// What the capture says about a source that does not work.
fn trouble(capture: &mut Capture) -> String {
    let client = capture.client();
    client.until("the first attempt to fail", PATIENCE, |client| failure(client).is_some());
    failure(client).unwrap()
}

fn failure(client: &Client) -> Option<String> {
    match &client.status().source {
        SourceState::Waiting { error, .. } => Some(error.as_str().to_owned()),
        _ => None,
    }
}

fn copies(arguments: &[&str], video: &str, audio: Option<&str>) {
    let Some(camera) = Camera::start(&[arguments, &["--size", "640x360", "--bitrate-kbps", "1000"]].concat()) else {
        return;
    };
    let station = station(&camera.url, "");
    let mut capture = station.capture();
    let client = capture.client();
    client.start(start("s1"));
    client.started();
    client.until_safe(75);
    assert_eq!(client.status().encoder.as_str(), "copy");
    let stopped = client.stop("s1");
    assert_eq!(stopped.counts.source, stopped.counts.safe, "{arguments:?}");
    let files = station.files("s1");
    let found: Vec<u32> = files.iter().flat_map(|file| numbers(file)).collect();
    assert_eq!(found.len() as u64, stopped.counts.safe, "{arguments:?}");
    // A stop may come between a P-frame and the B-frames before it, which are sent after it.
    let shown = found.len() - if arguments.contains(&"--bframes") { 3 } else { 0 };
    assert!(found[..shown].windows(2).all(|pair| pair[1] == pair[0] + 1), "{arguments:?}: {found:?}");
    let report = station.verify("s1");
    assert_eq!((report.inputs[0].frames_lost, report.inputs[0].gap_ns), (0, 0));
    let reader = Reader::open(files.last().unwrap()).unwrap();
    let codecs: Vec<&str> = reader.tracks().iter().map(|track| track.codec.name()).collect();
    let expected: Vec<&str> = [Some(video), audio].into_iter().flatten().collect();
    assert_eq!(codecs, expected);
    let ledger = reader.ledger().unwrap();
    if let Some(sound) = ledger.tracks.get(1) {
        let ends = ledger.tracks[0].end_mono_ns.abs_diff(sound.end_mono_ns);
        assert!(sound.frames >= 5 && ends < 400_000_000, "{arguments:?}: {ledger:?}");
    }
}

#[test]
fn copies_h264_with_every_sound() {
    for (argument, name) in [("aac", "AAC"), ("pcma", "PCMA"), ("pcmu", "PCMU"), ("opus", "Opus")] {
        copies(&["--audio", argument], "H.264", Some(name));
    }
    copies(&["--audio", "none"], "H.264", None);
}

#[test]
fn copies_h265() {
    copies(&["--codec", "h265"], "H.265", Some("AAC"));
}

#[test]
fn copies_b_frames() {
    copies(&["--bframes", "2", "--audio", "none"], "H.264", None);
}

#[test]
fn joins_in_the_middle_of_a_long_gop() {
    copies(&["--no-keyframe-on-play", "--gop-ms", "2000", "--audio", "none"], "H.264", None);
}

#[test]
fn another_picture_size_is_another_file() {
    let camera = Camera::start(&["--size", "640x360", "--sps-change-after-s", "3", "--audio", "aac"]);
    let Some(camera) = camera else { return };
    let station = station(&camera.url, "");
    let mut capture = station.capture();
    let client = capture.client();
    client.start(start("s1"));
    client.started();
    client.until("a second file", PATIENCE, |client| client.status().file_sequence >= 2);
    let safe = client.status().counts.safe;
    client.until_safe(safe + 30);
    let stopped = client.stop("s1");
    let files = station.files("s1");
    let media: Vec<_> = files.iter().map(|file| Reader::open(file).unwrap().tracks()[0].clone()).collect();
    assert_ne!(media[0], media[1]);
    let ledger = Reader::open(&files[0]).unwrap().ledger().unwrap().clone();
    assert_eq!(ledger.reason, CloseReason::FormatChange);
    station.verify("s1");
    let found: usize = files.iter().map(|file| numbers(file).len()).sum();
    assert_eq!(found as u64, stopped.counts.safe);
}

#[test]
fn a_camera_that_comes_back_goes_on_in_the_same_recording() {
    let Some(camera) = Camera::start(&["--size", "640x360"]) else {
        return;
    };
    let address = camera.address();
    let station = station(&camera.url, "");
    let mut capture = station.capture();
    let client = capture.client();
    client.start(start("s1"));
    client.started();
    client.until_safe(45);
    camera.kill();
    let waiting = |client: &common::Client| matches!(client.status().source, SourceState::Waiting { .. });
    client.until("the loss to be seen", PATIENCE, waiting);
    let status = client.status().clone();
    assert_eq!((status.phase, status.session.as_deref()), (Phase::Connecting, Some("s1")));
    let camera = Camera::start_at(&address, &["--size", "640x360"]).unwrap();
    client.until_safe(status.counts.safe + 45);
    let gap = client.event("Gap", |event| if let Event::Gap(gap) = event { Some(gap.clone()) } else { None });
    assert_eq!(gap.cause, GapCause::SourceLost);
    let stopped = client.stop("s1");
    drop(camera);

    let report = station.verify("s1");
    // The end of the camera may cut one picture in half, which is then on record as lost.
    assert_eq!(stopped.counts.source, stopped.counts.safe + report.inputs[0].frames_lost);
    assert!(report.inputs[0].frames_lost <= 1, "{report}");
    let gap_ms = report.inputs[0].gap_ns / 1_000_000;
    assert!(gap_ms.abs_diff(gap.duration_ms) <= 1, "{gap_ms} {gap:?}");
    let found: Vec<u32> = station.files("s1").iter().flat_map(|file| numbers(file)).collect();
    assert_eq!(found.len() as u64, stopped.counts.safe);
    let missing: u32 = found.windows(2).map(|pair| pair[1] - pair[0] - 1).sum();
    assert!(missing > 0 && found.windows(2).filter(|pair| pair[1] != pair[0] + 1).count() == 1);
    // The cameras' numbers go on with the clock, so the pictures tell the length of the gap, too.
    let missing_ms = u64::from(missing) * 1000 / 30;
    assert!(missing_ms.abs_diff(gap_ms) < 400, "pictures {missing_ms} ms, ledger {gap_ms} ms");
}

#[test]
fn a_camera_that_falls_silent_is_noticed() {
    let Some(mut camera) = Camera::start(&["--size", "640x360", "--audio", "none"]) else {
        return;
    };
    let station = station(&camera.url, "");
    let mut capture = station.capture();
    let client = capture.client();
    client.start(start("s1"));
    client.started();
    client.until_safe(30);
    // The connection stays; only no pictures come any more.
    camera.tell("mute");
    let source = client.status().counts.source;
    client.until("the silence to be noticed", PATIENCE, |client| failure(client).is_some());
    let text = failure(client).unwrap();
    assert!(text.contains("no picture has come for 5 s"), "{text}");
    let status = client.status().clone();
    assert!(status.counts.source < source + 90, "{status:?}");
    assert_eq!(status.counts.safe, status.counts.source, "what had come became safe: {status:?}");
    camera.tell("unmute");
    client.until_safe(status.counts.safe + 30);
    client.stop("s1");
    station.verify("s1");
}

#[test]
fn connections_that_break_again_and_again_are_made_again() {
    let Some(camera) = Camera::start(&["--size", "640x360", "--audio", "none", "--drop-after-s", "2"]) else {
        return;
    };
    let station = station(&camera.url, "");
    let mut capture = station.capture();
    let client = capture.client();
    client.start(start("s1"));
    client.started();
    // Its connections break every two seconds; each time the recording goes on.
    client.until_safe(120);
    let gap = client.event("Gap", |event| if let Event::Gap(gap) = event { Some(gap.clone()) } else { None });
    assert_eq!(gap.cause, GapCause::SourceLost);
    let stopped = client.stop("s1");
    // A break may cut one picture in half, which is then on record as lost.
    let report = station.verify("s1");
    let lost = report.inputs[0].frames_lost;
    let breaks: u64 = report.inputs[0].files.iter().map(|file| file.gaps.len() as u64).sum();
    assert_eq!(stopped.counts.source, stopped.counts.safe + lost);
    assert!(lost <= breaks, "{lost} lost over {breaks} breaks");
}

#[test]
fn an_unsupported_codec_is_named() {
    let Some(camera) = Camera::start(&["--codec", "mjpeg"]) else {
        return;
    };
    let text = trouble(&mut station(&camera.url, "").capture());
    assert!(text.contains("JPEG") && text.contains("H.264 and H.265"), "{text}");
}

#[test]
fn a_wrong_password_is_told_and_a_corrected_one_is_taken() {
    let Some(camera) = Camera::start(&["--user", "eye", "--password", "secret-7", "--size", "640x360"]) else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("cam0.credentials");
    let write = |text: &str| {
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    };
    write("eye:wrong-9");
    let station = station(&camera.url, &format!("credentials_file = {file:?}"));
    let mut capture = station.capture();
    let text = trouble(&mut capture);
    assert!(text.contains("401") && text.contains("cam0.credentials"), "{text}");
    assert!(!text.contains("wrong-9"), "{text}");
    write("eye\nsecret-7\n");
    capture.client().until_armed_with(100);

    let text = trouble(&mut self::station(&camera.url, "").capture());
    assert!(text.contains("401") && text.contains("credentials_file"), "{text}");
}

#[test]
fn a_wrong_path_is_told() {
    let Some(camera) = Camera::start(&["--audio", "none"]) else {
        return;
    };
    let url = camera.url.replace("/cam0", "/nothing");
    let text = trouble(&mut station(&url, "").capture());
    assert!(text.contains("404") && text.contains("path"), "{text}");
}

#[test]
fn an_address_where_nobody_is_is_told() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let text = trouble(&mut station(&format!("rtsp://127.0.0.1:{port}/cam0"), "").capture());
    assert!(text.contains("refused"), "{text}");
    let text = trouble(&mut station("rtsp://no-such-camera.invalid/cam0", "").capture());
    assert!(text.contains("cannot be resolved"), "{text}");
}

#[test]
fn a_recording_starts_before_its_camera_is_there() {
    let Some(camera) = Camera::start(&["--size", "640x360"]) else {
        return;
    };
    let address = camera.address();
    let station = station(&camera.url, "");
    camera.kill();
    let mut capture = station.capture();
    let client = capture.client();
    client.start(start("s1"));
    client.until("the first attempt to fail", PATIENCE, |client| {
        matches!(client.status().source, SourceState::Waiting { .. })
    });
    let _camera = Camera::start_at(&address, &["--size", "640x360"]).unwrap();
    client.started();
    let stopped = client.stop("s1");
    assert_eq!(stopped.counts.source, stopped.counts.safe);
    let first = &station.files("s1")[0];
    assert!(matches!(Reader::open(first).unwrap().tracks()[0].codec, Codec::H264 { .. }));
    station.verify("s1");
}
