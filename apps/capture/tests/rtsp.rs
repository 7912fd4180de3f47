//! Cameras that work, and all the ways in which they don't.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use common::camera::Camera;
use common::{Box_, start};

fn station(url: &str) -> Box_ {
    Box_::new("sync_interval_ms = 200", &format!("source = \"rtsp\"\nurl = \"{url}\""))
}

#[test]
fn copies_h264_and_aac() {
    let Some(camera) = Camera::start(&["--size", "640x360"]) else {
        return;
    };
    let station = station(&camera.url);
    let mut capture = station.capture();
    let client = capture.client();
    client.until_armed_with(1000);
    let mut start = start("s1");
    start.preroll = true;
    client.start(start);
    let started = client.started();
    println!("{started:?}");
    client.until_safe(120);
    let stopped = client.stop("s1");
    println!("{stopped:?}");
    assert_eq!(stopped.counts.source, stopped.counts.safe);
    println!("{:?}", station.files("s1"));
    let out = std::process::Command::new("ffprobe")
        .args(["-hide_banner"])
        .arg(&station.files("s1")[0])
        .output()
        .unwrap();
    println!("{}", String::from_utf8_lossy(&out.stderr));
}
