//! Real disks that fill, turn over, are filled by others, and are not there. Most need a small filesystem of their own: ext4 on a
//! loop device, else a tmpfs; where this user may mount neither they say so.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use common::disk::{Disk, MIB, alerts, box_on_disk, short_rotation, until_alert};
use common::{Box, code, none, test_input};
use holdfast_dbus::{FilesOptions, PressureProxy, StartOptions, StorageProxy};
use holdfast_segment::verify::{Severity, verify_session};
use zbus::proxy::CacheProperties;

/// So much that a small disk is full within seconds.
fn large_input(name: &str) -> String {
    let input = test_input(name, false);
    input.replace("width = 320\nheight = 240", "width = 640\nheight = 360") + "bitrate_kbps = 100000\n"
}

async fn storage(holdfast: &Box) -> StorageProxy<'static> {
    StorageProxy::builder(&holdfast.client).cache_properties(CacheProperties::No).build().await.unwrap()
}

async fn until_state(holdfast: &Box, state: &str) {
    let recorder = holdfast.recorder().await;
    holdfast.until(state, || async { recorder.state().await.is_ok_and(|now| now == state) }).await;
}

/// All that is there is whole; what was deleted is no more than a note.
fn verify(dir: &Path) {
    let report = verify_session(dir).unwrap();
    assert!(report.is_ok(), "{report}");
    assert!(report.inputs.iter().all(|input| !input.files.is_empty()), "{report}");
}

#[tokio::test]
async fn a_disk_that_fills_ends_the_recording_with_all_files_closed() {
    let floors =
        "warn_percent = 98\nblock_percent = 99\nwarn_floor_mib = 34\nstart_floor_mib = 32\nstop_floor_mib = 30\n";
    let Some((_disk, mut holdfast)) = box_on_disk(192, floors, &large_input("cam0")).await else { return };
    holdfast.start_recorder().await;
    let session = holdfast.start("fills").await;
    let dir = PathBuf::from(holdfast.session(&session).await.path().await.unwrap());
    // The camera takes its time; somebody else fills the rest of the disk, and stops short of its end.
    let recorder = holdfast.recorder().await;
    let filler = holdfast.root().join("filler");
    let mut others = fs::File::create(&filler).unwrap();
    let fill = async |others: &mut fs::File, mib: u64| {
        while recorder.get_storage_info(none()).await.unwrap().free_bytes > mib * MIB {
            others.write_all(&vec![7; 1 << 20]).unwrap();
            others.sync_data().unwrap();
        }
    };
    fill(&mut others, 32).await;
    assert_eq!(recorder.state().await.unwrap(), "recording", "it is not closed above the floor");
    fill(&mut others, 28).await;
    until_state(&holdfast, "idle").await;
    assert!(holdfast.files(".part").is_empty(), "{:?}", holdfast.files(".part"));
    let session = holdfast.session(&session).await;
    assert_eq!(session.state().await.unwrap(), "stopped");
    assert_eq!(session.lost_frames().await.unwrap(), 0, "a clean end loses nothing");
    verify(&dir);
    // Blocks that were allocated ahead are free again; these too are somebody else's now.
    fill(&mut others, 28).await;
    until_alert(&holdfast, "storage-critical").await;
    assert_eq!(code(recorder.start(StartOptions::default()).await), -1010);
    assert_eq!(recorder.state().await.unwrap(), "idle");
    // With room it goes on.
    fs::remove_file(&filler).unwrap();
    drop(others);
    holdfast.until("room", || async { recorder.storage_level().await.is_ok_and(|level| level == "ok") }).await;
    assert!(!alerts(&holdfast).await.contains(&"storage-critical".to_owned()));
    holdfast.start("goes on").await;
    holdfast.stop().await;
}

