//! A filesystem of our own, of which every byte written can be counted.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

/// ext4 on a loop device on a file. Unmounted and detached when dropped.
#[derive(Debug)]
pub struct Device {
    name: String,
    mount: PathBuf,
    mounted: bool,
    // Removed last.
    _directory: tempfile::TempDir,
}

/// A device that writes only so fast. It is as fast as it was when this is dropped.
#[derive(Debug)]
pub struct Slowed {
    limit: &'static str,
    number: String,
}

impl Drop for Slowed {
    fn drop(&mut self) {
        if let Err(error) = std::fs::write(self.limit, format!("{} 0", self.number)) {
            crate::terminal::fail(&format!("{} stays slow: {error}", self.number));
        }
    }
}

/// What has reached the device.
#[derive(Debug, Clone, Copy)]
pub struct Written {
    pub bytes: u64,
    pub flushes: u64,
}

impl Device {
    /// Why there can be none on this machine, if so.
    pub fn impossible() -> Option<&'static str> {
        if !rustix::process::geteuid().is_root() {
            return Some("a loop device takes root");
        }
        if !Path::new("/dev/loop-control").exists() {
            return Some("this kernel or container has no loop devices");
        }
        None
    }

    /// A fresh filesystem of so many bytes; the file below it is sparse.
    pub fn new(directory: &Path, bytes: u64) -> anyhow::Result<Self> {
        let directory =
            tempfile::Builder::new().prefix("device-").tempdir_in(directory).context("no temporary directory")?;
        let image = directory.path().join("disk.img");
        let file = std::fs::File::create_new(&image).context("no image for a loop device")?;
        file.set_len(bytes).context("no image for a loop device")?;
        drop(file);
        let device = say(Command::new("losetup").args(["--find", "--show"]).arg(&image))?;
        let name = device.rsplit('/').next().unwrap_or_default().to_owned();
        let mount = directory.path().join("mount");
        let mut this = Self { name, mount, mounted: false, _directory: directory };
        std::fs::create_dir(&this.mount).context("no mount point")?;
        // Nothing may be written in the background later on: it would be counted.
        let options = "lazy_itable_init=0,lazy_journal_init=0";
        say(Command::new("mkfs.ext4").args(["-q", "-F", "-E", options]).arg(&device))?;
        say(Command::new("mount").args(["-o", "noatime"]).arg(&device).arg(&this.mount))?;
        this.mounted = true;
        Ok(this)
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.mount
    }

    /// Makes it write so many bytes per second and no more, whoever writes. `None`: this machine's kernel limits no whole device
    /// (it takes the block controller of cgroup v1, which has its limits at the root, too).
    pub fn slow(&self, bytes_per_second: u64) -> Option<Slowed> {
        let limit = "/sys/fs/cgroup/blkio/blkio.throttle.write_bps_device";
        let number = std::fs::read_to_string(format!("/sys/block/{}/dev", self.name)).ok()?.trim().to_owned();
        std::fs::write(limit, format!("{number} {bytes_per_second}")).ok()?;
        Some(Slowed { limit, number })
    }

    /// Writes out what is in memory, then counts.
    pub fn written(&self) -> anyhow::Result<Written> {
        let root = std::fs::File::open(&self.mount).context("the mount is gone")?;
        rustix::fs::syncfs(&root).context("the filesystem does not sync")?;
        let path = format!("/sys/block/{}/stat", self.name);
        let text = std::fs::read_to_string(&path).with_context(|| format!("{path} can't be read"))?;
        let field = |index: usize| -> anyhow::Result<u64> {
            let field = text.split_whitespace().nth(index).with_context(|| format!("{path} has no field {index}"))?;
            field.parse().with_context(|| format!("{path}: {field}"))
        };
        // Sectors are of 512 bytes here whatever the device has (Documentation/block/stat.rst).
        Ok(Written { bytes: field(6)? * 512, flushes: field(15)? })
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if self.mounted
            && let Err(error) = say(Command::new("umount").arg(&self.mount))
        {
            crate::terminal::fail(&format!("{error:#}"));
        }
        if let Err(error) = say(Command::new("losetup").arg("--detach").arg(format!("/dev/{}", self.name))) {
            crate::terminal::fail(&format!("{error:#}"));
        }
    }
}

/// Runs a command and returns what it says.
fn say(command: &mut Command) -> anyhow::Result<String> {
    let line = format!("{command:?}").replace('"', "");
    let output = command.output().with_context(|| format!("{line} does not start"))?;
    if !output.status.success() {
        bail!("{line}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
