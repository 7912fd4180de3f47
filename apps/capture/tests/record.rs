//! From the test source to verified files, over the real socket, in a real process.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use common::{Box_, start};

const SMALL: &str = "source = \"test\"\nwidth = 320\nheight = 180\nframerate = 30\naudio = true\nbitrate_kbps = 500";

#[test]
fn records_and_stops() {
    let station = Box_::new("sync_interval_ms = 200", SMALL);
    let mut capture = station.capture();
    let client = capture.client();
    client.start(start("s1"));
    client.started();
    client.until_safe(60);
    let stopped = client.stop("s1");
    assert_eq!(stopped.counts.source, stopped.counts.safe);
    assert_eq!(stopped.files, 1);
    assert!(capture.shut_down().success());
    for file in station.files("s1") {
        println!("{}", file.display());
    }
}
