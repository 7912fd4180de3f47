//! Processes die while a session is recorded. What must hold: the session goes on under its id, every safe frame is there, and
//! what is missing is told with its cause.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::path::Path;

use common::{Box, kill, test_input};
use futures_util::StreamExt;
use holdfast_dbus::{FilesOptions, ListOptions, StartOptions};
use holdfast_segment::verify::verify_session;
use holdfast_segment::{GapCause, Reader};
use rustix::process::{Pid, Signal, kill_process};

/// All footage is whole and accounted for.
fn assert_whole(dir: &Path) -> holdfast_segment::verify::SessionReport {
    let report = verify_session(dir).unwrap();
    assert!(report.is_ok(), "{report}");
    report
}

#[tokio::test]
async fn a_dead_capture_is_replaced_and_the_session_goes_on() {
    let holdfast = Box::new(&(test_input("cam0", true) + &test_input("cam1", true))).await;
    let recorder = holdfast.recorder().await;
    let mut gaps = recorder.receive_gap_recorded().await.unwrap();
    let path = holdfast.start("").await;
    holdfast.until_safe_frames("cam0", 40).await;
    let input = holdfast.input("cam0").await;
    let (pid, safe) = (input.pid().await.unwrap(), input.safe_frames().await.unwrap());

    kill(pid);
    holdfast
        .until("a new capture that records", || async {
            input.pid().await.unwrap() != pid && input.state().await.unwrap() == "recording"
        })
        .await;
    assert_eq!(input.restarts().await.unwrap(), 1);
    assert_eq!(input.session().await.unwrap(), path);
    assert_eq!(recorder.state().await.unwrap(), "recording");
    holdfast.until_safe_frames("cam0", safe + 40).await;
    let gap = gaps.next().await.unwrap();
    let gap = gap.args().unwrap();
    assert_eq!((gap.input.as_str(), gap.cause.as_str(), &gap.session), ("cam0", "capture-died", &path));
    assert!(gap.info.duration_usec > 0);

    let session = holdfast.session(&path).await;
    let is_recovered = || async {
        let files = session.list_files(FilesOptions::default()).await.unwrap();
        files.iter().any(|file| file.input == "cam0" && file.recovered == Some(true))
    };
    holdfast.until("the dead capture's file to be recovered", is_recovered).await;
    let totals = holdfast.stop().await;
    let files = session.list_files(FilesOptions::default()).await.unwrap();
    assert_eq!((totals.session, totals.gaps, totals.files), (path.clone(), 1, 3), "{files:#?}\n{}", holdfast.log());
    assert_eq!(session.gaps().await.unwrap()[0].cause, "capture-died");

    // The files tell the same story, and hold what was said to be safe.
    let files = session.list_files(FilesOptions::default()).await.unwrap();
    let in_files: u64 = files.iter().map(|file| file.frames.unwrap()).sum();
    assert_eq!(in_files, totals.safe_frames);
    let dir = session.path().await.unwrap();
    let report = assert_whole(Path::new(&dir));
    let causes = |name: &str| {
        let input = report.inputs.iter().find(|input| input.input == name).unwrap();
        input.files.iter().flat_map(|file| &file.gaps).map(|gap| gap.cause).collect::<Vec<_>>()
    };
    assert_eq!((causes("cam0"), causes("cam1")), (vec![GapCause::CaptureDied], vec![]));
}

/// Random moments at which the recorder is killed during one recording.
const RECORDER_KILLS: u32 = 50;

fn random(below: u64) -> u64 {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).unwrap();
    u64::from_ne_bytes(bytes) % below
}

#[tokio::test]
async fn a_dead_recorder_costs_no_frame() {
    let mut holdfast = Box::new(&test_input("cam0", true)).await;
    let options = StartOptions { token: Some("t".into()), wait_ms: Some(20_000), ..StartOptions::default() };
    let (path, _) = holdfast.recorder().await.start(options.clone()).await.unwrap();
    let pid = holdfast.input("cam0").await.pid().await.unwrap();
    let mut safe = 0;
    for _ in 0..RECORDER_KILLS {
        safe += random(15);
        holdfast.until_safe_frames("cam0", safe).await;
        holdfast.kill_recorder();
        holdfast.start_recorder().await;
        let recorder = holdfast.recorder().await;
        assert_eq!(recorder.current_session().await.unwrap(), path, "{}", holdfast.log());
        assert_eq!(recorder.state().await.unwrap(), "recording");
        assert_eq!(recorder.start(options.clone()).await.unwrap(), (path.clone(), false));
    }
    let input = holdfast.input("cam0").await;
    holdfast.until_safe_frames("cam0", safe + 30).await;
    assert_eq!((input.pid().await.unwrap(), input.restarts().await.unwrap()), (pid, 0));
    let totals = holdfast.stop().await;
    assert_eq!((totals.lost_frames, totals.gaps, totals.files), (0, 0, 1), "{}", holdfast.log());

    // One file without a hole: as many frames as fit into its time.
    let report = assert_whole(
        &holdfast
            .root()
            .join(format!("{}-{}-{}", &totals.id[..4], &totals.id[4..6], &totals.id[6..8]))
            .join(&totals.id),
    );
    let file = &report.inputs[0].files[0];
    let video = file.tracks.iter().max_by_key(|track| track.bytes).unwrap();
    let expected = (video.end_mono_ns - video.start_mono_ns) * 30 / 1_000_000_000;
    assert!(video.frames.abs_diff(expected) <= 1, "{} frames where {expected} fit", video.frames);
    assert_eq!(video.frames, totals.safe_frames);
}

