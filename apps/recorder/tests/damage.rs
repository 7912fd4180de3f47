//! State that is damaged or lost: it stops no recording, and what files or the other copy know comes back.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::fs;
use std::path::Path;

use common::interrupted::{alerts, everything_dies, recovery, session_dir};
use common::{Box, none, test_input};
use holdfast_dbus::{ListOptions, StartOptions};

/// Breaks the file at this path.
type Break = fn(&Path);

/// How state can be broken.
fn breaks() -> Vec<(&'static str, Break)> {
    vec![
        ("truncated", |path| fs::write(path, &fs::read(path).unwrap()[..100]).unwrap()),
        ("flipped", |path| {
            let mut bytes = fs::read(path).unwrap();
            let middle = 192 + (bytes.len() - 192) / 3;
            bytes[middle] ^= 0x10;
            fs::write(path, bytes).unwrap();
        }),
        ("newer", |path| {
            let mut bytes = fs::read(path).unwrap();
            bytes[8..10].copy_from_slice(&999_u16.to_le_bytes());
            for copy in [0, 96] {
                bytes[copy + 8..copy + 10].copy_from_slice(&999_u16.to_le_bytes());
                let crc = crc32c(&bytes[copy..copy + 92]).to_le_bytes();
                bytes[copy + 92..copy + 96].copy_from_slice(&crc);
            }
            fs::write(path, bytes).unwrap();
        }),
        ("empty", |path| fs::write(path, b"").unwrap()),
        ("missing", |path| fs::remove_file(path).unwrap()),
        ("a directory", |path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        }),
        ("a loop of links", |path| {
            fs::remove_file(path).unwrap();
            std::os::unix::fs::symlink(path, path).unwrap();
        }),
    ]
}

/// CRC-32C, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & 0_u32.wrapping_sub(crc & 1)))
    })
}

#[tokio::test]
async fn no_damage_to_state_stops_a_recording_or_loses_what_files_know() {
    let mut holdfast = Box::new(&test_input("cam0", true)).await;
    for (what, break_it) in breaks() {
        let path = holdfast.start(what).await;
        let recorder = holdfast.recorder().await;
        recorder.mark("kept", none()).await.unwrap();
        recorder.protect(path.as_str(), none()).await.unwrap();
        // What came in before the mark may be safe before the mark is.
        let safe = holdfast.input("cam0").await.safe_frames().await.unwrap();
        holdfast.until_safe_frames("cam0", safe + 40).await;
        let id = holdfast.session(&path).await.id().await.unwrap();
        everything_dies(&mut holdfast, &["cam0"]).await;
        // Both the session's journal and the recorder's state.
        break_it(&session_dir(&holdfast, &id).join("session.journal"));
        let _ = fs::remove_file(session_dir(&holdfast, &id).join("session.journal.prev"));
        break_it(&holdfast.dir.path().join("state/recorder.journal"));
        holdfast.start_recorder().await;
        assert_eq!(recorder.current_session().await.unwrap(), path, "{what}: {}", holdfast.log());
        let safe = holdfast.input("cam0").await.safe_frames().await.unwrap();
        holdfast.until_safe_frames("cam0", safe + 20).await;
        let told = alerts(&holdfast).await;
        let corrupt = told.iter().filter(|(code, ..)| code == "state-corrupt").count();
        // A state that is not there at all looks like a first start.
        assert!(corrupt >= if what == "missing" { 1 } else { 2 }, "{what}: {told:?}");
        let session = holdfast.session(&path).await;
        let marks = session.marks().await.unwrap();
        assert!(marks.len() == 1 && marks[0].text == "kept", "{what}: {marks:?}\n{}", holdfast.log());
        let totals = holdfast.stop().await;
        assert_eq!((totals.id.as_str(), totals.files, totals.gaps), (id.as_str(), 2, 1), "{what}");
        let listed = recorder.list_sessions(ListOptions::default()).await.unwrap();
        let row = listed.iter().find(|row| row.id == id).unwrap();
        assert_eq!((row.state.as_str(), row.safe_frames), ("stopped", totals.safe_frames), "{what}");
        if !matches!(what, "missing" | "empty") {
            let aside = recovery(&holdfast).await.list_set_aside(none()).await.unwrap();
            let kinds: Vec<_> = aside.iter().map(|item| item.kind.as_str()).collect();
            assert!(kinds.contains(&"session-journal") && kinds.contains(&"recorder-state"), "{what}: {kinds:?}");
        }
        holdfast.terminate_recorder();
        let _ = fs::remove_dir_all(holdfast.dir.path().join("state"));
        holdfast.start_recorder().await;
    }
}

