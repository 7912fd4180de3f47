//! From the test source to verified files, over the real socket, in a real process.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use common::frames::assert_whole;
use common::{Box_, Client, PATIENCE, start};
use holdfast_link::{self as link, Event, Phase, ToCapture};
use holdfast_segment::{CloseReason, GapCause, Reader};

const SMALL: &str = "source = \"test\"\nwidth = 320\nheight = 180\nframerate = 30\naudio = true\nbitrate_kbps = 500";

#[test]
fn records_with_sound_and_stops() {
    let station = Box_::new("sync_interval_ms = 200", SMALL);
    let mut capture = station.capture();
    let client = capture.client();
    client.until_armed_with(0);
    client.start(start("s1"));
    let started = client.started();
    assert_eq!((started.request, started.session.as_str()), (1, "s1"));
    let opened =
        client.event("FileOpened", |event| if let Event::FileOpened(file) = event { Some(file.clone()) } else { None });
    assert_eq!(opened.sequence, 1);
    client.until_safe(60);
    let status = client.status().clone();
    assert_eq!((status.phase, status.session.as_deref()), (Phase::Recording, Some("s1")));
    assert_eq!((status.file, status.file_id), (opened.file.clone(), opened.file_id));
    assert!(status.safe_bytes > 0 && status.safe_until_mono_ns > status.first_mono_ns && status.sync_us > 0);
    let stopped = client.stop("s1");
    assert_eq!((stopped.request, stopped.files), (99, 1));
    assert_eq!(stopped.counts.source, stopped.counts.safe);
    let closed =
        client.event("FileClosed", |event| if let Event::FileClosed(file) = event { Some(file.clone()) } else { None });
    assert!(capture.shut_down().success());
    assert!(!station.socket().exists(), "a capture that ends takes its socket along");

    let report = station.verify("s1");
    assert_eq!(report.inputs[0].frames_lost, 0);
    let files = station.files("s1");
    assert_eq!(files.len(), 1);
    assert_eq!(files[0].file_name().unwrap().to_str().unwrap(), closed.file.as_str());
    assert_eq!(assert_whole(&files).len() as u64, stopped.counts.safe);
    let reader = Reader::open(&files[0]).unwrap();
    assert_eq!(reader.digest().unwrap().0, closed.digest);
    let ledger = reader.ledger().unwrap();
    assert_eq!(ledger.reason, CloseReason::Stop);
    assert_eq!((ledger.tracks.len(), ledger.tracks[0].frames), (2, stopped.counts.safe));
    assert_eq!((ledger.counts.source, ledger.counts.safe), (stopped.counts.safe, stopped.counts.safe));
    // The sound covers the pictures, to within a few of its own frames.
    let ends = [0, 1].map(|track: usize| ledger.tracks[track].end_mono_ns);
    assert!(ends[0].abs_diff(ends[1]) < 300_000_000, "{ends:?}");
}

#[test]
fn rotates_by_time_without_losing_or_doubling() {
    let station = Box_::new("sync_interval_ms = 100", SMALL);
    let mut capture = station.capture_with_rotation(1000);
    let client = capture.client();
    client.start(start("s1"));
    client.started();
    client.until("rotations", PATIENCE, |client| client.status().file_sequence >= 6);
    let stopped = client.stop("s1");
    assert_eq!(stopped.counts.source, stopped.counts.safe);
    assert!(capture.shut_down().success());
    let files = station.files("s1");
    assert_eq!(files.len() as u64, stopped.files);
    assert_eq!(assert_whole(&files).len() as u64, stopped.counts.safe);
    let report = station.verify("s1");
    assert_eq!((report.inputs[0].gap_ns, report.inputs[0].frames_lost), (0, 0));
    // Sound goes on over the cuts: where a file's ends, the next one's begins.
    let ledgers: Vec<_> = files.iter().map(|file| Reader::open(file).unwrap().ledger().unwrap().clone()).collect();
    for pair in ledgers.windows(2) {
        assert_eq!(pair[0].reason, CloseReason::Rotation);
        let break_ns = pair[1].tracks[1].start_mono_ns.abs_diff(pair[0].tracks[1].end_mono_ns);
        assert!(break_ns < 2_000_000, "the sound has a break of {break_ns} ns");
    }
    let wall: Vec<_> = files.iter().map(|file| Reader::open(file).unwrap().identity().clone()).collect();
    for pair in wall.windows(2) {
        assert_eq!(pair[1].previous.as_ref().unwrap().file_id, pair[0].file_id);
        assert!(pair[1].previous.as_ref().unwrap().digest.is_some());
    }
}

