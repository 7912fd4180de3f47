//! All processes die at once, and the recorder is started again: what was interrupted goes on, waits or is closed, as the
//! configuration says; a stop that was begun is finished; the reason is told as far as it is known.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::interrupted::{alerts, causes, everything_dies, holds, recovery, session_dir, two_inputs};
use common::{Box, code, none, test_input};
use holdfast_dbus::{FilesOptions, StartOptions, StopOptions};

#[tokio::test]
async fn what_waits_is_resumed_or_dismissed_by_a_person() {
    let ask = "\n[protection]\nresume = \"ask\"\n";
    let mut holdfast = Box::new(&(ask.to_owned() + &test_input("cam0", true))).await;
    let options = StartOptions { token: Some("t".into()), wait_ms: Some(20_000), ..StartOptions::default() };
    let (path, _) = holdfast.recorder().await.start(options.clone()).await.unwrap();
    holdfast.until_safe_frames("cam0", 20).await;
    let id = holdfast.session(&path).await.id().await.unwrap();
    everything_dies(&mut holdfast, &["cam0"]).await;
    holdfast.start_recorder().await;
    let (recorder, recovery) = (holdfast.recorder().await, recovery(&holdfast).await);
    assert_eq!(recorder.state().await.unwrap(), "idle");
    assert!(holdfast.files(".part").is_empty(), "recovered all the same");
    assert_eq!(recovery.waiting().await.unwrap(), id);
    assert!(holds(&alerts(&holdfast).await, "resume-waiting"));
    assert_eq!(recovery.list_interrupted(Default::default()).await.unwrap()[0].state, "waiting");
    // It is not for others to be taken away meanwhile.
    assert_eq!(code(recovery.discard(&id, none()).await), -1005);
    assert_eq!(code(recovery.resume_session("20200101T000000Z-aaaaaa", none()).await), -1003);
    // It still waits after one more restart, and was interrupted once.
    assert!(holdfast.terminate_recorder().success());
    holdfast.start_recorder().await;
    assert_eq!(recovery.waiting().await.unwrap(), id, "{}", holdfast.log());
    assert_eq!(recovery.list_interrupted(Default::default()).await.unwrap()[0].times, 1);

    assert_eq!(recovery.resume_session(&id, none()).await.unwrap(), path);
    holdfast.until_safe_frames("cam0", 60).await;
    assert_eq!(recovery.waiting().await.unwrap(), "");
    assert!(!holds(&alerts(&holdfast).await, "resume-waiting"));
    assert_eq!(recorder.start(options).await.unwrap(), (path.clone(), false), "its token is its own");
    let totals = holdfast.stop().await;
    assert_eq!((totals.id.as_str(), totals.files, totals.gaps), (id.as_str(), 2, 1));

    // Dismissed: closed, and it stays closed.
    let second = holdfast.start("").await;
    holdfast.until_safe_frames("cam0", 20).await;
    everything_dies(&mut holdfast, &["cam0"]).await;
    holdfast.start_recorder().await;
    let waiting = recovery.waiting().await.unwrap();
    recovery.dismiss_session(&waiting, none()).await.unwrap();
    assert_eq!(holdfast.session(&second).await.state().await.unwrap(), "interrupted");
    assert_eq!(code(recovery.dismiss_session(&waiting, none()).await), -1003);

    // A new recording is a decision, too.
    let third = holdfast.start("").await;
    holdfast.until_safe_frames("cam0", 20).await;
    everything_dies(&mut holdfast, &["cam0"]).await;
    holdfast.start_recorder().await;
    holdfast.start("instead").await;
    assert_eq!(recovery.waiting().await.unwrap(), "");
    holdfast.stop().await;
    assert_eq!(holdfast.session(&third).await.state().await.unwrap(), "interrupted");
    assert!(holdfast.terminate_recorder().success());
    holdfast.start_recorder().await;
    assert_eq!(recovery.waiting().await.unwrap(), "", "{}", holdfast.log());

    // Discarded: out of the way, back, and out of the way for good. A protected one is not.
    recorder.protect(&waiting, none()).await.unwrap();
    assert_eq!(code(recovery.discard(&waiting, none()).await), -1015);
    recorder.unprotect(&waiting, none()).await.unwrap();
    assert_eq!(code(recovery.discard("20200101T000000Z-aaaaaa", none()).await), -1003);
    assert_eq!(code(recovery.discard("/etc/passwd", none()).await), -1001);
    let moved = recovery.discard(&waiting, none()).await.unwrap();
    assert!(Path::new(&moved).join("cam0").is_dir());
    recovery.restore(&waiting, none()).await.unwrap();
    assert!(session_dir(&holdfast, &waiting).join("cam0").is_dir());
    let moved = recovery.discard(&waiting, none()).await.unwrap();
    recovery.purge(&moved, none()).await.unwrap();
    assert!(!Path::new(&moved).exists() && !session_dir(&holdfast, &waiting).exists());
}

