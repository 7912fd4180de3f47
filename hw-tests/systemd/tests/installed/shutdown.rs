//! A shutdown in good order leaves no file open.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::appliance::{Appliance, Disk, FRAMERATE, has_polkit};

#[test]
fn a_shutdown_closes_the_files_before_their_disk_goes() {
    let Some(mut appliance) = Appliance::boot(Disk::Outside) else {
        return;
    };
    if !has_polkit(&appliance) {
        return;
    }
    appliance.start();
    appliance.safe_frames_more(FRAMERATE);
    appliance.rig.shut_down(Duration::from_secs(30)).unwrap();

    let storage = appliance.rig.outside().join("storage");
    let files = files(&storage);
    let with = |ending: &str| {
        files
            .iter()
            .filter(|path| path.to_str().unwrap().ends_with(ending))
            .count()
    };
    assert_eq!((with(".mp4"), with(".part")), (1, 0), "{files:#?}");
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
