//! Footage looped as live. The footage is what the test source has recorded, so its pictures are numbered.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::path::{Path, PathBuf};

use common::frames::numbers;
use common::{Box_, Client, PATIENCE, start};
use holdfast_link::{Phase, SourceState};
use holdfast_segment::Reader;

/// Some 2 s of pictures, as a segment file.
fn footage() -> (Box_, PathBuf) {
    let input = "source = \"test\"\nwidth = 320\nheight = 180\nframerate = 30\naudio = true\nbitrate_kbps = 500";
    let station = Box_::new("sync_interval_ms = 200", input);
    let mut capture = station.capture();
    let client = capture.client();
    client.start(start("made"));
    client.started();
    client.until_safe(60);
    client.stop("made");
    let file = station.files("made")[0].clone();
    (station, file)
}

fn station(file: &Path) -> Box_ {
    Box_::new("sync_interval_ms = 200", &format!("source = \"file\"\npath = {file:?}"))
}

fn failure(client: &Client) -> Option<String> {
    match &client.status().source {
        SourceState::Waiting { error, .. } => Some(error.as_str().to_owned()),
        _ => None,
    }
}

#[test]
fn loops_without_a_seam() {
    let (_made, file) = footage();
    let pictures = numbers(&file);
    let station = station(&file);
    let mut capture = station.capture();
    let client = capture.client();
    client.start(start("s1"));
    client.started();
    client.until_safe(3 * pictures.len() as u64);
    assert_eq!((client.status().phase, client.status().encoder.as_str()), (Phase::Recording, "copy"));
    let stopped = client.stop("s1");
    assert_eq!(stopped.counts.source, stopped.counts.safe);
    let report = station.verify("s1");
    assert_eq!((report.inputs[0].gap_ns, report.inputs[0].frames_lost), (0, 0));
    let files = station.files("s1");
    assert_eq!(files.len(), 1, "the seam is no other format");
    let found = numbers(&files[0]);
    assert_eq!(found.len() as u64, stopped.counts.safe);
    for (index, number) in found.iter().enumerate() {
        assert_eq!(*number, pictures[index % pictures.len()], "picture {index}");
    }
    let reader = Reader::open(&files[0]).unwrap();
    assert_eq!(reader.tracks().len(), 2);
    // Played at its own pace: as many pictures as fit into the time, and times that go on over the seam.
    let ledger = reader.ledger().unwrap();
    let length_ms = ledger.duration_ns / 1_000_000;
    let expected_ms = found.len() as u64 * 1000 / 30;
    assert!(length_ms.abs_diff(expected_ms) < 300, "{length_ms} ms for {expected_ms} ms");
    let samples = reader.chunks().flat_map(|chunk| chunk.unwrap().samples).filter(|sample| sample.track == 0);
    let times: Vec<u64> = samples.map(|sample| sample.dts).collect();
    assert!(times.windows(2).all(|pair| (2000..8000).contains(&(pair[1] - pair[0]))), "{times:?}");
}

#[test]
fn what_cannot_be_played_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let (_made, file) = footage();
    let whole = std::fs::read(&file).unwrap();
    let cases = [
        (directory.path().join("nothing.mp4"), "cannot be opened"),
        (write("text.mp4", b"this is no footage at all"), "no MP4, MOV or Matroska"),
        (write("short.mp4", b"abc"), "cannot be read"),
        (write("torn.mp4", &whole[..600]), "torn.mp4"),
    ];
    for (path, expected) in cases {
        let station = station(&path);
        let mut capture = station.capture();
        let client = capture.client();
        client.until("the failure", PATIENCE, |client| failure(client).is_some());
        let text = failure(client).unwrap();
        assert!(text.contains(expected), "{}: {text}", path.display());
        // The process stays and tries again.
        assert!(client.read(PATIENCE));
    }
}
