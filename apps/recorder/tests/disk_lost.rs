//! The disk turns read-only or is unmounted while a session is recorded, and comes back. What must hold: it is told, the root disk is
//! never written to instead, recording goes on by itself once the disk is there, and all that is missing is on record.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use common::disk::{Disk, alerts, box_on_disk, short_rotation, until_alert, until_alert_of};
use common::{Box, test_input};
use holdfast_dbus::Totals;
use holdfast_segment::GapCause;
use holdfast_segment::verify::verify_session;
use zbus::zvariant::OwnedObjectPath;

const MIB: u64 = 192;
const FRAME_NS: u64 = 1_000_000_000 / 30;

/// A session on a disk that may go; `None` is told.
async fn recording(rotate: bool) -> Option<(Disk, Box, OwnedObjectPath)> {
    let room = "warn_percent = 98\nblock_percent = 99\n";
    let (disk, mut holdfast) = box_on_disk(MIB, room, &test_input("cam0", false)).await?;
    let below = holdfast.dir.path().metadata().unwrap().dev();
    if !disk.has_device() {
        return None;
    }
    if below != fs::metadata("/").unwrap().dev() {
        holdfast_aloud::skip(
            "the temporary directory is a mount of its own, so none is missing when the disk has gone",
        );
        return None;
    }
    holdfast.edit_config("filesystem = \"any\"", "filesystem = \"mounted\"");
    if rotate {
        short_rotation(&holdfast);
    }
    holdfast.start_recorder().await;
    let session = holdfast.start("on a disk that goes").await;
    holdfast.until_safe_frames("cam0", 60).await;
    Some((disk, holdfast, session))
}

/// It still is the same session, and it records.
async fn goes_on(holdfast: &Box, session: &OwnedObjectPath) {
    let (recorder, input) = (holdfast.recorder().await, holdfast.input("cam0").await);
    holdfast
        .until("the alerts to end", || async {
            let left = alerts(holdfast).await;
            !left.iter().any(|code| code.starts_with("storage-") || code == "write-failed")
        })
        .await;
    let safe = input.safe_frames().await.unwrap();
    holdfast.until_safe_frames("cam0", safe + 60).await;
    assert_eq!(recorder.state().await.unwrap(), "recording");
    assert_eq!(recorder.current_session().await.unwrap(), *session);
    assert_eq!(recorder.storage_level().await.unwrap(), "ok");
}

/// Every frame that was told to be safe is there, and footage and gaps together are all the time there was.
fn accounted(dir: &Path, totals: &Totals) -> Vec<GapCause> {
    let report = verify_session(dir).unwrap();
    assert!(report.is_ok(), "{report}");
    let input = &report.inputs[0];
    let tracks: Vec<_> = input.files.iter().map(|file| &file.tracks[0]).collect();
    let frames: u64 = tracks.iter().map(|track| track.frames).sum();
    assert_eq!(frames, totals.safe_frames, "{report}");
    let begin = tracks.iter().map(|track| track.start_mono_ns).min().unwrap();
    let end = tracks.iter().map(|track| track.end_mono_ns).max().unwrap();
    let gaps: Vec<_> = input.files.iter().flat_map(|file| &file.gaps).collect();
    let gap_ns: u64 = gaps.iter().map(|gap| gap.duration_ns).sum();
    let known_ns = frames * FRAME_NS + gap_ns;
    let slack_ns = (2 + gaps.len() as u64) * FRAME_NS;
    assert!(known_ns.abs_diff(end - begin) <= slack_ns, "{known_ns} of {} ns are known: {report}", end - begin);
    gaps.iter().map(|gap| gap.cause).collect()
}

#[tokio::test]
async fn a_disk_that_turns_read_only_is_told_and_recorded_to_when_it_is_back() {
    let Some((disk, holdfast, session)) = recording(false).await else { return };
    let dir = PathBuf::from(holdfast.session(&session).await.path().await.unwrap());
    disk.turn_read_only();
    until_alert(&holdfast, "storage-unavailable").await;
    assert_eq!(holdfast.recorder().await.state().await.unwrap(), "recording", "nobody has stopped it");

    disk.unmount_lazily();
    disk.comes_back().await;
    goes_on(&holdfast, &session).await;
    let totals = holdfast.stop().await;
    assert!(totals.lost_frames > 0 && totals.incomplete.is_empty(), "{totals:?}\n{}", holdfast.log());
    assert!(holdfast.files(".part").is_empty(), "{:?}", holdfast.files(".part"));
    let causes = accounted(&dir, &totals);
    println!("{causes:?}");
    assert!(!causes.is_empty());
    drop(holdfast);
}

#[tokio::test]
async fn a_disk_that_is_unmounted_is_told_and_recorded_to_when_it_is_back() {
    let Some((disk, holdfast, session)) = recording(true).await else { return };
    let dir = PathBuf::from(holdfast.session(&session).await.path().await.unwrap());
    disk.unmount_lazily();
    until_alert(&holdfast, "storage-unavailable").await;
    // The next file would be due, and the one after it.
    until_alert_of(&holdfast, "storage-unavailable", Some("cam0")).await;
    assert_eq!(fs::read_dir(holdfast.root()).unwrap().count(), 0, "the root disk was written to");
    assert_eq!(holdfast.recorder().await.state().await.unwrap(), "recording", "nobody has stopped it");

    disk.comes_back().await;
    goes_on(&holdfast, &session).await;
    let totals = holdfast.stop().await;
    assert!(totals.incomplete.is_empty(), "{totals:?}\n{}", holdfast.log());
    assert!(holdfast.files(".part").is_empty(), "{:?}", holdfast.files(".part"));
    let causes = accounted(&dir, &totals);
    println!("{causes:?}");
    drop(holdfast);
}
