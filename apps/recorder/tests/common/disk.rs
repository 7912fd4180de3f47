//! Small disks of a test's own: ext4 on a loop device, else a tmpfs; where this user may mount neither they say so.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use holdfast_dbus::{AlertInfo, AlertsProxy};
use zbus::proxy::CacheProperties;

use super::{Box, DEADLINE};

pub const MIB: u64 = 1024 * 1024;

/// A small filesystem; unmounted when dropped. Declared before the box, so that it goes after it.
pub struct Disk {
    place: PathBuf,
    /// Of the loop device; none for a tmpfs.
    image: Option<tempfile::TempDir>,
}

impl Disk {
    pub fn run(program: &str, arguments: &[&str]) -> bool {
        Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
    }

    /// Of so many MiB, not mounted yet. `None` is told.
    pub fn new(mib: u64) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            holdfast_aloud::skip("mounting takes root");
            return None;
        }
        let dir = tempfile::Builder::new().prefix("holdfast-disk-").tempdir().unwrap();
        let image = dir.path().join("image");
        fs::File::create(&image).unwrap().set_len(mib * MIB).unwrap();
        let ext4 = Path::new("/dev/loop-control").exists()
            && Self::run("mkfs.ext4", &["-q", "-F", "-m", "0", image.to_str().unwrap()]);
        if !ext4 {
            eprintln!("no loop devices here: a tmpfs stands for the disk");
        }
        Some(Self { place: PathBuf::new(), image: ext4.then_some(dir) })
    }

    /// False is told.
    pub fn mount(&mut self, place: &Path, mib: u64) -> bool {
        self.place = place.to_owned();
        let place = place.to_str().unwrap();
        let mounted = match &self.image {
            Some(dir) => Self::run("mount", &["-o", "loop", dir.path().join("image").to_str().unwrap(), place]),
            None => Self::run("mount", &["-t", "tmpfs", "-o", &format!("size={mib}m"), "none", place]),
        };
        if !mounted {
            holdfast_aloud::skip("this user may not mount here");
            self.place = PathBuf::new();
        }
        mounted
    }

    /// Only a filesystem with a device of its own can turn read-only by itself, and go and come back. False is told.
    pub fn has_device(&self) -> bool {
        if self.image.is_none() {
            holdfast_aloud::skip("a tmpfs neither turns read-only by itself nor comes back with what it held");
        }
        self.image.is_some()
    }

    /// As ext4 does it by itself when it finds itself damaged. There is no way back but a new mount.
    pub fn turn_read_only(&self) {
        // The kernel does as told, and says that it could not.
        Self::run("mount", &["-o", "remount,abort", self.place.to_str().unwrap()]);
        assert!(fs::write(self.place.join("probe"), "").is_err(), "it is not read-only");
    }

    /// Out of the tree of files; who has something open there keeps it.
    pub fn unmount_lazily(&self) {
        assert!(Self::run("umount", &["-l", self.place.to_str().unwrap()]));
    }

    /// The same disk in the same place. One that has turned read-only can't be mounted anew before everybody has let go of it:
    /// tried until then.
    pub async fn comes_back(&self) {
        let image = self.image.as_ref().unwrap().path().join("image");
        let arguments = ["-o", "loop", image.to_str().unwrap(), self.place.to_str().unwrap()];
        let began = Instant::now();
        while !Self::run("mount", &arguments) {
            assert!(began.elapsed() < DEADLINE, "somebody still has it open: {:?}", holders(&self.place));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Who has something open that was there: whose program, and what.
fn holders(place: &Path) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let open = processes.flat_map(|process| {
        let files = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
        let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
        files.filter_map(move |file| Some(format!("{}: {}", name.trim(), fs::read_link(file.path()).ok()?.display())))
    });
    // Cut off from the tree, it has lost the front of its name.
    let ends: Vec<_> = ["session.journal", ".part", ".mp4", place.to_str().unwrap()].map(str::to_owned).into();
    open.filter(|what| ends.iter().any(|end| what.contains(end.as_str()))).collect()
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.place != Path::new("") {
            Self::run("umount", &["-l", self.place.to_str().unwrap()]);
        }
    }
}

/// Files of two seconds instead of minutes; all else is the real capture.
pub fn short_rotation(holdfast: &Box) {
    let program = super::capture_program();
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--package", "holdfast-capture", "--example", "short-rotation"])
        .status();
    let example = program.with_file_name("examples").join("short-rotation");
    assert!(built.unwrap().success() && example.is_file(), "the example of holdfast-capture can't be built");
    let script = holdfast.dir.path().join("holdfast-capture");
    let text = format!("#!/bin/sh\nexec {} --rotation-ms 2000 \"$@\"\n", example.display());
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    holdfast.edit_config(&program.display().to_string(), &script.display().to_string());
}

/// A box with its root on a disk of its own, recorder not started.
pub async fn box_on_disk(mib: u64, storage: &str, inputs: &str) -> Option<(Disk, Box)> {
    let mut disk = Disk::new(mib)?;
    let holdfast = Box::without_recorder(storage, inputs).await;
    disk.mount(&holdfast.root(), mib).then_some((disk, holdfast))
}

/// The alerts that hold.
async fn active(holdfast: &Box) -> Vec<AlertInfo> {
    let alerts = AlertsProxy::builder(&holdfast.client).cache_properties(CacheProperties::No).build().await.unwrap();
    alerts.active().await.unwrap()
}

/// Their codes.
pub async fn alerts(holdfast: &Box) -> Vec<String> {
    active(holdfast).await.into_iter().map(|alert| alert.code).collect()
}

pub async fn until_alert(holdfast: &Box, wanted: &str) {
    until_alert_of(holdfast, wanted, None).await;
}

/// About `source`, if one is named.
pub async fn until_alert_of(holdfast: &Box, wanted: &str, source: Option<&str>) {
    let is_it = |alert: &AlertInfo| alert.code == wanted && source.is_none_or(|source| alert.source == source);
    holdfast.until(wanted, || async { active(holdfast).await.iter().any(is_it) }).await;
}