#[tokio::test]
async fn a_loop_recorder_turns_over_and_keeps_what_is_protected() {
    let keep = "warn_percent = 90\nblock_percent = 95\nkeep_free_percent = 50\nstop_floor_mib = 2\n";
    // A file that is being written has 64 MiB of blocks ahead.
    let Some((_disk, mut holdfast)) = box_on_disk(160, keep, &large_input("cam0")).await else { return };
    short_rotation(&holdfast);
    holdfast.start_recorder().await;
    let recorder = holdfast.recorder().await;
    let mut dirs = Vec::new();
    for label in ["protected", "old"] {
        let session = holdfast.start(label).await;
        holdfast.until_safe_frames("cam0", 30).await;
        let totals = holdfast.stop().await;
        if label == "protected" {
            recorder.protect(&totals.id, none()).await.unwrap();
        }
        dirs.push(PathBuf::from(holdfast.session(&session).await.path().await.unwrap()));
    }
    let kept = fs::read_dir(dirs[0].join("cam0")).unwrap().count();
    // Put there by somebody, and called like one of ours.
    let foreign = dirs[0].with_file_name("20200101T000000Z-222222").join("cam0/000001_x.mp4");
    fs::create_dir_all(foreign.parent().unwrap()).unwrap();
    fs::write(&foreign, "not a segment").unwrap();

    let session = holdfast.start("runs").await;
    let running = holdfast.session(&session).await;
    let dir = PathBuf::from(running.path().await.unwrap());
    // The old session goes first and as a whole, then the oldest of what is being recorded.
    holdfast
        .until("the running session to give up files", || async { running.deleted_files().await.is_ok_and(|n| n >= 2) })
        .await;
    assert_eq!(recorder.state().await.unwrap(), "recording");
    assert!(!dirs[1].exists(), "the old session is there");
    let sessions = recorder.list_sessions(holdfast_dbus::ListOptions::default()).await.unwrap();
    assert!(sessions.iter().all(|session| session.label != "old"), "{sessions:?}");
    let storage = storage(&holdfast).await;
    // Noted first, then gone, then counted.
    holdfast.until("three files to be gone", || async { storage.deleted_files().await.is_ok_and(|n| n >= 3) }).await;
    assert!(storage.deleted_bytes().await.unwrap() > MIB);
    let totals = holdfast.stop().await;
    // What was given up was recorded all the same. More of it may just be going: gone, and not yet counted.
    let accounted = || async {
        let deleted = running.deleted_files().await.unwrap();
        fs::read_dir(dir.join("cam0")).unwrap().count() as u64 + deleted == totals.files
    };
    holdfast.until("every file to be there or counted as given up", accounted).await;
    assert_eq!(totals.lost_frames, 0);
    assert_eq!(fs::read_dir(dirs[0].join("cam0")).unwrap().count(), kept);
    assert!(foreign.exists());
    verify(&dirs[0]);
    verify(&dir);
    let report = verify_session(&dir).unwrap();
    let told: Vec<_> = report.findings().filter(|finding| finding.what.contains("earlier ones are not here")).collect();
    assert!(told.len() == 1 && told[0].severity == Severity::Note, "{report}");
    // Blocks went on to the next files.
    let text = holdfast.log();
    assert!(text.contains("deleted by retention"), "{text}");
    let pool = fs::read_dir(holdfast.root().join(".holdfast/recycle")).unwrap().count();
    assert!(pool <= 3, "{pool} files wait in the pool");
}

#[tokio::test]
async fn what_was_given_up_stays_in_the_count_across_a_restart() {
    let keep = "warn_percent = 90\nblock_percent = 95\nkeep_free_percent = 50\nstop_floor_mib = 2\n";
    let Some((_disk, mut holdfast)) = box_on_disk(160, keep, &large_input("cam0")).await else { return };
    short_rotation(&holdfast);
    holdfast.start_recorder().await;
    let path = holdfast.start("runs").await;
    let session = holdfast.session(&path).await;
    holdfast.until("files to go", || async { session.deleted_files().await.is_ok_and(|n| n >= 2) }).await;
    let before = session.safe_frames().await.unwrap();
    // As after a power cut: what goes on is known by the journal and the files alone.
    let pid = holdfast.input("cam0").await.pid().await.unwrap();
    holdfast.kill_recorder();
    common::kill(pid);
    holdfast.start_recorder().await;
    let recorder = holdfast.recorder().await;
    holdfast.until("recording again", || async { recorder.state().await.is_ok_and(|now| now == "recording") }).await;
    let after = recorder.safe_frames().await.unwrap();
    assert!(after >= before, "{before} were safe, and then {after}");
    let totals = holdfast.stop().await;
    let session = holdfast.session(&path).await;
    let accounted = || async {
        let files = session.list_files(FilesOptions::default()).await.unwrap();
        let there: u64 = files.iter().filter_map(|file| file.frames).sum();
        there + session.deleted_frames().await.unwrap() == totals.safe_frames
    };
    holdfast.until("every frame to be there or counted as given up", accounted).await;
    assert!(totals.safe_frames > after);
}