/// Label and token are in two places; each is rebuilt from the other.
#[tokio::test]
async fn a_lost_journal_comes_back_with_label_and_token_from_the_recorders_own_copy() {
    let mut holdfast = Box::new(&test_input("cam0", true)).await;
    let options = StartOptions {
        label: Some("Match 7".into()),
        token: Some("t".into()),
        wait_ms: Some(20_000),
        ..StartOptions::default()
    };
    let (path, _) = holdfast.recorder().await.start(options.clone()).await.unwrap();
    holdfast.until_safe_frames("cam0", 20).await;
    let journal = holdfast.files("session.journal").remove(0);
    everything_dies(&mut holdfast, &["cam0"]).await;
    fs::remove_file(&journal).unwrap();
    fs::write(&journal, b"this is no journal").unwrap();
    holdfast.start_recorder().await;
    assert_eq!(holdfast.recorder().await.start(options).await.unwrap(), (path.clone(), false), "{}", holdfast.log());
    assert_eq!(holdfast.session(&path).await.label().await.unwrap(), "Match 7");
    holdfast.stop().await;
}

/// Behind the answer to Stop there is a copy, nothing of the session is held open, and nothing more is written.
#[tokio::test]
async fn a_stopped_session_has_a_copy_of_its_journal_and_is_let_go_of_at_once() {
    let mut holdfast = Box::new(&test_input("cam0", true)).await;
    let path = holdfast.start("of the copy").await;
    holdfast.until_safe_frames("cam0", 20).await;
    let totals = holdfast.stop().await;
    let held: Vec<_> = holdfast.open_files().into_iter().filter(|file| file.starts_with(holdfast.root())).collect();
    assert!(held.is_empty(), "{held:?}");
    let journal = session_dir(&holdfast, &totals.id).join("session.journal");
    let copy = journal.with_extension("journal.prev");
    assert!(copy.exists());
    // The copy alone is enough: of what the recorder knows nothing, and no file tells.
    everything_dies(&mut holdfast, &["cam0"]).await;
    fs::remove_file(&journal).unwrap();
    fs::remove_dir_all(holdfast.dir.path().join("state")).unwrap();
    holdfast.start_recorder().await;
    let session = holdfast.session(&path).await;
    assert_eq!(session.label().await.unwrap(), "of the copy", "{}", holdfast.log());
    assert_eq!(session.state().await.unwrap(), "stopped");
}

/// Three witnesses; any one of them is enough.
#[tokio::test]
async fn what_was_stopped_never_goes_on_whatever_is_lost() {
    let mut holdfast = Box::new(&test_input("cam0", true)).await;
    for lost in ["the journal", "the state", "both"] {
        let path = holdfast.start(lost).await;
        holdfast.until_safe_frames("cam0", 20).await;
        let totals = holdfast.stop().await;
        everything_dies(&mut holdfast, &["cam0"]).await;
        if lost != "the state" {
            let dir = session_dir(&holdfast, &totals.id);
            for name in ["session.journal", "session.journal.prev"] {
                let _ = fs::remove_file(dir.join(name));
            }
        }
        if lost != "the journal" {
            fs::remove_dir_all(holdfast.dir.path().join("state")).unwrap();
        }
        holdfast.start_recorder().await;
        assert_eq!(holdfast.recorder().await.state().await.unwrap(), "idle", "{lost}: {}", holdfast.log());
        let session = holdfast.session(&path).await;
        assert_eq!(session.state().await.unwrap(), "stopped", "{lost}: {}", holdfast.log());
        assert_eq!(session.safe_frames().await.unwrap(), totals.safe_frames, "{lost}");
    }
}
