//! What a 1080p30 4 Mb/s copy costs, against `ffmpeg -c copy -f segment` beside it. Not part of the suite: run it in release.
//!
//! `cargo test --release -p holdfast-capture --test measure -- --ignored --nocapture`
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::camera::Camera;
use common::{Box_, start};

fn seconds() -> u64 {
    std::env::var("MEASURE_S")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(30)
}

/// 20 s of noise-like footage with sound, so that the bit rate is really used.
fn clip(directory: &Path) -> std::path::PathBuf {
    let clip = directory.join("clip.mp4");
    let made = Command::new("ffmpeg")
        .args([
            "-hide_banner",
            "-loglevel",
            "error",
            "-f",
            "lavfi",
            "-i",
            "testsrc2=size=1920x1080:rate=30,noise=alls=12:allf=t",
        ])
        .args(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-t", "20"])
        .args([
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-bf",
            "0",
            "-g",
            "30",
            "-sc_threshold",
            "0",
        ])
        .args([
            "-b:v", "4M", "-minrate", "4M", "-maxrate", "4M", "-bufsize", "4M", "-pix_fmt", "yuv420p",
        ])
        .args(["-c:a", "aac", "-b:a", "128k"])
        .arg(&clip)
        .status()
        .unwrap();
    assert!(made.success());
    clip
}

/// CPU time of all living threads in milliseconds, and voluntary context switches.
fn cost(pid: u32) -> (f64, u64) {
    let (mut ns, mut switches) = (0, 0);
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten() {
        let schedstat = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        let mine: u64 = schedstat
            .split(' ')
            .next()
            .and_then(|first| first.parse().ok())
            .unwrap_or(0);
        ns += mine;
        let status = std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
        let line = |name: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0");
            value
                .trim()
                .trim_start_matches(':')
                .trim()
                .split(' ')
                .next()
                .unwrap_or("0")
                .to_owned()
        };
        switches += line("voluntary_ctxt_switches").parse::<u64>().unwrap_or(0);
        if std::env::var_os("MEASURE_THREADS").is_some() {
            println!("  {:<16} {:>7.0} ms", line("Name"), mine as f64 / 1e6);
        }
    }
    (ns as f64 / 1e6, switches)
}

fn rss_mb(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap_or("VmRSS: 0");
    line.split_whitespace()
        .nth(1)
        .and_then(|kb| kb.parse::<f64>().ok())
        .unwrap_or(0.0)
        / 1024.0
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn compare(name: &str, input: &str, ffmpeg_input: &[&str]) {
    let station = Box_::new("", input);
    let mut capture = station.capture();
    let pid = capture.child.id();
    capture.client().until_armed_with(500);
    capture.client().start(start("m1"));
    capture.client().started();

    let out = station.directory.path().join("ffmpeg%03d.mp4");
    let ffmpeg = Command::new("ffmpeg")
        .args(["-hide_banner", "-loglevel", "error", "-nostdin"])
        .args(ffmpeg_input)
        .args([
            "-c",
            "copy",
            "-f",
            "segment",
            "-segment_time",
            "300",
            "-reset_timestamps",
            "1",
        ])
        .arg(out)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let ffmpeg = Running(ffmpeg);
    let settle = Duration::from_secs(3);
    let settled = Instant::now() + settle;
    capture
        .client()
        .until("settling", settle * 3, |_| Instant::now() >= settled);
    let (ours_before, our_switches) = cost(pid);
    let (theirs_before, their_switches) = cost(ffmpeg.0.id());
    let measured = Duration::from_secs(seconds());
    let end = Instant::now() + measured;
    capture
        .client()
        .until("the end", measured * 2, |_| Instant::now() >= end);
    let (ours, ours_after) = cost(pid);
    let (theirs, theirs_after) = cost(ffmpeg.0.id());
    let (ours, theirs) = (ours - ours_before, theirs - theirs_before);
    let per_minute = 60.0 / measured.as_secs_f64() / 1000.0;
    println!(
        "{name}: ours {:.3} CPU s/min, {:.0} wake-ups/s, {:.1} MB; ffmpeg {:.3} CPU s/min, {:.0} wake-ups/s, {:.1} MB; ratio {:.2}",
        ours * per_minute,
        (ours_after - our_switches) as f64 / measured.as_secs_f64(),
        rss_mb(pid),
        theirs * per_minute,
        (theirs_after - their_switches) as f64 / measured.as_secs_f64(),
        rss_mb(ffmpeg.0.id()),
        ours / theirs,
    );
    let stopped = capture.client().stop("m1");
    assert_eq!(stopped.counts.source, stopped.counts.safe);
}

#[test]
#[ignore = "a measurement, for release builds on a quiet box"]
fn file_copy() {
    let directory = tempfile::tempdir().unwrap();
    let clip = clip(directory.path());
    let text = clip.to_str().unwrap();
    compare(
        "file",
        &format!("source = \"file\"\npath = {text:?}"),
        &["-re", "-stream_loop", "-1", "-i", text],
    );
}

#[test]
#[ignore = "a measurement, for release builds on a quiet box"]
fn rtsp_copy() {
    let directory = tempfile::tempdir().unwrap();
    let clip = clip(directory.path());
    let Some(camera) = Camera::start(&["--file", clip.to_str().unwrap()]) else {
        return;
    };
    let url = &camera.url;
    compare(
        "rtsp",
        &format!("source = \"rtsp\"\nurl = {url:?}"),
        &["-rtsp_transport", "tcp", "-i", url],
    );
}