#[tokio::test]
async fn ballast_goes_when_others_fill_the_disk_and_comes_back() {
    let ballast = "warn_percent = 98\nblock_percent = 99\nballast_mib = 16\n";
    let Some((_disk, mut holdfast)) = box_on_disk(192, ballast, &test_input("cam0", false)).await else { return };
    holdfast.start_recorder().await;
    let storage = storage(&holdfast).await;
    let until = async |state: &'static str| {
        holdfast.until(state, || async { storage.ballast().await.is_ok_and(|now| now == state) }).await;
    };
    until("kept").await;
    let file = holdfast.root().join(".holdfast/ballast");
    assert_eq!(fs::metadata(&file).unwrap().blocks() * 512, 16 * MIB);
    let session = holdfast.start("squeezed").await;
    let dir = PathBuf::from(holdfast.session(&session).await.path().await.unwrap());
    // Somebody writes until not a byte is left.
    let filler = holdfast.root().join("filler");
    let mut file_of_others = fs::File::create(&filler).unwrap();
    while file_of_others.write_all(&vec![7; 256 * 1024]).is_ok() {}
    drop(file_of_others);
    until_state(&holdfast, "idle").await;
    until("given-up").await;
    assert!(!file.exists());
    assert!(holdfast.files(".part").is_empty(), "{:?}", holdfast.files(".part"));
    verify(&dir);
    // What is free again is somebody else's too; what is given up for closing is not for recording.
    let recorder = holdfast.recorder().await;
    let mut more = fs::OpenOptions::new().append(true).open(&filler).unwrap();
    while more.write_all(&vec![7; 256 * 1024]).is_ok() {}
    holdfast
        .until("critical", || async { recorder.storage_level().await.is_ok_and(|level| level == "critical") })
        .await;
    until("given-up").await;
    assert_eq!(code(recorder.start(StartOptions::default()).await), -1010);
    fs::remove_file(&filler).unwrap();
    drop(more);
    until("kept").await;
    holdfast.start("again").await;
    holdfast.stop().await;
}

#[tokio::test]
async fn a_mount_that_is_missing_at_start_is_waited_for() {
    let Some(mut disk) = Disk::new(128) else { return };
    let mut holdfast = Box::without_recorder("", &test_input("cam0", false)).await;
    let other = fs::metadata(holdfast.root()).unwrap().dev() != fs::metadata("/").unwrap().dev();
    if other {
        holdfast_aloud::skip("the temporary directory is a mount of its own, so none is missing");
        return;
    }
    holdfast.edit_config("filesystem = \"any\"", "filesystem = \"mounted\"");
    holdfast.start_recorder().await;
    let recorder = holdfast.recorder().await;
    assert_eq!(recorder.storage_level().await.unwrap(), "unavailable");
    until_alert(&holdfast, "storage-unavailable").await;
    assert_eq!(code(recorder.start(StartOptions::default()).await), -1009);
    assert_eq!(fs::read_dir(holdfast.root()).unwrap().count(), 0, "something was written to the root disk");
    if !disk.mount(&holdfast.root(), 128) {
        return;
    }
    holdfast.until("the mount", || async { recorder.storage_level().await.is_ok_and(|level| level == "ok") }).await;
    until_state(&holdfast, "idle").await;
    assert!(!alerts(&holdfast).await.contains(&"storage-unavailable".to_owned()));
    holdfast.start("mounted").await;
    holdfast.stop().await;
    // The recorder and its captures end before the disk goes.
    drop(holdfast);
}

#[tokio::test]
async fn pressure_is_told_with_what_is_shed_for_it() {
    let mut holdfast = Box::without_recorder("", &test_input("cam0", false)).await;
    let proc = holdfast.dir.path().join("proc");
    fs::create_dir_all(proc.join("pressure")).unwrap();
    let memory =
        |full: u32| format!("some avg10=0.00 avg60=0.00\nfull avg10={full}.50 avg60=0.00 avg300=0.00 total=1\n");
    fs::write(proc.join("pressure/memory"), memory(0)).unwrap();
    let sys = holdfast.dir.path().join("sys");
    holdfast.arguments = vec!["--proc".into(), proc.display().to_string(), "--sys".into(), sys.display().to_string()];
    holdfast.start_recorder().await;
    let pressure =
        PressureProxy::builder(&holdfast.client).cache_properties(CacheProperties::No).build().await.unwrap();
    assert_eq!(pressure.level().await.unwrap(), "normal");
    assert!(pressure.shed().await.unwrap().is_empty());
    let mut changes = pressure.receive_pressure_changed().await.unwrap();
    fs::write(proc.join("pressure/memory"), memory(20)).unwrap();
    let change = tokio::time::timeout(common::DEADLINE, futures_util::StreamExt::next(&mut changes)).await.unwrap();
    let change = change.unwrap();
    let change = change.args().unwrap();
    assert_eq!((change.level.as_str(), &change.causes[..]), ("degrade", &["memory-stalls".to_owned()][..]));
    assert_eq!(change.shed, ["preview-rate", "previews", "telemetry", "archive", "updates"]);
    assert_eq!(pressure.level().await.unwrap(), "degrade");
    assert_eq!(pressure.bitrate_percent().await.unwrap(), 100);
    until_alert(&holdfast, "pressure-high").await;
}