#[test]
fn rotates_by_bytes() {
    let input = "source = \"test\"\nwidth = 640\nheight = 360\nframerate = 30\naudio = false\nbitrate_kbps = 100000";
    let station = Box_::new("sync_interval_ms = 200\nrotation_mib = 16", input);
    let mut capture = station.capture();
    let client = capture.client();
    client.start(start("s1"));
    client.started();
    client.until("a rotation", PATIENCE, |client| client.status().file_sequence >= 2);
    let stopped = client.stop("s1");
    assert_eq!(stopped.counts.source, stopped.counts.safe);
    let files = station.files("s1");
    assert_eq!(assert_whole(&files).len() as u64, stopped.counts.safe);
    let first_bytes = std::fs::metadata(&files[0]).unwrap().len();
    assert!((15 << 20..24 << 20).contains(&first_bytes), "{first_bytes}");
    station.verify("s1");
}

#[test]
fn a_press_records_the_past() {
    let station = Box_::new("sync_interval_ms = 200\npreroll_seconds = 3", SMALL);
    let mut capture = station.capture();
    let client = capture.client();
    client.until_armed_with(3000);
    client.start(link::Start { preroll: true, ..start("s1") });
    let started = client.started();
    assert!((3000..5000).contains(&started.preroll_ms), "{started:?}");
    client.until_safe(85);
    let without = client.stop("s1");
    assert_eq!(without.counts.source, without.counts.safe);
    // Without pre-roll it begins with the GOP that is being received: nothing behind the press is missing.
    client.start(start("s2"));
    let started = client.started();
    assert!(started.preroll_ms < 1100, "{started:?}");
    client.stop("s2");
    assert!(capture.shut_down().success());
    for session in ["s1", "s2"] {
        assert_whole(&station.files(session));
        station.verify(session);
    }
}

#[test]
fn marks_are_kept() {
    let station = Box_::new("sync_interval_ms = 100", SMALL);
    let mut capture = station.capture();
    let client = capture.client();
    client.start(start("s1"));
    client.started();
    client.send(&ToCapture::Mark(link::Mark { mono_ns: 5, wall_ns: 6, text: link::clip("goal") }));
    client.stop("s1");
    let reader = Reader::open(&station.files("s1")[0]).unwrap();
    let marks = &reader.ledger().unwrap().marks;
    assert_eq!((marks.len(), marks[0].text.as_str(), marks[0].mono_ns), (1, "goal", 5));
}

#[test]
fn an_input_that_is_not_armed_runs_only_while_it_records() {
    let station = Box_::new("sync_interval_ms = 100", &format!("{SMALL}\narmed = false"));
    let mut capture = station.capture();
    let client = capture.client();
    client.start(start("s1"));
    client.started();
    client.until_safe(10);
    client.stop("s1");
    client.until("the source to end", PATIENCE, |client| client.status().phase == Phase::Connecting);
    client.start(link::Start { request: 2, ..start("s2") });
    assert_eq!(client.started().request, 2);
    client.stop("s2");
    assert_whole(&station.files("s2"));
}