#[tokio::test]
async fn never_closes_and_an_input_that_has_vanished_is_no_obstacle() {
    let mut holdfast = Box::new(&two_inputs()).await;
    let path = holdfast.start("").await;
    for input in ["cam0", "cam1"] {
        holdfast.until_safe_frames(input, 30).await;
    }
    everything_dies(&mut holdfast, &["cam0", "cam1"]).await;
    holdfast.edit_config(&test_input("cam1", true), "");
    holdfast.start_recorder().await;
    let recorder = holdfast.recorder().await;
    assert_eq!(recorder.current_session().await.unwrap(), path, "{}", holdfast.log());
    holdfast.until_safe_frames("cam0", 60).await;
    let totals = holdfast.stop().await;
    let files = holdfast.session(&path).await.list_files(FilesOptions::default()).await.unwrap();
    let in_files: u64 = files.iter().map(|file| file.frames.unwrap()).sum();
    assert_eq!(totals.safe_frames, in_files, "with what the input that is gone had made: {totals:?}");
    assert!(files.iter().any(|file| file.input == "cam1"));
    causes(&session_dir(&holdfast, &totals.id));

    let path = holdfast.start("").await;
    holdfast.until_safe_frames("cam0", 30).await;
    everything_dies(&mut holdfast, &["cam0"]).await;
    holdfast.edit_config("[storage]", "[protection]\nresume = \"never\"\n[storage]");
    holdfast.start_recorder().await;
    assert_eq!(recorder.state().await.unwrap(), "idle");
    assert_eq!(holdfast.session(&path).await.state().await.unwrap(), "interrupted");
    assert!(holdfast.session(&path).await.safe_frames().await.unwrap() >= 30);
    assert!(holdfast.files(".part").is_empty() && holds(&alerts(&holdfast).await, "session-interrupted"));
}

/// The recorder dies between the order to stop and the end: the captures have heard it, or not.
#[tokio::test]
async fn a_stop_that_was_begun_is_finished_by_the_next_recorder() {
    let mut holdfast = Box::new(&test_input("cam0", true)).await;
    for _ in 0..5 {
        let path = holdfast.start("").await;
        holdfast.until_safe_frames("cam0", 20).await;
        let recorder = holdfast.recorder().await;
        let stop = tokio::spawn(async move { recorder.stop(StopOptions::default()).await });
        holdfast
            .until("the state to leave recording", || async {
                holdfast.recorder().await.state().await.unwrap() != "recording"
            })
            .await;
        holdfast.kill_recorder();
        let answered = stop.await.unwrap();
        holdfast.start_recorder().await;
        let recorder = holdfast.recorder().await;
        holdfast.until("rest", || async { recorder.state().await.unwrap() == "idle" }).await;
        let state = holdfast.session(&path).await.state().await.unwrap();
        assert!(answered.is_err() || state == "stopped");
        assert_eq!(state, "stopped", "{}", holdfast.log());
        assert!(holdfast.files(".part").is_empty());
    }
}

#[tokio::test]
async fn a_storage_that_comes_back_late_is_recovered_and_recorded_to() {
    let mut holdfast = Box::new(&test_input("cam0", true)).await;
    let options = StartOptions { token: Some("t".into()), wait_ms: Some(20_000), ..StartOptions::default() };
    let (path, _) = holdfast.recorder().await.start(options.clone()).await.unwrap();
    holdfast.until_safe_frames("cam0", 30).await;
    everything_dies(&mut holdfast, &["cam0"]).await;
    let away = holdfast.dir.path().join("away");
    fs::rename(holdfast.root(), &away).unwrap();
    holdfast.start_recorder().await;
    let recorder = holdfast.recorder().await;
    assert_eq!(recorder.state().await.unwrap(), "idle");
    assert_eq!(recorder.storage_level().await.unwrap(), "unavailable");
    assert!(!holdfast.root().exists(), "nothing is made where the storage should be");
    fs::rename(&away, holdfast.root()).unwrap();
    holdfast.until("the session to go on", || async { recorder.current_session().await.unwrap() == path }).await;
    holdfast.until_safe_frames("cam0", 60).await;
    assert_eq!(recorder.start(options).await.unwrap(), (path.clone(), false));
    let totals = holdfast.stop().await;
    assert_eq!((totals.session.clone(), totals.gaps, totals.files), (path, 1, 2), "{}", holdfast.log());
    causes(&session_dir(&holdfast, &totals.id));
}

#[tokio::test]
async fn the_reason_is_what_is_known_and_no_more() {
    let mut holdfast = Box::new(&test_input("cam0", true)).await;
    let reason = async |holdfast: &Box| {
        let list = recovery(holdfast).await.list_interrupted(Default::default()).await.unwrap();
        (list[0].reason.clone(), list[0].evidence.clone())
    };
    holdfast.start("").await;
    holdfast.until_safe_frames("cam0", 20).await;
    everything_dies(&mut holdfast, &["cam0"]).await;
    holdfast.start_recorder().await;
    let (name, evidence) = reason(&holdfast).await;
    // Unless this machine has killed something for want of memory in these seconds, nobody can know.
    assert!(name == "unknown" || name == "oom", "{name}: {evidence}");
    holdfast.stop().await;

    // What systemd would say, by the same program that its unit calls.
    holdfast.start("").await;
    holdfast.until_safe_frames("cam0", 20).await;
    everything_dies(&mut holdfast, &["cam0"]).await;
    let noted = Command::new(env!("CARGO_BIN_EXE_holdfast-recorder"))
        .arg("--config")
        .arg(holdfast.config_path())
        .arg("--note-end")
        .envs([("SERVICE_RESULT", "oom-kill"), ("EXIT_CODE", "killed"), ("EXIT_STATUS", "KILL")])
        .status();
    assert!(noted.unwrap().success());
    holdfast.start_recorder().await;
    assert_eq!(reason(&holdfast).await.0, "oom");
    assert!(holds(&alerts(&holdfast).await, "crashed"));
    holdfast.stop().await;
    // What was told is history with the next recording.
    holdfast.start("").await;
    assert!(!holds(&alerts(&holdfast).await, "crashed"));
    holdfast.stop().await;
}
