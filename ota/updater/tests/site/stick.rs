//! Sticks: a file system in a file, as a block device, and the very program that systemd starts for it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{DEADLINE, Process, Site};

/// What is on a stick, and what plays it.
pub struct Stick {
    /// What was put on it.
    pub files: TempDir,
    image: PathBuf,
    /// A loop device, where there is one.
    device: Option<String>,
    filesystem: &'static str,
}

/// A file system that the kernel has and that can be filled here: the one that sticks have, if it can be.
fn filesystem() -> &'static str {
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let has = |name: &str| known.lines().any(|line| line.trim_start_matches("nodev").trim() == name);
    if has("vfat") && Command::new("mcopy").arg("--version").output().is_ok() {
        return "vfat";
    }
    holdfast_aloud::skip("no FAT in this kernel, or no mtools: the stick is an ext4 one");
    "ext4"
}

fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        false => Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

impl Stick {
    /// With what `fill` puts into its directory `holdfast`. `None`, aloud, where there are no loop devices.
    pub fn make(fill: impl FnOnce(&Path)) -> Option<Self> {
        Self::of(filesystem(), fill)
    }

    /// The same of a file system that has links and pipes.
    pub fn hostile(fill: impl FnOnce(&Path)) -> Option<Self> {
        Self::of("ext4", fill)
    }

    fn of(filesystem: &'static str, fill: impl FnOnce(&Path)) -> Option<Self> {
        let mut stick = Self::directory(fill);
        stick.filesystem = filesystem;
        let (image, files) = (stick.image.to_str().unwrap(), stick.files.path().join("stick"));
        fs::File::create(image).unwrap().set_len(64 << 20).unwrap();
        let made = match filesystem {
            "vfat" => run("mkfs.vfat", &[image]).and_then(|_| {
                let files = files.join("holdfast");
                run("mcopy", &["-s", "-i", image, files.to_str().unwrap(), "::"])
            }),
            _ => run("mkfs.ext4", &["-q", "-d", files.to_str().unwrap(), image]),
        };
        let device = made.and_then(|_| run("losetup", &["--find", "--show", "--read-only", image]));
        match device {
            Ok(device) => stick.device = Some(device),
            Err(why) => {
                holdfast_aloud::skip(format_args!("no stick can be made here: {why}"));
                return None;
            }
        }
        Some(stick)
    }

    /// A directory that plays the mounted stick, and can change while it is read.
    pub fn directory(fill: impl FnOnce(&Path)) -> Self {
        let files = tempfile::tempdir().unwrap();
        let inside = files.path().join("stick/holdfast");
        fs::create_dir_all(&inside).unwrap();
        fill(&inside);
        let image = files.path().join("image");
        Self { files, image, device: None, filesystem: "" }
    }

    /// Where its bundles lie.
    pub fn inside(&self) -> PathBuf {
        self.files.path().join("stick/holdfast")
    }

    /// Pulled out, if nobody has it mounted any more: a device that is in use stays when it is detached. Its name may be another stick's
    /// then.
    pub fn is_free(&mut self) -> bool {
        let device = self.device.take().unwrap();
        run("losetup", &["--detach", &device]).unwrap();
        run("losetup", &[&device]).is_err()
    }
}

impl Drop for Stick {
    fn drop(&mut self) {
        if let Some(device) = &self.device {
            drop(run("losetup", &["--detach", device]));
        }
    }
}

/// Whoever holds the stick. Dropped: the stick is pulled out, and systemd ends him.
pub struct Holder(Process);

impl Holder {
    /// Waits until he has let it go by himself.
    pub async fn until_let_go(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.0.0.try_wait().unwrap() {
                return status;
            }
            assert!(began.elapsed() < DEADLINE, "the stick is not let go");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Site {
    /// As udev and systemd do it.
    pub fn plug(&self, stick: &Stick) -> Holder {
        let config = self.path("updater.toml");
        let files = stick.files.path().join("stick");
        let files = files.to_str().unwrap();
        let what: &[&str] = match &stick.device {
            Some(device) => &[device, "--filesystem", stick.filesystem],
            None => &["--directory", files],
        };
        let arguments: Vec<&str> = ["--config", &config, "stick"].iter().chain(what).copied().collect();
        Holder(self.spawn(Path::new(env!("CARGO_BIN_EXE_holdfast-updater")), &arguments))
    }

    pub async fn until_notice(&self, part: &str) {
        let look = || async { self.updater().await.notice().await.is_ok_and(|notice| notice.contains(part)) };
        self.until(&format!("the notice {part:?}"), look).await;
    }
}