#[test]
fn commands_that_make_no_sense_are_refused() {
    let station = Box_::new("sync_interval_ms = 100", SMALL);
    let mut capture = station.capture();
    let client = capture.client();
    let stop = |session: &str| {
        let reason = link::StopReason::Operator;
        ToCapture::Stop(link::Stop { request: 5, session: link::clip(session), reason, trace: 0 })
    };
    client.send(&stop("s1"));
    assert_eq!(client.refused().code, -1004);
    for directory in ["/etc", "../up", "a/../../b", ""] {
        client.start(link::Start { directory: link::clip(directory), ..start("s1") });
        assert_eq!(client.refused().code, -1001, "{directory}");
    }
    client.start(start("s1"));
    client.started();
    client.start(link::Start { request: 3, ..start("s2") });
    let refused = client.refused();
    assert_eq!((refused.request, refused.code), (3, -1006));
    assert!(refused.text.contains("s1"), "{refused:?}");
    client.send(&stop("s2"));
    assert_eq!(client.refused().code, -1003);
    // The same Start again is answered, and nothing else happens.
    client.start(link::Start { request: 4, ..start("s1") });
    assert_eq!(client.started().request, 4);
    let stopped = client.stop("s1");
    assert_eq!(stopped.files, 1);
    assert_whole(&station.files("s1"));
}

#[test]
fn a_resumed_recording_tells_its_gap() {
    let station = Box_::new("sync_interval_ms = 100", SMALL);
    let mut capture = station.capture();
    let client = capture.client();
    client.until_armed_with(0);
    let until_ns = client.status().mono_ns - 10_000_000_000;
    let resume = link::Resume {
        cause: link::GapCause::CaptureDied,
        safe_until_mono_ns: until_ns,
        frames_lost: 3,
        previous_sequence: 6,
        previous_file_id: Some([7; 16]),
        safe_until_wall_ns: 0,
    };
    client.start(link::Start { sequence: 7, resume: Some(resume), preroll: true, ..start("s1") });
    client.started();
    let gap = client.event("Gap", |event| if let Event::Gap(gap) = event { Some(gap.clone()) } else { None });
    assert_eq!((gap.cause, gap.frames_lost, gap.start_mono_ns), (link::GapCause::CaptureDied, 3, until_ns));
    client.stop("s1");
    let files = station.files("s1");
    assert!(files[0].file_name().unwrap().to_str().unwrap().starts_with("000007_"));
    let reader = Reader::open(&files[0]).unwrap();
    let told = reader.identity().gap_before.clone().unwrap();
    assert_eq!((told.cause, told.frames_lost), (GapCause::CaptureDied, 3));
    assert_eq!(told.start_mono_ns + told.duration_ns, reader.identity().start_mono_ns);
    let previous = reader.identity().previous.clone().unwrap();
    assert_eq!((previous.sequence, previous.file_id.0, previous.digest), (6, [7; 16], None));
}

#[test]
fn sigterm_closes_the_files() {
    let station = Box_::new("sync_interval_ms = 100", SMALL);
    let mut capture = station.capture();
    let client = capture.client();
    client.start(start("s1"));
    client.started();
    assert!(capture.terminate().success());
    station.verify("s1");
    let files = station.files("s1");
    assert_eq!(files.len(), 1);
    assert_eq!(Reader::open(&files[0]).unwrap().ledger().unwrap().reason, CloseReason::Shutdown);
}

#[test]
fn a_recorder_that_goes_and_comes_back_finds_the_recording_going_on() {
    let station = Box_::new("sync_interval_ms = 100", SMALL);
    let mut capture = station.capture();
    capture.client().start(start("s1"));
    capture.client().started();
    let before = capture.client().status().counts.safe;
    capture.leave();
    let mut second = Client::connect_within(&station.socket(), PATIENCE);
    assert_eq!(second.hello.as_ref().unwrap().pid, capture.child.id());
    assert_eq!(second.status().session.as_deref(), Some("s1"));
    second.until_safe(before + 30);
    second.start(start("s1"));
    second.started();
    let stopped = second.stop("s1");
    assert_eq!(stopped.counts.source, stopped.counts.safe);
    assert_whole(&station.files("s1"));
}
