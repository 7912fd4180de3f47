//! The capture's watchdog: fed by progress. What hangs is ended and started again; a disk that stalls is no reason.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::appliance::{Appliance, CAPTURE, Disk, FRAMERATE, SOON, has_polkit};

/// The unit's own is longer than a test wants to wait.
const BITES: Duration = Duration::from_secs(3);

fn with_short_watchdog(appliance: &Appliance) {
    let text = format!("[Service]\\nWatchdogSec={}s\\n", BITES.as_secs());
    let write = format!(
        "mkdir -p /run/systemd/system/holdfast-capture@.service.d && \
         printf '{text}' > /run/systemd/system/holdfast-capture@.service.d/watchdog.conf && systemctl daemon-reload"
    );
    assert!(appliance.rig.run(&["sh", "-c", &write]).ok(), "{}", appliance.rig.log(40));
}

/// A filesystem that can be frozen; unmounted when dropped.
struct Loop(tempfile::TempDir);

impl Loop {
    fn mount() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let (image, point) = (directory.path().join("image"), directory.path().join("disk"));
        std::fs::create_dir(&point).unwrap();
        std::fs::File::create(&image).unwrap().set_len(256 << 20).unwrap();
        let mounted = run("mkfs.ext4", &["-q", "-F", image.to_str()?])
            && run("mount", &["-o", "loop", image.to_str()?, point.to_str()?]);
        if !mounted {
            holdfast_aloud::skip("this user cannot mount an ext4 image");
        }
        mounted.then_some(Self(directory))
    }

    fn point(&self) -> PathBuf {
        self.0.path().join("disk")
    }

    fn freeze(&self, freeze: bool) -> bool {
        run("fsfreeze", &[if freeze { "-f" } else { "-u" }, self.point().to_str().unwrap()])
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        run("umount", &["-l", self.point().to_str().unwrap_or_default()]);
    }
}

fn run(program: &str, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
}

fn wait(appliance: &Appliance, time: Duration) {
    let until = Instant::now() + time;
    appliance.rig.until("time passes", time + SOON, || (Instant::now() >= until).then_some(())).unwrap();
}

#[test]
fn a_capture_that_hangs_is_ended_and_one_that_works_is_not() {
    let Some(appliance) = Appliance::boot(Disk::Memory) else {
        return;
    };
    if !has_polkit(&appliance) {
        return;
    }
    let rig = &appliance.rig;
    assert_eq!(rig.property(CAPTURE, "Type"), "notify");
    with_short_watchdog(&appliance);
    appliance.start();
    let pid = rig.property(CAPTURE, "MainPID");
    wait(&appliance, BITES * 3);
    assert_eq!(rig.property(CAPTURE, "MainPID"), pid, "it was ended though it works\n{}", rig.log(60));
    let status = rig.property(CAPTURE, "StatusText");
    assert!(status.starts_with("recording ") && status.contains("frames are safe"), "{status:?}");

    assert!(rig.run(&["kill", "-STOP", &pid]).ok());
    let another = || {
        let now = rig.property(CAPTURE, "MainPID");
        (now != pid && now != "0").then_some(())
    };
    rig.until("another capture runs", SOON, another).unwrap();
    appliance.safe_frames_more(FRAMERATE);
    let totals = appliance.stop();
    assert_eq!(totals.number("gaps"), 1, "{totals:?}");
}

#[test]
fn a_disk_that_stalls_does_not_get_the_capture_killed() {
    let Some(disk) = Loop::mount() else { return };
    let Some(appliance) = Appliance::boot(Disk::Directory(Path::new(&disk.point()))) else {
        return;
    };
    if !has_polkit(&appliance) {
        return;
    }
    let rig = &appliance.rig;
    with_short_watchdog(&appliance);
    appliance.start();
    appliance.safe_frames_more(FRAMERATE);
    let pid = rig.property(CAPTURE, "MainPID");
    if !disk.freeze(true) {
        holdfast_aloud::skip("this user cannot freeze a filesystem");
        return;
    }
    wait(&appliance, BITES * 2);
    let then = rig.property(CAPTURE, "MainPID");
    assert!(disk.freeze(false));
    assert_eq!(then, pid, "{}", rig.log(60));
    appliance.safe_frames_more(FRAMERATE);
    let totals = appliance.stop();
    assert_eq!((totals.number("lost_frames"), totals.number("gaps")), (0, 0), "{totals:?}");
}