#[tokio::test]
async fn a_session_survives_the_death_of_both() {
    let mut holdfast = Box::new(&test_input("cam0", true)).await;
    let path = holdfast.start("both").await;
    holdfast.until_safe_frames("cam0", 40).await;
    let pid = holdfast.input("cam0").await.pid().await.unwrap();
    holdfast.kill_recorder();
    kill(pid);
    holdfast.start_recorder().await;
    let recorder = holdfast.recorder().await;
    assert_eq!(recorder.current_session().await.unwrap(), path);
    holdfast.until("recording again", || async { recorder.state().await.unwrap() == "recording" }).await;
    holdfast.until_safe_frames("cam0", 80).await;
    let totals = holdfast.stop().await;
    assert_eq!((totals.session.clone(), totals.files, totals.gaps), (path.clone(), 2, 1));
    let session = holdfast.session(&path).await;
    let files = session.list_files(FilesOptions::default()).await.unwrap();
    assert_eq!(files[0].recovered, Some(true));
    assert_eq!(files.iter().map(|file| file.frames.unwrap()).sum::<u64>(), totals.safe_frames);
    let report = assert_whole(Path::new(&session.path().await.unwrap()));
    // A real gap of sensible length, not since the boot.
    assert!(report.inputs[0].gap_ns > 0 && report.inputs[0].gap_ns < 60_000_000_000, "{report}");
    assert_eq!(session.label().await.unwrap(), "both");
}

#[tokio::test]
async fn lost_state_and_lost_journal_stop_no_recording() {
    let mut holdfast = Box::new(&test_input("cam0", true)).await;
    let path = holdfast.start("").await;
    holdfast.until_safe_frames("cam0", 20).await;
    holdfast.kill_recorder();
    std::fs::remove_dir_all(holdfast.dir.path().join("state")).unwrap();
    for journal in holdfast.files("session.journal") {
        std::fs::write(journal, b"this is no journal").unwrap();
    }
    holdfast.start_recorder().await;
    let recorder = holdfast.recorder().await;
    assert_eq!(recorder.current_session().await.unwrap(), path, "{}", holdfast.log());
    holdfast.until_safe_frames("cam0", 60).await;
    let totals = holdfast.stop().await;
    assert_eq!((totals.gaps, totals.files), (0, 1));
    let listed = recorder.list_sessions(ListOptions::default()).await.unwrap();
    assert_eq!((listed[0].state.as_str(), listed[0].safe_frames), ("stopped", totals.safe_frames));
}

#[tokio::test]
async fn a_stop_while_the_capture_is_dead_is_answered() {
    let holdfast = Box::new(&test_input("cam0", false)).await;
    holdfast.start("").await;
    holdfast.until_safe_frames("cam0", 20).await;
    kill(holdfast.input("cam0").await.pid().await.unwrap());
    let totals = holdfast.stop().await;
    assert!(totals.safe_frames >= 20 && totals.files >= 1, "{totals:?}");
    assert_eq!(holdfast.recorder().await.state().await.unwrap(), "idle");
    assert!(holdfast.files(".part").is_empty());
}

#[tokio::test]
async fn a_capture_that_hangs_at_the_stop_is_ended_and_its_file_recovered() {
    let holdfast = Box::new(&test_input("cam0", false)).await;
    let path = holdfast.start("").await;
    holdfast.until_safe_frames("cam0", 20).await;
    let input = holdfast.input("cam0").await;
    let pid = Pid::from_raw(i32::try_from(input.pid().await.unwrap()).unwrap()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    holdfast
        .until("its silence to be seen", || async { input.source_error().await.unwrap().contains("says nothing") })
        .await;
    let totals = holdfast.stop().await;
    // It did not close its file; recovery did, and all that was safe is in it.
    assert!(totals.incomplete.is_empty() && totals.safe_frames >= 20, "{totals:?}");
    assert_eq!(holdfast.recorder().await.state().await.unwrap(), "idle");
    assert!(holdfast.files(".part").is_empty());
    assert_whole(Path::new(&holdfast.session(&path).await.path().await.unwrap()));
    // And the next session is as good as any.
    holdfast.start("next").await;
    holdfast.until_safe_frames("cam0", 20).await;
    assert!(holdfast.stop().await.incomplete.is_empty());
}

#[tokio::test]
async fn a_file_left_open_is_recovered_before_anything_new_is_written() {
    let mut holdfast = Box::new(&test_input("cam0", true)).await;
    let path = holdfast.start("").await;
    holdfast.until_safe_frames("cam0", 20).await;
    let pid = holdfast.input("cam0").await.pid().await.unwrap();
    holdfast.kill_recorder();
    kill(pid);
    // Nobody remembers it, and it is not to go on.
    holdfast.edit_config("[storage]", "[protection]\nresume = \"never\"\n[storage]");
    let journal = holdfast.files("session.journal").remove(0);
    std::fs::remove_file(journal).unwrap();
    std::fs::remove_dir_all(holdfast.dir.path().join("state")).unwrap();
    holdfast.start_recorder().await;
    assert!(holdfast.files(".part").is_empty());
    assert_eq!(holdfast.recorder().await.state().await.unwrap(), "idle");
    let session = holdfast.session(&path).await;
    assert_eq!(session.state().await.unwrap(), "interrupted");
    assert!(session.safe_frames().await.unwrap() >= 20);
    let file = session.list_files(FilesOptions::default()).await.unwrap().remove(0);
    assert!(Reader::open(&holdfast.root().join(file.path)).unwrap().ledger().is_some());
}
