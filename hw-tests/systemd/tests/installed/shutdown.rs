//! The box goes down, in good order or not.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::appliance::{Appliance, Disk, FRAMERATE, OPERATOR, SOON, has_polkit, json};

#[test]
fn a_shutdown_closes_the_files_before_their_disk_goes() {
    let disk = tempfile::tempdir().unwrap();
    let Some(mut appliance) = Appliance::boot(Disk::Directory(disk.path())) else {
        return;
    };
    if !has_polkit(&appliance) {
        return;
    }
    appliance.start();
    appliance.safe_frames_more(FRAMERATE);
    appliance.rig.shut_down(Duration::from_secs(30)).unwrap();
    let (finished, open) = finished_and_open(disk.path());
    assert!(finished > 0 && open == 0, "{:#?}", files(disk.path()));
}

/// All processes end in the same moment. (What a disk loses at a power cut is another matter, and tested elsewhere.)
#[test]
fn after_a_cut_the_next_boot_closes_what_was_open() {
    let disk = tempfile::tempdir().unwrap();
    let Some(appliance) = Appliance::boot(Disk::Directory(disk.path())) else {
        return;
    };
    if !has_polkit(&appliance) {
        return;
    }
    let session = appliance.start();
    let safe = appliance.safe_frames_more(FRAMERATE);
    drop(appliance);
    // One on an idle machine; where sound comes late there is one without before it.
    let (finished, open) = finished_and_open(disk.path());
    assert_eq!(open, 1, "{:#?}", files(disk.path()));

    // It goes on by itself, as the same session.
    let appliance = Appliance::boot(Disk::Directory(disk.path())).unwrap();
    let said = appliance.call_as(OPERATOR, "ListSessions", &["a{sv}", "0"]);
    assert!(said.ok(), "{}\n{}", said.err, appliance.rig.log(60));
    let sessions = json(&said)["data"][0].clone();
    assert_eq!(sessions.as_array().unwrap().len(), 1, "{sessions:#}");
    let goes_on = || (appliance.recorder("State") == "recording").then_some(());
    appliance.rig.until("the session goes on", SOON, goes_on).unwrap();
    assert_eq!(appliance.recorder("CurrentSession"), session.as_str());
    assert!(appliance.recorder("SafeFrames").as_u64().unwrap() >= safe, "{}", appliance.rig.log(60));
    appliance.safe_frames_more(FRAMERATE);
    appliance.stop();
    let (now_finished, open) = finished_and_open(disk.path());
    assert!(now_finished >= finished + 2 && open == 0, "{:#?}", files(disk.path()));
    assert_eq!(appliance.verify()["ok"], true);

    // And the box records as before.
    assert_ne!(appliance.start(), session);
    appliance.stop();
    assert_eq!(finished_and_open(disk.path()).1, 0);
}

/// How many files of footage have their final name, and how many are still being written.
fn finished_and_open(disk: &Path) -> (usize, usize) {
    let files = files(disk);
    let with = |ending: &str| files.iter().filter(|path| path.to_str().unwrap().ends_with(ending)).count();
    (with(".mp4"), with(".mp4.part"))
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut all = vec![];
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            all.push(path);
        }
    }
    all
}
