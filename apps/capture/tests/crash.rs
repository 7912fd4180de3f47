//! SIGKILL at any moment: what the capture said is safe is there afterwards, playable, and at most one chunk more is missing.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use common::frames::{assert_whole, numbers};
use common::{Box_, PATIENCE, start};
use holdfast_link as link;
use holdfast_segment::{Reader, recover};
use rustix::rand::{GetRandomFlags, getrandom};

const SMALL: &str = "source = \"test\"\nwidth = 320\nheight = 180\nframerate = 30\naudio = true\nbitrate_kbps = 500";

/// Moments at which a capture is killed.
const KILLS: u32 = 100;
/// So many at a time: most of a round is waiting.
const AT_A_TIME: u32 = 5;
/// The players look at every so manieth file, as it was left.
const LOOK_AT: u32 = 4;

fn random_ms(below: u64) -> u64 {
    let mut bytes = [0; 8];
    getrandom(&mut bytes, GetRandomFlags::empty()).unwrap();
    u64::from_ne_bytes(bytes) % below
}

#[test]
fn what_was_safe_survives_sigkill() {
    std::thread::scope(|scope| {
        for worker in 0..AT_A_TIME {
            scope.spawn(move || (worker..KILLS).step_by(AT_A_TIME as usize).for_each(kill_once));
        }
    });
}

fn kill_once(round: u32) {
    let station = Box_::new("sync_interval_ms = 100", SMALL);
    let mut capture = station.capture_with_rotation(700);
    let client = capture.client();
    client.start(start("s1"));
    client.started();
    let moment = Instant::now() + Duration::from_millis(random_ms(2500));
    client.until("the moment", PATIENCE, |_| Instant::now() >= moment);
    // The newest word of the capture; more may have become safe since.
    let told = client.status().clone();
    capture.kill();

    for part in recover::scan_tree(&station.root()).unwrap() {
        // Killed between making a file and its first chunk, nothing of it was safe: no player owes it anything.
        let has_footage = Reader::open(&part).is_ok_and(|reader| reader.chunks().any(|chunk| chunk.is_ok()));
        if has_footage && round.is_multiple_of(LOOK_AT) {
            opens_without_repair(&part);
        }
        let recovered = recover::recover(&part, None).unwrap();
        assert_eq!(recovered.outcome != recover::Outcome::Empty, has_footage, "{recovered}");
    }
    let files = station.files("s1");
    let found = assert_whole(&files).len() as u64;
    assert!(found >= told.counts.safe, "round {round}: {found} of {} safe frames", told.counts.safe);
    let report = station.verify("s1");
    assert_eq!(report.inputs[0].frames_lost, 0);
}

/// GStreamer, ffprobe and mkvmerge take the file as the crash left it.
fn opens_without_repair(part: &Path) {
    assert!(!numbers(part).is_empty(), "GStreamer finds no picture in {}", part.display());
    player("ffprobe", &["-v", "error", "-count_packets", "-show_streams"], part, &[0]);
    // 1: done, with warnings.
    player("mkvmerge", &["--quiet", "--output", "/dev/null"], part, &[0, 1]);
}

fn player(program: &str, arguments: &[&str], part: &Path, fine: &[i32]) {
    match Command::new(program).args(arguments).arg(part).output() {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.code().is_some_and(|code| fine.contains(&code)), "{program}: {said}");
        }
        Err(error) => holdfast_aloud::skip(format_args!("{program} does not start: {error}")),
    }
}

#[test]
fn a_killed_recording_goes_on_with_its_gap_counted() {
    let station = Box_::new("sync_interval_ms = 100", SMALL);
    let mut capture = station.capture();
    let client = capture.client();
    client.start(start("s1"));
    client.started();
    client.until_safe(30);
    let told = client.status().clone();
    capture.kill();

    let mut capture = station.capture();
    let client = capture.client();
    let resume = link::Resume {
        cause: link::GapCause::CaptureDied,
        safe_until_mono_ns: told.safe_until_mono_ns,
        frames_lost: 0,
        previous_sequence: told.file_sequence,
        previous_file_id: Some(told.file_id),
        safe_until_wall_ns: 0,
    };
    client.start(link::Start { sequence: told.file_sequence + 1, resume: Some(resume), preroll: true, ..start("s1") });
    client.started();
    client.until_safe(30);
    let stopped = client.stop("s1");
    assert_eq!(stopped.counts.source, stopped.counts.safe);

    for part in recover::scan_tree(&station.root()).unwrap() {
        recover::recover(&part, None).unwrap();
    }
    let files = station.files("s1");
    assert_eq!(files.len(), 2);
    let (before, after) = (numbers(&files[0]), numbers(&files[1]));
    let missing = after[0] - before[before.len() - 1] - 1;
    let report = station.verify("s1");
    let gap_ms = report.inputs[0].gap_ns / 1_000_000;
    // The numbers in the pictures and the ledger tell the same gap, to within the last chunk that was safe but not yet told.
    let missing_ms = u64::from(missing) * 1000 / 30;
    assert!(gap_ms.abs_diff(missing_ms) <= 150, "ledger {gap_ms} ms, pictures {missing_ms} ms");
}
