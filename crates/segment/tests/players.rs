//! Files open in ffprobe, GStreamer and mkvmerge: closed, open, cut anywhere, recovered; with every codec.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::identity;
use common::media::{Footage, decoded, footage, gstreamer, mkvmerge, probe};
use holdfast_segment::{CloseReason, Codec, WriteOptions, Writer, recover, verify};
use std::path::{Path, PathBuf};

const H264: &[&str] = &["-c:v", "libx264", "-preset", "ultrafast"];
const H264_B_FRAMES: &[&str] = &["-c:v", "libx264", "-preset", "veryfast", "-bf", "2", "-b_strategy", "0"];
const H265: &[&str] = &["-c:v", "libx265", "-preset", "ultrafast", "-tag:v", "hvc1", "-x265-params", "log-level=0"];
const AAC: &[&str] = &["-c:a", "aac", "-ac", "2", "-ar", "48000"];
const OPUS: &[&str] = &["-c:a", "libopus", "-ar", "48000"];
const PCMA: &[&str] = &["-c:a", "pcm_alaw", "-ar", "8000", "-ac", "1"];
const PCMU: &[&str] = &["-c:a", "pcm_mulaw", "-ar", "8000", "-ac", "1"];

fn write(dir: &Path, footage: &Footage) -> Writer {
    let mut writer =
        Writer::create(dir, "x.mp4", identity(1), footage.tracks.clone(), &WriteOptions::default()).unwrap();
    for chunk in footage.chunks() {
        writer.append(&chunk).unwrap();
    }
    writer
}

/// Records, closes, and sees that players show exactly what the encoder made.
fn plays(video: &[&str], audio: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let Some(footage) = footage(dir.path(), video, audio) else {
        return;
    };
    let writer = write(dir.path(), &footage);
    let open = writer.part_path().to_owned();
    same(&open, &footage);
    let closed = writer.close(CloseReason::Stop).unwrap();
    same(&closed.path, &footage);
    gstreamer(&closed.path);
    let packets: Vec<usize> = (0..footage.tracks.len()).map(|track| footage.count(track)).collect();
    // mkvmerge knows G.711 only with a QuickTime brand, and cuts PCM anew.
    if let Some(found) = mkvmerge(&closed.path, false).filter(|_| !audio.iter().any(|word| word.starts_with("pcm"))) {
        assert_eq!(found, packets);
    }
    let report = verify::verify_file(&closed.path);
    assert!(report.findings.is_empty(), "{report}");
}

fn same(path: &Path, footage: &Footage) {
    let frames = probe(path);
    for (index, track) in footage.tracks.iter().enumerate() {
        let kind = if track.codec.is_video() { "v" } else { "a" };
        if track.codec.is_video() || matches!(track.codec, Codec::Pcma | Codec::Pcmu) {
            assert_eq!(frames[index], footage.count(index));
            assert_eq!(decoded(path, kind), decoded(&footage.source, kind), "{} of {}", kind, path.display());
        } else {
            // The source's edit list hides a packet of priming that stands in both files.
            assert!(frames[index].abs_diff(footage.count(index)) <= 1);
        }
    }
}

#[test]
fn h264_and_aac() {
    plays(H264, AAC);
}

#[test]
fn h264_with_b_frames_and_opus() {
    plays(H264_B_FRAMES, OPUS);
}

#[test]
fn h264_and_pcma() {
    plays(H264, PCMA);
}

#[test]
fn h265_and_pcmu() {
    plays(H265, PCMU);
}

#[test]
fn h265_alone() {
    plays(H265, &[]);
}

#[test]
fn sound_alone() {
    plays(&[], AAC);
}

#[test]
fn a_file_cut_anywhere_plays_up_to_there_and_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let Some(footage) = footage(dir.path(), H264, AAC) else {
        return;
    };
    let writer = write(dir.path(), &footage);
    let whole = std::fs::read(writer.part_path()).unwrap();
    drop(writer);
    for eighths in 2..8 {
        // Not on any boundary, not everywhere the same distance from one.
        let length = whole.len() * eighths / 8 + eighths * 31;
        let part: PathBuf = dir.path().join(format!("cut{eighths}.mp4.part"));
        std::fs::write(&part, &whole[..length]).unwrap();
        // Cut in the middle of a sample ffmpeg may complain of that one; it must show those before.
        let torn = decoded(&part, "v");
        gstreamer_takes(&part);
        assert!(mkvmerge(&part, true).is_none_or(|packets| packets[0] >= torn.len().saturating_sub(1)));
        let recovered = recover::recover(&part, None).unwrap();
        let ledger = recovered.ledger.unwrap();
        let frames = probe(&recovered.path);
        assert_eq!(frames[0] as u64, ledger.tracks[0].frames);
        assert!(ledger.tracks[0].frames > 0 && torn.len() >= frames[0]);
        let digests = decoded(&recovered.path, "v");
        assert_eq!(digests[..], decoded(&footage.source, "v")[..digests.len()]);
        gstreamer(&recovered.path);
        assert!(mkvmerge(&recovered.path, false).is_none_or(|packets| packets[0] == frames[0]));
        assert!(verify::verify_file(&recovered.path).is_ok());
    }
}

/// A torn file: the demuxer must get going; at the torn end it may say so.
fn gstreamer_takes(path: &Path) {
    if common::media::have("gst-launch-1.0") {
        let location = format!("location={}", path.display());
        let args = ["-q", "filesrc", &location, "!", "qtdemux", "!", "fakesink", "num-buffers=20"];
        common::media::run("gst-launch-1.0", &args);
    }
}
